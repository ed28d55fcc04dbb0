package identity

import (
	"fmt"
	"strings"
	"sync"

	"github.com/fescue-edge/fescue/policy"
)

// Grant is what an access key may do.
type Grant struct {
	// Access is one of AccessLevels.
	Access string
	// Limit is what the key may act on.
	Limit Limit
}

// Admin is the access level that may do everything.
const Admin = "admin"

// levels are the access levels: each is a policy document, evaluated as every
// other one is. What a document does not allow is denied, so that an operation
// that is new to Fescue is the admin's alone until a row here names it.
var levels = []struct {
	name, meaning, document string
}{
	{Admin, "everything", `{"Version":"2012-10-17","Statement":[
		{"Effect":"Allow","Action":"*","Resource":"*"}]}`},
	{"deployer", "everything but deletions, access keys, the audit record and the values of secrets", `{"Version":"2012-10-17","Statement":[
		{"Effect":"Allow","Action":["greengrass:*","iot:*","lambda:*","s3:*","iam:*","secretsmanager:*","sts:*","fescue:*"],"Resource":"*"},
		{"Effect":"Deny","Action":["*:Delete*","*:BatchDelete*","iam:*AccessKey*","fescue:*AccessKey*","fescue:*Audit*","secretsmanager:*GetSecretValue"],"Resource":"*"},
		{"Effect":"Deny","Action":"iot:Publish","Resource":["arn:*:iot:*:*:topic/$aws/things/*/shadow/delete","arn:*:iot:*:*:topic/$aws/things/*/shadow/name/*/delete"]}]}`},
	{"reader", "reading, but for access keys, the audit record and the values of secrets", `{"Version":"2012-10-17","Statement":[
		{"Effect":"Allow","Action":["*:Get*","*:List*","*:Describe*","s3:Head*","fescue:Check*"],"Resource":"*"},
		{"Effect":"Deny","Action":["fescue:*AccessKey*","fescue:*Audit*","secretsmanager:*GetSecretValue"],"Resource":"*"}]}`},
}

// AccessLevels are the names of the access levels that a key may have.
func AccessLevels() []string {
	names := make([]string, len(levels))
	for i, l := range levels {
		names[i] = l.name
	}
	return names
}

// Meaning is what an access level may do, in words.
func Meaning(level string) string {
	for _, l := range levels {
		if l.name == level {
			return l.meaning
		}
	}
	return ""
}

// compiledLevels are the documents of the access levels by name.
var compiledLevels = sync.OnceValue(func() map[string]policy.Set {
	sets := make(map[string]policy.Set, len(levels))
	for _, l := range levels {
		d, err := policy.Parse(l.document)
		if err != nil {
			panic(fmt.Sprintf("identity: the document of access level %s: %v", l.name, err))
		}
		sets[l.name] = policy.Set{d}
	}
	return sets
})

// Validate says what is wrong with a grant that an operator asks for.
func (g Grant) Validate() error {
	_, _, err := g.compile()
	return err
}

// compile is the documents of the access level and the scope of the limit.
func (g Grant) compile() (policy.Set, *Scope, error) {
	set, ok := compiledLevels()[g.Access]
	if !ok {
		return nil, nil, fmt.Errorf("%w: access level %q is not one of %s", ErrForm, g.Access, strings.Join(AccessLevels(), ", "))
	}
	scope, err := NewScope(g.Limit)
	if err != nil {
		return nil, nil, fmt.Errorf("%w: %w", ErrForm, err)
	}
	return set, scope, nil
}
