package sigv4

import (
	"encoding/hex"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/fescue-edge/fescue/cloud/awsapi/wire"
)

const (
	algorithm  = "AWS4-HMAC-SHA256"
	terminator = "aws4_request"
	dateLayout = "20060102"
	timeLayout = "20060102T150405Z"

	// Limits of what is parsed before anything is known about the sender.
	maxAuthorization = 8 << 10
	maxSignedHeaders = 100
	maxScopePart     = 128
)

// Names of the query parameters of a presigned URL.
const (
	paramAlgorithm     = "X-Amz-Algorithm"
	paramCredential    = "X-Amz-Credential"
	paramDate          = "X-Amz-Date"
	paramExpires       = "X-Amz-Expires"
	paramSignedHeaders = "X-Amz-SignedHeaders"
	paramSignature     = "X-Amz-Signature"
	paramToken         = "X-Amz-Security-Token"
	paramPayload       = "X-Amz-Content-Sha256"
	paramV2Key         = "AWSAccessKeyId" // of Signature Version 2
)

// authorization is what the signature says about itself.
type authorization struct {
	presigned     bool
	keyID         string
	date          string // yyyymmdd, of the scope
	region        string
	service       string
	signedHeaders []string // lower case, ascending
	signature     [32]byte
	time          time.Time
	expires       time.Duration // of a presigned URL; 0 is not given
	token         string
}

func (a *authorization) scope() string {
	return a.date + "/" + a.region + "/" + a.service + "/" + terminator
}

// row is what is known of the service that the signature is for.
func (a *authorization) row() wire.Service { return wire.Find(a.service) }

// s3 reports whether the signature follows S3's rules, which differ.
func (a *authorization) s3() bool { return a.row().Protocol == wire.S3 }

// parseAuthorization reads the signature from the header or the query.
func parseAuthorization(r *http.Request, t *target) (*authorization, error) {
	headers := r.Header["Authorization"]
	_, inQuery := t.param(paramSignature)
	if !inQuery {
		_, inQuery = t.param(paramAlgorithm)
	}
	switch {
	case len(headers) > 1, len(headers) == 1 && inQuery:
		return nil, refuse("", malformed, "Only one signature is allowed: send one Authorization header, or the X-Amz- query parameters of a presigned URL.")
	case len(headers) == 1:
		return parseHeader(r, headers[0])
	case inQuery:
		a, err := parseQuery(t)
		return a, asQuery(err)
	case hasV2(t):
		return nil, refuse("s3", malformed, "The URL is presigned with Signature Version 2, which is not supported. Presign with Signature Version 4 (%s): AWS CLI version 1 does after `aws configure set default.s3.signature_version s3v4`.", algorithm)
	}
	return nil, refuse("", missing, "Missing Authentication Token: the request is not signed. Sign it with AWS Signature Version 4 (configure an access key for the client).")
}

// hasV2 reports whether a URL is presigned as it was before Signature Version 4.
// Only S3 had that.
func hasV2(t *target) bool {
	_, key := t.param(paramV2Key)
	_, signature := t.param("Signature")
	return key && signature
}

func parseHeader(r *http.Request, header string) (*authorization, error) {
	if len(header) > maxAuthorization {
		return nil, refuse("", malformed, "The Authorization header has %d bytes, at most %d are read.", len(header), maxAuthorization)
	}
	scheme, rest, _ := strings.Cut(header, " ")
	if err := checkAlgorithm(scheme); err != nil {
		return nil, err
	}
	parts := make(map[string]string, 3)
	for part := range strings.SplitSeq(rest, ",") {
		name, value, ok := strings.Cut(strings.Trim(part, " \t"), "=")
		if _, twice := parts[name]; !ok || twice || name != "Credential" && name != "SignedHeaders" && name != "Signature" {
			return nil, refuse("", malformed, "Authorization header does not consist of Credential=…, SignedHeaders=…, Signature=…, each once; found %.100q.", part)
		}
		parts[name] = value
	}
	a := &authorization{}
	if err := a.parse(parts["Credential"], parts["SignedHeaders"], parts["Signature"]); err != nil {
		return nil, err
	}
	if err := a.parseHeaderDate(r); err != nil {
		return nil, err
	}
	switch tokens := r.Header["X-Amz-Security-Token"]; len(tokens) {
	case 0:
	case 1:
		a.token = tokens[0]
	default:
		return nil, refuse(a.service, badToken, "The header X-Amz-Security-Token stands there %d times, send it once.", len(tokens))
	}
	return a, nil
}

// parseHeaderDate takes X-Amz-Date, else Date, which old clients sign instead.
func (a *authorization) parseHeaderDate(r *http.Request) error {
	if values := r.Header[paramDate]; len(values) > 0 {
		if len(values) > 1 {
			return refuse(a.service, malformed, "The header X-Amz-Date stands there %d times, send it once.", len(values))
		}
		return a.parseTime(values[0])
	}
	values := r.Header["Date"]
	if len(values) != 1 {
		return refuse(a.service, malformed, "Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header.")
	}
	at, err := http.ParseTime(values[0])
	if err != nil {
		return a.parseTime(values[0])
	}
	for _, name := range a.signedHeaders {
		if name == "date" {
			a.time = at.UTC()
			return nil
		}
	}
	return refuse(a.service, unsigned, "The Date header is not signed. Sign it, or send and sign X-Amz-Date.")
}

