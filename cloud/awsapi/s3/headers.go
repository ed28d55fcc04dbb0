package s3

import (
	"encoding/base64"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/fescue-edge/fescue/cloud/buckets"
)

const (
	copySource  = "X-Amz-Copy-Source"
	metaPrefix  = "X-Amz-Meta-"
	sumPrefix   = "X-Amz-Checksum-"
	defaultType = "binary/octet-stream"
)

// unsupported are headers that ask for something that is not there. What they
// may say without asking for it is allowed.
var unsupported = map[string][]string{
	"X-Amz-Acl":                                       {"private", "bucket-owner-full-control"},
	"X-Amz-Grant-Full-Control":                        nil,
	"X-Amz-Grant-Read":                                nil,
	"X-Amz-Grant-Read-Acp":                            nil,
	"X-Amz-Grant-Write":                               nil,
	"X-Amz-Grant-Write-Acp":                           nil,
	"X-Amz-Tagging":                                   nil,
	"X-Amz-Website-Redirect-Location":                 nil,
	"X-Amz-Object-Lock-Mode":                          nil,
	"X-Amz-Object-Lock-Legal-Hold":                    {"OFF"},
	"X-Amz-Object-Lock-Retain-Until-Date":             nil,
	"X-Amz-Bucket-Object-Lock-Enabled":                {"false"},
	"X-Amz-Server-Side-Encryption":                    nil,
	"X-Amz-Server-Side-Encryption-Customer-Algorithm": nil,
	"X-Amz-Write-Offset-Bytes":                        nil,
}

// checkHeaders refuses what would be promised and not kept.
func checkHeaders(r *request) error {
	for name, harmless := range unsupported {
		value := r.header.Get(name)
		if value == "" || slices.Contains(harmless, value) {
			continue
		}
		if strings.HasPrefix(name, "X-Amz-Acl") || strings.HasPrefix(name, "X-Amz-Grant") {
			return wire(http.StatusBadRequest, "AccessControlListNotSupported", "The bucket does not allow ACLs: whoever has an access key of the account may read and write all of its buckets.")
		}
		return notImplemented("the header %s: %.40s", strings.ToLower(name), value)
	}
	if owner := r.header.Get("X-Amz-Expected-Bucket-Owner"); owner != "" && owner != r.Partition.Account {
		return wire(http.StatusForbidden, "AccessDenied", "Access Denied: the bucket's owner is another account than x-amz-expected-bucket-owner says.")
	}
	if version := r.query.Get("versionId"); version != "" && version != "null" {
		return wire(http.StatusNotFound, "NoSuchVersion", "The specified version does not exist: this server keeps no versions of objects.")
	}
	return nil
}

// kept are the headers that come back with an object, each with the parameter
// that stands in for it in an answer.
var kept = []struct {
	name, override string
	of             func(*buckets.ObjectSettings) *string
}{
	{"Content-Type", "response-content-type", func(o *buckets.ObjectSettings) *string { return &o.ContentType }},
	{"Cache-Control", "response-cache-control", func(o *buckets.ObjectSettings) *string { return &o.CacheControl }},
	{"Content-Disposition", "response-content-disposition", func(o *buckets.ObjectSettings) *string { return &o.ContentDisposition }},
	{"Content-Encoding", "response-content-encoding", func(o *buckets.ObjectSettings) *string { return &o.ContentEncoding }},
	{"Content-Language", "response-content-language", func(o *buckets.ObjectSettings) *string { return &o.ContentLanguage }},
	{"Expires", "response-expires", func(o *buckets.ObjectSettings) *string { return &o.Expires }},
}

