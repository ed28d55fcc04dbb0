package console

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/cloud/awsapi"
	ownapi "github.com/fescue-edge/fescue/cloud/awsapi/fescue"
	"github.com/fescue-edge/fescue/shadow"
)

// thing is one as the API shows it.
type thing struct {
	ThingName     string            `json:"thingName"`
	ThingArn      string            `json:"thingArn"`
	ThingTypeName string            `json:"thingTypeName"`
	Attributes    map[string]string `json:"attributes"`
}

// thingsPage lists things.
type thingsPage struct {
	Things []thing
	// Name is what was asked for, and not found.
	Name  string
	Next  string
	Later bool
}

func (v *visit) things() error {
	p := thingsPage{Name: strings.TrimSpace(v.form.Get("q")), Later: v.form.Get("after") != ""}
	if fescue.ValidThingName(p.Name) {
		_, err := get[thing](v, iot, "/things/"+p.Name)
		if missing(err) {
			_, err = v.readThing(shadow.ID{Thing: p.Name}) // its shadow may be kept
		}
		if err == nil {
			return v.to("/things/" + p.Name)
		}
		if !refused(err) {
			return err
		}
	}
	if p.Name == "" {
		list, err := get[struct {
			Things    []thing `json:"things"`
			NextToken string  `json:"nextToken"`
		}](v, iot, "/things?"+url.Values{"maxResults": {fmt.Sprint(pageSize)}, "nextToken": {v.form.Get("after")}}.Encode())
		if err != nil {
			return err
		}
		p.Things, p.Next = list.Things, nextPage(list.NextToken, nil)
	}
	return v.show("things", "Things", p, v.aws("iot list-things"))
}

// thingPage is one thing: its shadows and its certificates.
type thingPage struct {
	Thing thing
	// Gone reports that there is no such thing, and shadows of its name all the same: they
	// outlive things, and are made without.
	Gone bool
	// Certificates are those attached to it.
	Certificates []certificate
	// Names are those of its named shadows, Shadow the one that is shown, empty for the
	// classic one.
	Names  []string
	Shadow string
	// Document is the shadow, nil where there is none yet.
	Document *shadowDocument
	// Hidden is why the shadows are not shown.
	Hidden  string
	MayEdit bool
	// Desired is what the field to edit it holds, and Wrong what was wrong with it.
	Desired, Wrong string
}

// shadowDocument is a shadow for people to read.
type shadowDocument struct {
	Version                  int64
	At                       time.Time
	Desired, Reported, Delta string
}

// certificate is one as DescribeCertificate has it.
type certificate struct {
	ID, Status string
	End        time.Time
}

// thingName reads from the path which thing is meant.
func (v *visit) thingName() (string, error) {
	name := v.r.PathValue("thing")
	if !fescue.ValidThingName(name) {
		return "", &refusal{http.StatusNotFound, "", fmt.Sprintf("There is no thing '%.128s'.", name)}
	}
	return name, nil
}

func (v *visit) thing() error {
	p, err := v.readAsked()
	if err != nil {
		return err
	}
	if p.Document != nil {
		p.Desired = p.Document.Desired
	}
	return v.showThing(p)
}

func (v *visit) showThing(p thingPage) error {
	which := "--thing-name " + p.Thing.ThingName
	if p.Shadow != "" {
		which += " --shadow-name " + p.Shadow
	}
	commands := []string{
		v.aws("iot-data get-thing-shadow " + which + " /dev/stdout"),
		v.aws("iot-data update-thing-shadow " + which + ` --cli-binary-format raw-in-base64-out --payload '{"state":{"desired":{}}}' /dev/stdout`),
		v.aws("iot-data list-named-shadows-for-thing --thing-name " + p.Thing.ThingName),
	}
	if !p.Gone {
		commands = append(commands, v.aws("iot list-thing-principals --thing-name "+p.Thing.ThingName))
	}
	return v.show("thing", p.Thing.ThingName, p, commands...)
}

// maxShadowNames is how many named shadows a thing's page lists: as many as a page of
// the API has.
const maxShadowNames = 100

// readAsked reads what the page shows that was asked for.
func (v *visit) readAsked() (p thingPage, err error) {
	name, err := v.thingName()
	if err != nil {
		return p, err
	}
	id := shadow.ID{Thing: name, Name: v.form.Get("shadow")}
	if err := id.Validate(); err != nil {
		return p, &refusal{http.StatusNotFound, "", fmt.Sprintf("There is no shadow '%.64s'.", id.Name)}
	}
	return v.readThing(id)
}

