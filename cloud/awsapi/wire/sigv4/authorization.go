package sigv4

import (
	"encoding/hex"
	"net/http"
	"net/url"
	"slices"
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
	scope         string // date, Region, service and terminator, as they were sent
	date          string // yyyymmdd, of the scope
	region        string
	service       string
	row           *wire.Service // what is known of the service
	signedHeaders []string      // lower case, ascending
	signature     [32]byte
	time          time.Time
	timeText      string        // in timeLayout
	expires       time.Duration // of a presigned URL; 0 is not given
	token         string
}

// s3 reports whether the signature follows S3's rules, which differ.
func (a *authorization) s3() bool { return a.row.Protocol == wire.S3 }

// read reads the signature from the header or the query.
func (a *authorization) read(r *http.Request, t *target) error {
	headers := r.Header["Authorization"]
	_, inQuery := t.param(paramSignature)
	if !inQuery {
		_, inQuery = t.param(paramAlgorithm)
	}
	switch {
	case len(headers) > 1, len(headers) == 1 && inQuery:
		return refuse("", malformed, "Only one signature is allowed: send one Authorization header, or the X-Amz- query parameters of a presigned URL.")
	case len(headers) == 1:
		return a.readHeader(r, headers[0])
	case inQuery:
		a.presigned = true
		return asQuery(a.readQuery(t))
	case hasV2(t):
		return refuse("s3", malformed, "The URL is presigned with Signature Version 2, which is not supported. Presign with Signature Version 4 (%s): AWS CLI version 1 does after `aws configure set default.s3.signature_version s3v4`.", algorithm)
	}
	return refuse("", missing, "Missing Authentication Token: the request is not signed. Sign it with AWS Signature Version 4 (configure an access key for the client).")
}

// hasV2 reports whether a URL is presigned as it was before Signature Version 4.
// Only S3 had that.
func hasV2(t *target) bool {
	_, key := t.param(paramV2Key)
	_, signature := t.param("Signature")
	return key && signature
}

// headerParts are the names of what an Authorization header consists of.
var headerParts = []string{"Credential", "SignedHeaders", "Signature"}

func (a *authorization) readHeader(r *http.Request, header string) error {
	if len(header) > maxAuthorization {
		return refuse("", malformed, "The Authorization header has %d bytes, at most %d are read.", len(header), maxAuthorization)
	}
	scheme, rest, _ := strings.Cut(header, " ")
	if err := checkAlgorithm(scheme); err != nil {
		return err
	}
	var parts [3]string
	var found [len(parts)]bool
	for part := range strings.SplitSeq(rest, ",") {
		name, value, ok := strings.Cut(strings.Trim(part, " \t"), "=")
		i := slices.Index(headerParts, name)
		if !ok || i < 0 || found[i] {
			return refuse("", malformed, "Authorization header does not consist of Credential=…, SignedHeaders=…, Signature=…, each once; found %.100q.", part)
		}
		parts[i], found[i] = value, true
	}
	if err := a.parse(parts[0], parts[1], parts[2]); err != nil {
		return err
	}
	if err := a.parseHeaderDate(r); err != nil {
		return err
	}
	switch tokens := r.Header["X-Amz-Security-Token"]; len(tokens) {
	case 0:
	case 1:
		a.token = tokens[0]
	default:
		return refuse(a.service, badToken, "The header X-Amz-Security-Token stands there %d times, send it once.", len(tokens))
	}
	return nil
}

// parseHeaderDate takes X-Amz-Date, else Date, which old clients sign instead.
func (a *authorization) parseHeaderDate(r *http.Request) error {
	if values := r.Header[paramDate]; len(values) > 0 {
		if len(values) > 1 {
			return refuse(a.service, malformed, "The header X-Amz-Date stands there %d times, send it once.", len(values))
		}
		return a.setTime(values[0])
	}
	values := r.Header["Date"]
	if len(values) != 1 {
		return refuse(a.service, malformed, "Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header.")
	}
	at, err := http.ParseTime(values[0])
	if err != nil {
		return a.setTime(values[0])
	}
	for _, name := range a.signedHeaders {
		if name == "date" {
			a.time, a.timeText = at.UTC(), at.UTC().Format(timeLayout)
			return nil
		}
	}
	return refuse(a.service, unsigned, "The Date header is not signed. Sign it, or send and sign X-Amz-Date.")
}

