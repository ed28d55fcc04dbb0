package forward

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strings"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/cloud/webhook"
	"github.com/fescue-edge/fescue/topic"
)

// Rule says where messages go.
type Rule struct {
	// Partition is whose messages.
	Partition fescue.Partition
	// Filter finds them by their topics.
	Filter string
	// Target is an http, https, mqtt or mqtts URL. The fragment, which is not sent, has
	// options: credentials=FILE and ca=FILE.
	Target *url.URL

	// name tells the target from others; it has no secret.
	name     string
	username string
	password string
	ca       *x509.CertPool
}

// schemes are those of targets.
var schemes = []string{"https", "http", "mqtts", "mqtt"}

// inPartition is "ACCOUNT:REGION:FILTER".
var inPartition = regexp.MustCompile(`^([0-9]{12}):([a-z0-9-]+):(.*)$`)

// ParseRule reads "[ACCOUNT:REGION:]FILTER=URL". Without account and Region it is for home.
// Files that the URL names are read. Errors show nothing of the URL but scheme and host.
func ParseRule(text string, home fescue.Partition) (Rule, error) {
	at, scheme := -1, ""
	for _, s := range schemes {
		if i := strings.Index(text, "="+s+"://"); i >= 0 && (at < 0 || i < at) {
			at, scheme = i, s
		}
	}
	if at < 0 {
		before, _, _ := strings.Cut(text, "=")
		return Rule{}, fmt.Errorf("--forward %q: it is not FILTER=URL with a URL that begins with https://, http://, mqtts:// or mqtt://", before+"=…")
	}
	r := Rule{Partition: home, Filter: text[:at]}
	address := text[at+1:]
	fail := func(err error) (Rule, error) {
		return Rule{}, fmt.Errorf("--forward %q: %w", text[:at]+"="+webhook.Redacted(address), err)
	}
	if found := inPartition.FindStringSubmatch(r.Filter); found != nil {
		r.Partition.Account, r.Partition.Region, r.Filter = found[1], found[2], found[3]
	}
	if err := topic.ValidFilter(r.Filter); err != nil {
		return fail(fmt.Errorf("the filter: %w", err))
	}
	u, err := url.Parse(address)
	if err != nil || u.Hostname() == "" {
		return fail(errors.New("the URL does not parse, or names no host"))
	}
	if scheme == "http" || scheme == "https" {
		if err := webhook.Check(address); err != nil {
			return fail(errors.New("beyond this machine https only"))
		}
	} else if u.Path != "" && u.Path != "/" || u.RawQuery != "" {
		return fail(errors.New("the URL of a broker has no path and no query: messages keep their topics"))
	}
	if scheme == "mqtt" && !webhook.Loopback(u.Hostname()) && (u.User != nil || strings.Contains(u.Fragment, "credentials=")) {
		return fail(errors.New("beyond this machine credentials go over mqtts only"))
	}
	if err := r.options(u); err != nil {
		return fail(err)
	}
	r.Target = u
	r.name = webhook.Name(r.address())
	return r, nil
}

// address is the target's URL without credentials and options.
func (r Rule) address() string {
	bare := *r.Target
	bare.User, bare.Fragment, bare.RawFragment = nil, "", ""
	return bare.String()
}

// options reads what stands in the URL's fragment and its user.
func (r *Rule) options(u *url.URL) error {
	options, err := url.ParseQuery(u.Fragment)
	if err != nil {
		return errors.New("what follows # is not NAME=VALUE&…")
	}
	for name, values := range options {
		if !slices.Contains([]string{"credentials", "ca"}, name) || len(values) != 1 {
			// What it is may be a secret.
			return errors.New("after # stands something else than credentials=FILE and ca=FILE, each once")
		}
	}
	r.username = u.User.Username()
	r.password, _ = u.User.Password()
	if file := options.Get("credentials"); file != "" {
		if u.User != nil {
			return errors.New("there are credentials in the URL and in a file")
		}
		text, err := os.ReadFile(file)
		if err != nil {
			return fmt.Errorf("read credentials: %w", err)
		}
		var ok bool
		if r.username, r.password, ok = strings.Cut(strings.TrimRight(string(text), "\r\n"), ":"); !ok || r.username == "" || strings.Contains(r.password, "\n") {
			return fmt.Errorf("the file %s does not have USER:PASSWORD in one line", file)
		}
	}
	if file := options.Get("ca"); file != "" {
		text, err := os.ReadFile(file)
		if err != nil {
			return fmt.Errorf("read the authority: %w", err)
		}
		r.ca = x509.NewCertPool()
		if !r.ca.AppendCertsFromPEM(text) {
			return fmt.Errorf("the file %s has no certificate in PEM", file)
		}
	}
	return nil
}

// tlsConfig is how targets are recognized: by the system's authorities, or the one named.
func (r Rule) tlsConfig() *tls.Config {
	return &tls.Config{RootCAs: r.ca, MinVersion: tls.VersionTLS12}
}

func (r Rule) sender() sender {
	if strings.HasPrefix(r.Target.Scheme, "mqtt") {
		return newBroker(r)
	}
	return newHook(r)
}
