package functions

import (
	"context"
	"encoding/json"
	"errors"
	"regexp"
	"time"

	"github.com/fescue-edge/fescue"
)

// PermissionStore keeps the statements of functions' resource policies. Nothing is
// run in the cloud, so nothing asks them; scripts that set them go on working.
type PermissionStore interface {
	// AddFunctionPermission writes a statement of a function or, with a
	// qualifier, of a version or alias. A taken id is fescue.ErrExists, an unknown
	// function fescue.ErrNotFound.
	AddFunctionPermission(ctx context.Context, p fescue.Partition, function, qualifier, id, statement string, at time.Time) error
	// FunctionPermissions lists the statements by id.
	FunctionPermissions(ctx context.Context, p fescue.Partition, function, qualifier string) ([]string, error)
	RemoveFunctionPermission(ctx context.Context, p fescue.Partition, function, qualifier, id string) error
}

// Permission is what AddPermission asks for.
type Permission struct {
	ID            string
	Action        string
	Principal     string
	SourceARN     string
	SourceAccount string
}

// maxPermissions keeps a policy within the 20 KB that AWS Lambda allows.
const maxPermissions = 50

var (
	statementID     = regexp.MustCompile(`^[a-zA-Z0-9_-]{1,100}$`)
	permittedAction = regexp.MustCompile(`^(lambda:[*]|lambda:[a-zA-Z]{1,64}|[*])$`)
	permitted       = regexp.MustCompile(`^[^\s\p{Cc}]{1,256}$`)
	sourceARN       = regexp.MustCompile(`^arn:[^\s\p{Cc}]{1,500}$`)
	sourceAccount   = regexp.MustCompile(`^[0-9]{12}$`)
	servicePattern  = regexp.MustCompile(`^[a-z0-9.-]+\.amazonaws\.com(\.cn)?$`)
)

// AddPermission adds a statement to the policy of a function, or of one version or
// alias, and returns it as JSON.
func (s *Service) AddPermission(ctx context.Context, p fescue.Partition, function, qualifier string, permission Permission) (string, error) {
	ref, err := s.existing(ctx, p, function, qualifier)
	if err != nil {
		return "", err
	}
	var shape checks
	shape.pattern("statementId", permission.ID, statementID)
	shape.pattern("action", permission.Action, permittedAction)
	shape.pattern("principal", permission.Principal, permitted)
	if permission.SourceARN != "" {
		shape.pattern("sourceArn", permission.SourceARN, sourceARN)
	}
	if permission.SourceAccount != "" {
		shape.pattern("sourceAccount", permission.SourceAccount, sourceAccount)
	}
	if err := shape.err(); err != nil {
		return "", err
	}
	there, err := s.store.FunctionPermissions(ctx, p, ref.Name, ref.Qualifier)
	if err != nil {
		return "", err
	}
	if len(there) >= maxPermissions {
		return "", fescue.Refuse(ErrInvalid, "The policy has %d statements, which is the most. Remove one first.", len(there))
	}
	statement := permission.statement(p, ref)
	err = s.store.AddFunctionPermission(ctx, p, ref.Name, ref.Qualifier, permission.ID, statement, s.now().UTC())
	if errors.Is(err, fescue.ErrExists) {
		return "", fescue.Refuse(fescue.ErrExists, "The statement id (%s) provided already exists. Please provide a new statement id, or remove the existing statement.", permission.ID)
	}
	return statement, functionNotFound(err, p, ref.Name, ref.Qualifier)
}

func (m Permission) statement(p fescue.Partition, ref Reference) string {
	var principal any = m.Principal
	switch {
	case servicePattern.MatchString(m.Principal):
		principal = map[string]string{"Service": m.Principal}
	case sourceAccount.MatchString(m.Principal):
		principal = map[string]string{"AWS": "arn:" + p.AWS + ":iam::" + m.Principal + ":root"}
	case m.Principal != "*":
		principal = map[string]string{"AWS": m.Principal}
	}
	resource := p.FunctionARN(ref.Name)
	if ref.Qualifier != "" {
		resource = qualified(p, ref.Name, ref.Qualifier)
	}
	condition := map[string]map[string]string{}
	if m.SourceAccount != "" {
		condition["StringEquals"] = map[string]string{"AWS:SourceAccount": m.SourceAccount}
	}
	if m.SourceARN != "" {
		condition["ArnLike"] = map[string]string{"AWS:SourceArn": m.SourceARN}
	}
	text, err := json.Marshal(struct {
		Sid       string
		Effect    string
		Principal any
		Action    string
		Resource  string
		Condition map[string]map[string]string `json:",omitempty"`
	}{m.ID, "Allow", principal, m.Action, resource, condition})
	if err != nil {
		panic("functions: a statement does not encode: " + err.Error()) // texts and maps of texts do
	}
	return string(text)
}

// Policy is the resource policy of a function, or of one version or alias, as JSON;
// one without statements is fescue.ErrNotFound.
func (s *Service) Policy(ctx context.Context, p fescue.Partition, function, qualifier string) (string, error) {
	ref, err := s.existing(ctx, p, function, qualifier)
	if err != nil {
		return "", err
	}
	list, err := s.store.FunctionPermissions(ctx, p, ref.Name, ref.Qualifier)
	if err != nil {
		return "", err
	}
	if len(list) == 0 {
		return "", fescue.Refuse(fescue.ErrNotFound, "The resource you requested does not exist.")
	}
	policy := struct {
		Version   string
		Id        string
		Statement []json.RawMessage
	}{Version: "2012-10-17", Id: "default"}
	for _, statement := range list {
		policy.Statement = append(policy.Statement, json.RawMessage(statement))
	}
	text, err := json.Marshal(policy)
	return string(text), err
}

// RemovePermission removes a statement.
func (s *Service) RemovePermission(ctx context.Context, p fescue.Partition, function, qualifier, id string) error {
	ref, err := s.existing(ctx, p, function, qualifier)
	if err != nil {
		return err
	}
	err = s.store.RemoveFunctionPermission(ctx, p, ref.Name, ref.Qualifier, id)
	if errors.Is(err, fescue.ErrNotFound) {
		return fescue.Refuse(fescue.ErrNotFound, "Statement %.100s is not found in resource policy.", id)
	}
	return err
}

// existing reads a reference to a function, version or alias that is there.
func (s *Service) existing(ctx context.Context, p fescue.Partition, function, qualifier string) (Reference, error) {
	ref, err := ParseReference(p, function, qualifier)
	if err != nil {
		return ref, err
	}
	if ref.Qualifier == fescue.LatestVersion {
		return ref, fescue.Refuse(ErrInvalid, "We currently do not support adding policies for $LATEST.")
	}
	if ref.Qualifier != "" && !isNumber(ref.Qualifier) {
		_, err = s.Alias(ctx, p, ref.Name, ref.Qualifier)
		return ref, err
	}
	version := ref.Qualifier
	if version == "" {
		version = fescue.LatestVersion
	}
	_, err = s.store.FunctionVersion(ctx, p, ref.Name, version)
	return ref, functionNotFound(err, p, ref.Name, ref.Qualifier)
}
