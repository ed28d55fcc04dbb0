package s3

import (
	"encoding/xml"
	"errors"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/cloud/awsapi"
)

// firstRegion has no location constraint, and lets an owner create a bucket
// again.
const firstRegion = "us-east-1"

// stamp is a time as documents have it.
func stamp(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z") }

type owner struct{ ID string }

func (a *API) listBuckets(w http.ResponseWriter, r *request) error {
	list, err := a.buckets.Buckets(r.http.Context(), r.Partition)
	if err != nil {
		return err
	}
	limit, err := r.limit("max-buckets", 10_000)
	if err != nil {
		return err
	}
	type bucket struct{ Name, CreationDate, BucketRegion string }
	answer := struct {
		XMLName           xml.Name `xml:"http://s3.amazonaws.com/doc/2006-03-01/ ListAllMyBucketsResult"`
		Owner             owner
		Buckets           []bucket `xml:"Buckets>Bucket"`
		Prefix            string   `xml:",omitempty"`
		ContinuationToken string   `xml:",omitempty"`
	}{Owner: owner{r.Partition.Account}, Prefix: r.query.Get("prefix")}
	for _, b := range list {
		if !strings.HasPrefix(b.Name, answer.Prefix) || b.Name <= r.query.Get("continuation-token") {
			continue
		}
		if len(answer.Buckets) == limit {
			answer.ContinuationToken = answer.Buckets[limit-1].Name
			break
		}
		answer.Buckets = append(answer.Buckets, bucket{b.Name, stamp(b.CreatedAt), r.Partition.Region})
	}
	writeXML(w, http.StatusOK, answer)
	return nil
}

func (a *API) createBucket(w http.ResponseWriter, r *request) error {
	var in struct {
		XMLName            xml.Name `xml:"CreateBucketConfiguration"`
		LocationConstraint string
	}
	body, err := io.ReadAll(r.http.Body)
	if err != nil {
		return err
	}
	if len(body) > 0 && xml.Unmarshal(body, &in) != nil {
		return malformedXML
	}
	if in.LocationConstraint != "" && in.LocationConstraint != r.Partition.Region {
		return wire(http.StatusBadRequest, "IllegalLocationConstraintException",
			"The %.40s location constraint is incompatible for the region specific endpoint this request was sent to: it is signed for %s.", in.LocationConstraint, r.Partition.Region)
	}
	err = a.buckets.CreateBucket(r.http.Context(), r.Partition, r.bucket)
	if errors.Is(err, fescue.ErrExists) && r.Partition.Region == firstRegion {
		err = nil
	}
	if err != nil {
		return err
	}
	w.Header().Set("Location", "/"+r.bucket)
	w.WriteHeader(http.StatusOK)
	return nil
}

func (a *API) headBucket(w http.ResponseWriter, r *request) error {
	if _, err := a.buckets.Bucket(r.http.Context(), r.Partition, r.bucket); err != nil {
		return err
	}
	w.Header().Set("X-Amz-Bucket-Region", r.Partition.Region)
	w.WriteHeader(http.StatusOK)
	return nil
}

func (a *API) deleteBucket(w http.ResponseWriter, r *request) error {
	if err := a.buckets.DeleteBucket(r.http.Context(), r.Partition, r.bucket); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

func (a *API) getBucketLocation(w http.ResponseWriter, r *request) error {
	if _, err := a.buckets.Bucket(r.http.Context(), r.Partition, r.bucket); err != nil {
		return err
	}
	region := r.Partition.Region
	if region == firstRegion {
		region = ""
	}
	writeXML(w, http.StatusOK, struct {
		XMLName xml.Name `xml:"http://s3.amazonaws.com/doc/2006-03-01/ LocationConstraint"`
		Region  string   `xml:",chardata"`
	}{Region: region})
	return nil
}

// getBucketVersioning says that versioning was never enabled.
func (a *API) getBucketVersioning(w http.ResponseWriter, r *request) error {
	if _, err := a.buckets.Bucket(r.http.Context(), r.Partition, r.bucket); err != nil {
		return err
	}
	writeXML(w, http.StatusOK, struct {
		XMLName xml.Name `xml:"http://s3.amazonaws.com/doc/2006-03-01/ VersioningConfiguration"`
	}{})
	return nil
}

// maxDeleted is the most keys that one DeleteObjects names.
const maxDeleted = 1000

func (a *API) deleteObjects(w http.ResponseWriter, r *request) error {
	body, err := a.verified(r)
	if err != nil {
		return err
	}
	var in struct {
		XMLName xml.Name `xml:"Delete"`
		Quiet   bool
		Object  []struct{ Key, VersionId string }
	}
	if xml.Unmarshal(body, &in) != nil || len(in.Object) == 0 || len(in.Object) > maxDeleted {
		return malformedXML
	}
	if _, err := a.buckets.Bucket(r.http.Context(), r.Partition, r.bucket); err != nil {
		return err
	}
	type deleted struct{ Key string }
	type failed struct{ Key, Code, Message string }
	answer := struct {
		XMLName xml.Name `xml:"http://s3.amazonaws.com/doc/2006-03-01/ DeleteResult"`
		Deleted []deleted
		Error   []failed
	}{}
	defer func() { r.Operation = "DeleteObjects" }()
	for _, o := range in.Object {
		var err error
		if o.VersionId != "" && o.VersionId != "null" {
			err = wire(http.StatusNotFound, "NoSuchVersion", "The specified version does not exist: this server keeps no versions of objects.")
		} else if err = r.admit("DeleteObject", r.bucket, o.Key); err == nil {
			err = a.buckets.Delete(r.http.Context(), r.Partition, r.bucket, o.Key)
		}
		switch e := new(awsapi.Error); {
		case err == nil && !in.Quiet:
			answer.Deleted = append(answer.Deleted, deleted{o.Key})
		case err == nil:
		case errors.As(about(r, err), &e):
			answer.Error = append(answer.Error, failed{o.Key, e.Code, e.Message})
		default:
			return err
		}
	}
	writeXML(w, http.StatusOK, answer)
	return nil
}
