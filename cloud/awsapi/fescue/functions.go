package fescue

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"unicode/utf8"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/cloud/awsapi/wire/restjson"
	"github.com/fescue-edge/fescue/cloud/functions"
)

// Functions looks into functions' code.
type Functions interface {
	Files(ctx context.Context, p fescue.Partition, ref functions.Reference, most int) (list []functions.CodeFile, count int, err error)
	File(ctx context.Context, p fescue.Partition, ref functions.Reference, name string, most int64) (functions.CodeFile, []byte, error)
}

// FunctionFile is a file of a function's code.
type FunctionFile struct {
	// Name is its path in the zip, Size its bytes unpacked.
	Name string
	Size int64
}

// FunctionFiles is the answer of ListFunctionFiles.
type FunctionFiles struct {
	// Files are the first 1000, of Count.
	Files []FunctionFile
	Count int
}

// FunctionFileContent is the answer of GetFunctionFile.
type FunctionFileContent struct {
	FunctionFile
	// Text is the file's first 64 KiB. It is empty of one that is not text in UTF-8, which
	// Binary says.
	Text   string `json:",omitempty"`
	Binary bool   `json:",omitempty"`
	// Cut says that the file goes on.
	Cut bool `json:",omitempty"`
}

// What is read of a function's code.
const (
	maxFiles    = 1000
	maxFileText = 64 << 10
)

// onFunction is the function that a call names.
func onFunction(r *restjson.Request) string {
	ref, err := functions.ParseReference(r.Partition, r.Label("FunctionName"), "")
	if err != nil {
		return r.Partition.FunctionARN(r.Label("FunctionName"))
	}
	return r.Partition.FunctionARN(ref.Name)
}

// reference is the version that a call means.
func reference(r *restjson.Request) (functions.Reference, error) {
	ref, err := functions.ParseReference(r.Partition, r.Label("FunctionName"), r.Query.Get("Qualifier"))
	return ref, functionRefused(err)
}

// functionRefused is an error of a function in the API's form.
func functionRefused(err error) error {
	switch {
	case errors.Is(err, functions.ErrShape), errors.Is(err, functions.ErrInvalid):
		return refuse(http.StatusBadRequest, badRequest, "%v", err)
	case errors.Is(err, fescue.ErrNotFound):
		return refuse(http.StatusNotFound, resourceNotFound, "%v", err)
	}
	return err
}

func (a *API) listFunctionFiles(ctx context.Context, r *restjson.Request, _ nothing) (out FunctionFiles, err error) {
	ref, err := reference(r)
	if err != nil {
		return out, err
	}
	list, count, err := a.o.Functions.Files(ctx, r.Partition, ref, maxFiles)
	out = FunctionFiles{make([]FunctionFile, 0, len(list)), count}
	for _, f := range list {
		out.Files = append(out.Files, FunctionFile(f))
	}
	return out, functionRefused(err)
}

func (a *API) getFunctionFile(ctx context.Context, r *restjson.Request, _ nothing) (out FunctionFileContent, err error) {
	ref, err := reference(r)
	if err != nil {
		return out, err
	}
	file, content, err := a.o.Functions.File(ctx, r.Partition, ref, r.Query.Get("Name"), maxFileText)
	if err != nil {
		return out, functionRefused(err)
	}
	out = FunctionFileContent{FunctionFile: FunctionFile(file), Cut: file.Size > maxFileText}
	text := string(content)
	for cut := 0; out.Cut && cut < utf8.UTFMax-1 && !utf8.ValidString(text); cut++ {
		text = text[:len(text)-1] // a character that the bound parts
	}
	if out.Binary = !utf8.ValidString(text) || strings.ContainsRune(text, 0); !out.Binary {
		out.Text = text
	}
	return out, nil
}
