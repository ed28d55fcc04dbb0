package agent_test

import (
	"errors"
	"math/rand/v2"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/bundle"
	"github.com/fescue-edge/fescue/corelink"
	"github.com/fescue-edge/fescue/disk"
	"github.com/fescue-edge/fescue/testkit"
	"github.com/fescue-edge/fescue/testkit/archive"
)

// large is a release whose package does not compress.
func large(t testing.TB, epoch int64, size int) release {
	random := rand.NewChaCha8([32]byte{byte(epoch)})
	data := make([]byte, size)
	random.Read(data)
	return release{epoch: epoch, packages: map[string][]byte{
		functionARN("hello", 1): archive.Zip(t, archive.Member{Name: "app.py", Content: "x"}, archive.Member{Name: "data.bin", Content: string(data)}),
	}}
}

// breakAfter sends n bytes of what was asked for and cuts the connection.
func breakAfter(w http.ResponseWriter, r *http.Request, content []byte, n int) {
	from := 0
	if rest, ok := strings.CutPrefix(r.Header.Get("Range"), "bytes="); ok {
		for _, c := range strings.TrimSuffix(rest, "-") {
			from = from*10 + int(c-'0')
		}
		w.WriteHeader(http.StatusPartialContent)
	}
	w.Write(content[from:min(from+n, len(content))])
	w.(http.Flusher).Flush()
	panic(http.ErrAbortHandler)
}

func TestDownload(t *testing.T) {
	t.Parallel()
	t.Run("goes on where it broke", func(t *testing.T) {
		t.Parallel()
		p := newPeer(t)
		g := newGateway(t, p)
		r := large(t, 1, 300_000)
		m := r.build(p)
		hash, broken := packagesOf(m)[0].SHA256, 0
		p.serve = func(w http.ResponseWriter, req *http.Request, content []byte) bool {
			if hashOf(content) != hash || broken == 3 {
				return false
			}
			broken++
			breakAfter(w, req, content, 70_000)
			return true
		}
		g.run()
		p.expect(p.offer(m), fescue.Success)
		p.mu.Lock()
		defer p.mu.Unlock()
		ranges := p.offsets[hash]
		if len(ranges) != 4 || ranges[0] != "" || slices.Contains(ranges[1:], "") {
			t.Errorf("ranges %q", ranges)
		}
	})
	t.Run("goes on after a restart of the core", func(t *testing.T) {
		t.Parallel()
		p := newPeer(t)
		g := newGateway(t, p)
		m := large(t, 1, 300_000).build(p)
		hash, once := packagesOf(m)[0].SHA256, false
		p.serve = func(w http.ResponseWriter, req *http.Request, content []byte) bool {
			if hashOf(content) != hash || once {
				return false
			}
			once = true
			p.mu.Change(func() { p.down = true })
			breakAfter(w, req, content, 100_000)
			return true
		}
		_, stop := g.run()
		d := p.offer(m)
		p.await("the outage", func() bool { return p.down })
		g.await("the break", func() bool { return strings.Contains(g.log.String(), "broke after") || touchGateway(g) })
		stop()
		p.mu.Change(func() { p.down = false })
		g.run()
		p.expect(d, fescue.Success)
		p.mu.Lock()
		defer p.mu.Unlock()
		if ranges := p.offsets[hash]; len(ranges) != 2 || ranges[1] == "" {
			t.Errorf("ranges %q", ranges)
		}
	})
	t.Run("begins anew when the part is damaged", func(t *testing.T) {
		t.Parallel()
		p := newPeer(t)
		g := newGateway(t, p)
		m := large(t, 1, 100_000).build(p)
		if err := os.MkdirAll(g.path(".store"), 0o755); err != nil {
			t.Fatal(err)
		}
		// A power cut left the right length and the wrong bytes.
		if err := os.WriteFile(g.path(".store", packagesOf(m)[0].SHA256+".part"), make([]byte, 50_000), 0o600); err != nil {
			t.Fatal(err)
		}
		g.run()
		p.expect(p.offer(m), fescue.Success)
	})
	t.Run("begins anew when the server cannot continue", func(t *testing.T) {
		t.Parallel()
		p := newPeer(t)
		g := newGateway(t, p)
		m := large(t, 1, 100_000).build(p)
		hash, broken := packagesOf(m)[0].SHA256, false
		p.serve = func(w http.ResponseWriter, req *http.Request, content []byte) bool {
			switch {
			case hashOf(content) != hash:
				return false
			case !broken:
				broken = true
				breakAfter(w, req, content, 50_000)
			default:
				w.Write(content) // without regard to Range
			}
			return true
		}
		g.run()
		p.expect(p.offer(m), fescue.Success)
	})
	t.Run("keeps what it has while the server is unavailable", func(t *testing.T) {
		t.Parallel()
		p := newPeer(t)
		g := newGateway(t, p)
		m := large(t, 1, 100_000).build(p)
		hash, asked := packagesOf(m)[0].SHA256, 0
		p.serve = func(w http.ResponseWriter, req *http.Request, content []byte) bool {
			if hashOf(content) != hash {
				return false
			}
			switch asked++; asked {
			case 1:
				breakAfter(w, req, content, 50_000)
			case 2, 3:
				w.WriteHeader(http.StatusServiceUnavailable)
			default:
				return false
			}
			return true
		}
		g.run()
		p.expect(p.offer(m), fescue.Success)
		p.mu.Lock()
		defer p.mu.Unlock()
		if ranges := p.offsets[hash]; len(ranges) != 4 || slices.Contains(ranges[1:], "") {
			t.Errorf("ranges %q", ranges)
		}
	})
	t.Run("does not wait for ever for a silent server", func(t *testing.T) {
		t.Parallel()
		p := newPeer(t)
		g := newGateway(t, p)
		g.times.Stall = 50 * time.Millisecond
		m := large(t, 1, 100_000).build(p)
		hash, silent := packagesOf(m)[0].SHA256, false
		p.serve = func(w http.ResponseWriter, req *http.Request, content []byte) bool {
			if hashOf(content) != hash || silent {
				return false
			}
			silent = true
			w.Write(content[:1000])
			w.(http.Flusher).Flush()
			<-req.Context().Done()
			return true
		}
		g.run()
		p.expect(p.offer(m), fescue.Success)
		if !strings.Contains(g.log.String(), "no data came for too long") {
			t.Errorf("log:\n%s", g.log)
		}
	})
}

