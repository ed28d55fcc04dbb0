package console

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/fescue-edge/fescue/cloud/awsapi"
	ownapi "github.com/fescue-edge/fescue/cloud/awsapi/fescue"
	"github.com/fescue-edge/fescue/cloud/identity"
)

// auditPage is the record of calls that changed something.
type auditPage struct {
	Records []ownapi.AuditRecord
	// Key and Operation are what was asked for, Hours how far back; Spans are the choices.
	Key, Operation string
	Hours          int
	Spans          []int
	Next           string
	Later          bool
}

// How far back the record is read, in hours.
var auditSpans = []int{24, 168, 720, 8760}

func (v *visit) audit() error {
	p := auditPage{Key: strings.TrimSpace(v.form.Get("key")), Operation: strings.TrimSpace(v.form.Get("operation")), Hours: auditSpans[0], Spans: auditSpans, Later: v.form.Get("after") != ""}
	for _, hours := range auditSpans {
		if v.form.Get("hours") == fmt.Sprint(hours) {
			p.Hours = hours
		}
	}
	list, err := get[ownapi.AuditRecords](v, own, "/fescue/v1/audit?"+url.Values{
		"From": {v.c.o.Now().Add(-time.Duration(p.Hours) * time.Hour).UTC().Format(time.RFC3339)}, "Order": {"NewestFirst"}, "MaxResults": {fmt.Sprint(pageSize)},
		"AccessKeyId": {p.Key}, "Operation": {p.Operation}, "NextToken": {v.form.Get("after")},
	}.Encode())
	if err != nil {
		return err
	}
	p.Records, p.Next = list.Records, nextPage(list.NextToken, url.Values{"key": {p.Key}, "operation": {p.Operation}, "hours": {fmt.Sprint(p.Hours)}})
	return v.show("audit", "Audit record", p, v.fescueCLI(fmt.Sprintf("audit --since %dh", p.Hours)), v.fescueCLI("audit --follow"))
}

// keysPage lists the account's access keys.
type keysPage struct {
	Keys []ownapi.AccessKey
	// Levels are the access levels, with what each may do.
	Levels []level
	May    bool // make and revoke
	// Asked is what the form was sent with, and Wrong what was wrong with it.
	Asked ownapi.AccessKeyRequest
	Wrong string
	// Made is the key that was just made; nil for none.
	Made *ownapi.NewAccessKey
}

// level is an access level for people.
type level struct{ Name, Meaning string }

func (v *visit) keys() error { return v.showKeys(keysPage{}) }

func (v *visit) showKeys(p keysPage) error {
	list, err := get[ownapi.AccessKeyList](v, own, "/fescue/v1/access-keys")
	if err != nil {
		return err
	}
	p.Keys = list.AccessKeys
	for _, name := range identity.AccessLevels() {
		p.Levels = append(p.Levels, level{name, identity.Meaning(name)})
	}
	p.May = v.may(own, awsapi.Target{Operation: "CreateAccessKey"})
	return v.show("keys", "Access keys", p, "fescue keys list --data DIR", "fescue keys create --data DIR --name NAME --access deployer", "fescue keys revoke --data DIR ACCESS-KEY-ID")
}

// createKey makes a key, and shows its secret on the page that answers: nowhere else.
func (v *visit) createKey() error {
	patterns := func(name string) []string {
		return strings.FieldsFunc(v.form.Get(name), func(r rune) bool { return r == ',' || r == ' ' })
	}
	p := keysPage{Asked: ownapi.AccessKeyRequest{
		Name: strings.TrimSpace(v.form.Get("name")), Access: v.form.Get("access"), Groups: strings.TrimSpace(v.form.Get("groups")),
		Things: patterns("things"), Functions: patterns("functions"), Secrets: patterns("secrets"), Buckets: patterns("buckets"),
	}}
	made, err := post[ownapi.NewAccessKey](v, own, "/fescue/v1/access-keys", p.Asked)
	if text, ok := badRequest(err); ok {
		p.Wrong = text
		return v.showKeys(p)
	}
	if err != nil {
		return err
	}
	p.Made, p.Asked = &made, ownapi.AccessKeyRequest{}
	return v.showKeys(p)
}

func (v *visit) revokeKey() error {
	id := v.r.PathValue("key")
	if _, err := call[struct{}](v.r.Context(), v.inside, own, http.MethodDelete, "/fescue/v1/access-keys/"+url.PathEscape(id), nil); err != nil {
		return err
	}
	return v.to("/keys")
}
