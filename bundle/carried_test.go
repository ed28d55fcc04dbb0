package bundle_test

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/bundle"
)

// carried is a carried deployment of these artifacts.
func carried(t testing.TB, secrets string, artifacts ...string) []byte {
	t.Helper()
	list, content := bundle.Carried{GroupID: fescue.NewID(), DeploymentID: fescue.NewID(), CoreThingArn: "core"}, map[string]string{}
	for _, a := range artifacts {
		sum := sha256.Sum256([]byte(a))
		hash := hex.EncodeToString(sum[:])
		content[hash] = a
		list.Artifacts = append(list.Artifacts, bundle.CarriedPiece{SHA256: hash, Size: int64(len(a))})
	}
	var out bytes.Buffer
	var sealed []byte
	if secrets != "" {
		sealed = []byte(secrets)
	}
	err := bundle.Carry(&out, list, []byte("manifest"), []byte("keys"), sealed, func(hash string) (io.ReadCloser, error) {
		return io.NopCloser(strings.NewReader(content[hash])), nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func unload(data []byte) (map[string]string, error) {
	got := map[string]string{}
	_, err := bundle.ReadCarried(bytes.NewReader(data), func(bundle.Carried) error { return nil }, func(name string, size int64, content io.Reader) error {
		text, err := io.ReadAll(content)
		got[name] = string(text)
		return err
	})
	return got, err
}

func TestCarried(t *testing.T) {
	t.Parallel()
	whole := carried(t, "sealed", "one", strings.Repeat("two", 10_000), "")
	got, err := unload(whole)
	if err != nil {
		t.Fatal(err)
	}
	texts := slices.Sorted(maps.Values(got))
	if got[bundle.CarriedManifest] != "manifest" || got[bundle.CarriedKeys] != "keys" || got[bundle.CarriedSecrets] != "sealed" || len(got) != 6 || texts[0] != "" {
		t.Errorf("%d files: %.100q", len(got), texts)
	}
	if got, err := unload(carried(t, "")); err != nil || len(got) != 2 {
		t.Errorf("without secrets and artifacts: %v, %v", got, err)
	}
	t.Run("cut off anywhere", func(t *testing.T) {
		for n := 0; n < len(whole)-1024; n += 97 { // the last kB is nothing but zeros
			if _, err := unload(whole[:n]); !errors.Is(err, bundle.ErrCarried) {
				t.Fatalf("%d of %d bytes: %v", n, len(whole), err)
			}
		}
	})
	t.Run("changed anywhere in a file", func(t *testing.T) {
		for _, text := range []string{"manifest\x00", "keys\x00", "sealed", "one\x00", "twotwo"} {
			changed := bytes.Clone(whole)
			changed[bytes.LastIndex(changed, []byte(text))] ^= 1
			if _, err := unload(changed); !errors.Is(err, bundle.ErrCarried) || !strings.Contains(err.Error(), "was changed") {
				t.Errorf("%q: %v", text, err)
			}
		}
	})
	t.Run("archives that are none of ours", func(t *testing.T) {
		archive := func(heads ...tar.Header) []byte {
			var out bytes.Buffer
			w := tar.NewWriter(&out)
			for _, h := range heads {
				if err := w.WriteHeader(&h); err != nil {
					t.Fatal(err)
				}
				if _, err := w.Write(bytes.Repeat([]byte("x"), int(h.Size))); err != nil {
					t.Fatal(err)
				}
			}
			w.Flush()
			return out.Bytes()
		}
		// The standard library writes no files with holes: their records get their names after.
		holes := archive(tar.Header{Name: "bundle.json", Typeflag: tar.TypeReg, Size: 3, Format: tar.FormatPAX, PAXRecords: map[string]string{
			"XXX.sparse.major": "0", "XXX.sparse.minor": "1", "XXX.sparse.numblocks": "1", "XXX.sparse.map": "0,3", "XXX.sparse.size": "100000",
		}})
		holes = bytes.ReplaceAll(holes, []byte("XXX.sparse."), []byte("GNU.sparse."))
		for name, tc := range map[string]struct {
			data []byte
			text string
		}{
			"a file with holes": {holes, "with holes"},
			"no archive":        {bytes.Repeat([]byte("text "), 500), "not a file of fescue bundle"},
			"another's":         {archive(tar.Header{Name: "../../etc/passwd", Typeflag: tar.TypeReg, Size: 3}), `"../../etc/passwd" where bundle.json is expected`},
			"a link":            {archive(tar.Header{Name: "bundle.json", Typeflag: tar.TypeSymlink, Linkname: "/etc/passwd"}), "where bundle.json is expected"},
			"a large list":      {archive(tar.Header{Name: "bundle.json", Typeflag: tar.TypeReg, Size: 2 << 20}), "at most 1048576 are taken"},
			"an odd list":       {archive(tar.Header{Name: "bundle.json", Typeflag: tar.TypeReg, Size: 3}), "its list cannot be read"},
			"what follows":      {append(bytes.Clone(whole[:len(whole)-1024]), archive(tar.Header{Name: "more", Typeflag: tar.TypeReg})...), `something follows its end: "more"`},
			"another format":    {bytes.Replace(whole, []byte(`"format":1`), []byte(`"format":2`), 1), "it has format 2, this version reads 1"},
		} {
			t.Run(name, func(t *testing.T) {
				if _, err := unload(tc.data); !errors.Is(err, bundle.ErrCarried) || !strings.Contains(err.Error(), tc.text) {
					t.Errorf("%v, want %q", err, tc.text)
				}
			})
		}
	})
}

func FuzzCarried(f *testing.F) {
	f.Add(carried(f, "sealed", "one", "two"))
	f.Add(carried(f, ""))
	f.Add([]byte("text"))
	f.Fuzz(func(t *testing.T, data []byte) {
		_, _ = unload(data)
	})
}
