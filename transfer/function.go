package transfer

import (
	"archive/zip"
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"strings"

	"github.com/fescue-edge/fescue/client"
	"github.com/fescue-edge/fescue/recovery"
)

// maxZip is the largest function code that Lambda's API takes, in bytes.
const maxZip = 50 << 20

const functionsPath = "/2015-03-31/functions/"

// functionSettings is what GetFunctionConfiguration answers of a version.
type functionSettings struct {
	FunctionName, Version, Runtime, Role, Handler, Description, CodeSha256 string
	Timeout, MemorySize                                                    int
	Architectures                                                          []string
	Environment                                                            struct{ Variables map[string]string }
}

func configurationPath(name, qualifier string) string {
	return functionsPath + url.PathEscape(name) + "/configuration?Qualifier=" + url.QueryEscape(qualifier)
}

func (r *restorer) function(f recovery.Function) part {
	return part{
		what: "function " + f.FunctionName + ":" + f.Version,
		present: func(ctx context.Context) (bool, error) {
			var have functionSettings
			there, err := r.get(ctx, "lambda", "GetFunctionConfiguration", configurationPath(f.FunctionName, f.Version), &have)
			if !there {
				return false, err
			}
			code, err := f.Code()
			if err != nil {
				return false, err
			}
			same := have.Runtime == f.Runtime && have.Handler == f.Handler && have.Description == f.Description &&
				(f.Environment == nil || maps.Equal(have.Environment.Variables, f.Environment))
			if same && have.CodeSha256 != recovery.CodeSHA256(code) {
				// Another program, or the owner, may have packed the same files.
				if same, err = r.sameCode(ctx, f, code); err != nil {
					return false, err
				}
			}
			if !same {
				return false, errDiffers
			}
			return true, nil
		},
		make: func(ctx context.Context) error {
			code, err := f.Code()
			if err != nil {
				return err
			}
			in := map[string]any{
				"Runtime": f.Runtime, "Role": f.Role, "Handler": f.Handler, "Description": f.Description,
				"Code": map[string]any{"ZipFile": code},
			}
			if f.Timeout != 0 {
				in["Timeout"] = f.Timeout
			}
			if f.MemorySize != 0 {
				in["MemorySize"] = f.MemorySize
			}
			if f.Architectures != nil {
				in["Architectures"] = f.Architectures
			}
			if f.Environment != nil {
				in["Environment"] = map[string]any{"Variables": f.Environment}
			}
			// The function's name goes into the body too, as CreateFunction has it.
			in["FunctionName"] = f.FunctionName
			return r.Call(ctx, "lambda", "RestoreFunctionVersion", http.MethodPut,
				"/fescue/v1/functions/"+url.PathEscape(f.FunctionName)+"/versions/"+f.Version, in, nil)
		},
	}
}

// codeOf downloads the zip of a version.
func codeOf(ctx context.Context, c *client.Client, name, version string) ([]byte, error) {
	var answer struct{ Code struct{ Location string } }
	err := c.Call(ctx, "lambda", "GetFunction", http.MethodGet, functionsPath+url.PathEscape(name)+"?Qualifier="+url.QueryEscape(version), nil, &answer)
	if err != nil {
		return nil, err
	}
	data, err := c.Download(ctx, answer.Code.Location, maxZip)
	if err != nil {
		return nil, fmt.Errorf("code of %s:%s: %w", name, version, err)
	}
	return data, nil
}

// sameCode reports whether the version that is there has the same files.
func (r *restorer) sameCode(ctx context.Context, f recovery.Function, code []byte) (bool, error) {
	there, err := codeOf(ctx, r.Client, f.FunctionName, f.Version)
	if err != nil {
		return false, err
	}
	have, err := contents(there)
	if err != nil {
		return false, err
	}
	want, err := contents(code)
	return maps.Equal(have, want), err
}

// contents are the files of a zip by their names.
func contents(data []byte) (map[string]string, error) {
	z, err := zip.NewReader(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		return nil, err
	}
	files := make(map[string]string, len(z.File))
	for _, f := range z.File {
		if strings.HasSuffix(f.Name, "/") {
			continue
		}
		in, err := f.Open()
		if err != nil {
			return nil, err
		}
		sum := sha256.New()
		n, err := io.Copy(sum, in)
		in.Close()
		if err != nil {
			return nil, err
		}
		files[f.Name] = fmt.Sprintf("%x %d", sum.Sum(nil), n)
	}
	return files, nil
}

// alias makes an alias where it is missing. One that is there stays where it
// points: aliases are made to be moved.
func (r *restorer) alias(f recovery.Function, a recovery.Alias) part {
	path := functionsPath + url.PathEscape(f.FunctionName) + "/aliases"
	return part{
		what: "alias " + a.Name + " of function " + f.FunctionName,
		present: func(ctx context.Context) (bool, error) {
			return r.get(ctx, "lambda", "GetAlias", path+"/"+url.PathEscape(a.Name), nil)
		},
		make: func(ctx context.Context) error {
			return unless(r.Call(ctx, "lambda", "CreateAlias", http.MethodPost, path,
				map[string]string{"Name": a.Name, "FunctionVersion": f.Version, "Description": a.Description}, nil), "ResourceConflictException")
		},
	}
}
