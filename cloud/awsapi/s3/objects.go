package s3

import (
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"

	"github.com/fescue-edge/fescue/cloud/awsapi"
	"github.com/fescue-edge/fescue/cloud/buckets"
)

// put is how a request wants an object written.
func (r *request) put() (put buckets.Put, err error) {
	if put.ObjectSettings, err = r.settings(); err != nil {
		return put, err
	}
	if put.MD5, put.Checksum, err = r.digests(); err != nil {
		return put, err
	}
	put.OnlyNew, put.OnlyETag, err = r.writeConditions()
	return put, err
}

func (a *API) putObject(w http.ResponseWriter, r *request) error {
	put, err := r.put()
	if err != nil {
		return err
	}
	content, err := r.content()
	if err != nil {
		return err
	}
	o, err := a.buckets.Put(r.http.Context(), r.Partition, r.bucket, r.key, content, put)
	if err != nil {
		return err
	}
	w.Header().Set("ETag", quote(o.ETag))
	writeSum(w.Header(), o.Checksum)
	w.WriteHeader(http.StatusOK)
	return nil
}

// verified is the body of an operation with a document, which has the digests
// that the request says.
func (a *API) verified(r *request) ([]byte, error) {
	md5, sum, err := r.digests()
	if err != nil {
		return nil, err
	}
	content, err := r.content()
	if err != nil {
		return nil, err
	}
	if err := buckets.Check(r.http.Context(), content, md5, sum); err != nil {
		return nil, err
	}
	if _, err := content.Seek(0, io.SeekStart); err != nil {
		return nil, err
	}
	return io.ReadAll(content)
}

// getObject serves GetObject and HeadObject.
func (a *API) getObject(w http.ResponseWriter, r *request) error {
	partial := false
	var want buckets.Range
	choose := func(o buckets.Object) (_ buckets.Range, err error) {
		if err := r.conditions("", o, wire(http.StatusNotModified, "NotModified", "Not Modified")); err != nil {
			w.Header().Set("ETag", quote(o.ETag))
			return want, err
		}
		if number := r.query.Get("partNumber"); number != "" {
			want, partial, err = a.partRange(r, o, number)
		} else {
			want, partial, err = parseRange(r.header.Get("Range"), o.Size)
		}
		if err != nil {
			w.Header().Set("Content-Range", fmt.Sprintf("bytes */%d", o.Size))
		}
		return want, err
	}
	var o buckets.Object
	var body io.ReadCloser
	var err error
	if r.http.Method == http.MethodHead {
		if o, err = a.buckets.Object(r.http.Context(), r.Partition, r.bucket, r.key); err == nil {
			_, err = choose(o)
		}
	} else {
		o, body, err = a.buckets.Read(r.http.Context(), r.Partition, r.bucket, r.key, choose)
	}
	if err != nil {
		return err
	}
	h := w.Header()
	writeSettings(h, o.ObjectSettings, r.query)
	h.Set("Accept-Ranges", "bytes")
	h.Set("ETag", quote(o.ETag))
	h.Set("Last-Modified", o.ModifiedAt.UTC().Format(http.TimeFormat))
	h.Set("Content-Length", strconv.FormatInt(want.Length, 10))
	if o.PartCount > 0 && r.query.Has("partNumber") {
		h.Set("X-Amz-Mp-Parts-Count", strconv.Itoa(o.PartCount))
	}
	if r.header.Get("X-Amz-Checksum-Mode") == "ENABLED" && want.Length == o.Size {
		writeSum(h, o.Checksum)
	}
	status := http.StatusOK
	if partial {
		status = http.StatusPartialContent
		h.Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", want.Offset, want.Offset+want.Length-1, o.Size))
	}
	w.WriteHeader(status)
	if body == nil {
		return nil
	}
	defer body.Close()
	source := &awsapi.Source{Reader: body}
	io.Copy(w, source)
	if source.Err != nil && !errors.Is(source.Err, context.Canceled) {
		// The answer is cut short, which the client sees by its length.
		a.Logger.ErrorContext(r.http.Context(), "object not sent whole", "request", r.RequestID, "bucket", r.bucket, "error", source.Err)
	}
	return nil
}

