package trust_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/bundle"
	"github.com/fescue-edge/fescue/core/trust"
	"github.com/fescue-edge/fescue/corelink"
	"github.com/fescue-edge/fescue/disk"
	"github.com/fescue-edge/fescue/testkit/crashfs"
)

const (
	core     = "arn:aws:iot:us-east-1:123456789012:thing/Mill_Core"
	keyFile  = "/greengrass/certs/fescue-signing.pub"
	chain    = keyFile + ".chain"
	group    = "5f0c2a7e-1d34-4c55-9a0b-7e21c0a1b001"
	deployed = "c3d7a910-44e2-4f0e-b6a3-51b0c9d8e003"
)

// signer is one of the keys that the tests distinguish.
func signer(n byte) ed25519.PrivateKey {
	seed := make([]byte, ed25519.SeedSize)
	seed[0] = n
	return ed25519.NewKeyFromSeed(seed)
}

func public(key ed25519.PrivateKey) ed25519.PublicKey { return key.Public().(ed25519.PublicKey) }

// curve is a key with which no manifest is signed.
func curve(t *testing.T) *ecdsa.PublicKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return &key.PublicKey
}

func text(t *testing.T, key any) string {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
}

// follows states that one key follows another, which it may revoke.
func follows(t *testing.T, by, next ed25519.PrivateKey, revokes ...ed25519.PrivateKey) []byte {
	t.Helper()
	s := bundle.KeyStatement{PublicKey: public(next), CreatedAt: time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)}
	for _, key := range revokes {
		s.Revokes = append(s.Revokes, bundle.KeyID(public(key)))
	}
	statement, err := bundle.SignKey(s, by)
	if err != nil {
		t.Fatal(err)
	}
	return statement
}

// manifest is one for the core, of epoch 3.
func manifest() bundle.Manifest {
	hash := strings.Repeat("ab", 32)
	return bundle.Manifest{
		AWS: "aws", Account: "123456789012", Region: "us-east-1", GroupID: group, GroupVersionID: "8a4be6d2-90f1-4b7c-8c11-2d5f3e6a9002",
		DeploymentID: deployed, DeploymentType: fescue.NewDeployment, CoreThingArn: core, Epoch: 3,
		CreatedAt: time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC), Artifacts: []bundle.Artifact{bundle.GroupArtifact(hash, 1234)},
	}
}

func sign(t *testing.T, m bundle.Manifest, key ed25519.PrivateKey) []byte {
	t.Helper()
	envelope, err := bundle.Sign(m, key)
	if err != nil {
		t.Fatal(err)
	}
	return envelope
}

// source is the control plane's answer.
type source struct {
	answer corelink.SigningKeys
	err    error
	asked  int
}

func (s *source) SigningKeys(context.Context) (corelink.SigningKeys, error) {
	s.asked++
	return s.answer, s.err
}

// site is a core's disk and control plane.
type site struct {
	*trust.Keys
	t     *testing.T
	disk  *crashfs.Disk
	cloud *source
}

// open makes a core whose key file is the text, none if that is empty.
func open(t *testing.T, keys string) *site {
	t.Helper()
	s := &site{t: t, disk: crashfs.New(), cloud: new(source)}
	folder := filepath.Dir(keyFile)
	if err := errors.Join(s.disk.MkdirAll(folder, 0o755), s.disk.SyncDir(filepath.Dir(folder)), s.disk.SyncDir("/")); err != nil {
		t.Fatal(err)
	}
	if keys != "" {
		s.write(keyFile, keys)
	}
	s.Keys = trust.New(trust.Options{Disk: s.disk, File: keyFile, Source: s.cloud, Logger: slog.New(slog.DiscardHandler)})
	return s
}

func (s *site) write(name, content string) {
	s.t.Helper()
	if err := disk.ReplaceFile(s.disk, name, []byte(content), 0o600); err != nil {
		s.t.Fatal(err)
	}
}

