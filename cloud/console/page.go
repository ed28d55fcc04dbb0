package console

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"html/template"
	"io/fs"
	"maps"
	"net/http"
	"net/url"
	"path"
	"regexp"
	"strings"
	"time"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/cloud/awsapi"
)

// visit is one request of who has signed in.
type visit struct {
	c      *Console
	w      http.ResponseWriter
	r      *http.Request
	region string
	// form is what was sent: the query, or the body of what is done.
	form   url.Values
	inside awsapi.Inside
}

// frame is what every page has around what it shows.
type frame struct {
	Title string
	// Root and Base are the paths of the console and of the Region's pages, Static that
	// of the files.
	Root, Base, Static string
	// Region is empty where nobody has signed in.
	Region  string
	Regions []string
	// Name, KeyID, Access and Limit are of the key, Account whose it is, and Person who has
	// signed in, where that is not whoever has the key.
	Name, KeyID, Access, Limit, Account, Person string
	Links                                       []navigation
	// Group is that of a page that is refused, where the key may see it.
	Group *groupInformation
	// First is the query of a list's first page: this one's, from the beginning.
	First string
	// Commands do the same from a terminal.
	Commands []string
	// Now is when the page was made.
	Now  time.Time
	Page any
}

// navigation is a link to one of the chief pages.
type navigation struct {
	Text, Href string
	Here       bool
}

// chief are the pages that each page leads to, with what one must be able to do to see
// them; nothing for those that everybody may.
var chief = []struct{ text, path, service, operation string }{
	{"Overview", "/", "", ""},
	{"Cores", "/cores", own, "ListCores"},
	{"Groups", "/groups", own, "ListGroupsByName"},
	{"Functions", "/functions", lambda, "ListFunctions"},
	{"Bulk", "/bulk", greengrass, "ListBulkDeployments"},
	{"Things", "/things", iot, "ListThings"},
	{"Messages", "/messages", own, "Subscribe"},
	{"Certificates", "/certificates", own, "ListCertificatesByEnd"},
	{"Keys", "/keys", own, "ListAccessKeys"},
	{"Audit", "/audit", own, "ListAuditRecords"},
}

type pages map[string]*template.Template

// parsePages reads each page's template, with the frame around it.
func parsePages() (pages, error) {
	frame, err := template.New("").Funcs(functions).ParseFS(embedded, "templates/frame.html")
	if err != nil {
		return nil, fmt.Errorf("the console's frame: %w", err)
	}
	all := make(pages)
	names, err := fs.Glob(embedded, "templates/*.html")
	for _, name := range names {
		if path.Base(name) == "frame.html" {
			continue
		}
		page, cloned := frame.Clone()
		if cloned == nil {
			_, cloned = page.ParseFS(embedded, name)
		}
		if err = errors.Join(err, cloned); cloned == nil {
			all[strings.TrimSuffix(path.Base(name), ".html")] = page
		}
	}
	return all, err
}

