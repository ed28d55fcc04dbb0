// Package s3 speaks the Amazon S3 REST API (2006-03-01) as far as scripts for
// Greengrass use it: buckets, objects, multipart uploads, lists. It translates
// between the wire and package buckets, and has no rules of its own.
//
// Requests are routed by the escaped path as it arrived: a key may hold "//",
// "..", and %2F, which an http.ServeMux would clean away.
package s3

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/url"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/cloud/awsapi"
	"github.com/fescue-edge/fescue/cloud/buckets"
)

// Buckets is the service behind the API; buckets.Service is one.
type Buckets interface {
	CreateBucket(ctx context.Context, p fescue.Partition, name string) error
	Buckets(ctx context.Context, p fescue.Partition) ([]buckets.Bucket, error)
	Bucket(ctx context.Context, p fescue.Partition, name string) (buckets.Bucket, error)
	DeleteBucket(ctx context.Context, p fescue.Partition, name string) error

	Put(ctx context.Context, p fescue.Partition, bucket, key string, content io.ReadSeeker, put buckets.Put) (buckets.Object, error)
	Object(ctx context.Context, p fescue.Partition, bucket, key string) (buckets.Object, error)
	Read(ctx context.Context, p fescue.Partition, bucket, key string, choose func(buckets.Object) (buckets.Range, error)) (buckets.Object, io.ReadCloser, error)
	PartRange(ctx context.Context, p fescue.Partition, o buckets.Object, number int) (buckets.Range, error)
	Delete(ctx context.Context, p fescue.Partition, bucket, key string) error
	Copy(ctx context.Context, p fescue.Partition, c buckets.Copy) (buckets.Object, error)
	List(ctx context.Context, p fescue.Partition, bucket string, q buckets.List) (buckets.Listing, error)

	CreateUpload(ctx context.Context, p fescue.Partition, bucket, key string, checksum buckets.Checksum, settings buckets.ObjectSettings) (buckets.ObjectUpload, error)
	Upload(ctx context.Context, p fescue.Partition, bucket, key, id string) (buckets.ObjectUpload, error)
	Uploads(ctx context.Context, p fescue.Partition, bucket string, q buckets.Uploads) ([]buckets.ObjectUpload, error)
	Parts(ctx context.Context, p fescue.Partition, u buckets.ObjectUpload, after, limit int) ([]buckets.ObjectPart, error)
	PutPart(ctx context.Context, p fescue.Partition, bucket, key, id string, number int, content io.ReadSeeker, wantMD5 []byte, want buckets.Checksum) (buckets.ObjectPart, error)
	CopyPart(ctx context.Context, p fescue.Partition, c buckets.PartCopy) (buckets.ObjectPart, error)
	Complete(ctx context.Context, p fescue.Partition, bucket, key, id string, chosen []buckets.ChosenPart, put buckets.Put) (buckets.Object, error)
	Abort(ctx context.Context, p fescue.Partition, bucket, key, id string) error
}

// Options is what an API is made of.
type Options struct {
	Buckets Buckets
	// Hosts are names of this server. Below s3.<host>, and below localhost, the
	// first part of a request's host is the bucket (virtual-host style).
	Hosts  []string
	Logger *slog.Logger
}

// API answers the requests that are signed for s3.
type API struct {
	awsapi.Failing
	buckets Buckets
	hosts   []string
}

var _ awsapi.Service = (*API)(nil)

// New makes an API.
func New(o Options) *API {
	return &API{awsapi.Failing{Internal: internal, Logger: o.Logger}, o.Buckets, o.Hosts}
}

// request is one request on its way through an operation.
type request struct {
	*awsapi.Call
	http   *http.Request
	query  url.Values
	header http.Header // the request's, or what a presigned URL has in its place
	bucket string
	key    string
}

// MaxBody implements awsapi.Service.
func (a *API) MaxBody(r *http.Request) int64 {
	req, err := a.parse(r)
	if err != nil {
		return awsapi.DefaultMaxBody
	}
	op, err := match(req)
	if err != nil || op.maxBody == 0 {
		return awsapi.DefaultMaxBody
	}
	return op.maxBody
}

// Foresee implements awsapi.Service.
func (a *API) Foresee(r *http.Request, call *awsapi.Call) awsapi.Target {
	req, err := a.parse(r)
	if err != nil {
		return awsapi.Target{}
	}
	req.Call = call
	op, err := match(req)
	if err != nil || op.action == "" {
		return awsapi.Target{}
	}
	return req.target(op.action, req.bucket, req.key)
}

// ServeCall implements awsapi.Service.
func (a *API) ServeCall(w http.ResponseWriter, r *http.Request, call *awsapi.Call) {
	w.Header().Set("x-amz-request-id", call.RequestID)
	err := a.serve(w, r, call)
	if err != nil {
		a.WriteError(w, a.Refusal(r.Context(), call, err))
	}
}

func (a *API) serve(w http.ResponseWriter, r *http.Request, call *awsapi.Call) error {
	req, err := a.parse(r)
	if err != nil {
		return err
	}
	req.Call = call
	op, err := match(req)
	if err != nil {
		return err
	}
	if op.action != "" {
		if err := req.admit(op.action, req.bucket, req.key); err != nil {
			return about(req, err)
		}
	}
	call.Operation = op.name
	if err := checkHeaders(req); err != nil {
		return about(req, err)
	}
	return about(req, op.handle(a, w, req))
}

// admit asks whether the caller may do something to a bucket or an object.
func (r *request) admit(action, bucket, key string) error {
	return r.Admit(r.http.Context(), r.target(action, bucket, key))
}

// target is an action on a bucket or an object.
func (r *request) target(action, bucket, key string) awsapi.Target {
	resource := ""
	if bucket != "" {
		resource = "arn:" + r.Partition.AWS + ":s3:::" + bucket
	}
	if key != "" {
		resource += "/" + key
	}
	return awsapi.Target{Operation: action, Resource: resource}
}

// content is the body, to be read more than once.
func (r *request) content() (io.ReadSeeker, error) {
	if file, ok := r.http.Body.(io.ReadSeeker); ok {
		return file, nil
	}
	data, err := io.ReadAll(r.http.Body)
	if err != nil {
		return nil, err
	}
	return bytes.NewReader(data), nil
}
