package s3

import (
	"encoding/xml"
	"net/http"
	"strconv"
	"strings"

	"github.com/fescue-edge/fescue/cloud/buckets"
)

func (a *API) createUpload(w http.ResponseWriter, r *request) error {
	settings, err := r.settings()
	if err != nil {
		return err
	}
	sum, err := buckets.CheckUpload(strings.ToUpper(r.header.Get("X-Amz-Checksum-Algorithm")), r.fullObject())
	if err != nil {
		return err
	}
	u, err := a.buckets.CreateUpload(r.http.Context(), r.Partition, r.bucket, r.key, sum, settings)
	if err != nil {
		return err
	}
	w.Header().Set("X-Amz-Checksum-Algorithm", sum.Algorithm)
	w.Header().Set("X-Amz-Checksum-Type", sumType(sum))
	writeXML(w, http.StatusOK, struct {
		XMLName               xml.Name `xml:"http://s3.amazonaws.com/doc/2006-03-01/ InitiateMultipartUploadResult"`
		Bucket, Key, UploadId string
	}{Bucket: r.bucket, Key: r.key, UploadId: u.ID})
	return nil
}

// partNumber is the number of the part that a request is about.
func (r *request) partNumber() (int, error) {
	number, err := strconv.Atoi(r.query.Get("partNumber"))
	if err != nil {
		number = 0
	}
	return number, buckets.CheckPartNumber(number)
}

func (a *API) uploadPart(w http.ResponseWriter, r *request) error {
	number, err := r.partNumber()
	if err != nil {
		return err
	}
	md5, sum, err := r.digests()
	if err != nil {
		return err
	}
	content, err := r.content()
	if err != nil {
		return err
	}
	part, err := a.buckets.PutPart(r.http.Context(), r.Partition, r.bucket, r.key, r.query.Get("uploadId"), number, content, md5, sum)
	if err != nil {
		return err
	}
	w.Header().Set("ETag", quote(part.ETag))
	if part.Checksum.Value != "" {
		w.Header().Set(sumPrefix+part.Checksum.Algorithm, part.Checksum.Value)
	}
	w.WriteHeader(http.StatusOK)
	return nil
}

func (a *API) uploadPartCopy(w http.ResponseWriter, r *request) error {
	c := buckets.PartCopy{Bucket: r.bucket, Key: r.key, ID: r.query.Get("uploadId")}
	var err error
	if c.Number, err = r.partNumber(); err != nil {
		return err
	}
	if c.FromBucket, c.FromKey, err = r.source(); err != nil {
		return err
	}
	c.Choose = func(o buckets.Object) (buckets.Range, error) {
		if err := r.allowSource(o); err != nil {
			return buckets.Range{}, err
		}
		text := r.header.Get(copySource + "-Range")
		want, partial, err := parseRange(text, o.Size)
		if err == nil && text != "" && (!partial || !strings.HasSuffix(text, "-"+strconv.FormatInt(want.Offset+want.Length-1, 10))) {
			err = invalidArgument("The x-amz-copy-source-range value must be of the form bytes=first-last where first and last are the zero-based offsets of the first and last bytes to copy.")
		}
		return want, err
	}
	part, err := a.buckets.CopyPart(r.http.Context(), r.Partition, c)
	if err != nil {
		return err
	}
	writeXML(w, http.StatusOK, struct {
		XMLName            xml.Name `xml:"http://s3.amazonaws.com/doc/2006-03-01/ CopyPartResult"`
		LastModified, ETag string
		sums
	}{LastModified: stamp(part.ModifiedAt), ETag: quote(part.ETag), sums: sumsOf(part.Checksum)})
	return nil
}

func (a *API) completeUpload(w http.ResponseWriter, r *request) error {
	put := buckets.Put{}
	var err error
	if _, put.Checksum, err = r.digests(); err != nil {
		return err
	}
	if put.OnlyNew, put.OnlyETag, err = r.writeConditions(); err != nil {
		return err
	}
	chosen, err := r.chosenParts()
	if err != nil {
		return err
	}
	o, err := a.buckets.Complete(r.http.Context(), r.Partition, r.bucket, r.key, r.query.Get("uploadId"), chosen, put)
	if err != nil {
		return err
	}
	writeXML(w, http.StatusOK, struct {
		XMLName                     xml.Name `xml:"http://s3.amazonaws.com/doc/2006-03-01/ CompleteMultipartUploadResult"`
		Location, Bucket, Key, ETag string
		ChecksumType                string
		sums
	}{
		Location: r.http.URL.EscapedPath(), Bucket: r.bucket, Key: r.key, ETag: quote(o.ETag),
		ChecksumType: sumType(o.Checksum), sums: sumsOf(o.Checksum),
	})
	return nil
}

