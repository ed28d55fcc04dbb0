package trust

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"

	"github.com/fescue-edge/fescue/bundle"
	"github.com/fescue-edge/fescue/corelink"
	"github.com/fescue-edge/fescue/disk"
)

// maxChain bounds the file of key statements, in bytes: a thousand of them.
const maxChain = 2 << 20

// readChain reads the statements by which the control plane's later keys follow
// from the trusted ones, one on each line, oldest first.
func (k *Keys) readChain() ([][]byte, error) {
	data, err := disk.ReadFile(k.Disk, k.chainFile(), maxChain)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the signing keys' chain: %w", err)
	}
	return bytes.Split(bytes.TrimSpace(data), []byte("\n")), nil
}

// chainFile lies beside the key file.
func (k *Keys) chainFile() string { return k.File + chainSuffix }

// chainSuffix follows the name of the key file.
const chainSuffix = ".chain"

// Learn asks the control plane for the keys that followed the trusted ones,
// and reports whether there were any. They are on the disk before anything that
// they signed is.
func (k *Keys) Learn(ctx context.Context) (learned bool, err error) {
	if _, err := k.ring(); err != nil {
		return false, err
	}
	answer, err := k.Source.SigningKeys(ctx)
	if err != nil {
		return false, err
	}
	return k.Follow(answer)
}

// Follow is Learn from an answer that came another way.
func (k *Keys) Follow(answer corelink.SigningKeys) (learned bool, err error) {
	ring, err := k.ring()
	if err != nil {
		return false, err
	}
	chain, err := k.readChain()
	if err != nil {
		return false, err
	}
	var ids []string
	for _, statement := range answer.Chain {
		id, added, err := ring.Add(statement)
		if errors.Is(err, bundle.ErrUnknownKey) {
			continue // from before the keys that this core was given
		}
		if err != nil {
			k.Logger.Error("The control plane sent a signing key that is not trusted.", slog.String("errorString", err.Error()))
			continue
		}
		if added {
			chain = append(chain, oneLine(statement))
			ids = append(ids, id)
		}
	}
	if len(ids) == 0 {
		return false, nil
	}
	text := append(bytes.Join(chain, []byte("\n")), '\n')
	if len(text) > maxChain {
		return false, fmt.Errorf("keep the signing keys' chain: it has %d bytes, at most %d are accepted; put the newest key into %s and remove %s", len(text), maxChain, k.File, k.chainFile())
	}
	if err := disk.ReplaceFile(k.Disk, k.chainFile(), text, 0o600); err != nil {
		return false, fmt.Errorf("keep the signing keys' chain: %w", err)
	}
	k.Logger.Warn("The control plane signs with a new key: it is trusted, because a trusted one vouches for it.",
		slog.Any("keyIds", ids), slog.Any("trusted", ring.IDs()), slog.String("file", k.chainFile()))
	return true, nil
}

// oneLine is a JSON document without line breaks, which JSON has only between
// its tokens.
func oneLine(document []byte) []byte {
	return bytes.ReplaceAll(bytes.ReplaceAll(document, []byte("\n"), nil), []byte("\r"), nil)
}

// Notice learns of a rotation that the control plane mentions. That the keys
// cannot be had now is no reason not to go on: what they signed is refused until
// they are known.
func (k *Keys) Notice(ctx context.Context, id string) {
	if id == "" || id == k.noticed {
		return
	}
	ring, err := k.ring()
	if err == nil && !ring.Knows(id) {
		_, err = k.Learn(ctx)
	}
	if err != nil {
		k.Logger.Warn("The control plane's new signing key could not be learned; it is tried again.",
			slog.String("keyId", id), slog.String("errorString", err.Error()))
		return
	}
	k.noticed = id
}
