package sigv4

import (
	"errors"
	"fmt"
	"net/http"
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
// where a signature is missing or cannot be read, it does not tell which service
// it is for.
func (e *Error) In(service string) *Error {
	row := refusals[e.fault][familyOf(service)]
	told := *e
	told.Code, told.Status = row.code, row.status
	if e.presigned && told.Code == "AuthorizationHeaderMalformed" {
		told.Code = "AuthorizationQueryParametersError"
	}
	return &told
}

// asQuery marks a refusal as one of a presigned URL: S3 has a code for them.
func asQuery(err error) error {
	if e := (*Error)(nil); errors.As(err, &e) {
		e.presigned = true
		return e.In(e.service)
	}
	return err
}

// family is the services that name their errors alike.
type family int

const (
	restFamily  family = iota // REST-JSON: greengrass, iot, iotdata, lambda
	jsonFamily                // JSON 1.1: the same codes, always status 400
	queryFamily               // sts and iam
	s3Family
	families
)

func familyOf(service string) family {
	switch service {
	case "secretsmanager", "logs":
		return jsonFamily
	case "sts", "iam":
		return queryFamily
	case "s3":
		return s3Family
	}
	return restFamily
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

// refusal is a row of the table of codes.
type refusal struct {
	code   string
	status int
}

// refusals are the codes of each fault, by family. Sources: IAM user guide
// "Troubleshoot signed requests", "Common Errors" of each API reference, Amazon
// S3 API reference "Error Responses". JSON 1.1 services answer every client
// error with 400.
var refusals = [faults][families]refusal{
	missing: {
		{"MissingAuthenticationTokenException", http.StatusForbidden},
		{"MissingAuthenticationTokenException", http.StatusBadRequest},
		{"MissingAuthenticationToken", http.StatusForbidden},
		{"AccessDenied", http.StatusForbidden},
	},
	malformed: {
		{"IncompleteSignatureException", http.StatusBadRequest},
		{"IncompleteSignatureException", http.StatusBadRequest},
		{"IncompleteSignature", http.StatusBadRequest},
		{"AuthorizationHeaderMalformed", http.StatusBadRequest},
	},
	wrongScope: {
		{"InvalidSignatureException", http.StatusForbidden},
		{"InvalidSignatureException", http.StatusBadRequest},
		{"SignatureDoesNotMatch", http.StatusForbidden},
		{"AuthorizationHeaderMalformed", http.StatusBadRequest},
	},
	unknownKey: {
		{"UnrecognizedClientException", http.StatusForbidden},
		{"UnrecognizedClientException", http.StatusBadRequest},
		{"InvalidClientTokenId", http.StatusForbidden},
		{"InvalidAccessKeyId", http.StatusForbidden},
	},
	badToken: {
		{"UnrecognizedClientException", http.StatusForbidden},
		{"UnrecognizedClientException", http.StatusBadRequest},
		{"InvalidClientTokenId", http.StatusForbidden},
		{"InvalidToken", http.StatusBadRequest},
	},
	expiredKey: {
		{"ExpiredTokenException", http.StatusForbidden},
		{"ExpiredTokenException", http.StatusBadRequest},
		{"ExpiredToken", http.StatusForbidden},
		{"ExpiredToken", http.StatusBadRequest},
	},
	skewed: {
		{"InvalidSignatureException", http.StatusForbidden},
		{"InvalidSignatureException", http.StatusBadRequest},
		{"SignatureDoesNotMatch", http.StatusForbidden},
		{"RequestTimeTooSkewed", http.StatusForbidden},
	},
	expiredURL: {
		{"InvalidSignatureException", http.StatusForbidden},
		{"InvalidSignatureException", http.StatusBadRequest},
		{"SignatureDoesNotMatch", http.StatusForbidden},
		{"AccessDenied", http.StatusForbidden},
	},
	unsigned: {
		{"InvalidSignatureException", http.StatusForbidden},
		{"InvalidSignatureException", http.StatusBadRequest},
		{"SignatureDoesNotMatch", http.StatusForbidden},
		{"AccessDenied", http.StatusForbidden},
	},
	badPayload: {
		{"IncompleteSignatureException", http.StatusBadRequest},
		{"IncompleteSignatureException", http.StatusBadRequest},
		{"IncompleteSignature", http.StatusBadRequest},
		{"InvalidRequest", http.StatusBadRequest},
	},
	badSignature: {
		{"InvalidSignatureException", http.StatusForbidden},
		{"InvalidSignatureException", http.StatusBadRequest},
		{"SignatureDoesNotMatch", http.StatusForbidden},
		{"SignatureDoesNotMatch", http.StatusForbidden},
	},
	badBody: {
		{"InvalidSignatureException", http.StatusForbidden},
		{"InvalidSignatureException", http.StatusBadRequest},
		{"SignatureDoesNotMatch", http.StatusForbidden},
		{"XAmzContentSHA256Mismatch", http.StatusBadRequest},
	},
	// Only s3 gets as far as a chunk.
	badChunk:   {s3Family: {"IncompleteBody", http.StatusBadRequest}},
	badTrailer: {s3Family: {"MalformedTrailerError", http.StatusBadRequest}},
}

// refuse is the Error of a fault as the service says it. An empty service, when
// none could be read, speaks REST-JSON.
func refuse(service string, f fault, format string, args ...any) *Error {
	e := &Error{Message: fmt.Sprintf(format, args...), fault: f, service: service}
	return e.In(service)
}
