package sigv4

import (
	"errors"
	"fmt"
	"net/http"

	"github.com/fescue-edge/fescue/cloud/awsapi/wire"
)

// Error is a refusal, in the words of the service that the request was signed
// for: its wire only has to render it.
type Error struct {
	// Code is AWS's name of the error, for example "InvalidSignatureException".
	Code string
	// Status is the HTTP status.
	Status int
	// Message says what is wrong and what to do. It holds no secret and no
	// signature.
	Message string

	fault     fault
	service   string // of the credential scope, "" when none could be read
	presigned bool
}

// Error is the code and the message.
func (e *Error) Error() string { return e.Code + ": " + e.Message }

// In is the refusal with the code and the status that a service has for it:
// where a signature is missing or cannot be read, it does not say which service
// it is for.
func (e *Error) In(service string) *Error {
	row := refusals[e.fault][wire.Find(service).Protocol]
	answer := *e
	answer.Code, answer.Status = row.Code, row.Status
	if e.presigned && answer.Code == "AuthorizationHeaderMalformed" {
		answer.Code = "AuthorizationQueryParametersError"
	}
	return &answer
}

// asQuery marks a refusal as one of a presigned URL: S3 has a code for them.
func asQuery(err error) error {
	if e := (*Error)(nil); errors.As(err, &e) {
		e.presigned = true
		return e.In(e.service)
	}
	return err
}

// fault is what is wrong with a request.
type fault int

const (
	missing      fault = iota // neither form of signature is there
	malformed                 // a signature that cannot be read
	wrongScope                // date or Region of the credential scope
	unknownKey                // no such access key
	badToken                  // session token missing, wrong or unwanted
	expiredKey                // temporary key past its time
	skewed                    // date too far from the clock
	expiredURL                // presigned URL past its time
	unsigned                  // a header that must be signed is not
	badPayload                // x-amz-content-sha256 is missing or malformed
	badSignature              // the signature does not match
	badBody                   // the body is not the one that was signed
	badChunk                  // aws-chunked framing that cannot be read
	badTrailer                // a trailer that is not the announced one
	faults
)

// refusals are the codes of each fault, by protocol. Sources: IAM user guide
// "Troubleshoot signed requests", "Common Errors" of each API reference, Amazon
// S3 API reference "Error Responses". JSON 1.1 services answer every client
// error with 400.
var refusals = [faults]wire.Words{
	missing: {
		{Code: "MissingAuthenticationTokenException", Status: http.StatusForbidden},
		{Code: "MissingAuthenticationTokenException", Status: http.StatusBadRequest},
		{Code: "MissingAuthenticationToken", Status: http.StatusForbidden},
		{Code: "AccessDenied", Status: http.StatusForbidden},
	},
	malformed: {
		{Code: "IncompleteSignatureException", Status: http.StatusBadRequest},
		{Code: "IncompleteSignatureException", Status: http.StatusBadRequest},
		{Code: "IncompleteSignature", Status: http.StatusBadRequest},
		{Code: "AuthorizationHeaderMalformed", Status: http.StatusBadRequest},
	},
	wrongScope: {
		{Code: "InvalidSignatureException", Status: http.StatusForbidden},
		{Code: "InvalidSignatureException", Status: http.StatusBadRequest},
		{Code: "SignatureDoesNotMatch", Status: http.StatusForbidden},
		{Code: "AuthorizationHeaderMalformed", Status: http.StatusBadRequest},
	},
	unknownKey: {
		{Code: "UnrecognizedClientException", Status: http.StatusForbidden},
		{Code: "UnrecognizedClientException", Status: http.StatusBadRequest},
		{Code: "InvalidClientTokenId", Status: http.StatusForbidden},
		{Code: "InvalidAccessKeyId", Status: http.StatusForbidden},
	},
	badToken: {
		{Code: "UnrecognizedClientException", Status: http.StatusForbidden},
		{Code: "UnrecognizedClientException", Status: http.StatusBadRequest},
		{Code: "InvalidClientTokenId", Status: http.StatusForbidden},
		{Code: "InvalidToken", Status: http.StatusBadRequest},
	},
	expiredKey: {
		{Code: "ExpiredTokenException", Status: http.StatusForbidden},
		{Code: "ExpiredTokenException", Status: http.StatusBadRequest},
		{Code: "ExpiredToken", Status: http.StatusForbidden},
		{Code: "ExpiredToken", Status: http.StatusBadRequest},
	},
	skewed: {
		{Code: "InvalidSignatureException", Status: http.StatusForbidden},
		{Code: "InvalidSignatureException", Status: http.StatusBadRequest},
		{Code: "SignatureDoesNotMatch", Status: http.StatusForbidden},
		{Code: "RequestTimeTooSkewed", Status: http.StatusForbidden},
	},
	expiredURL: {
		{Code: "InvalidSignatureException", Status: http.StatusForbidden},
		{Code: "InvalidSignatureException", Status: http.StatusBadRequest},
		{Code: "SignatureDoesNotMatch", Status: http.StatusForbidden},
		{Code: "AccessDenied", Status: http.StatusForbidden},
	},
	unsigned: {
		{Code: "InvalidSignatureException", Status: http.StatusForbidden},
		{Code: "InvalidSignatureException", Status: http.StatusBadRequest},
		{Code: "SignatureDoesNotMatch", Status: http.StatusForbidden},
		{Code: "AccessDenied", Status: http.StatusForbidden},
	},
	badPayload: {
		{Code: "IncompleteSignatureException", Status: http.StatusBadRequest},
		{Code: "IncompleteSignatureException", Status: http.StatusBadRequest},
		{Code: "IncompleteSignature", Status: http.StatusBadRequest},
		{Code: "InvalidRequest", Status: http.StatusBadRequest},
	},
	badSignature: {
		{Code: "InvalidSignatureException", Status: http.StatusForbidden},
		{Code: "InvalidSignatureException", Status: http.StatusBadRequest},
		{Code: "SignatureDoesNotMatch", Status: http.StatusForbidden},
		{Code: "SignatureDoesNotMatch", Status: http.StatusForbidden},
	},
	badBody: {
		{Code: "InvalidSignatureException", Status: http.StatusForbidden},
		{Code: "InvalidSignatureException", Status: http.StatusBadRequest},
		{Code: "SignatureDoesNotMatch", Status: http.StatusForbidden},
		{Code: "XAmzContentSHA256Mismatch", Status: http.StatusBadRequest},
	},
	// Only s3 gets as far as a chunk.
	badChunk:   {wire.S3: {Code: "IncompleteBody", Status: http.StatusBadRequest}},
	badTrailer: {wire.S3: {Code: "MalformedTrailerError", Status: http.StatusBadRequest}},
}

// refuse is the Error of a fault as the service says it. An empty service, when
// none could be read, speaks REST-JSON.
func refuse(service string, f fault, format string, args ...any) *Error {
	e := &Error{Message: fmt.Sprintf(format, args...), fault: f, service: service}
	return e.In(service)
}
