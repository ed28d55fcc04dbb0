package s3

import (
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/fescue-edge/fescue/cloud/buckets"
)

// level is what a path names.
type level int

const (
	serviceLevel level = iota // "/"
	bucketLevel               // "/bucket"
	objectLevel               // "/bucket/key"
)

// operation is one row of the table of operations.
type operation struct {
	name string
	// action is what a policy has to allow (Service Authorization Reference).
	// DeleteObjects asks for each key by itself.
	action string
	method string
	level  level
	// query is the parameter that distinguishes it from others, empty for none.
	query string
	// header is one that it needs too.
	header  string
	maxBody int64
	handle  func(*API, http.ResponseWriter, *request) error
}

// maxDocument bounds the XML of DeleteObjects and CompleteMultipartUpload, in
// bytes: 1,000 keys of 1,024 bytes, each escaped; 10,000 parts.
const maxDocument = 8 << 20

// table is what is served. Of two rows that fit a request the first counts.
var table = []operation{
	{name: "ListBuckets", action: "ListAllMyBuckets", method: "GET", level: serviceLevel, handle: (*API).listBuckets},

	{name: "GetBucketLocation", action: "GetBucketLocation", method: "GET", level: bucketLevel, query: "location", handle: (*API).getBucketLocation},
	{name: "GetBucketVersioning", action: "GetBucketVersioning", method: "GET", level: bucketLevel, query: "versioning", handle: (*API).getBucketVersioning},
	{name: "ListMultipartUploads", action: "ListBucketMultipartUploads", method: "GET", level: bucketLevel, query: "uploads", handle: (*API).listUploads},
	{name: "ListObjectsV2", action: "ListBucket", method: "GET", level: bucketLevel, query: "list-type", handle: (*API).listObjectsV2},
	{name: "ListObjects", action: "ListBucket", method: "GET", level: bucketLevel, handle: (*API).listObjects},
	{name: "CreateBucket", action: "CreateBucket", method: "PUT", level: bucketLevel, handle: (*API).createBucket},
	{name: "HeadBucket", action: "ListBucket", method: "HEAD", level: bucketLevel, handle: (*API).headBucket},
	{name: "DeleteBucket", action: "DeleteBucket", method: "DELETE", level: bucketLevel, handle: (*API).deleteBucket},
	{name: "DeleteObjects", method: "POST", level: bucketLevel, query: "delete", maxBody: maxDocument, handle: (*API).deleteObjects},

	{name: "ListParts", action: "ListMultipartUploadParts", method: "GET", level: objectLevel, query: "uploadId", handle: (*API).listParts},
	{name: "GetObjectTagging", action: "GetObjectTagging", method: "GET", level: objectLevel, query: "tagging", handle: (*API).getObjectTagging},
	{name: "GetObject", action: "GetObject", method: "GET", level: objectLevel, handle: (*API).getObject},
	{name: "HeadObject", action: "GetObject", method: "HEAD", level: objectLevel, handle: (*API).getObject},
	{name: "UploadPartCopy", action: "PutObject", method: "PUT", level: objectLevel, query: "uploadId", header: copySource, handle: (*API).uploadPartCopy},
	{name: "UploadPart", action: "PutObject", method: "PUT", level: objectLevel, query: "uploadId", maxBody: buckets.MaxPut, handle: (*API).uploadPart},
	{name: "CopyObject", action: "PutObject", method: "PUT", level: objectLevel, header: copySource, handle: (*API).copyObject},
	{name: "PutObject", action: "PutObject", method: "PUT", level: objectLevel, maxBody: buckets.MaxPut, handle: (*API).putObject},
	{name: "CreateMultipartUpload", action: "PutObject", method: "POST", level: objectLevel, query: "uploads", handle: (*API).createUpload},
	{name: "CompleteMultipartUpload", action: "PutObject", method: "POST", level: objectLevel, query: "uploadId", maxBody: maxDocument, handle: (*API).completeUpload},
	{name: "AbortMultipartUpload", action: "AbortMultipartUpload", method: "DELETE", level: objectLevel, query: "uploadId", handle: (*API).abortUpload},
	{name: "DeleteObject", action: "DeleteObject", method: "DELETE", level: objectLevel, handle: (*API).deleteObject},
}

