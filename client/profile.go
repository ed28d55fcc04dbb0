package client

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"

	"github.com/fescue-edge/fescue/disk"
)

// DefaultProfile is the one that is taken where none is named.
const DefaultProfile = "default"

// Profile is a server and how to call it, kept on this machine. Its file is one of the
// AWS SDKs' configuration, so that AWS_CONFIG_FILE and AWS_PROFILE lead them to it, too.
type Profile struct {
	Endpoint, Region string
	KeyID, Secret    string
	// Session is set where the key is a temporary one, for whoever signed in.
	Session Session
	// CA is the PEM of the authorities to trust; empty for the machine's.
	CA []byte
}

// Profiles are the profiles in a folder of this user's.
type Profiles struct{ Folder string }

// OwnProfiles are this user's.
func OwnProfiles() (Profiles, error) {
	dir, err := os.UserConfigDir()
	if err != nil {
		return Profiles{}, fmt.Errorf("find the folder of profiles: %w", err)
	}
	return Profiles{filepath.Join(dir, "fescue", "profiles")}, nil
}

// profileName is what may be the name of a file everywhere.
var profileName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$`)

// File is where a profile lies.
func (p Profiles) File(name string) string { return filepath.Join(p.Folder, name) }

func (p Profiles) authority(name string) string { return p.File(name) + ".pem" }

// Keep writes a profile, for this user alone.
func (p Profiles) Keep(name string, profile Profile) error {
	if !profileName.MatchString(name) || strings.HasSuffix(name, ".pem") {
		return fmt.Errorf("%q is no name of a profile: letters, digits, '.', '_' and '-', at most 64, and no .pem at its end", name)
	}
	var text strings.Builder
	section := "profile " + name
	if name == DefaultProfile {
		section = name
	}
	fmt.Fprintf(&text, "[%s]\n", section)
	lines := [][2]string{
		{"endpoint_url", profile.Endpoint}, {"region", profile.Region}, {"aws_access_key_id", profile.KeyID}, {"aws_secret_access_key", profile.Secret},
	}
	if profile.Session.Token != "" {
		lines = append(lines, profile.Session.lines()...)
	}
	for _, line := range lines {
		if line[1] == "" || strings.ContainsFunc(line[1], func(r rune) bool { return r <= ' ' }) {
			return fmt.Errorf("%s of the profile %s is empty or has white space in it", line[0], name)
		}
		fmt.Fprintf(&text, "%s = %s\n", line[0], line[1])
	}
	if err := disk.MakeFolder(p.Folder, 0o700); err != nil {
		return fmt.Errorf("make the folder of profiles: %w", err)
	}
	if len(profile.CA) > 0 {
		fmt.Fprintf(&text, "ca_bundle = %s\n", p.authority(name))
		if err := disk.WriteFile(p.authority(name), profile.CA, 0o600); err != nil {
			return fmt.Errorf("keep the authority of the profile %s: %w", name, err)
		}
	} else if err := os.Remove(p.authority(name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove the authority of the profile %s that was there: %w", name, err)
	}
	if err := disk.WriteFile(p.File(name), []byte(text.String()), 0o600); err != nil {
		return fmt.Errorf("keep the profile %s: %w", name, err)
	}
	return nil
}

// Kept is a profile as it was kept. One that is not there is fs.ErrNotExist.
func (p Profiles) Kept(ctx context.Context, name string) (Profile, error) {
	if !profileName.MatchString(name) {
		return Profile{}, fmt.Errorf("there is no profile %q: %w", name, fs.ErrNotExist)
	}
	text, err := os.ReadFile(p.File(name))
	if err != nil {
		return Profile{}, fmt.Errorf("read the profile %s: %w", name, err)
	}
	shared, err := p.shared(ctx, name)
	if err != nil {
		return Profile{}, err
	}
	kept := Profile{
		Endpoint: shared.BaseEndpoint, Region: shared.Region,
		KeyID: shared.Credentials.AccessKeyID, Secret: shared.Credentials.SecretAccessKey, Session: readSession(string(text)),
	}
	kept.Session.Token = shared.Credentials.SessionToken
	if kept.CA, err = os.ReadFile(p.authority(name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return Profile{}, fmt.Errorf("read the authority of the profile %s: %w", name, err)
	}
	return kept, nil
}

// shared reads what the SDK knows of a profile.
func (p Profiles) shared(ctx context.Context, name string) (config.SharedConfig, error) {
	files := []string{p.File(name)}
	shared, err := config.LoadSharedConfigProfile(ctx, name, func(o *config.LoadSharedConfigOptions) { o.ConfigFiles, o.CredentialsFiles = files, []string{} })
	if err != nil {
		err = fmt.Errorf("read the profile %s: %w", name, err)
	}
	return shared, err
}

// Forget removes a profile, and reports whether there was one.
func (p Profiles) Forget(name string) (bool, error) {
	if !profileName.MatchString(name) {
		return false, nil
	}
	err := os.Remove(p.File(name))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if ca := os.Remove(p.authority(name)); !errors.Is(ca, fs.ErrNotExist) {
		err = errors.Join(err, ca)
	}
	return true, err
}

// chosen is the profile that a client takes: the one that is named; without a name the
// default one, unless the environment says whom to call, or who does. Empty for none.
func (p Profiles) chosen(name string) (string, error) {
	if name == "" {
		for _, variable := range []string{"AWS_PROFILE", "AWS_ENDPOINT_URL", "AWS_ACCESS_KEY_ID", "AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"} {
			if os.Getenv(variable) != "" {
				return "", nil
			}
		}
	}
	wanted := name
	if wanted == "" {
		wanted = DefaultProfile
	}
	_, err := os.Stat(p.File(wanted))
	switch {
	case err == nil && profileName.MatchString(wanted):
		return wanted, nil
	case name == "":
		return "", nil
	}
	return "", fmt.Errorf("there is no profile %s: fescue login URL --profile %s makes it", name, name)
}

// load reads the SDK's configuration from a profile.
func (p Profiles) load(ctx context.Context, name string, more ...func(*config.LoadOptions) error) (aws.Config, error) {
	files := []string{p.File(name)}
	shared, err := p.shared(ctx, name)
	if err != nil {
		return aws.Config{}, err
	}
	more = append(more, config.WithSharedConfigFiles(files), config.WithSharedCredentialsFiles([]string{}), config.WithSharedConfigProfile(name), config.WithRegion(shared.Region))
	// The environment's authorities would count more.
	pem, err := os.ReadFile(p.authority(name))
	switch {
	case err == nil:
		more = append(more, config.WithCustomCABundle(bytes.NewReader(pem)))
	case !errors.Is(err, fs.ErrNotExist):
		return aws.Config{}, fmt.Errorf("read the authority of the profile %s: %w", name, err)
	}
	cfg, err := config.LoadDefaultConfig(ctx, more...)
	if err != nil {
		return cfg, fmt.Errorf("read the profile %s: %w", name, err)
	}
	cfg.BaseEndpoint = &shared.BaseEndpoint
	if shared.Credentials.SessionToken == "" {
		return cfg, nil
	}
	text, err := os.ReadFile(p.File(name))
	if err != nil {
		return cfg, fmt.Errorf("read the profile %s: %w", name, err)
	}
	cfg.Credentials = sessionCredentials{cfg.Credentials, readSession(string(text)).ended(name)}
	return cfg, nil
}

// CheckEndpoint says what is wrong with the URL of a server's API, nil if nothing is.
func CheckEndpoint(endpoint string) error {
	if u, err := url.Parse(endpoint); err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return fmt.Errorf("the endpoint %q is not the URL of a server's API, such as https://greengrass.example.com", endpoint)
	}
	return nil
}