// touchGateway makes await look again soon.
func touchGateway(g *gateway) bool {
	time.AfterFunc(5*time.Millisecond, func() { g.mu.Change(func() {}) })
	return false
}

func TestBadArtifacts(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name       string
		change     func(t *testing.T, p *peer, m *bundle.Manifest)
		code, want string
	}{
		{"changed bytes", func(t *testing.T, p *peer, m *bundle.Manifest) {
			data := slices.Clone(p.content[packagesOf(*m)[0].SHA256])
			data[len(data)/2] ^= 1
			p.content[packagesOf(*m)[0].SHA256] = data
		}, "ARTIFACT_HASH_ERROR", "does not have the SHA-256"},
		{"changed group document", func(t *testing.T, p *peer, m *bundle.Manifest) {
			data := slices.Clone(p.content[documentOf(*m).SHA256])
			data[len(data)/2] ^= 1
			p.content[documentOf(*m).SHA256] = data
		}, "ARTIFACT_HASH_ERROR", "error while downloading the Group definition file"},
		{"more bytes than the manifest says", func(t *testing.T, p *peer, m *bundle.Manifest) {
			p.content[packagesOf(*m)[0].SHA256] = append(slices.Clone(p.content[packagesOf(*m)[0].SHA256]), make([]byte, 1000)...)
		}, "ARTIFACT_HASH_ERROR", "it is longer than"},
		{"a hash that the cloud does not give", func(t *testing.T, p *peer, m *bundle.Manifest) {
			delete(p.content, packagesOf(*m)[0].SHA256)
		}, "ARTIFACT_DOWNLOAD_ERROR", "404 Not Found"},
		{"a package larger than any may be", func(t *testing.T, p *peer, m *bundle.Manifest) {
			packagesOf(*m)[0].Size = 1 << 40
		}, string(fescue.ArtifactTooLarge), "are accepted"},
		{"a group document larger than any may be", func(t *testing.T, p *peer, m *bundle.Manifest) {
			documentOf(*m).Size = 1 << 40
		}, string(fescue.ArtifactTooLarge), "are accepted"},
		{"a package that is no zip", func(t *testing.T, p *peer, m *bundle.Manifest) {
			packagesOf(*m)[0].SHA256, packagesOf(*m)[0].Size = p.put([]byte("hello"))
		}, "ARTIFACT_UNPACK_ERROR", "unable to download the artifact " + functionARN("hello", 2)},
		{"an empty package", func(t *testing.T, p *peer, m *bundle.Manifest) {
			packagesOf(*m)[0].SHA256, packagesOf(*m)[0].Size = p.put(nil)
		}, "ARTIFACT_UNPACK_ERROR", "not a valid zip file"},
		{"a package that climbs out", func(t *testing.T, p *peer, m *bundle.Manifest) {
			packagesOf(*m)[0].SHA256, packagesOf(*m)[0].Size = p.put(archive.Zip(t, archive.Member{Name: "../../evil", Content: "x"}))
		}, "ARTIFACT_UNPACK_ERROR", "leads out of its folder"},
		{"a group document that is no JSON", func(t *testing.T, p *peer, m *bundle.Manifest) {
			documentOf(*m).SHA256, documentOf(*m).Size = p.put([]byte("hello"))
		}, "GROUP_FILE_ERROR", "unable to load the group file downloaded"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			p := newPeer(t)
			g := newGateway(t, p)
			g.run()
			p.expect(p.offer(simple(t, 1, 1).build(p)), fescue.Success)
			m := simple(t, 2, 2).build(p)
			tc.change(t, p, &m)
			end := p.expect(p.offer(m), fescue.Failure)
			if len(end.ErrorDetails) != 1 || end.ErrorDetails[0].DetailedErrorCode != tc.code || !strings.Contains(end.ErrorDetails[0].DetailedErrorMessage, tc.want) {
				t.Errorf("details %v; want %s with %q", end.ErrorDetails, tc.code, tc.want)
			}
			p.expect(p.offer(simple(t, 3, 3).build(p)), fescue.Success)
			if _, err := os.Lstat(g.path("..", "evil")); err == nil {
				t.Error("a file was written outside of the store")
			}
		})
	}
}