func (s *site) read(name string) string {
	s.t.Helper()
	data, err := disk.ReadFile(s.disk, name, 1<<20)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		s.t.Fatal(err)
	}
	return string(data)
}

// verify verifies a manifest that is offered for the deployment; the core has used up
// the epochs to seen.
func (s *site) verify(envelope []byte, seen int64) (bundle.Manifest, error) {
	return s.Verify(corelink.Offer{GroupID: group, DeploymentID: deployed, Envelope: envelope}, core, seen)
}

func TestVerify(t *testing.T) {
	t.Parallel()
	owner, next, outsider := signer(1), signer(2), signer(3)
	of := func(edit func(*bundle.Manifest)) []byte {
		m := manifest()
		edit(&m)
		return sign(t, m, owner)
	}
	good := sign(t, manifest(), owner)
	for _, tc := range []struct {
		name     string
		envelope []byte
		seen     int64
		chain    [][]byte
		code     fescue.FailureCode // none for a manifest that is good
		want     string
	}{
		{name: "good", envelope: good, seen: 2},
		{name: "by the key after", envelope: sign(t, manifest(), next), chain: [][]byte{follows(t, owner, next)}},
		{name: "by the key before, which is not revoked", envelope: good, chain: [][]byte{follows(t, owner, next)}},

		{name: "by a key that was revoked", envelope: good, chain: [][]byte{follows(t, owner, next, owner)}, code: fescue.ManifestKeyRevoked, want: keyFile},
		{name: "by an outsider", envelope: sign(t, manifest(), outsider), code: fescue.ManifestKeyUnknown, want: chain},
		{name: "by one who vouched for himself", envelope: sign(t, manifest(), outsider), chain: [][]byte{follows(t, outsider, outsider)}, code: fescue.ManifestKeyUnknown},
		{name: "with a changed payload", envelope: []byte(strings.Replace(string(good), `"payload":"`, `"payload":"AAAA`, 1)), code: fescue.ManifestSignature},
		{name: "for another core", envelope: of(func(m *bundle.Manifest) { m.CoreThingArn += "2" }), code: fescue.ManifestOtherCore, want: core + "2"},
		{name: "of another deployment", envelope: of(func(m *bundle.Manifest) { m.DeploymentID = group }), code: fescue.ManifestOtherDeployment, want: deployed},
		{name: "of another group", envelope: of(func(m *bundle.Manifest) { m.GroupID = deployed }), code: fescue.ManifestOtherDeployment},
		{name: "a replay", envelope: good, seen: 3, code: fescue.ManifestReplay, want: "epoch 3"},
		{name: "of a lower epoch", envelope: good, seen: 4, code: fescue.ManifestEpoch, want: "this core has seen 4"},
		{name: "no envelope", envelope: []byte(`{`), code: fescue.ManifestRefused},
		{name: "nothing", code: fescue.ManifestRefused},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			s := open(t, text(t, public(owner)))
			for _, statement := range tc.chain {
				s.write(chain, s.read(chain)+string(statement)+"\n")
			}
			m, err := s.verify(tc.envelope, tc.seen)
			if tc.code == "" {
				if err != nil || m.Epoch != 3 {
					t.Fatalf("%+v, %v", m, err)
				}
				return
			}
			if err == nil {
				t.Fatal("it is accepted")
			}
			if got := s.Refusal(err); got.Code != string(tc.code) || !strings.Contains(got.Message, tc.want) {
				t.Errorf("%+v, want %s with %q", got, tc.code, tc.want)
			}
		})
	}
}

