package lambda

import (
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/cloud/awsapi"
	"github.com/fescue-edge/fescue/cloud/awsapi/wire/restjson"
	"github.com/fescue-edge/fescue/cloud/functions"
)

// upload is a zip that came with a request, or that it named in a bucket, in a
// file of its own.
type upload struct {
	file   *os.File // nil when the request had none
	size   int64
	stored bool // in a bucket
}

// receive decodes a request into v, apart from the zip at path, which goes from
// base64 straight into a file: it is never in memory as a whole. The caller
// discards the upload.
func (a *API) receive(r *restjson.Request, path []string, v any) (_ *upload, err error) {
	up := &upload{}
	defer func() {
		if err != nil {
			up.discard()
		}
	}()
	// A failure of this server's disk, not of the request.
	var broken error
	rest, _, err := restjson.Divert(r.Stream, awsapi.DefaultMaxBody, path, func(text io.Reader) error {
		up.file, broken = os.CreateTemp(a.options.SpoolDir, "zip-*")
		if broken != nil {
			return broken
		}
		source := &awsapi.Source{Reader: base64.NewDecoder(base64.StdEncoding, text)}
		up.size, err = io.Copy(up.file, io.LimitReader(source, functions.MaxArchive+1))
		if err != nil && source.Err == nil {
			broken = err
		}
		if err == nil && up.size > functions.MaxArchive {
			err = errTooLarge
		}
		return err
	})
	var corrupt base64.CorruptInputError
	switch {
	case broken != nil:
		return nil, fmt.Errorf("spool function code: %w", broken)
	case errors.Is(err, errTooLarge):
		return nil, fescue.Refuse(functions.ErrTooLarge, "The zip is larger than the %d bytes that Lambda takes in a request.", functions.MaxArchive)
	case errors.As(err, &corrupt), errors.Is(err, io.ErrUnexpectedEOF):
		return nil, malformed("member \"ZipFile\" is not base64")
	case err != nil:
		return nil, malformed(err.Error())
	}
	if err := restjson.Decode(rest, v); err != nil {
		return nil, malformed(err.Error())
	}
	return up, nil
}

var errTooLarge = errors.New("zip too large")

// archive is nil when the request had no zip.
func (u *upload) archive() *functions.Archive {
	if u.file == nil {
		return nil
	}
	return &functions.Archive{ReaderAt: u.file, Size: u.size, Stored: u.stored}
}

func (u *upload) discard() {
	if u.file != nil {
		u.file.Close()
		os.Remove(u.file.Name())
	}
}
