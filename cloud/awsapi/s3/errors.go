package s3

import (
	"encoding/xml"
	"errors"
	"fmt"
	"net/http"
	"strconv"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/cloud/awsapi"
	"github.com/fescue-edge/fescue/cloud/buckets"
)

// refusals is how each kind of refusal goes over the wire (Amazon S3 API
// reference, "Error responses").
var refusals = []struct {
	kind   error
	status int
	code   string
}{
	{buckets.ErrNoBucket, http.StatusNotFound, "NoSuchBucket"},
	{buckets.ErrNoKey, http.StatusNotFound, "NoSuchKey"},
	{buckets.ErrNoUpload, http.StatusNotFound, "NoSuchUpload"},
	{buckets.ErrBucketName, http.StatusBadRequest, "InvalidBucketName"},
	{buckets.ErrKey, http.StatusBadRequest, "InvalidURI"},
	{buckets.ErrKeyTooLong, http.StatusBadRequest, "KeyTooLongError"},
	{buckets.ErrMetadata, http.StatusBadRequest, "MetadataTooLarge"},
	{buckets.ErrTooLarge, http.StatusBadRequest, "EntityTooLarge"},
	{buckets.ErrDigest, http.StatusBadRequest, "BadDigest"},
	{buckets.ErrAlgorithm, http.StatusBadRequest, "InvalidRequest"},
	{buckets.ErrSelfCopy, http.StatusBadRequest, "InvalidRequest"},
	{buckets.ErrPart, http.StatusBadRequest, "InvalidPart"},
	{buckets.ErrPartNumber, http.StatusBadRequest, "InvalidArgument"},
	{buckets.ErrPartOrder, http.StatusBadRequest, "InvalidPartOrder"},
	{buckets.ErrPartTooSmall, http.StatusBadRequest, "EntityTooSmall"},
	{buckets.ErrRange, http.StatusRequestedRangeNotSatisfiable, "InvalidRange"},
	{buckets.ErrBusy, http.StatusServiceUnavailable, "SlowDown"},
	{fescue.ErrExists, http.StatusConflict, "BucketAlreadyOwnedByYou"},
	{fescue.ErrInUse, http.StatusConflict, "BucketNotEmpty"},
	{fescue.ErrQuota, http.StatusBadRequest, "TooManyBuckets"},
	{fescue.ErrPrecondition, http.StatusPreconditionFailed, "PreconditionFailed"},
}

// internal is S3's code for what went wrong in here.
const internal = "InternalError"

// handlerCodes are S3's codes for what the endpoint refuses before it knows that
// a request is for s3.
var handlerCodes = map[string]struct {
	status int
	code   string
}{
	"RequestEntityTooLargeException": {http.StatusBadRequest, "EntityTooLarge"},
	"InternalFailure":                {http.StatusInternalServerError, internal},
}

func wire(status int, code, format string, args ...any) *awsapi.Error {
	return &awsapi.Error{Status: status, Code: code, Message: fmt.Sprintf(format, args...)}
}

func invalidURI(why string) *awsapi.Error {
	return wire(http.StatusBadRequest, "InvalidURI", "Couldn't parse the specified URI: %s.", why)
}

func invalidArgument(format string, args ...any) *awsapi.Error {
	return wire(http.StatusBadRequest, "InvalidArgument", format, args...)
}

func notImplemented(format string, args ...any) *awsapi.Error {
	return wire(http.StatusNotImplemented, "NotImplemented",
		"This server does not implement %s. docs/api-coverage.md lists the operations of S3 that it serves.", fmt.Sprintf(format, args...))
}

var malformedXML = wire(http.StatusBadRequest, "MalformedXML", "The XML you provided was not well-formed or did not validate against our published schema.")

// about turns a refusal of the service into what goes over the wire, with the
// bucket and the key that the request named.
func about(r *request, err error) error {
	if err == nil {
		return nil
	}
	e := new(awsapi.Error)
	if !errors.As(err, &e) {
		if e = translate(err); e == nil {
			return err
		}
	}
	answer := *e
	answer.Members = map[string]string{"BucketName": r.bucket, "Key": r.key}
	return &answer
}

func translate(err error) *awsapi.Error {
	for _, row := range refusals {
		if errors.Is(err, row.kind) {
			return wire(row.status, row.code, "%s", err.Error())
		}
	}
	return nil
}

// WriteError implements awsapi.Service.
func (a *API) WriteError(w http.ResponseWriter, err *awsapi.Error) {
	id := w.Header().Get("x-amzn-RequestId")
	w.Header().Set("x-amz-request-id", id)
	if err.Status == http.StatusNotModified {
		w.WriteHeader(err.Status)
		return
	}
	status, code := err.Status, err.Code
	if own, ok := handlerCodes[code]; ok {
		status, code = own.status, own.code
	}
	writeXML(w, status, struct {
		XMLName    xml.Name `xml:"Error"`
		Code       string
		Message    string
		BucketName string `xml:",omitempty"`
		Key        string `xml:",omitempty"`
		RequestID  string `xml:"RequestId"`
	}{Code: code, Message: err.Message, BucketName: err.Members["BucketName"], Key: err.Members["Key"], RequestID: id})
}

// writeXML answers with a document.
func writeXML(w http.ResponseWriter, status int, v any) {
	body, err := xml.Marshal(v)
	if err != nil {
		panic(fmt.Sprintf("s3: answer %T does not encode: %v", v, err))
	}
	body = append([]byte(xml.Header), body...)
	w.Header().Set("Content-Type", "application/xml")
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	w.Write(body)
}