// What an operator put into the key file.
func TestKeyFile(t *testing.T) {
	t.Parallel()
	owner, other := signer(1), signer(2)
	good := text(t, public(owner))
	for name, tc := range map[string]struct{ content, want string }{
		"one key":                  {good, ""},
		"two keys and blank lines": {text(t, public(other)) + "\n\n" + good + "\n", ""},
		"an old and a new one":     {good + text(t, public(other)), ""},

		"another key":     {text(t, public(other)), bundle.ErrUnknownKey.Error()},
		"no text":         {"\n", "no key"},
		"no PEM":          {"ssh-ed25519 AAAA", "text that is no PEM block"},
		"text behind":     {good + "and more", "text that is no PEM block"},
		"a private key":   {strings.ReplaceAll(good, "PUBLIC KEY", "PRIVATE KEY"), `"PRIVATE KEY" where PUBLIC KEY is expected`},
		"damaged":         {strings.Replace(good, "MCow", "MCov", 1), "does not parse"},
		"cut short":       {good[:len(good)/2], "text that is no PEM block"},
		"of another kind": {text(t, curve(t)), "manifests are signed with Ed25519"},
		"too large":       {strings.Repeat(good, 1000), "fescue-signing.pub"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := open(t, tc.content)
			_, err := s.verify(sign(t, manifest(), owner), 0)
			if tc.want == "" && err != nil || tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)) {
				t.Errorf("%v, want %q", err, tc.want)
			}
		})
	}
	t.Run("none", func(t *testing.T) {
		t.Parallel()
		if _, err := open(t, "").verify(sign(t, manifest(), owner), 0); !errors.Is(err, trust.ErrNoKey) {
			t.Error(err)
		}
	})
}

func TestFirstContact(t *testing.T) {
	t.Parallel()
	owner, other := signer(1), signer(2)
	sent := func(texts ...string) (keys corelink.SigningKeys) {
		for _, pem := range texts {
			keys.Keys = append(keys.Keys, corelink.SigningKey{PEM: pem})
		}
		return keys
	}
	t.Run("takes what is sent, and nothing after", func(t *testing.T) {
		t.Parallel()
		s := open(t, "")
		s.cloud.answer = sent(strings.TrimSpace(text(t, public(owner))), text(t, public(other)))
		if err := s.FirstContact(t.Context()); err != nil {
			t.Fatal(err)
		}
		for _, key := range []ed25519.PrivateKey{owner, other} {
			if _, err := s.verify(sign(t, manifest(), key), 0); err != nil {
				t.Error(err)
			}
		}
		s.cloud.answer = sent(text(t, public(signer(3))))
		if err := s.FirstContact(t.Context()); err != nil || s.cloud.asked != 1 {
			t.Errorf("asked %d times, %v", s.cloud.asked, err)
		}
	})
	for name, keys := range map[string]corelink.SigningKeys{
		"no key": sent(), "an empty one": sent(""), "a good one and none": sent(text(t, public(owner)), "x"), "of another kind": sent(text(t, curve(t))),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := open(t, "")
			s.cloud.answer = keys
			if err := s.FirstContact(t.Context()); err == nil || s.read(keyFile) != "" {
				t.Errorf("%v; kept %q", err, s.read(keyFile))
			}
		})
	}
	t.Run("a control plane that does not answer", func(t *testing.T) {
		t.Parallel()
		s := open(t, "")
		s.cloud.err = errors.New("away")
		if err := s.FirstContact(t.Context()); !errors.Is(err, s.cloud.err) || s.read(keyFile) != "" {
			t.Errorf("%v; kept %q", err, s.read(keyFile))
		}
	})
}

