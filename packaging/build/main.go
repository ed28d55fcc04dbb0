// Command build makes Fescue's packages: programs, deb and rpm for each architecture, the
// server's OCI image, bills of materials, and checksums of all. The same commit makes the same bytes.
package main

import (
	"crypto/sha256"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/goreleaser/nfpm/v2"
	_ "github.com/goreleaser/nfpm/v2/deb" // registers itself
	_ "github.com/goreleaser/nfpm/v2/rpm" // registers itself
)

const usage = `Makes packages of Fescue. Run it in a checkout of the repository:

  go run -C packaging ./build                                  all of them, in dist/
  go run -C packaging ./build -version 1.2.0 -sign KEY         as a release
  go run -C packaging ./build -arch arm64,armv7 -dist /tmp/a   some of them, elsewhere

Flags:
`

// architecture is one that there are packages for.
type architecture struct {
	// name is that of the files: distributions have none that tells armv6 from armv7.
	name string
	// nfpm is what the library calls it.
	nfpm string
	// goarch and goarm are the compiler's.
	goarch, goarm string
}

var architectures = []architecture{
	{name: "amd64", nfpm: "amd64", goarch: "amd64"},
	{name: "arm64", nfpm: "arm64", goarch: "arm64"},
	{name: "armv7", nfpm: "arm7", goarch: "arm", goarm: "7"},
	{name: "armv6", nfpm: "arm6", goarch: "arm", goarm: "6"},
}

var formats = []string{"deb", "rpm"}

// release is what is packaged.
type release struct {
	// commit is empty without version control.
	version, commit string
	// time is that of every file.
	time time.Time
}

// command is the command line.
type command struct {
	version, dist, programs string
	architectures           []architecture
	// key is the file of an OpenSSH key, empty where the checksums are not signed.
	key string
	// compression is that of the packages, as the library names it.
	compression string
}

func main() {
	c, err := parse(os.Args[1:])
	if errors.Is(err, flag.ErrHelp) {
		return
	}
	if err == nil {
		err = c.run(os.Stdout)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "build:", err)
		os.Exit(1)
	}
}

func parse(args []string) (c command, err error) {
	flags := flag.NewFlagSet("build", flag.ContinueOnError)
	flags.Usage = func() {
		fmt.Fprint(flags.Output(), usage)
		flags.PrintDefaults()
	}
	var names []string
	for _, a := range architectures {
		names = append(names, a.name)
	}
	flags.StringVar(&c.version, "version", "", "version of the packages, as 1.2.0; default: one of the commit")
	flags.StringVar(&c.dist, "dist", "../dist", "folder that they are written into")
	flags.StringVar(&c.programs, "programs", "", "folder of programs that are built already, for one architecture")
	flags.StringVar(&c.compression, "compression", "gzip", "compression of the packages: gzip, gzip:1 (quick) to gzip:9, or xz, which old machines take long to unpack")
	flags.StringVar(&c.key, "sign", "", "file of the OpenSSH key, or of the public one of a key in the agent, that signs the checksums")
	list := flags.String("arch", strings.Join(names, ","), "architectures")
	if err := flags.Parse(args); err != nil {
		return c, err
	}
	for name := range strings.SplitSeq(*list, ",") {
		i := slices.Index(names, name)
		if i < 0 {
			return c, fmt.Errorf("-arch %q: there are %s", name, strings.Join(names, ", "))
		}
		c.architectures = append(c.architectures, architectures[i])
	}
	if c.programs != "" && len(c.architectures) != 1 {
		return c, errors.New("-programs has those of one architecture: name it with -arch")
	}
	if flags.NArg() > 0 {
		return c, fmt.Errorf("%q is no flag", flags.Arg(0))
	}
	return c, nil
}

