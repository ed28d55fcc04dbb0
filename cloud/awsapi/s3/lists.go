package s3

import (
	"encoding/base64"
	"encoding/json"
	"encoding/xml"
	"math"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/fescue-edge/fescue/cloud/buckets"
)

// number is a parameter that is a number from 0 on.
func (r *request) number(name string, otherwise int) (int, error) {
	text := r.query.Get(name)
	if text == "" {
		return otherwise, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 0 || n > math.MaxInt32 {
		return 0, invalidArgument("Argument %s must be an integer between 0 and %d.", name, math.MaxInt32)
	}
	return n, nil
}

// limit is how many records the page of a list may have.
func (r *request) limit(name string, most int) (int, error) {
	n, err := r.number(name, most)
	return min(n, most), err
}

// encoding is how keys go into a document.
func (r *request) encoding() (func(string) string, error) {
	switch r.query.Get("encoding-type") {
	case "":
		return func(s string) string { return s }, nil
	case "url":
		return encodeKey, nil
	}
	return nil, invalidArgument("Invalid Encoding Method specified in Request: write url.")
}

// encodeKey percent-encodes a key. Slashes stay, as S3 has it.
func encodeKey(s string) string {
	return strings.ReplaceAll(strings.ReplaceAll(url.QueryEscape(s), "+", "%20"), "%2F", "/")
}

// maxToken bounds what is decoded: a position has two keys, in JSON, in base64.
const maxToken = 32 << 10

// token is a position as it goes to the caller.
func token(at buckets.Position) string {
	data, err := json.Marshal(at)
	if err != nil {
		panic("s3: a token does not encode: " + err.Error()) // a struct of two strings does
	}
	return base64.RawURLEncoding.EncodeToString(data)
}

func parseToken(text string) (at buckets.Position, err error) {
	data, err := base64.RawURLEncoding.DecodeString(text)
	if len(text) <= maxToken && err == nil && text8(string(data)) {
		err = json.Unmarshal(data, &at)
	}
	if err != nil || at.From == "" || !text8(at.From) || !text8(at.Except) {
		return buckets.Position{}, invalidArgument("The continuation token provided is incorrect.")
	}
	return at, nil
}

type listed struct {
	Key, LastModified, ETag string
	ChecksumAlgorithm       string
	ChecksumType            string
	Size                    int64
	StorageClass            string
	Owner                   *owner `xml:",omitempty"`
}

type commonPrefix struct{ Prefix string }

// listing is what both versions of the list have.
type listing struct {
	Name, Prefix   string
	Delimiter      string `xml:",omitempty"`
	MaxKeys        int
	EncodingType   string `xml:",omitempty"`
	IsTruncated    bool
	Contents       []listed
	CommonPrefixes []commonPrefix
}

// list reads what both versions have and asks for the page; encode is how the request
// wants keys.
func (a *API) list(r *request, after string, at buckets.Position, withOwner bool) (_ listing, _ buckets.Listing, encode func(string) string, _ error) {
	limit, err := r.limit("max-keys", buckets.MaxListed)
	if err != nil {
		return listing{}, buckets.Listing{}, nil, err
	}
	encode, err = r.encoding()
	if err != nil {
		return listing{}, buckets.Listing{}, nil, err
	}
	q := buckets.List{Prefix: r.query.Get("prefix"), Delimiter: r.query.Get("delimiter"), After: after, Position: at, Limit: limit}
	page, err := a.buckets.List(r.http.Context(), r.Partition, r.bucket, q)
	if err != nil {
		return listing{}, page, nil, err
	}
	answer := listing{
		Name: r.bucket, Prefix: encode(q.Prefix), Delimiter: encode(q.Delimiter), MaxKeys: limit,
		EncodingType: r.query.Get("encoding-type"), IsTruncated: page.Truncated,
	}
	for _, o := range page.Objects {
		row := listed{encode(o.Key), stamp(o.ModifiedAt), quote(o.ETag), o.Checksum.Algorithm, sumType(o.Checksum), o.Size, "STANDARD", nil}
		if withOwner {
			row.Owner = &owner{r.Partition.Account}
		}
		answer.Contents = append(answer.Contents, row)
	}
	for _, prefix := range page.Prefixes {
		answer.CommonPrefixes = append(answer.CommonPrefixes, commonPrefix{encode(prefix)})
	}
	return answer, page, encode, nil
}

func (a *API) listObjectsV2(w http.ResponseWriter, r *request) error {
	if r.query.Get("list-type") != "2" {
		return invalidArgument("Invalid List Type specified in Request: write 2.")
	}
	var at buckets.Position
	var err error
	given := r.query.Get("continuation-token")
	if r.query.Has("continuation-token") {
		if at, err = parseToken(given); err != nil {
			return err
		}
	}
	body, page, encode, err := a.list(r, r.query.Get("start-after"), at, r.query.Get("fetch-owner") == "true")
	if err != nil {
		return err
	}
	answer := struct {
		XMLName xml.Name `xml:"http://s3.amazonaws.com/doc/2006-03-01/ ListBucketResult"`
		listing
		KeyCount              int
		StartAfter            string `xml:",omitempty"`
		ContinuationToken     string `xml:",omitempty"`
		NextContinuationToken string `xml:",omitempty"`
	}{
		listing: body, KeyCount: len(body.Contents) + len(body.CommonPrefixes),
		StartAfter: encode(r.query.Get("start-after")), ContinuationToken: given,
	}
	if page.Truncated {
		answer.NextContinuationToken = token(page.Next)
	}
	writeXML(w, http.StatusOK, answer)
	return nil
}

func (a *API) listObjects(w http.ResponseWriter, r *request) error {
	body, page, encode, err := a.list(r, r.query.Get("marker"), buckets.Position{}, true)
	if err != nil {
		return err
	}
	answer := struct {
		XMLName xml.Name `xml:"http://s3.amazonaws.com/doc/2006-03-01/ ListBucketResult"`
		listing
		Marker     string
		NextMarker string `xml:",omitempty"`
	}{listing: body, Marker: encode(r.query.Get("marker"))}
	if page.Truncated {
		answer.NextMarker = encode(page.Last)
	}
	writeXML(w, http.StatusOK, answer)
	return nil
}