func TestLearn(t *testing.T) {
	t.Parallel()
	owner, second, third, outsider := signer(1), signer(2), signer(3), signer(4)
	for _, tc := range []struct {
		name    string
		chain   [][]byte
		trusted []ed25519.PrivateKey // beside the owner
		refused []ed25519.PrivateKey
	}{
		{name: "nothing"},
		{name: "one step", chain: [][]byte{follows(t, owner, second)}, trusted: []ed25519.PrivateKey{second}},
		{name: "two steps, spread over lines", chain: [][]byte{
			[]byte(strings.ReplaceAll(string(follows(t, owner, second)), ",", ",\r\n")), follows(t, second, third),
		}, trusted: []ed25519.PrivateKey{second, third}},
		{name: "an outsider's", chain: [][]byte{follows(t, outsider, second)}, refused: []ed25519.PrivateKey{second, outsider}},
		{name: "damaged, and a good one after", chain: [][]byte{[]byte(`{}`), nil, follows(t, owner, second)}, trusted: []ed25519.PrivateKey{second}},
		{name: "signed by another than it says", chain: [][]byte{
			[]byte(strings.ReplaceAll(string(follows(t, outsider, second)), bundle.KeyID(public(outsider)), bundle.KeyID(public(owner)))),
		}, refused: []ed25519.PrivateKey{second}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			s := open(t, text(t, public(owner)))
			s.cloud.answer.Chain = tc.chain
			learned, err := s.Learn(t.Context())
			if err != nil || learned != (len(tc.trusted) > 0) {
				t.Fatalf("learned %v, %v", learned, err)
			}
			for _, key := range slices.Concat(tc.trusted, []ed25519.PrivateKey{owner}) {
				if _, err := s.verify(sign(t, manifest(), key), 0); err != nil {
					t.Error(err)
				}
			}
			for _, key := range tc.refused {
				if _, err := s.verify(sign(t, manifest(), key), 0); !errors.Is(err, bundle.ErrUnknownKey) {
					t.Error(err)
				}
			}
			if learned, err := s.Learn(t.Context()); err != nil || learned {
				t.Errorf("learned again: %v, %v", learned, err)
			}
			// What follows from a key that the operator took away counts no more.
			s.write(keyFile, text(t, public(outsider)))
			for _, key := range tc.trusted {
				if _, err := s.verify(sign(t, manifest(), key), 0); !errors.Is(err, bundle.ErrUnknownKey) {
					t.Errorf("without the first key: %v", err)
				}
			}
		})
	}
}

// Whatever instant the power fails at, what was learned is there as a whole or not at all.
func TestLearnCutShort(t *testing.T) {
	t.Parallel()
	owner, second, third := signer(1), signer(2), signer(3)
	for step := 0; ; step++ {
		s := open(t, text(t, public(owner)))
		s.cloud.answer.Chain = [][]byte{follows(t, owner, second)}
		if _, err := s.Learn(t.Context()); err != nil {
			t.Fatal(err)
		}
		s.cloud.answer.Chain = append(s.cloud.answer.Chain, follows(t, second, third))
		s.disk.FailAfter(step, func() {})
		_, err := s.Learn(t.Context())
		cut := s.disk.Failed()
		s.disk.Restore(func() bool { return step%2 == 0 })
		if err == nil && cut {
			t.Fatalf("step %d: learned while the power failed", step)
		}
		for _, key := range []ed25519.PrivateKey{owner, second} {
			if _, err := s.verify(sign(t, manifest(), key), 0); err != nil {
				t.Fatalf("step %d: %v", step, err)
			}
		}
		if _, err := s.Learn(t.Context()); err != nil {
			t.Fatalf("step %d, again: %v", step, err)
		}
		if _, err := s.verify(sign(t, manifest(), third), 0); err != nil {
			t.Fatalf("step %d, again: %v", step, err)
		}
		if !cut {
			return
		}
	}
}

// A key that is mentioned is asked for once, until it is known.
func TestNotice(t *testing.T) {
	t.Parallel()
	owner, second := signer(1), signer(2)
	s := open(t, text(t, public(owner)))
	id := func(key ed25519.PrivateKey) string { return bundle.KeyID(public(key)) }
	for _, tc := range []struct {
		id    string
		err   error
		asked int
	}{
		{"", nil, 0}, {id(owner), nil, 0}, {id(second), errors.New("away"), 1}, {id(second), nil, 2}, {id(second), nil, 2}, {id(owner), nil, 2},
	} {
		s.cloud.answer.Chain, s.cloud.err = [][]byte{follows(t, owner, second)}, tc.err
		s.Notice(t.Context(), tc.id)
		if s.cloud.asked != tc.asked {
			t.Errorf("after %q: asked %d times, want %d", tc.id, s.cloud.asked, tc.asked)
		}
	}
	if _, err := s.verify(sign(t, manifest(), second), 0); err != nil {
		t.Error(err)
	}
}