// run makes the packages and prints their names.
func (c command) run(out io.Writer) error {
	r, err := c.release()
	if err != nil {
		return err
	}
	if err := os.MkdirAll(c.dist, 0o755); err != nil {
		return err
	}
	work, err := os.MkdirTemp("", "fescue-packaging-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)
	var made []string
	for _, a := range c.architectures {
		programs := c.programs
		if programs == "" {
			programs = filepath.Join(work, a.name)
			if err := a.compile(r, programs); err != nil {
				return err
			}
		}
		for _, p := range products {
			name, err := c.writeBOM(p, r, a, programs)
			if err != nil {
				return err
			}
			made = append(made, name)
			for _, format := range formats {
				name, err := c.write(p, r, a, format, programs, work)
				if err != nil {
					return err
				}
				fmt.Fprintln(out, filepath.Join(c.dist, name))
				made = append(made, name)
			}
		}
		name, err := c.writeImage(r, a, programs, work)
		if err != nil {
			return err
		}
		fmt.Fprintln(out, filepath.Join(c.dist, name))
		made = append(made, name)
	}
	if err := writeSums(c.dist, made); err != nil || c.key == "" {
		return err
	}
	return sign(c.dist, c.key, out)
}

// compile builds the programs for an architecture into a folder.
func (a architecture) compile(r release, into string) error {
	const variable = " -X github.com/fescue-edge/fescue."
	flags := "-s -w" + variable + "version=" + r.version + variable + "commit=" + r.commit + variable + "date=" + r.time.Format(time.RFC3339)
	cmd := exec.Command("go", "build", "-C", "..", "-trimpath", "-buildvcs=false", "-ldflags", flags, "-o", into+"/", "./cmd/...")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH="+a.goarch, "GOARM="+a.goarm)
	cmd.Stderr = os.Stderr
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("build the programs for %s: %w", a.name, err)
	}
	return nil
}

// release is what version control says of the checkout, but for a version that is given,
// and the time of SOURCE_DATE_EPOCH.
func (c command) release() (r release, err error) {
	head, err := git("log", "-1", "--format=%H %ct")
	commit, seconds, _ := strings.Cut(head, " ")
	if epoch := os.Getenv("SOURCE_DATE_EPOCH"); epoch != "" {
		seconds = epoch
	}
	if seconds == "" {
		return r, fmt.Errorf("nothing tells the time of the files, so give one in SOURCE_DATE_EPOCH: %w", err)
	}
	at, err := strconv.ParseInt(seconds, 10, 64)
	if err != nil {
		return r, fmt.Errorf("the time of the files, or SOURCE_DATE_EPOCH: %w", err)
	}
	r = release{strings.TrimPrefix(c.version, "v"), commit, time.Unix(at, 0).UTC()}
	if r.version != "" {
		return r, nil
	}
	if commit == "" {
		return r, errors.New("no version control tells the version: give one with -version")
	}
	changes, err := git("status", "--porcelain")
	if err != nil {
		return r, err
	}
	r.version = "0.0.0-" + r.time.Format("20060102150405") + "." + commit[:12]
	if changes != "" {
		r.version += "+dirty"
	}
	return r, nil
}

// git is what it prints of the checkout.
func git(args ...string) (string, error) {
	out, err := exec.Command("git", append([]string{"-C", ".."}, args...)...).Output()
	if err != nil {
		return "", fmt.Errorf("git %s: %w", args[0], err)
	}
	return strings.TrimSpace(string(out)), nil
}

// write makes one package and returns its file's name.
func (c command) write(p product, r release, a architecture, format, programs, scripts string) (name string, err error) {
	info, err := p.info(r, a, programs, scripts)
	if err != nil {
		return "", err
	}
	info.Deb.Compression, info.RPM.Compression = c.compression, c.compression
	packager, err := nfpm.Get(format)
	if err != nil {
		return "", err
	}
	if err := nfpm.PrepareForPackager(info, format); err != nil {
		return "", err
	}
	name = fmt.Sprintf("%s_%s_%s.%s", p.name, r.version, a.name, format)
	file, err := os.Create(filepath.Join(c.dist, name))
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	if err := packager.Package(info, file); err != nil {
		return "", fmt.Errorf("make %s: %w", name, err)
	}
	return name, nil
}

// sumsName is the file of all checksums.
const sumsName = "SHA256SUMS"

// writeSums writes the checksums of files in a folder, as sha256sum -c reads it.
func writeSums(dist string, names []string) error {
	var sums strings.Builder
	for _, name := range slices.Sorted(slices.Values(names)) {
		content, err := os.ReadFile(filepath.Join(dist, name))
		if err != nil {
			return err
		}
		fmt.Fprintf(&sums, "%x  %s\n", sha256.Sum256(content), name)
	}
	return os.WriteFile(filepath.Join(dist, sumsName), []byte(sums.String()), 0o644)
}