func (a *authorization) parseTime(s string) error {
	at, err := time.Parse(timeLayout, s)
	// Parse alone accepts fractions of a second.
	if err != nil || at.Format(timeLayout) != s {
		return refuse(a.service, malformed, "Date %.100q is not in ISO-8601 basic format; write yyyymmddThhmmssZ, in UTC.", s)
	}
	a.time = at
	return nil
}

func parseQuery(t *target) (*authorization, error) {
	values := make(map[string]string, 8)
	for _, name := range []string{paramAlgorithm, paramCredential, paramDate, paramExpires, paramSignedHeaders, paramSignature, paramToken} {
		value, ok := t.param(name)
		if !ok {
			continue
		}
		if t.count(name) > 1 {
			return nil, refuse("", malformed, "Query parameter %s stands there more than once.", name)
		}
		values[name] = value
	}
	if err := checkAlgorithm(values[paramAlgorithm]); err != nil {
		return nil, err
	}
	a := &authorization{presigned: true, token: values[paramToken]}
	if err := a.parse(values[paramCredential], values[paramSignedHeaders], values[paramSignature]); err != nil {
		return nil, err
	}
	if err := a.parseTime(values[paramDate]); err != nil {
		return nil, err
	}
	s, given := values[paramExpires]
	if !given && !a.s3() {
		return a, nil
	}
	seconds, err := strconv.ParseUint(s, 10, 32)
	if err != nil || seconds == 0 || time.Duration(seconds)*time.Second > MaxExpiry {
		return nil, refuse(a.service, malformed, "X-Amz-Expires is %.100q; write a number of seconds from 1 to %d.", s, int(MaxExpiry.Seconds()))
	}
	a.expires = time.Duration(seconds) * time.Second
	return a, nil
}

func checkAlgorithm(s string) error {
	switch s {
	case algorithm:
		return nil
	case "AWS":
		return refuse("", malformed, "Signature Version 2 is not supported. Sign with Signature Version 4 (%s).", algorithm)
	default:
		return refuse("", malformed, "Signing algorithm %.100q is not supported. Sign with Signature Version 4 (%s).", s, algorithm)
	}
}

// parse reads the three parts that both forms have.
func (a *authorization) parse(credential, signedHeaders, signature string) error {
	if credential == "" || signedHeaders == "" || signature == "" {
		return refuse("", malformed, "The signature lacks Credential, SignedHeaders or Signature.")
	}
	scope := strings.Split(credential, "/")
	if len(scope) != 5 {
		return refuse("", malformed, "Credential %.200q is not in the form key/date/region/service/%s.", credential, terminator)
	}
	for _, part := range scope {
		if part == "" || len(part) > maxScopePart || strings.ContainsFunc(part, isNotScope) {
			return refuse("", malformed, "Credential %.200q has a part that is empty, too long or not plain letters, digits, '-', '_' and '.'.", credential)
		}
	}
	a.keyID, a.date, a.region, a.service = scope[0], scope[1], scope[2], scope[3]
	if scope[4] != terminator {
		return refuse(a.service, malformed, "Credential should be scoped with a valid terminator: %q, not %q.", terminator, scope[4])
	}
	if _, err := time.Parse(dateLayout, a.date); err != nil {
		return refuse(a.service, malformed, "Date in Credential scope %q is not a date; write yyyymmdd.", a.date)
	}
	a.signedHeaders = strings.Split(signedHeaders, ";")
	if len(a.signedHeaders) > maxSignedHeaders {
		return refuse(a.service, malformed, "SignedHeaders names %d headers, at most %d are allowed.", len(a.signedHeaders), maxSignedHeaders)
	}
	last := ""
	for _, name := range a.signedHeaders {
		if name <= last || strings.ContainsFunc(name, isNotHeader) {
			return refuse(a.service, malformed, "SignedHeaders must be lower-case header names in ascending order, separated by ';'; found %.100q after %.100q.", name, last)
		}
		last = name
	}
	if len(signature) != hex.EncodedLen(len(a.signature)) {
		return refuse(a.service, malformed, "Signature has %d characters, it must be %d hexadecimal digits.", len(signature), hex.EncodedLen(len(a.signature)))
	}
	if _, err := hex.Decode(a.signature[:], []byte(signature)); err != nil {
		return refuse(a.service, malformed, "Signature is not hexadecimal.")
	}
	return nil
}

func isNotScope(r rune) bool {
	return !('a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || r == '-' || r == '_' || r == '.')
}

// isNotHeader refuses what cannot stand in a lower-case header name (RFC 9110,
// token).
func isNotHeader(r rune) bool {
	return !('a' <= r && r <= 'z' || '0' <= r && r <= '9' || strings.ContainsRune("!#$%&'*+-.^_`|~", r))
}

// unescape decodes a canonical query value, which cannot be malformed any more.
func unescape(s string) string {
	plain, err := url.PathUnescape(s)
	if err != nil {
		return s
	}
	return plain
}