// functions are what templates say the same everywhere with.
var functions = template.FuncMap{
	"short": short,
	"tag":   fescue.FormatTag,
	"utc":   func(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05 UTC") },
	"when": func(text string) time.Time {
		t, _ := time.Parse(time.RFC3339, text) // what the API answers
		return t
	},
	"ago":   ago,
	"until": until,
	"ending": func(now, t time.Time) string {
		switch left := t.Sub(now); {
		case left < 0:
			return "bad"
		case left < 30*24*time.Hour:
			return "busy"
		}
		return "calm"
	},
	"bytes":      size,
	"kib":        func(n int64) string { return size(n << 10) },
	"count":      count,
	"tone":       tone,
	"cause":      func(d fescue.ErrorDetail) string { cause, _ := parts(d); return cause },
	"remedy":     func(d fescue.ErrorDetail) string { _, remedy := parts(d); return remedy },
	"tail":       tail,
	"brief":      brief,
	"functionOf": functionOf,
	"yes":        func(b *bool) bool { return b != nil && *b },
	"names":      func(pairs ...any) map[string]any { return named(pairs) },
}

// named makes the arguments of a template within a template.
func named(pairs []any) map[string]any {
	m := make(map[string]any, len(pairs)/2)
	for i := 0; i+1 < len(pairs); i += 2 {
		m[fmt.Sprint(pairs[i])] = pairs[i+1]
	}
	return m
}

// functionRef is a function that an ARN names.
type functionRef struct{ ARN, Name, Qualifier string }

// functionOf is nil for an ARN that is no function's.
func functionOf(text string) *functionRef {
	arn, err := fescue.ParseARN(text)
	if err != nil {
		return nil
	}
	name, qualifier, ok := arn.Function()
	if !ok {
		return nil
	}
	return &functionRef{text, name, qualifier}
}

// short is the part of an id that tells those of one page apart: the beginning, or the end
// where it begins with the time (UUID, version 7).
func short(id string) string {
	switch {
	case !fescue.ValidID(id):
		return id
	case id[14] == '7':
		return "…" + id[28:]
	}
	return id[:8]
}

// hash is what names a certificate, and what else has a SHA-256 for its name.
var hash = regexp.MustCompile(`^[0-9a-f]{64}$`)

// brief is the part of an ARN that people know it by, with the ids in it shortened: what stays
// on a line, one for each slash.
func brief(arn string) []string {
	parts := strings.SplitAfter(tail(arn), "/")
	for i, part := range parts {
		id, slash := strings.CutSuffix(part, "/")
		if parts[i] = short(id); hash.MatchString(id) {
			parts[i] = id[:8]
		}
		if slash {
			parts[i] += "/"
		}
	}
	return parts
}

// ago is how long something is past, in its largest unit.
func ago(now, t time.Time) string {
	d := now.Sub(t)
	for _, unit := range []struct {
		length time.Duration
		name   string
	}{{24 * time.Hour, "d"}, {time.Hour, "h"}, {time.Minute, "min"}, {time.Second, "s"}} {
		if n := d / unit.length; n > 0 {
			return fmt.Sprintf("%d %s ago", n, unit.name)
		}
	}
	return "now"
}

// until is how long it is until then, in whole days, in hours on the last, or that it is past.
func until(now, t time.Time) string {
	switch days := int(t.Sub(now) / (24 * time.Hour)); {
	case t.Before(now):
		return "over"
	case days == 0:
		return fmt.Sprintf("in %d h", t.Sub(now)/time.Hour)
	case days == 1:
		return "in 1 day"
	default:
		return fmt.Sprintf("in %d days", days)
	}
}

// size is a number of bytes in its unit.
func size(n int64) string {
	f, units := float64(n), []string{"B", "kB", "MB", "GB"}
	for f >= 1000 && len(units) > 1 {
		f, units = f/1000, units[1:]
	}
	return fmt.Sprintf("%.3g %s", f, units[0])
}

// tone is how good a word for a state is.
func tone(state any) string {
	switch fmt.Sprint(state) {
	case "Success", "connected", "added", "Completed", "ACTIVE":
		return "good"
	case "Failure", "removed", "wrong", "Failed", "over", "REVOKED":
		return "bad"
	case "Building", "InProgress", "changed", "Initializing", "Running", "Stopping":
		return "busy"
	}
	return "calm"
}

// parts are the cause and the remedy of a failure or warning: its text is one and then
// the other, as the table has it.
func parts(d fescue.ErrorDetail) (cause, remedy string) {
	for _, table := range [][]fescue.DeploymentFailure{fescue.DeploymentFailures, fescue.DeploymentWarnings} {
		for _, row := range table {
			if string(row.Code) != d.DetailedErrorCode {
				continue
			}
			if cause, ok := strings.CutSuffix(d.DetailedErrorMessage, " "+row.Remedy); ok {
				return cause, row.Remedy
			}
		}
	}
	return d.DetailedErrorMessage, ""
}

// show writes a page that nobody need have signed in for.
func (c *Console) show(w http.ResponseWriter, r *http.Request, status int, name, title string, page any) {
	c.write(w, r, status, name, frame{Title: title, Page: page})
}

// write makes a page. It is made whole before any of it is sent.
func (c *Console) write(w http.ResponseWriter, r *http.Request, status int, name string, f frame) {
	f.Root, f.Static, f.Now = c.root, c.static, c.o.Now().UTC()
	b, ok := c.buffers.Get().(*bytes.Buffer)
	if !ok {
		b = new(bytes.Buffer)
	}
	defer c.buffers.Put(b)
	b.Reset()
	if err := c.pages[name].ExecuteTemplate(b, "frame", f); err != nil {
		c.o.Logger.Error("page of the console not made", "page", name, "error", err)
		http.Error(w, "The page could not be made. The server's log has the cause.", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	if r.Method != http.MethodHead {
		w.Write(b.Bytes())
	}
}

// fail answers with what went wrong.
func (c *Console) fail(w http.ResponseWriter, r *http.Request, err error) {
	c.failIn(w, r, frame{}, err)
}

func (c *Console) failIn(w http.ResponseWriter, r *http.Request, f frame, err error) {
	var refused *refusal
	if errors.Is(err, context.Canceled) {
		return // nobody is there to read it
	}
	if !errors.As(err, &refused) {
		c.o.Logger.Error("page of the console failed", "path", r.URL.Path, "error", err)
		refused = &refusal{http.StatusInternalServerError, "", "Something went wrong on the server. Its log has the cause."}
	}
	f.Title = "Not possible"
	if refused.Status == http.StatusNotFound {
		f.Title = "Not there"
	}
	f.Page = refused
	c.write(w, r, refused.Status, "refused", f)
}

// frame is that of a page of this visit.
func (v *visit) frame() frame {
	signer := v.inside.Signer
	f := frame{
		Base: v.c.in(v.region), Region: v.region, Regions: v.c.o.Regions,
		Name: signer.Name, KeyID: signer.ID, Access: signer.Access, Account: signer.Account, Person: signer.Person,
	}
	if signer.Scope != nil {
		f.Limit = signer.Scope.String()
	}
	first := maps.Clone(v.form)
	first.Del("after")
	f.First = "?" + first.Encode()
	for _, link := range chief {
		if link.operation == "" || v.may(link.service, awsapi.Target{Operation: link.operation}) {
			here := v.r.URL.Path == link.path || link.path != "/" && strings.HasPrefix(v.r.URL.Path, link.path+"/")
			f.Links = append(f.Links, navigation{link.text, f.Base + link.path, here})
		}
	}
	return f
}

// show writes a page of this visit. Commands do the same from a terminal.
func (v *visit) show(name, title string, page any, commands ...string) error {
	f := v.frame()
	f.Title, f.Page, f.Commands = title, page, commands
	v.c.write(v.w, v.r, http.StatusOK, name, f)
	return nil
}

func (v *visit) fail(err error) {
	f := v.frame()
	f.Group = v.backTo()
	v.c.failIn(v.w, v.r, f, err)
}

// backTo is the group that the path names, nil where there is none that the key may see.
func (v *visit) backTo() *groupInformation {
	id := v.r.PathValue("group")
	if !fescue.ValidID(id) || !v.may(greengrass, awsapi.Target{Operation: "GetGroup", Resource: v.partition().DefinitionARN(fescue.GroupKind, id)}) {
		return nil
	}
	group, err := get[groupInformation](v, greengrass, "/greengrass/groups/"+id)
	if err != nil {
		return nil
	}
	return &group
}

func (v *visit) notFound() error {
	return &refusal{http.StatusNotFound, "", "There is no such page."}
}

// may says whether the key may do something. What cannot be found out is tried, and then
// refused.
func (v *visit) may(service string, t awsapi.Target) bool {
	ok, err := v.inside.May(v.r.Context(), service, t)
	return ok || err != nil
}

// nextPage is the query of the next page of a list, empty on the last one.
func nextPage(token string, query url.Values) string {
	if token == "" {
		return ""
	}
	next := url.Values{"after": {token}}
	maps.Copy(next, query)
	return "?" + next.Encode()
}

// to leads to another page.
func (v *visit) to(path string) error {
	http.Redirect(v.w, v.r, v.c.in(v.region)+path, http.StatusSeeOther)
	return nil
}

// endpoint is the URL of the API as the browser has it.
func (v *visit) endpoint() string { return origin(v.r) + v.c.o.BasePath }

// origin is this server as the browser has it: its scheme, host and port.
func origin(r *http.Request) string {
	if overTLS(r) {
		return "https://" + r.Host
	}
	return "http://" + r.Host
}

// aws is a call of the AWS CLI.
func (v *visit) aws(call string) string {
	return "aws --endpoint-url " + v.endpoint() + " --region " + v.region + " " + call
}

// fescueCLI is a call of the operator's program.
func (v *visit) fescueCLI(call string) string {
	command, rest, _ := strings.Cut(call, " ")
	return strings.TrimRight("fescue "+command+" --endpoint "+v.endpoint()+" --region "+v.region+" "+rest, " ")
}

// quoted is a text as one word of a shell's command.
func quoted(text string) string { return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'" }

func cloneURL(u *url.URL) *url.URL {
	clone := *u
	return &clone
}

// partition is that of the visit.
func (v *visit) partition() fescue.Partition {
	return fescue.Partition{AWS: v.c.o.API.AWS, Account: v.inside.Signer.Account, Region: v.region}
}
