package fescue

import (
	"context"
	"encoding/base64"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/cloud/audit"
	"github.com/fescue-edge/fescue/cloud/awsapi/wire/restjson"
)

// Audit reads the record of calls that changed something.
type Audit interface {
	// Records are oldest first where the filter does not say otherwise.
	Records(ctx context.Context, p fescue.Partition, f audit.Filter) ([]audit.Record, error)
}

// AuditRecord is a record as the API shows it.
type AuditRecord struct {
	Time        string
	RequestID   string `json:"RequestId"`
	AccessKeyID string `json:"AccessKeyId,omitempty"`
	KeyName     string
	// Person is who had signed in, where it was not whoever has the key.
	Person    string `json:",omitempty"`
	Account   string
	Region    string `json:",omitempty"`
	SourceIP  string `json:"SourceIp,omitempty"`
	Service   string
	Operation string
	Resource  string
	Status    int
	ErrorCode string `json:",omitempty"`
	// Repeats is how many calls a record stands for that were denied alike, after
	// one that has its own.
	Repeats int `json:",omitempty"`
}

// AuditRecords is the answer of ListAuditRecords.
type AuditRecords struct {
	Records   []AuditRecord
	NextToken string `json:",omitempty"`
}

func (a *API) listAuditRecords(ctx context.Context, r *restjson.Request, _ nothing) (answer AuditRecords, err error) {
	filter := audit.Filter{KeyID: r.Query.Get("AccessKeyId"), Operation: r.Query.Get("Operation"), Limit: maxPage}
	for name, into := range map[string]*time.Time{"From": &filter.From, "To": &filter.To} {
		if *into, err = parseTime(r, name); err != nil {
			return answer, err
		}
	}
	switch text := r.Query.Get("Order"); text {
	case "", "OldestFirst":
	case "NewestFirst":
		filter.Newest = true
	default:
		return answer, refuse(http.StatusBadRequest, badRequest, "Order '%.32s' is neither OldestFirst nor NewestFirst.", text)
	}
	if text := r.Query.Get("MaxResults"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 || n > maxPage {
			return answer, refuse(http.StatusBadRequest, badRequest, "MaxResults '%.32s' is not a number from 1 to %d.", text, maxPage)
		}
		filter.Limit = n
	}
	if token := r.Query.Get("NextToken"); token != "" {
		var ok bool
		if filter.AfterAt, filter.AfterID, ok = parsePlace(token, fescue.ValidID); !ok {
			return answer, refuse(http.StatusBadRequest, badRequest, "%s", restjson.ForeignToken)
		}
	}
	limit := filter.Limit
	filter.Limit++ // one more shows whether there is a next page
	list, err := a.o.Audit.Records(ctx, r.Partition, filter)
	if err != nil {
		return answer, err
	}
	if len(list) > limit {
		list = list[:limit]
		answer.NextToken = place(list[limit-1].At, list[limit-1].ID)
	}
	answer.Records = make([]AuditRecord, 0, len(list))
	for _, rec := range list {
		answer.Records = append(answer.Records, AuditRecord{
			Time: fescue.Timestamp(rec.At), RequestID: rec.ID, AccessKeyID: rec.KeyID, KeyName: rec.KeyName, Person: rec.Person,
			Account: rec.Partition.Account, Region: rec.Partition.Region, SourceIP: rec.Source,
			Service: rec.Service, Operation: rec.Operation, Resource: rec.Resource, Status: rec.Status, ErrorCode: rec.Code, Repeats: rec.Repeats,
		})
	}
	return answer, nil
}

// parseTime reads a time of the query; zero for none.
func parseTime(r *restjson.Request, name string) (at time.Time, err error) {
	text := r.Query.Get(name)
	if text == "" {
		return at, nil
	}
	if at, err = time.Parse(time.RFC3339, text); err != nil {
		return at, refuse(http.StatusBadRequest, badRequest, "%s '%.64s' is not a time such as 2026-11-25T12:00:00Z.", name, text)
	}
	return at, nil
}

// place is the token of the place behind something that came at a time.
func place(at time.Time, id string) string {
	return base64.RawURLEncoding.EncodeToString([]byte(strconv.FormatInt(at.UnixMilli(), 10) + "/" + id))
}

func parsePlace(token string, valid func(id string) bool) (at time.Time, id string, ok bool) {
	data, err := base64.RawURLEncoding.DecodeString(token)
	if err != nil {
		return at, "", false
	}
	text, id, ok := strings.Cut(string(data), "/")
	ms, err := strconv.ParseInt(text, 10, 64)
	if !ok || err != nil || ms < 0 || !valid(id) {
		return at, "", false
	}
	return time.UnixMilli(ms), id, true
}