// settings are what a request sends with an object.
func (r *request) settings() (o buckets.ObjectSettings, err error) {
	for _, h := range kept {
		*h.of(&o) = strings.Join(r.header[h.name], ", ")
	}
	o.ContentEncoding = withoutFraming(o.ContentEncoding)
	if o.ContentType == "" {
		o.ContentType = defaultType
	}
	for name, values := range r.header {
		if rest, ok := strings.CutPrefix(name, metaPrefix); ok && rest != "" {
			if o.Metadata == nil {
				o.Metadata = make(map[string]string)
			}
			o.Metadata[strings.ToLower(rest)] = strings.Join(values, ",")
		}
	}
	for _, h := range kept {
		if !text8(*h.of(&o)) {
			return o, invalidArgument("The header %s is not UTF-8.", h.name)
		}
	}
	for name, value := range o.Metadata {
		if !text8(value) {
			return o, invalidArgument("The header x-amz-meta-%.100s is not UTF-8.", name)
		}
	}
	return o, nil
}

// withoutFraming drops aws-chunked from a list of encodings: it was decoded.
func withoutFraming(encodings string) string {
	var rest []string
	for e := range strings.SplitSeq(encodings, ",") {
		if e = strings.TrimSpace(e); e != "" && e != "aws-chunked" {
			rest = append(rest, e)
		}
	}
	return strings.Join(rest, ", ")
}

// writeSettings puts what came with an object into an answer.
func writeSettings(h http.Header, o buckets.ObjectSettings, query url.Values) {
	for _, k := range kept {
		value := *k.of(&o)
		if query.Has(k.override) {
			value = query.Get(k.override)
		}
		if value != "" {
			h.Set(k.name, value)
		}
	}
	for name, value := range o.Metadata {
		// In lower case, which Set would not keep: boto3 shows names as they come.
		h[strings.ToLower(metaPrefix+name)] = []string{value}
	}
}

// digests are the MD5 and the checksum that a request says its body has.
func (r *request) digests() (md5 []byte, sum buckets.Checksum, err error) {
	if text := r.header.Get("Content-Md5"); text != "" {
		if md5, err = base64.StdEncoding.DecodeString(text); err != nil || len(md5) != 16 {
			return nil, sum, wire(http.StatusBadRequest, "InvalidDigest", "The Content-MD5 you specified is not valid.")
		}
	}
	sum.Algorithm = strings.ToUpper(r.header.Get("X-Amz-Sdk-Checksum-Algorithm"))
	for _, algorithm := range buckets.Algorithms() {
		name := http.CanonicalHeaderKey(sumPrefix + algorithm)
		for _, values := range [][]string{r.header[name], r.http.Trailer[name]} {
			for _, value := range values {
				if sum.Value != "" {
					return nil, sum, wire(http.StatusBadRequest, "InvalidRequest", "Expecting a single x-amz-checksum- header. Multiple checksum types are not allowed.")
				}
				sum = buckets.Checksum{Algorithm: algorithm, Value: value}
			}
		}
	}
	return md5, sum, nil
}

// fullObject is what x-amz-checksum-type says, nil for nothing.
func (r *request) fullObject() *bool {
	text := r.header.Get("X-Amz-Checksum-Type")
	if text == "" {
		return nil
	}
	full := text == "FULL_OBJECT"
	return &full
}

// writeSum puts a checksum into an answer.
func writeSum(h http.Header, sum buckets.Checksum) {
	if sum.Value != "" {
		h.Set(sumPrefix+sum.Algorithm, sum.Value)
		h.Set("X-Amz-Checksum-Type", sumType(sum))
	}
}

func sumType(sum buckets.Checksum) string {
	if sum.Composite {
		return "COMPOSITE"
	}
	return "FULL_OBJECT"
}

func quote(etag string) string { return `"` + etag + `"` }

// conditions are the headers that make a request depend on an object (RFC 9110,
// section 13), with the prefix x-amz-copy-source- where they are about a source.
func (r *request) conditions(prefix string, o buckets.Object, unchanged error) error {
	failed := wire(http.StatusPreconditionFailed, "PreconditionFailed", "At least one of the pre-conditions you specified did not hold.")
	get := func(name string) string { return r.header.Get(prefix + name) }
	since := func(name string) (at time.Time, ok bool) {
		at, err := http.ParseTime(get(name))
		return at, err == nil
	}
	modified := o.ModifiedAt.Truncate(time.Second)
	if match := get("If-Match"); match != "" {
		if !matches(match, o.ETag) {
			return failed
		}
	} else if at, ok := since("If-Unmodified-Since"); ok && modified.After(at) {
		return failed
	}
	if match := get("If-None-Match"); match != "" {
		if matches(match, o.ETag) {
			return unchanged
		}
	} else if at, ok := since("If-Modified-Since"); ok && !modified.After(at) {
		return unchanged
	}
	return nil
}