func (a *authorization) setTime(s string) error {
	at, ok := parseTime(s)
	if !ok {
		return refuse(a.service, malformed, "Date %.100q is not in ISO-8601 basic format; write yyyymmddThhmmssZ, in UTC.", s)
	}
	a.time, a.timeText = at, s
	return nil
}

// parseTime reads a time in timeLayout, in a fifth of the time that time.Parse takes.
func parseTime(s string) (at time.Time, ok bool) {
	if len(s) != len(timeLayout) || s[8] != 'T' || s[15] != 'Z' {
		return at, false
	}
	ok = true
	number := func(digits string) (n int) {
		for i := range len(digits) {
			ok = ok && '0' <= digits[i] && digits[i] <= '9'
			n = 10*n + int(digits[i]-'0')
		}
		return n
	}
	year, month, day := number(s[:4]), number(s[4:6]), number(s[6:8])
	hour, minute, second := number(s[9:11]), number(s[11:13]), number(s[13:15])
	at = time.Date(year, time.Month(month), day, hour, minute, second, 0, time.UTC)
	// Date takes what does not exist for something else.
	gotYear, gotMonth, gotDay := at.Date()
	gotHour, gotMinute, gotSecond := at.Clock()
	return at, ok && gotYear == year && int(gotMonth) == month && gotDay == day && gotHour == hour && gotMinute == minute && gotSecond == second
}

func (a *authorization) readQuery(t *target) error {
	values := make(map[string]string, 8)
	for _, name := range []string{paramAlgorithm, paramCredential, paramDate, paramExpires, paramSignedHeaders, paramSignature, paramToken} {
		value, ok := t.param(name)
		if !ok {
			continue
		}
		if t.count(name) > 1 {
			return refuse("", malformed, "Query parameter %s stands there more than once.", name)
		}
		values[name] = value
	}
	if err := checkAlgorithm(values[paramAlgorithm]); err != nil {
		return err
	}
	a.token = values[paramToken]
	if err := a.parse(values[paramCredential], values[paramSignedHeaders], values[paramSignature]); err != nil {
		return err
	}
	if err := a.setTime(values[paramDate]); err != nil {
		return err
	}
	s, given := values[paramExpires]
	if !given && !a.s3() {
		return nil
	}
	seconds, err := strconv.ParseUint(s, 10, 32)
	if err != nil || seconds == 0 || time.Duration(seconds)*time.Second > MaxExpiry {
		return refuse(a.service, malformed, "X-Amz-Expires is %.100q; write a number of seconds from 1 to %d.", s, int(MaxExpiry.Seconds()))
	}
	a.expires = time.Duration(seconds) * time.Second
	return nil
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
	var scope [5]string
	if strings.Count(credential, "/") != len(scope)-1 {
		return refuse("", malformed, "Credential %.200q is not in the form key/date/region/service/%s.", credential, terminator)
	}
	rest := credential
	for i := range scope {
		scope[i], rest, _ = strings.Cut(rest, "/")
	}
	for _, part := range scope {
		if part == "" || len(part) > maxScopePart || !ofScope.makeUp(part) {
			return refuse("", malformed, "Credential %.200q has a part that is empty, too long or not plain letters, digits, '-', '_' and '.'.", credential)
		}
	}
	a.scope = credential[len(scope[0])+len("/"):]
	a.keyID, a.date, a.region, a.service, a.row = scope[0], scope[1], scope[2], scope[3], wire.Find(scope[3])
	if scope[4] != terminator {
		return refuse(a.service, malformed, "Credential should be scoped with a valid terminator: %q, not %q.", terminator, scope[4])
	}
	a.signedHeaders = strings.Split(signedHeaders, ";")
	if len(a.signedHeaders) > maxSignedHeaders {
		return refuse(a.service, malformed, "SignedHeaders names %d headers, at most %d are allowed.", len(a.signedHeaders), maxSignedHeaders)
	}
	last := ""
	for _, name := range a.signedHeaders {
		if name <= last || !ofHeader.makeUp(name) {
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

// unescape decodes a canonical query value, which cannot be malformed any more.
func unescape(s string) string {
	plain, err := url.PathUnescape(s)
	if err != nil {
		return s
	}
	return plain
}