// Operations lists what is served, by name, and what is known not to be.
func Operations() (served, notYet []string) {
	names := func(ops []operation) (list []string) {
		for _, op := range ops {
			list = append(list, op.name)
		}
		return slices.Sorted(slices.Values(list))
	}
	return names(table), names(notServed)
}

// subresources are parameters that make another operation of a request, those of
// notServed among them.
var subresources = func() []string {
	names := []string{"delete", "location", "uploads"}
	for _, op := range notServed {
		if !slices.Contains(names, op.query) {
			names = append(names, op.query)
		}
	}
	return names
}()

// parse finds out what a request is about.
func (a *API) parse(r *http.Request) (*request, error) {
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return nil, invalidURI("its query is not valid")
	}
	for name, values := range query {
		for _, text := range append(values, name) {
			if !text8(text) {
				return nil, invalidURI("its query is not UTF-8, or holds NUL")
			}
		}
	}
	req := &request{http: r, query: query, header: hoist(r, query)}
	path := strings.TrimPrefix(r.URL.EscapedPath(), "/")
	bucket, key, _ := strings.Cut(path, "/")
	if host := a.hostBucket(r.Host); host != "" {
		bucket, key = host, path
	}
	for from, into := range map[string]*string{bucket: &req.bucket, key: &req.key} {
		if *into, err = url.PathUnescape(from); err != nil || !text8(*into) {
			return nil, invalidURI("its path is not percent-encoded UTF-8, or holds NUL")
		}
	}
	return req, nil
}

// text8 reports whether a text can be kept and compared everywhere.
func text8(s string) bool { return utf8.ValidString(s) && !strings.ContainsRune(s, 0) }

// hostBucket is the bucket that a host names, empty for none.
func (a *API) hostBucket(host string) string {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	for _, base := range append([]string{"localhost"}, a.hosts...) {
		if base != "localhost" && !strings.HasPrefix(base, "s3.") && !strings.HasPrefix(base, "s3-") {
			base = "s3." + base // others are S3's own, as AWS's are
		}
		if bucket, ok := strings.CutSuffix(host, "."+base); ok && bucket != "s3" {
			return strings.TrimSuffix(bucket, ".s3")
		}
	}
	return ""
}

// hoist is the header of a request. A presigned URL carries x-amz- headers as
// parameters, under its signature as they are.
func hoist(r *http.Request, query url.Values) http.Header {
	if !query.Has("X-Amz-Signature") {
		return r.Header
	}
	header := r.Header.Clone()
	for name, values := range query {
		if lower := strings.ToLower(name); strings.HasPrefix(lower, "x-amz-") && header.Get(name) == "" {
			header[http.CanonicalHeaderKey(lower)] = values
		}
	}
	return header
}

func (r *request) level() level {
	switch {
	case r.bucket == "" && r.key == "":
		return serviceLevel
	case r.key == "":
		return bucketLevel
	}
	return objectLevel
}

// match finds the operation of a request.
func match(r *request) (*operation, error) {
	at := r.level()
	for i := range table {
		op := &table[i]
		if op.method == r.http.Method && op.level == at && (op.query == "" || r.query.Has(op.query)) && (op.header == "" || r.header.Get(op.header) != "") {
			if err := r.otherThan(op.query); err != nil {
				return nil, err
			}
			return op, nil
		}
	}
	if err := r.otherThan(""); err != nil {
		return nil, err
	}
	if at == objectLevel || r.http.Method == "GET" || r.http.Method == "PUT" {
		return nil, notImplemented("%s of this path", r.http.Method)
	}
	return nil, wire(http.StatusMethodNotAllowed, "MethodNotAllowed", "The specified method is not allowed against this resource.")
}

// otherThan refuses a request with a subresource that is not the one given.
func (r *request) otherThan(served string) error {
	for _, name := range subresources {
		if name == served || !r.query.Has(name) {
			continue
		}
		for _, op := range notServed {
			if op.query == name && op.method == r.http.Method && op.level == r.level() {
				return notImplemented("%s, %s with ?%s", op.name, op.method, name)
			}
		}
		return notImplemented("%s with ?%s", r.http.Method, name)
	}
	return nil
}
