package bulk

import (
	"fmt"
	"net/url"
	"regexp"
	"strings"
	"unicode/utf8"
)

// URIError refuses where input is said to lie.
type URIError struct{ Text string }

// Error is the reason.
func (e *URIError) Error() string { return e.Text }

func badURI(format string, args ...any) error { return &URIError{fmt.Sprintf(format, args...)} }

// Bounds of an input URI (Amazon S3 user guide).
const (
	maxURI = 3072 // bytes, room for a key of which every byte is escaped
	maxKey = 1024
)

var (
	bucketPattern = regexp.MustCompile(`^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$`)
	// hostPattern are the hosts of S3: the bucket, where it stands in the host, and
	// the Region, where it is named.
	hostPattern = regexp.MustCompile(`^(?:(.+)\.)?s3(?:[.-](?:dualstack\.)?([a-z]{2}(?:-[a-z]+)+-[0-9]+))?\.amazonaws\.com(?:\.cn)?$`)
)

// ParseInputURI finds bucket and key in "s3://bucket/key" or in an object's URL
// at S3. The URL is only taken apart: what it names is read from the configured
// object store. Its Region, when it names one, must be the caller's.
func ParseInputURI(uri, region string) (bucket, key string, err error) {
	if len(uri) > maxURI {
		return "", "", badURI("InputFileUri has %d bytes; at most %d are taken.", len(uri), maxURI)
	}
	if rest, ok := strings.CutPrefix(uri, "s3://"); ok {
		bucket, key, _ = strings.Cut(rest, "/")
	} else if bucket, key, err = parseObjectURL(uri, region); err != nil {
		return "", "", err
	}
	if !bucketPattern.MatchString(bucket) {
		return "", "", badURI("InputFileUri names the bucket %.100q, which is not a bucket's name.", bucket)
	}
	if key == "" || len(key) > maxKey || !utf8.ValidString(key) || strings.Contains(key, "\x00") {
		return "", "", badURI("InputFileUri must name an object's key of 1 to %d bytes of UTF-8.", maxKey)
	}
	return bucket, key, nil
}

func parseObjectURL(uri, region string) (bucket, key string, err error) {
	u, err := url.Parse(uri)
	var host []string
	if err == nil && u.Scheme == "https" && u.User == nil && u.Port() == "" {
		host = hostPattern.FindStringSubmatch(u.Host)
	}
	if host == nil {
		return "", "", badURI("InputFileUri %.300q is neither s3://bucket/key nor https://bucket.s3.%s.amazonaws.com/key.", uri, region)
	}
	if u.RawQuery != "" || u.ForceQuery || u.Fragment != "" {
		return "", "", badURI("InputFileUri must end with the object's key: versions and signed URLs are not taken.")
	}
	if host[2] != "" && host[2] != region {
		return "", "", badURI("InputFileUri lies in the Region %s; the input must be in the Region of the bulk deployment, %s.", host[2], region)
	}
	bucket, key = host[1], strings.TrimPrefix(u.Path, "/")
	if bucket == "" {
		bucket, key, _ = strings.Cut(key, "/")
	}
	return bucket, key, nil
}
