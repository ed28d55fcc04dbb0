package lambda

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/cloud/artifacts"
)

// CodePath is where CodeLinks is mounted; a token follows it.
const CodePath = "/fescue/v1/code/"

const (
	// linkLife is how long a link is good (AWS Lambda API reference: the URL of
	// GetFunction is valid for 10 minutes). The rest is for clocks that differ.
	linkLife = 15 * time.Minute
	// minLinkKey is the least length of the key, in bytes.
	minLinkKey = 32
	// maxToken bounds what a caller without a key can make the server decode, in bytes.
	maxToken = 512
	// linkPurpose keeps the key's other uses, if there are any, apart.
	linkPurpose = "fescue function code link 1"
)

// Code opens zips; functions.Service does.
type Code interface {
	OpenCode(ctx context.Context, p fescue.Partition, hash string, offset int64) (io.ReadCloser, error)
}

// CodeLinks makes links to functions' zips that are good for a while without
// further authentication, and serves them. A link holds all that is needed to
// check it: any server with the same key serves it.
type CodeLinks struct {
	key    []byte
	code   Code
	now    func() time.Time
	logger *slog.Logger
}

// NewCodeLinks makes links that are authenticated by a key of at least 32
// bytes, the same on every server.
func NewCodeLinks(key []byte, code Code, now func() time.Time, logger *slog.Logger) (*CodeLinks, error) {
	if len(key) < minLinkKey {
		return nil, fmt.Errorf("key for links to function code has %d bytes; at least %d are needed", len(key), minLinkKey)
	}
	return &CodeLinks{key: key, code: code, now: now, logger: logger}, nil
}

// Path is the path of a link to a zip of size bytes, good for 15 minutes.
func (l *CodeLinks) Path(p fescue.Partition, hash string, size int64) string {
	payload := strings.Join([]string{
		p.AWS, p.Account, p.Region, hash, strconv.FormatInt(size, 10), strconv.FormatInt(l.now().Add(linkLife).Unix(), 10),
	}, "\n")
	encode := base64.RawURLEncoding.EncodeToString
	return CodePath + encode([]byte(payload)) + "." + encode(l.sum(payload))
}

func (l *CodeLinks) sum(payload string) []byte {
	mac := hmac.New(sha256.New, l.key)
	io.WriteString(mac, linkPurpose+"\n"+payload)
	return mac.Sum(nil)
}

// target is what a link leads to.
type target struct {
	partition fescue.Partition
	hash      string
	size      int64
}

// open checks a token. Nothing in it is looked at before it is authentic.
func (l *CodeLinks) open(token string) (t target, ok bool) {
	if len(token) > maxToken {
		return t, false
	}
	encodedPayload, encodedSum, _ := strings.Cut(token, ".")
	payload, err := base64.RawURLEncoding.Strict().DecodeString(encodedPayload)
	sum, sumErr := base64.RawURLEncoding.Strict().DecodeString(encodedSum)
	if err != nil || sumErr != nil || !hmac.Equal(sum, l.sum(string(payload))) {
		return t, false
	}
	fields := strings.Split(string(payload), "\n")
	if len(fields) != 6 {
		return t, false
	}
	t.partition = fescue.Partition{AWS: fields[0], Account: fields[1], Region: fields[2]}
	t.hash = fields[3]
	t.size, err = strconv.ParseInt(fields[4], 10, 64)
	expiry, expiryErr := strconv.ParseInt(fields[5], 10, 64)
	return t, err == nil && expiryErr == nil && l.now().Unix() < expiry
}

// ServeHTTP serves a zip, or the part of it that a Range header asks for.
func (l *CodeLinks) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		http.Error(w, "A link to function code can only be read.", http.StatusMethodNotAllowed)
		return
	}
	token, ok := strings.CutPrefix(r.URL.Path, CodePath)
	t, good := l.open(token)
	if !ok || !good {
		http.Error(w, "This link to function code has expired or is not valid. GetFunction gives out a new one.", http.StatusForbidden)
		return
	}
	content, err := l.content(r.Context(), t)
	switch {
	case errors.Is(err, fescue.ErrNotFound):
		http.Error(w, "The function code that this link leads to is not there any more.", http.StatusNotFound)
		return
	case err != nil:
		if !errors.Is(err, context.Canceled) {
			l.logger.ErrorContext(r.Context(), "function code not served", "hash", t.hash, "error", err)
		}
		http.Error(w, "The function code could not be read. Try again later.", http.StatusInternalServerError)
		return
	}
	defer content.Close()
	h := w.Header()
	h.Set("Content-Type", "application/zip")
	h.Set("Cache-Control", "private, no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("ETag", `"`+t.hash+`"`)
	http.ServeContent(w, r, "", time.Time{}, content)
}

// content opens the zip once before anything is answered, so that one that is
// gone is reported in time.
func (l *CodeLinks) content(ctx context.Context, t target) (*artifacts.Seeker, error) {
	probe, err := l.code.OpenCode(ctx, t.partition, t.hash, t.size)
	if err != nil {
		return nil, err
	}
	if err := probe.Close(); err != nil {
		return nil, err
	}
	return artifacts.NewSeeker(ctx, partitionCode{l.code, t.partition}, t.hash, t.size), nil
}

// partitionCode is the code of one partition.
type partitionCode struct {
	Code
	partition fescue.Partition
}

// Open implements artifacts.Opener.
func (c partitionCode) Open(ctx context.Context, hash string, offset int64) (io.ReadCloser, error) {
	return c.OpenCode(ctx, c.partition, hash, offset)
}