// matches reports whether a list of entity tags has the one of an object.
func matches(list, etag string) bool {
	for tag := range strings.SplitSeq(list, ",") {
		tag = strings.TrimSpace(tag)
		if tag == "*" || strings.Trim(strings.TrimPrefix(tag, "W/"), `"`) == etag {
			return true
		}
	}
	return false
}

// writeConditions are those of a request that writes an object.
func (r *request) writeConditions() (onlyNew bool, onlyETag string, err error) {
	switch match := r.header.Get("If-None-Match"); match {
	case "":
	case "*":
		onlyNew = true
	default:
		return false, "", notImplemented("a write with If-None-Match other than *")
	}
	onlyETag = strings.Trim(r.header.Get("If-Match"), `"`)
	if onlyETag == "*" || onlyNew && onlyETag != "" {
		return false, "", notImplemented("a write with If-Match: * or with both conditions")
	}
	return onlyNew, onlyETag, nil
}

// parseRange reads a Range header for an object of that size. Several ranges, or
// what cannot be read, count as no range, which the RFC allows.
func parseRange(header string, size int64) (want buckets.Range, partial bool, err error) {
	whole := buckets.Range{Length: size}
	text, ok := strings.CutPrefix(header, "bytes=")
	first, last, dash := strings.Cut(text, "-")
	if !ok || !dash || strings.Contains(text, ",") {
		return whole, false, nil
	}
	unsatisfiable := wire(http.StatusRequestedRangeNotSatisfiable, "InvalidRange", "The requested range is not satisfiable: the object has %d bytes.", size)
	if first == "" {
		n, err := strconv.ParseUint(last, 10, 63)
		switch {
		case err != nil:
			return whole, false, nil
		case n == 0 || size == 0:
			return whole, false, unsatisfiable
		}
		length := min(int64(n), size)
		return buckets.Range{Offset: size - length, Length: length}, true, nil
	}
	from, err := strconv.ParseUint(first, 10, 63)
	if err != nil {
		return whole, false, nil
	}
	to := uint64(size) - 1
	if last != "" {
		if to, err = strconv.ParseUint(last, 10, 63); err != nil || to < from {
			return whole, false, nil
		}
	}
	if int64(from) >= size {
		return whole, false, unsatisfiable
	}
	return buckets.Range{Offset: int64(from), Length: min(int64(to), size-1) - int64(from) + 1}, true, nil
}

// source is the object to be copied, which the caller may read.
func (r *request) source() (bucket, key string, err error) {
	if bucket, key, err = r.parseSource(); err != nil {
		return "", "", err
	}
	name := r.Operation
	err = r.admit("GetObject", bucket, key)
	r.Operation = name
	return bucket, key, err
}

// parseSource reads x-amz-copy-source: a bucket and a key, percent-encoded.
func (r *request) parseSource() (bucket, key string, err error) {
	text, version, _ := strings.Cut(r.header.Get(copySource), "?")
	if id, ok := strings.CutPrefix(version, "versionId="); version != "" && (!ok || id != "null") {
		return "", "", wire(http.StatusNotFound, "NoSuchVersion", "The specified version does not exist: this server keeps no versions of objects.")
	}
	plain, err := url.PathUnescape(strings.TrimPrefix(text, "/"))
	bucket, key, ok := strings.Cut(plain, "/")
	if err != nil || !ok || !text8(plain) {
		return "", "", invalidArgument("Copy Source must mention the source bucket and key: sourcebucket/sourcekey.")
	}
	return bucket, key, nil
}