// readThing reads what a thing's page shows with one of its shadows. It is refused where there
// is neither the thing nor a shadow of its name.
func (v *visit) readThing(id shadow.ID) (p thingPage, err error) {
	thing, unknown := get[thing](v, iot, "/things/"+id.Thing)
	if unknown != nil && !missing(unknown) {
		return p, unknown
	}
	p.Thing, p.Gone, p.Shadow = thing, unknown != nil, id.Name
	p.Thing.ThingName, p.Thing.ThingArn = id.Thing, v.partition().ThingARN(id.Thing)
	if !p.Gone {
		if p.Certificates, err = v.certificatesOf(id.Thing); err != nil {
			return p, err
		}
	}
	if err = v.readShadows(&p, id); err != nil {
		return p, err
	}
	if p.Gone && p.Document == nil && len(p.Names) == 0 {
		// The classic shadow may be there where a named one was asked for.
		if other, err := v.readShadow(shadow.ID{Thing: id.Thing}); err != nil || other == nil {
			return p, unknown
		}
	}
	return p, nil
}

// readShadows reads which shadows there are, and one of them.
func (v *visit) readShadows(p *thingPage, id shadow.ID) error {
	names, err := get[struct {
		Results []string `json:"results"`
	}](v, iotdata, fmt.Sprintf("/api/things/shadow/ListNamedShadowsForThing/%s?pageSize=%d", id.Thing, maxShadowNames))
	if err == nil {
		p.Names = names.Results
		p.Document, err = v.readShadow(id)
	}
	if denied := (*refusal)(nil); errors.As(err, &denied) && denied.Status == http.StatusForbidden {
		p.Hidden = denied.Message
		return nil
	}
	p.MayEdit = v.may(iotdata, awsapi.Target{Operation: "UpdateThingShadow", Resource: v.partition().ShadowARN(id.Thing, id.Name)})
	return err
}

// shadowPath is a shadow's path in the API.
func shadowPath(id shadow.ID) string {
	path := "/things/" + id.Thing + "/shadow"
	if id.Name != "" {
		path += "?name=" + url.QueryEscape(id.Name)
	}
	return path
}