// A certificate that the control plane does not take for a while, because it was
// switched off or by a clock that is wrong, ends no deployment.
func TestDownloadWhileNotLetIn(t *testing.T) {
	t.Parallel()
	p := newPeer(t)
	g := newGateway(t, p)
	var refusals atomic.Int64
	p.serve = func(w http.ResponseWriter, _ *http.Request, _ []byte) bool {
		if refusals.Add(1) > 2 {
			return false
		}
		answer(w, http.StatusUnauthorized, corelink.ErrorBody{Code: "CertificateExpired", Message: "the time here is another"})
		return true
	}
	g.run()
	p.expect(p.offer(simple(t, 1, 1).build(p)), fescue.Success)
	if refusals.Load() < 3 {
		t.Errorf("%d requests", refusals.Load())
	}
}

// fullDisk has no room for files of a kind.
type fullDisk struct {
	disk.Local
	suffix string
	// cause is what writing fails with; 0 stands for ENOSPC.
	cause syscall.Errno
}

func (d fullDisk) OpenFile(name string, flag int, perm os.FileMode) (disk.File, error) {
	f, err := d.Local.OpenFile(name, flag, perm)
	if err == nil && flag&os.O_CREATE != 0 && strings.HasSuffix(name, d.suffix) {
		cause := d.cause
		if cause == 0 {
			cause = syscall.ENOSPC
		}
		return fullFile{f, cause}, nil
	}
	return f, err
}

type fullFile struct {
	disk.File
	cause syscall.Errno
}

func (f fullFile) Write([]byte) (int, error) {
	return 0, &os.PathError{Op: "write", Path: "x", Err: f.cause}
}

