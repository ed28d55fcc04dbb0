// Package console is the web console: pages for people who run a fleet, made on the
// server from html/template and a few embedded files. It decides nothing and keeps
// nothing. Who has signed in is an access key's holder, known by a pass in a cookie;
// what a page shows and does are calls of the API that this program makes for that key
// in process, so that rights, limits, throttling and the audit record are the API's.
package console

import (
	"context"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"net/http"
	"net/url"
	"path"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/fescue-edge/fescue/cloud/awsapi"
	ownapi "github.com/fescue-edge/fescue/cloud/awsapi/fescue"
	"github.com/fescue-edge/fescue/cloud/identity"
)

// Keys know who signs in, and who has.
type Keys interface {
	identity.Signers
	// Current is a key as it is now, not as it was a moment ago.
	Current(ctx context.Context, keyID string) (identity.Signer, error)
	Proves(ctx context.Context, keyID, secret string) (identity.Signer, error)
	Bearer(ctx context.Context, use identity.Use, pass string) (identity.Signer, time.Time, error)
	EndPass(ctx context.Context, use identity.Use, pass string) error
}

// Options are what a console is made of. All members but BasePath and Provider are
// required.
type Options struct {
	API  *awsapi.Handler
	Keys Keys
	// Provider is where people sign in who have no access key; nil is nowhere.
	Provider Provider
	// Regions are those that are served.
	Regions []string
	// Live tells open pages of changes.
	Live *Live
	// BasePath begins the paths of what the browser asks for, as on the API.
	BasePath string
	Now      func() time.Time
	Logger   *slog.Logger
}

// Console answers what lies below ownapi.ConsolePath.
type Console struct {
	o Options
	// root is the path of the console as browsers have it, and static that of its files.
	root, static string
	pages        pages
	files        map[string]file
	outer        *http.ServeMux // all of the console
	inner        *http.ServeMux // what is of one Region, without it
	handler      http.Handler
	buffers      sync.Pool // of pages
}

// What a form may bring, in bytes.
const maxForm = 64 << 10

//go:embed static templates
var embedded embed.FS

// file is one of the files that pages refer to.
type file struct {
	contentType string
	body        []byte
}

// New makes a console.
func New(o Options) (*Console, error) {
	c := &Console{o: o, root: o.BasePath + strings.TrimSuffix(ownapi.ConsolePath, "/"), files: make(map[string]file), outer: http.NewServeMux(), inner: http.NewServeMux()}
	if err := c.readFiles(); err != nil {
		return nil, err
	}
	var err error
	if c.pages, err = parsePages(); err != nil {
		return nil, err
	}
	const at = "/console"
	c.outer.HandleFunc("GET "+at+"/static/{hash}/{name}", c.serveFile)
	c.outer.HandleFunc("GET "+at+"/sign-in", c.showSignIn)
	c.outer.HandleFunc("POST "+at+"/sign-in", c.signIn)
	c.outer.HandleFunc("GET "+at+"/sso", c.leadToProvider)
	c.outer.HandleFunc("GET "+at+ssoBack, c.comeFromProvider)
	c.outer.HandleFunc("GET "+at+"/link/{pass}", c.showLink)
	c.outer.HandleFunc("POST "+at+"/link", c.followLink)
	c.outer.HandleFunc("POST "+at+"/sign-out", c.signOut)
	for _, pattern := range []string{"GET /{$}", "GET " + at, "GET " + at + "/{$}"} {
		c.outer.HandleFunc(pattern, c.enter)
	}
	c.outer.HandleFunc(at+"/{region}/", c.inRegion)
	for pattern, serve := range map[string]func(*visit) error{
		"GET /{$}":                    (*visit).overview,
		"GET /live":                   (*visit).live,
		"GET /cores":                  (*visit).fleet,
		"GET /groups":                 (*visit).groups,
		"GET /groups/{group}":         (*visit).group,
		"GET /groups/{group}/deploy":  (*visit).showDeploy,
		"POST /groups/{group}/deploy": (*visit).deploy,
		"GET /groups/{group}/deployments/{deployment}":         (*visit).deployment,
		"POST /groups/{group}/deployments/{deployment}/cancel": (*visit).cancel,
		"GET /groups/{group}/activity":                         (*visit).activity,
		"GET /groups/{group}/logs":                             (*visit).logs,
		"GET /groups/{group}/compare":                          (*visit).compare,
		"GET /functions":                                       (*visit).functions,
		"GET /functions/{function}":                            (*visit).function,
		"GET /bulk":                                            (*visit).bulks,
		"GET /bulk/{bulk}":                                     (*visit).bulk,
		"POST /bulk/{bulk}/stop":                               (*visit).stopBulk,
		"GET /things":                                          (*visit).things,
		"GET /things/{thing}":                                  (*visit).thing,
		"POST /things/{thing}":                                 (*visit).editShadow,
		"GET /messages":                                        (*visit).messages,
		"POST /messages":                                       (*visit).publish,
		"GET /messages/stream":                                 (*visit).stream,
		"GET /audit":                                           (*visit).audit,
		"GET /keys":                                            (*visit).keys,
		"POST /keys":                                           (*visit).createKey,
		"POST /keys/{key}/revoke":                              (*visit).revokeKey,
		"GET /certificates":                                    (*visit).certificates,
		"/":                                                    (*visit).notFound,
	} {
		c.inner.HandleFunc(pattern, c.signedIn(serve))
	}
	c.handler = http.NewCrossOriginProtection().Handler(c.outer)
	return c, nil
}

