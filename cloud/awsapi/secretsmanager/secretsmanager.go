// Package secretsmanager speaks the AWS Secrets Manager API (2017-10-17): the
// table of its operations, the shapes of requests and answers, and the table of
// errors. What the operations do is in package secrets.
package secretsmanager

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"log/slog"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/cloud/awsapi"
	"github.com/fescue-edge/fescue/cloud/awsapi/wire/awsjson"
	"github.com/fescue-edge/fescue/cloud/awsapi/wire/restjson"
	"github.com/fescue-edge/fescue/cloud/secrets"
)

// API is the service.
type API struct {
	awsjson.API
	secrets *secrets.Service
}

// New makes the service.
func New(s *secrets.Service, logger *slog.Logger) *API {
	a := &API{secrets: s}
	a.API = awsjson.API{
		Failing: awsapi.Failing{Translate: translate, Internal: "InternalServiceError", Logger: logger},
		Prefix:  "secretsmanager", Resource: resource,
	}
	a.Register([]awsjson.Operation{
		{Name: "CreateSecret", Handle: a.create},
		{Name: "DeleteSecret", Handle: a.delete},
		{Name: "DescribeSecret", Handle: a.describe},
		{Name: "GetSecretValue", Handle: a.getValue},
		{Name: "ListSecretVersionIds", Handle: a.listVersions},
		{Name: "ListSecrets", Handle: a.list},
		{Name: "PutSecretValue", Handle: a.putValue},
		{Name: "RestoreSecret", Handle: a.restore},
		{Name: "TagResource", Handle: a.tag},
		{Name: "UntagResource", Handle: a.untag},
		{Name: "UpdateSecret", Handle: a.update},
	})
	return a
}

// refusals are the codes of what the service refuses, all with status 400 (API
// reference, "Common Errors"); the texts are the service's.
var refusals = []struct {
	kind error
	code string
}{
	{secrets.ErrParameter, "InvalidParameterException"},
	{secrets.ErrState, "InvalidRequestException"},
	{fescue.ErrExists, "ResourceExistsException"},
	{fescue.ErrNotFound, "ResourceNotFoundException"},
}

func translate(err error) *awsapi.Error {
	for _, row := range refusals {
		if errors.Is(err, row.kind) {
			return &awsapi.Error{Status: http.StatusBadRequest, Code: row.code, Message: err.Error()}
		}
	}
	return nil
}

func decode(r *awsjson.Request, in any) error {
	if err := restjson.Decode(r.Body, in); err != nil {
		return &awsapi.Error{Status: http.StatusBadRequest, Code: "SerializationException", Message: "The request does not decode: " + err.Error()}
	}
	return nil
}

// resource is the secret that a request names, as the ARN that it gives or that
// its name has, without the suffix, which only the store knows.
func resource(r *awsjson.Request) string {
	var in struct{ SecretId, Name string }
	if json.Unmarshal(r.Body, &in) != nil {
		return ""
	}
	id := in.SecretId
	if r.Operation == "CreateSecret" {
		id = in.Name
	}
	if id == "" || strings.HasPrefix(id, "arn:") {
		return id
	}
	return r.Partition.SecretARN(id, secrets.UnknownSuffix)
}

// tag is a tag as the API has it.
type tag struct{ Key, Value string }

func tagsOf(list []tag) map[string]string {
	tags := make(map[string]string, len(list))
	for _, t := range list {
		tags[t.Key] = t.Value
	}
	return tags
}

// value is SecretString or SecretBinary of a request.
type value struct {
	SecretString *string
	SecretBinary []byte
}

func (v value) value() secrets.Value {
	return secrets.Value{Text: v.SecretString, Binary: v.SecretBinary}
}

// seconds is a time as the API prints it.
type seconds time.Time

// MarshalJSON implements json.Marshaler.
func (s seconds) MarshalJSON() ([]byte, error) {
	return json.Marshal(float64(time.Time(s).UnixMilli()) / 1000)
}

func optional(t time.Time) *seconds {
	if t.IsZero() {
		return nil
	}
	s := seconds(t)
	return &s
}

// written answers the operations that write.
type written struct {
	ARN           string
	Name          string
	VersionId     string   `json:",omitempty"`
	VersionStages []string `json:",omitempty"`
	DeletionDate  *seconds `json:",omitempty"`
}

func (a *API) arn(r *awsjson.Request, s secrets.Secret) string {
	return r.Partition.SecretARN(s.Name, s.Suffix)
}