// readShadow is nil for one that is not there.
func (v *visit) readShadow(id shadow.ID) (*shadowDocument, error) {
	read, err := get[struct {
		State     struct{ Desired, Reported, Delta json.RawMessage }
		Version   int64
		Timestamp int64
	}](v, iotdata, shadowPath(id))
	if missing(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return &shadowDocument{read.Version, time.Unix(read.Timestamp, 0).UTC(), indented(read.State.Desired), indented(read.State.Reported), indented(read.State.Delta)}, nil
}

// indented is JSON for people, empty for none.
func indented(raw json.RawMessage) string {
	var b bytes.Buffer
	if len(raw) == 0 || json.Indent(&b, raw, "", "  ") != nil {
		return ""
	}
	return b.String()
}

// editShadow makes a shadow's desired state what was typed.
func (v *visit) editShadow() error {
	p, err := v.readAsked()
	if err != nil {
		return err
	}
	p.Desired = strings.ReplaceAll(v.form.Get("desired"), "\r\n", "\n")
	now, was := map[string]json.RawMessage{}, map[string]json.RawMessage{}
	if strings.TrimSpace(p.Desired) != "" {
		if err := json.Unmarshal([]byte(p.Desired), &now); err != nil {
			p.Wrong = fmt.Sprintf("This is not a JSON object: %v.", err)
			return v.showThing(p)
		}
	}
	version := v.form.Get("version")
	if p.Document != nil && version == fmt.Sprint(p.Document.Version) {
		if p.Document.Desired != "" {
			if err := json.Unmarshal([]byte(p.Document.Desired), &was); err != nil {
				return fmt.Errorf("desired state of %s: %w", p.Thing.ThingName, err)
			}
		}
	} else if p.Document != nil || version != "" {
		p.Wrong = "The shadow has changed since you began. What stands above is what it is now; what you typed is below."
		return v.showThing(p)
	}
	changes := patch(was, now)
	if len(changes) == 0 {
		return v.toThing(p)
	}
	request := map[string]any{"state": map[string]any{"desired": changes}}
	if p.Document != nil {
		request["version"] = p.Document.Version
	}
	if _, err := post[struct{}](v, iotdata, shadowPath(shadow.ID{Thing: p.Thing.ThingName, Name: p.Shadow}), request); err != nil {
		denied := (*refusal)(nil)
		if !errors.As(err, &denied) || denied.Status == http.StatusForbidden {
			return err
		}
		p.Wrong = denied.Message
		return v.showThing(p)
	}
	return v.toThing(p)
}

// toThing leads back to the shadow.
func (v *visit) toThing(p thingPage) error {
	path := "/things/" + p.Thing.ThingName
	if p.Shadow != "" {
		path += "?shadow=" + url.QueryEscape(p.Shadow)
	}
	return v.to(path)
}

// patch is what makes an object another one, as updates of shadows have it: null removes
// a member, an object within changes what is there, and everything else replaces it.
func patch(was, now map[string]json.RawMessage) map[string]any {
	changes := make(map[string]any)
	for name := range was {
		if _, stays := now[name]; !stays {
			changes[name] = nil
		}
	}
	for name, value := range now {
		before, known := was[name]
		if known && bytes.Equal(compact(before), compact(value)) {
			continue
		}
		var old, new map[string]json.RawMessage
		if known && json.Unmarshal(before, &old) == nil && json.Unmarshal(value, &new) == nil && old != nil && new != nil {
			if within := patch(old, new); len(within) > 0 {
				changes[name] = within
			}
			continue
		}
		changes[name] = value
	}
	return changes
}

func compact(raw json.RawMessage) []byte {
	var b bytes.Buffer
	if json.Compact(&b, raw) != nil {
		return raw
	}
	return b.Bytes()
}

// certificatesOf are those that are attached to a thing, or none where they may not be seen.
func (v *visit) certificatesOf(name string) (list []certificate, err error) {
	attached, err := get[struct {
		Principals []string `json:"principals"`
	}](v, iot, "/things/"+name+"/principals")
	if refused(err) {
		return nil, nil
	}
	for _, arn := range attached.Principals {
		_, id, _ := strings.Cut(arn, ":cert/")
		described, err := get[struct {
			CertificateDescription struct {
				Status   string `json:"status"`
				Validity struct {
					NotAfter float64 `json:"notAfter"`
				} `json:"validity"`
			} `json:"certificateDescription"`
		}](v, iot, "/certificates/"+id)
		if refused(err) {
			continue
		}
		if err != nil {
			return nil, err
		}
		d := described.CertificateDescription
		list = append(list, certificate{id, d.Status, time.Unix(int64(d.Validity.NotAfter), 0).UTC()})
	}
	return list, err
}

// certificatesPage lists certificates that end soon.
type certificatesPage struct {
	Certificates []ownapi.CertificateEnd
	Server       []ownapi.ServerCertificate
	// Days is how soon, of Choices.
	Days    int
	Choices []int
	Next    string
	Later   bool
}

// soon are the days before its end that a certificate may be asked for.
var soon = []int{30, 90, 365, 3650}

func (v *visit) certificates() error {
	p := certificatesPage{Days: soon[1], Choices: soon, Later: v.form.Get("after") != ""}
	for _, days := range soon {
		if v.form.Get("days") == fmt.Sprint(days) {
			p.Days = days
		}
	}
	now := v.c.o.Now().UTC()
	before := now.AddDate(0, 0, p.Days)
	list, err := get[ownapi.CertificateEnds](v, own, "/fescue/v1/certificates?"+url.Values{
		"Before": {before.Format(time.RFC3339)}, "MaxResults": {fmt.Sprint(pageSize)}, "NextToken": {v.form.Get("after")},
	}.Encode())
	if err != nil {
		return err
	}
	p.Certificates, p.Next = list.Certificates, nextPage(list.NextToken, url.Values{"days": {fmt.Sprint(p.Days)}})
	p.Server = list.Server
	return v.show("certificates", "Certificates", p, v.fescueCLI("status --soon "+fmt.Sprintf("%dh", p.Days*24)),
		v.aws("iot list-certificates"), v.aws("iot describe-certificate --certificate-id "+cmp.Or(first(p.Certificates), "ID")))
}

func first(list []ownapi.CertificateEnd) string {
	if len(list) == 0 {
		return ""
	}
	return list[0].CertificateId
}