// A file system that fails for another reason than its size.
func TestBrokenDisk(t *testing.T) {
	t.Parallel()
	p := newPeer(t)
	g := newGateway(t, p)
	g.trust(p.publicKey)
	g.disk = fullDisk{suffix: ".part", cause: syscall.EROFS}
	g.run()
	end := p.expect(p.offer(simple(t, 1, 1).build(p)), fescue.Failure)
	if end.ErrorDetails[0].DetailedErrorCode != string(fescue.CoreFileSystem) || !strings.Contains(end.ErrorMessage, "read-only file system") {
		t.Errorf("details %v", end.ErrorDetails)
	}
}

func TestFullDisk(t *testing.T) {
	t.Parallel()
	for _, suffix := range []string{".part", "app.py", "manifest.dsse.new"} {
		t.Run("while writing "+suffix, func(t *testing.T) {
			t.Parallel()
			p := newPeer(t)
			g := newGateway(t, p)
			g.trust(p.publicKey)
			g.disk = fullDisk{suffix: suffix}
			g.run()
			end := p.expect(p.offer(simple(t, 1, 1).build(p)), fescue.Failure)
			if end.ErrorDetails[0].DetailedErrorCode != "CORE_DISK_FULL_ERROR" || !strings.Contains(end.ErrorMessage, "The core's disk is full") {
				t.Errorf("details %v", end.ErrorDetails)
			}
		})
	}
}

// crampedDisk has no room for a file while it is full.
type crampedDisk struct {
	disk.Local
	file    string
	full    *atomic.Bool
	refused *atomic.Int64 // counts, if it is there, how often it had none
}

func (d crampedDisk) OpenFile(name string, flag int, perm os.FileMode) (disk.File, error) {
	f, err := d.Local.OpenFile(name, flag, perm)
	if err == nil && d.full.Load() && strings.HasSuffix(name, d.file+".new") {
		if d.refused != nil {
			d.refused.Add(1)
		}
		return fullFile{f, syscall.ENOSPC}, nil
	}
	return f, err
}

func TestStateAfterFullDisk(t *testing.T) {
	t.Parallel()
	for _, connected := range []bool{false, true} {
		p := newPeer(t)
		g := newGateway(t, p)
		g.connected = func() bool { return connected }
		_, stop := g.run()
		p.expect(p.offer(simple(t, 1, 1).build(p)), fescue.Success)
		stop()
		full := new(atomic.Bool)
		full.Store(true)
		g.disk = crampedDisk{file: "state.json", full: full}
		a, _ := g.run()
		d := p.offer(simple(t, 2, 2).build(p))
		a.Wake()
		p.expect(d, fescue.Success)
		if got := g.onDisk("state.json"); strings.Contains(got, `"accepted":2`) {
			t.Errorf("the state on the full disk is %s", got)
		}
		full.Store(false)
		testkit.Eventually(t, "the state on the disk", func() error {
			if state := g.onDisk("state.json"); !strings.Contains(state, `"accepted":2}`) {
				return errors.New(state)
			}
			return nil
		})
	}
}

// TestGoingBackOnFullDisk: what failed does not run on because there was no room for group.json
// when the core went back.
func TestGoingBackOnFullDisk(t *testing.T) {
	t.Parallel()
	p := newPeer(t)
	g := newGateway(t, p)
	full, refused := new(atomic.Bool), new(atomic.Int64)
	g.disk = crampedDisk{file: "group.json", full: full, refused: refused}
	g.run()
	p.expect(p.offer(simple(t, 1, 1).build(p)), fescue.Success)
	before := g.onDisk("group", "group.json")
	decided := make(chan struct{})
	g.mu.Change(func() { g.sick[functionARN("hello", 2)], g.waiting = "exit status 1", decided })
	d := p.offer(simple(t, 2, 2).build(p))
	g.awaitPlan(functionARN("hello", 2))
	full.Store(true)
	close(decided)
	p.expect(d, fescue.Failure)
	testkit.Until(t, "no room for group.json", func() bool { return refused.Load() > 0 })
	full.Store(false)
	g.awaitPlan(functionARN("hello", 1))
	testkit.Until(t, "group.json of before", func() bool { return g.onDisk("group", "group.json") == before })
}