func (a *API) create(ctx context.Context, r *awsjson.Request) (any, error) {
	var in struct {
		value
		Name, ClientRequestToken string
		Description, KmsKeyId    *string
		Tags                     []tag
	}
	if err := decode(r, &in); err != nil {
		return nil, err
	}
	s, version, err := a.secrets.Create(ctx, r.Partition, in.Name, secrets.Description{Text: in.Description, KMSKeyID: in.KmsKeyId}, tagsOf(in.Tags), in.value.value(), in.ClientRequestToken)
	if err != nil {
		return nil, err
	}
	return written{ARN: a.arn(r, s), Name: s.Name, VersionId: version}, nil
}

func (a *API) putValue(ctx context.Context, r *awsjson.Request) (any, error) {
	var in struct {
		value
		SecretId, ClientRequestToken string
		VersionStages                []string
	}
	if err := decode(r, &in); err != nil {
		return nil, err
	}
	s, v, err := a.secrets.Put(ctx, r.Partition, in.SecretId, in.value.value(), in.ClientRequestToken, in.VersionStages)
	if err != nil {
		return nil, err
	}
	return written{ARN: a.arn(r, s), Name: s.Name, VersionId: v.ID, VersionStages: v.Stages}, nil
}

func (a *API) update(ctx context.Context, r *awsjson.Request) (any, error) {
	var in struct {
		value
		SecretId, ClientRequestToken string
		Description, KmsKeyId        *string
	}
	if err := decode(r, &in); err != nil {
		return nil, err
	}
	s, version, err := a.secrets.Update(ctx, r.Partition, in.SecretId, secrets.Description{Text: in.Description, KMSKeyID: in.KmsKeyId}, in.value.value(), in.ClientRequestToken)
	if err != nil {
		return nil, err
	}
	return written{ARN: a.arn(r, s), Name: s.Name, VersionId: version}, nil
}

func (a *API) getValue(ctx context.Context, r *awsjson.Request) (any, error) {
	var in struct{ SecretId, VersionId, VersionStage string }
	if err := decode(r, &in); err != nil {
		return nil, err
	}
	s, v, err := a.secrets.Value(ctx, r.Partition, in.SecretId, in.VersionId, in.VersionStage)
	if err != nil {
		return nil, err
	}
	answer := struct {
		ARN           string
		Name          string
		VersionId     string
		SecretString  *string `json:",omitempty"`
		SecretBinary  string  `json:",omitempty"`
		VersionStages []string
		CreatedDate   seconds
	}{ARN: a.arn(r, s), Name: s.Name, VersionId: v.ID, SecretString: v.Value.Text, VersionStages: v.Stages, CreatedDate: seconds(v.CreatedAt)}
	if v.Binary {
		answer.SecretBinary = base64.StdEncoding.EncodeToString(v.Value.Binary)
	}
	return answer, nil
}

// described is a secret without its value.
type described struct {
	ARN                    string
	Name                   string
	Description            string `json:",omitempty"`
	KmsKeyId               string `json:",omitempty"`
	RotationEnabled        bool
	LastChangedDate        seconds
	DeletedDate            *seconds `json:",omitempty"`
	Tags                   []tag
	VersionIdsToStages     map[string][]string `json:",omitempty"`
	SecretVersionsToStages map[string][]string `json:",omitempty"`
	CreatedDate            seconds
}

func (a *API) show(r *awsjson.Request, s secrets.Secret) (described, map[string][]string) {
	d := described{
		ARN: a.arn(r, s), Name: s.Name, Description: s.Description, KmsKeyId: s.KMSKeyID,
		LastChangedDate: seconds(s.ChangedAt), DeletedDate: optional(s.DeletedAt), Tags: []tag{}, CreatedDate: seconds(s.CreatedAt),
	}
	for _, key := range slices.Sorted(maps.Keys(s.Tags)) {
		d.Tags = append(d.Tags, tag{key, s.Tags[key]})
	}
	stages := make(map[string][]string)
	for _, stage := range slices.Sorted(maps.Keys(s.Stages)) {
		stages[s.Stages[stage]] = append(stages[s.Stages[stage]], stage)
	}
	return d, stages
}

// named reads a request that only names a secret.
func named(r *awsjson.Request) (id string, err error) {
	var in struct{ SecretId string }
	err = decode(r, &in)
	return in.SecretId, err
}

func (a *API) describe(ctx context.Context, r *awsjson.Request) (any, error) {
	id, err := named(r)
	if err != nil {
		return nil, err
	}
	s, err := a.secrets.Find(ctx, r.Partition, id)
	if err != nil {
		return nil, err
	}
	d, stages := a.show(r, s)
	d.VersionIdsToStages = stages
	return d, nil
}