// readFiles reads the embedded files. Their path names their content, so that browsers
// keep them for good.
func (c *Console) readFiles() error {
	types := map[string]string{".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml"}
	all := sha256.New()
	err := fs.WalkDir(embedded, "static", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		body, err := embedded.ReadFile(name)
		all.Write(body)
		c.files[path.Base(name)] = file{types[path.Ext(name)], body}
		return err
	})
	c.static = c.root + "/static/" + hex.EncodeToString(all.Sum(nil)[:6])
	return err
}

// policy is what pages may load and do: nothing but this server's own files, no script
// or style that stands in a page, and no page of another's may show one.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"

// ServeHTTP implements http.Handler.
func (c *Console) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	for name, value := range map[string]string{
		"Content-Security-Policy": policy, "X-Content-Type-Options": "nosniff", "X-Frame-Options": "DENY",
		"Referrer-Policy": "same-origin", "Cross-Origin-Opener-Policy": "same-origin", "Cross-Origin-Resource-Policy": "same-origin",
		"Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
		"Cache-Control":      "no-store",
	} {
		h.Set(name, value)
	}
	if r.TLS != nil {
		h.Set("Strict-Transport-Security", "max-age=31536000")
	} else {
		h.Set("Connection", "close") // from this machine: to make one anew costs less than to keep it
	}
	if !awsapi.Private(r) {
		c.fail(w, r, &refusal{http.StatusForbidden, "", "The console is served over HTTPS, or to this machine alone: over plain HTTP everyone on the way reads what you type. Start the server with --tls-cert and --tls-key, or without --insecure-http, and open https://."})
		return
	}
	c.handler.ServeHTTP(w, r)
}

// overTLS reports whether the browser speaks HTTPS, to this server or to a proxy on its
// machine.
func overTLS(r *http.Request) bool {
	return r.TLS != nil || r.Header.Get("X-Forwarded-Proto") == "https"
}

func (c *Console) serveFile(w http.ResponseWriter, r *http.Request) {
	f, ok := c.files[r.PathValue("name")]
	if !ok || !strings.HasSuffix(c.static, "/"+r.PathValue("hash")) {
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Content-Type", f.contentType)
	w.Header().Set("Cache-Control", "public, max-age=31536000, immutable")
	w.Write(f.body)
}

// enter leads to the first Region.
func (c *Console) enter(w http.ResponseWriter, r *http.Request) {
	http.Redirect(w, r, c.in(c.o.Regions[0])+"/", http.StatusSeeOther)
}

// in is the path of a Region's pages.
func (c *Console) in(region string) string { return c.root + "/" + region }

// inRegion answers what is of one Region.
func (c *Console) inRegion(w http.ResponseWriter, r *http.Request) {
	region := r.PathValue("region")
	if !slices.Contains(c.o.Regions, region) {
		c.fail(w, r, &refusal{http.StatusNotFound, "", "There is no such page."})
		return
	}
	inner := r.WithContext(context.WithValue(r.Context(), regionKey{}, region))
	inner.URL = cloneURL(r.URL)
	inner.URL.Path = strings.TrimPrefix(r.URL.Path, "/console/"+region)
	inner.URL.RawPath = ""
	c.inner.ServeHTTP(w, inner)
}

type regionKey struct{}

// signedIn serves a page to who has signed in, and leads everyone else there.
func (c *Console) signedIn(serve func(*visit) error) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		region := r.Context().Value(regionKey{}).(string)
		signer, err := c.bearer(r)
		if errors.Is(err, identity.ErrUnknownKey) || errors.Is(err, identity.ErrExpiredKey) {
			c.leadToSignIn(w, r)
			return
		}
		form, unread := sent(r)
		v := &visit{form: form, c: c, w: w, r: r, region: region, inside: awsapi.Inside{Handler: c.o.API, Signer: signer, Region: region, Origin: r}}
		if err == nil {
			err = unread
		}
		if err == nil {
			err = serve(v)
		}
		if err != nil {
			v.fail(err)
		}
	}
}

// sent is what a form sent: in the query of what is looked at, in the body of what is
// done, which is read no further than maxForm.
func sent(r *http.Request) (url.Values, error) {
	if r.Method != http.MethodPost {
		return r.URL.Query(), nil
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, maxForm+1))
	if err != nil {
		return nil, &refusal{http.StatusBadRequest, "", "What was sent did not arrive whole. Try again."}
	}
	form, err := url.ParseQuery(string(body))
	if err != nil || len(body) > maxForm {
		return nil, &refusal{http.StatusBadRequest, "", "What was sent is not a form of the console."}
	}
	return form, nil
}