// partRange is the range of one part of an object.
func (a *API) partRange(r *request, o buckets.Object, text string) (buckets.Range, bool, error) {
	number, err := strconv.Atoi(text)
	if err != nil {
		number = 0
	}
	if err := buckets.CheckPartNumber(number); err != nil {
		return buckets.Range{}, false, err
	}
	if r.header.Get("Range") != "" {
		return buckets.Range{}, false, wire(http.StatusBadRequest, "InvalidRequest", "Cannot specify both Range header and partNumber query parameter.")
	}
	want, err := a.buckets.PartRange(r.http.Context(), r.Partition, o, number)
	return want, want.Length > 0, err
}

func (a *API) deleteObject(w http.ResponseWriter, r *request) error {
	if r.header.Get("If-Match") != "" {
		return notImplemented("DeleteObject with If-Match")
	}
	if err := a.buckets.Delete(r.http.Context(), r.Partition, r.bucket, r.key); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// sums is a checksum as documents have it.
type sums struct {
	ChecksumCRC32     string `xml:",omitempty"`
	ChecksumCRC32C    string `xml:",omitempty"`
	ChecksumCRC64NVME string `xml:",omitempty"`
	ChecksumSHA1      string `xml:",omitempty"`
	ChecksumSHA256    string `xml:",omitempty"`
}

// each is the member of every algorithm.
func (s *sums) each() map[string]*string {
	return map[string]*string{
		"CRC32": &s.ChecksumCRC32, "CRC32C": &s.ChecksumCRC32C, "CRC64NVME": &s.ChecksumCRC64NVME,
		"SHA1": &s.ChecksumSHA1, "SHA256": &s.ChecksumSHA256,
	}
}

func sumsOf(sum buckets.Checksum) (s sums) {
	if member := s.each()[sum.Algorithm]; member != nil {
		*member = sum.Value
	}
	return s
}

// checksum is the only one that is there, or none.
func (s *sums) checksum() buckets.Checksum {
	for algorithm, value := range s.each() {
		if *value != "" {
			return buckets.Checksum{Algorithm: algorithm, Value: *value}
		}
	}
	return buckets.Checksum{}
}

func (a *API) copyObject(w http.ResponseWriter, r *request) error {
	c := buckets.Copy{Bucket: r.bucket, Key: r.key, Allow: r.allowSource}
	var err error
	if c.FromBucket, c.FromKey, err = r.source(); err != nil {
		return err
	}
	switch directive := r.header.Get("X-Amz-Metadata-Directive"); directive {
	case "", "COPY":
	case "REPLACE":
		settings, err := r.settings()
		if err != nil {
			return err
		}
		c.Settings = &settings
	default:
		return invalidArgument("Unknown metadata directive: %.40q; write COPY or REPLACE.", directive)
	}
	if c.OnlyNew, c.OnlyETag, err = r.writeConditions(); err != nil {
		return err
	}
	o, err := a.buckets.Copy(r.http.Context(), r.Partition, c)
	if err != nil {
		return err
	}
	writeXML(w, http.StatusOK, struct {
		XMLName            xml.Name `xml:"http://s3.amazonaws.com/doc/2006-03-01/ CopyObjectResult"`
		LastModified, ETag string
		ChecksumType       string
		sums
	}{LastModified: stamp(o.ModifiedAt), ETag: quote(o.ETag), ChecksumType: sumType(o.Checksum), sums: sumsOf(o.Checksum)})
	return nil
}

// allowSource checks the conditions on the source of a copy.
func (r *request) allowSource(o buckets.Object) error {
	return r.conditions(copySource+"-", o, wire(http.StatusPreconditionFailed, "PreconditionFailed", "At least one of the pre-conditions you specified did not hold."))
}

// getObjectTagging says that there are no tags; tools ask before they copy.
func (a *API) getObjectTagging(w http.ResponseWriter, r *request) error {
	if _, err := a.buckets.Object(r.http.Context(), r.Partition, r.bucket, r.key); err != nil {
		return err
	}
	writeXML(w, http.StatusOK, struct {
		XMLName xml.Name `xml:"http://s3.amazonaws.com/doc/2006-03-01/ Tagging"`
		TagSet  struct{}
	}{})
	return nil
}
