package recovery

import (
	"bytes"
	"crypto/ed25519"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"

	"github.com/fescue-edge/fescue/bundle"
)

// What a core of Fescue's keeps beside the original's files: what it runs, which deployments
// it has been through, whose signature it trusts, and what follows from that.
const (
	manifestFile = "manifest.dsse"
	stateFile    = "state.json"
	keyFile      = "certs/fescue-signing.pub"
	chainFile    = keyFile + ".chain"
)

// Limits of those files, in bytes.
const (
	maxStateFile = 4 << 20
	maxChainFile = 2 << 20
)

// readManifest reads what a core of Fescue's runs.
func (r *reading) readManifest() error {
	envelope, err := readFile(r.Deployment, manifestFile, maxGroupFile)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	keys, err := r.trusted()
	if err != nil {
		return err
	}
	m, err := keys.OpenAccepted(envelope)
	if err == nil && m.CoreThingArn != r.doc.Cores[0].ThingArn {
		err = fmt.Errorf("it is for core %s, group.json of %s", m.CoreThingArn, r.doc.Cores[0].ThingArn)
	}
	if err != nil {
		return err
	}
	r.manifest = m
	return nil
}

// trusted are the keys whose signature the core trusts.
func (r *reading) trusted() (*bundle.Keyring, error) {
	text, err := readFile(r.Root, keyFile, maxCertFile)
	if err != nil {
		return nil, err
	}
	roots := make(map[string]ed25519.PublicKey)
	for {
		var block *pem.Block
		if block, text = pem.Decode(text); block == nil {
			break
		}
		parsed, err := x509.ParsePKIXPublicKey(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", keyFile, err)
		}
		key, ok := parsed.(ed25519.PublicKey)
		if !ok {
			return nil, fmt.Errorf("%s has a key that is not Ed25519", keyFile)
		}
		roots[bundle.KeyID(key)] = key
	}
	if len(roots) == 0 {
		return nil, fmt.Errorf("%s has no key in PEM form", keyFile)
	}
	keys := bundle.NewKeyring(roots)
	chain, err := readFile(r.Root, chainFile, maxChainFile)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	for statement := range bytes.Lines(chain) {
		// What does not follow from the keys is no key, to the core either.
		_, _, _ = keys.Add(bytes.TrimSpace(statement))
	}
	return keys, nil
}

// readEpoch is the highest epoch that the core has been through, 0 for a core without
// software of Fescue's. A core whose state is lost goes by the manifest that it runs, and one
// that is within a deployment by that, too.
func (r *reading) readEpoch() (epoch int64) {
	data, err := readFile(r.Deployment, stateFile, maxStateFile)
	if err == nil {
		var state struct {
			Epoch int64 `json:"epoch"`
		}
		if err = json.Unmarshal(data, &state); err == nil && state.Epoch < 0 {
			err = errors.New("its epoch is below 0")
		}
		epoch = state.Epoch
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		r.report.warn(stateFile, "which deployments the core has been through is not known by it: %v. The first one may be refused as a replay; deploy again then", err)
		epoch = 0
	}
	return max(epoch, r.manifest.Epoch)
}