func (a *API) listVersions(ctx context.Context, r *awsjson.Request) (any, error) {
	var in struct {
		SecretId          string
		IncludeDeprecated bool
	}
	if err := decode(r, &in); err != nil {
		return nil, err
	}
	s, versions, err := a.secrets.Versions(ctx, r.Partition, in.SecretId)
	if err != nil {
		return nil, err
	}
	type version struct {
		VersionId     string
		VersionStages []string `json:",omitempty"`
		CreatedDate   seconds
	}
	list := []version{}
	for _, v := range versions {
		if len(v.Stages) > 0 || in.IncludeDeprecated {
			list = append(list, version{v.ID, v.Stages, seconds(v.CreatedAt)})
		}
	}
	return struct {
		ARN      string
		Name     string
		Versions []version
	}{a.arn(r, s), s.Name, list}, nil
}

const maxPage = 100

func (a *API) list(ctx context.Context, r *awsjson.Request) (any, error) {
	var in struct {
		MaxResults             *int
		NextToken              string
		IncludePlannedDeletion bool
		Filters                []struct {
			Key    string
			Values []string
		}
	}
	if err := decode(r, &in); err != nil {
		return nil, err
	}
	page := fescue.Page{Limit: maxPage}
	if in.MaxResults != nil {
		if page.Limit = *in.MaxResults; page.Limit < 1 || page.Limit > maxPage {
			return nil, &awsapi.Error{Status: http.StatusBadRequest, Code: "InvalidParameterException", Message: "MaxResults must be 1 to 100."}
		}
	}
	if in.NextToken != "" {
		name, err := base64.RawURLEncoding.DecodeString(in.NextToken)
		if err != nil {
			return nil, &awsapi.Error{Status: http.StatusBadRequest, Code: "InvalidNextTokenException", Message: "NextToken is not one that this API gave out."}
		}
		page.After = strings.ToValidUTF8(strings.ReplaceAll(string(name), "\x00", ""), "")
	}
	for _, f := range in.Filters {
		if f.Key != "name" {
			return nil, &awsapi.Error{Status: http.StatusBadRequest, Code: "InvalidParameterException", Message: "Fescue filters secrets by name only."}
		}
	}
	page.Limit++ // one more shows whether there is a next page
	secrets, err := a.secrets.List(ctx, r.Partition, page, in.IncludePlannedDeletion)
	if err != nil {
		return nil, err
	}
	answer := struct {
		SecretList []described
		NextToken  string `json:",omitempty"`
	}{SecretList: []described{}}
	if len(secrets) == page.Limit {
		secrets = secrets[:page.Limit-1]
		answer.NextToken = base64.RawURLEncoding.EncodeToString([]byte(secrets[len(secrets)-1].Name))
	}
	for _, s := range secrets {
		matches := true
		for _, f := range in.Filters {
			matches = matches && slices.ContainsFunc(f.Values, func(prefix string) bool { return strings.HasPrefix(s.Name, prefix) })
		}
		if matches {
			d, stages := a.show(r, s)
			d.SecretVersionsToStages = stages
			answer.SecretList = append(answer.SecretList, d)
		}
	}
	return answer, nil
}

func (a *API) delete(ctx context.Context, r *awsjson.Request) (any, error) {
	var in struct {
		SecretId                   string
		RecoveryWindowInDays       *int
		ForceDeleteWithoutRecovery bool
	}
	if err := decode(r, &in); err != nil {
		return nil, err
	}
	s, at, err := a.secrets.Delete(ctx, r.Partition, in.SecretId, in.RecoveryWindowInDays, in.ForceDeleteWithoutRecovery)
	if err != nil {
		return nil, err
	}
	return written{ARN: a.arn(r, s), Name: s.Name, DeletionDate: optional(at)}, nil
}

func (a *API) restore(ctx context.Context, r *awsjson.Request) (any, error) {
	id, err := named(r)
	if err != nil {
		return nil, err
	}
	s, err := a.secrets.Restore(ctx, r.Partition, id)
	if err != nil {
		return nil, err
	}
	return written{ARN: a.arn(r, s), Name: s.Name}, nil
}

func (a *API) tag(ctx context.Context, r *awsjson.Request) (any, error) {
	var in struct {
		SecretId string
		Tags     []tag
	}
	if err := decode(r, &in); err != nil {
		return nil, err
	}
	return nil, a.secrets.Tag(ctx, r.Partition, in.SecretId, tagsOf(in.Tags))
}

func (a *API) untag(ctx context.Context, r *awsjson.Request) (any, error) {
	var in struct {
		SecretId string
		TagKeys  []string
	}
	if err := decode(r, &in); err != nil {
		return nil, err
	}
	return nil, a.secrets.Untag(ctx, r.Partition, in.SecretId, in.TagKeys)
}