// chosenParts reads the document of CompleteMultipartUpload.
func (r *request) chosenParts() ([]buckets.ChosenPart, error) {
	var in struct {
		XMLName xml.Name `xml:"CompleteMultipartUpload"`
		Part    []struct {
			PartNumber int
			ETag       string
			sums
		}
	}
	if xml.NewDecoder(r.http.Body).Decode(&in) != nil || len(in.Part) == 0 || len(in.Part) > buckets.MaxObjectParts {
		return nil, malformedXML
	}
	chosen := make([]buckets.ChosenPart, 0, len(in.Part))
	for _, p := range in.Part {
		chosen = append(chosen, buckets.ChosenPart{Number: p.PartNumber, ETag: strings.Trim(p.ETag, `"`), Checksum: p.checksum()})
	}
	return chosen, nil
}

func (a *API) abortUpload(w http.ResponseWriter, r *request) error {
	if err := a.buckets.Abort(r.http.Context(), r.Partition, r.bucket, r.key, r.query.Get("uploadId")); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

func (a *API) listParts(w http.ResponseWriter, r *request) error {
	limit, err := r.limit("max-parts", buckets.MaxListed)
	if err != nil {
		return err
	}
	after, err := r.number("part-number-marker", 0)
	if err != nil {
		return err
	}
	u, err := a.buckets.Upload(r.http.Context(), r.Partition, r.bucket, r.key, r.query.Get("uploadId"))
	if err != nil {
		return err
	}
	list, err := a.buckets.Parts(r.http.Context(), r.Partition, u, after, limit)
	if err != nil {
		return err
	}
	type part struct {
		PartNumber         int
		LastModified, ETag string
		Size               int64
		sums
	}
	answer := struct {
		XMLName                    xml.Name `xml:"http://s3.amazonaws.com/doc/2006-03-01/ ListPartsResult"`
		Bucket, Key, UploadId      string
		StorageClass               string
		PartNumberMarker, MaxParts int
		NextPartNumberMarker       int
		IsTruncated                bool
		ChecksumAlgorithm          string
		ChecksumType               string
		Part                       []part
	}{
		Bucket: r.bucket, Key: r.key, UploadId: u.ID, StorageClass: "STANDARD", PartNumberMarker: after, MaxParts: limit,
		IsTruncated: limit > 0 && len(list) > limit, ChecksumAlgorithm: u.Checksum.Algorithm, ChecksumType: sumType(u.Checksum),
	}
	for _, p := range list[:min(len(list), limit)] {
		answer.Part = append(answer.Part, part{p.Number, stamp(p.ModifiedAt), quote(p.ETag), p.Size, sumsOf(p.Checksum)})
		answer.NextPartNumberMarker = p.Number
	}
	writeXML(w, http.StatusOK, answer)
	return nil
}

func (a *API) listUploads(w http.ResponseWriter, r *request) error {
	if r.query.Get("delimiter") != "" {
		return notImplemented("ListMultipartUploads with a delimiter")
	}
	limit, err := r.limit("max-uploads", buckets.MaxListed)
	if err != nil {
		return err
	}
	encode, err := r.encoding()
	if err != nil {
		return err
	}
	q := buckets.Uploads{Prefix: r.query.Get("prefix"), AfterKey: r.query.Get("key-marker"), Limit: limit}
	if q.AfterKey != "" {
		if q.AfterID = r.query.Get("upload-id-marker"); q.AfterID == "" {
			q.AfterID = afterEveryID
		}
	}
	list, err := a.buckets.Uploads(r.http.Context(), r.Partition, r.bucket, q)
	if err != nil {
		return err
	}
	type upload struct{ Key, UploadId, StorageClass, Initiated, ChecksumAlgorithm, ChecksumType string }
	answer := struct {
		XMLName                           xml.Name `xml:"http://s3.amazonaws.com/doc/2006-03-01/ ListMultipartUploadsResult"`
		Bucket, KeyMarker, UploadIdMarker string
		NextKeyMarker, NextUploadIdMarker string
		Prefix                            string
		EncodingType                      string `xml:",omitempty"`
		MaxUploads                        int
		IsTruncated                       bool
		Upload                            []upload
	}{
		Bucket: r.bucket, KeyMarker: encode(q.AfterKey), UploadIdMarker: r.query.Get("upload-id-marker"), Prefix: encode(q.Prefix),
		EncodingType: r.query.Get("encoding-type"), MaxUploads: limit, IsTruncated: limit > 0 && len(list) > limit,
	}
	for _, u := range list[:min(len(list), limit)] {
		answer.Upload = append(answer.Upload, upload{encode(u.Key), u.ID, "STANDARD", stamp(u.CreatedAt), u.Checksum.Algorithm, sumType(u.Checksum)})
		answer.NextKeyMarker, answer.NextUploadIdMarker = encode(u.Key), u.ID
	}
	writeXML(w, http.StatusOK, answer)
	return nil
}

// afterEveryID is above every upload's id, which are UUIDs: a key marker alone
// leaves out all uploads of its key.
const afterEveryID = "~"
