package identity

import (
	"fmt"
	"strings"
	"sync"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/policy"
)

// Grant is what an access key may do.
type Grant struct {
	// Role is one of BuiltInRoles.
	Role string
	// Limit is what the key may act on.
	Limit fescue.Limit
}

// Admin is the role that may do everything.
const Admin = "admin"

// builtIn are the built-in roles: each is a policy document, evaluated as every
// other one is. What a document does not allow is denied, so that an operation
// that is new to Fescue is the admin's alone until a row here names it.
var builtIn = []struct {
	name, meaning, document string
}{
	{Admin, "everything", `{"Version":"2012-10-17","Statement":[
		{"Effect":"Allow","Action":"*","Resource":"*"}]}`},
	{"deployer", "everything but deletions, access keys, the audit record and the values of secrets", `{"Version":"2012-10-17","Statement":[
		{"Effect":"Allow","Action":["greengrass:*","iot:*","lambda:*","s3:*","iam:*","secretsmanager:*","sts:*","fescue:*"],"Resource":"*"},
		{"Effect":"Deny","Action":["*:Delete*","*:BatchDelete*","iam:*AccessKey*","fescue:*AccessKey*","fescue:*Audit*","secretsmanager:*GetSecretValue"],"Resource":"*"}]}`},
	{"reader", "reading, but for the audit record and the values of secrets", `{"Version":"2012-10-17","Statement":[
		{"Effect":"Allow","Action":["*:Get*","*:List*","*:Describe*","s3:Head*","fescue:Check*"],"Resource":"*"},
		{"Effect":"Deny","Action":["fescue:*Audit*","secretsmanager:*GetSecretValue"],"Resource":"*"}]}`},
}

// BuiltInRoles are the names of the roles that a key may have.
func BuiltInRoles() []string {
	names := make([]string, len(builtIn))
	for i, r := range builtIn {
		names[i] = r.name
	}
	return names
}

// compiledRoles are the documents of the roles by name.
var compiledRoles = sync.OnceValue(func() map[string]policy.Set {
	sets := make(map[string]policy.Set, len(builtIn))
	for _, r := range builtIn {
		d, err := policy.Parse(r.document)
		if err != nil {
			panic(fmt.Sprintf("identity: the document of role %s: %v", r.name, err))
		}
		sets[r.name] = policy.Set{d}
	}
	return sets
})

// Validate says what is wrong with a grant that an operator asks for.
func (g Grant) Validate() error {
	_, _, err := g.compile()
	return err
}

// compile is the documents of the role and the scope of the limit.
func (g Grant) compile() (policy.Set, *Scope, error) {
	set, ok := compiledRoles()[g.Role]
	if !ok {
		return nil, nil, fmt.Errorf("%w: role %q is not one of %s", ErrForm, g.Role, strings.Join(BuiltInRoles(), ", "))
	}
	scope, err := NewScope(g.Limit)
	if err != nil {
		return nil, nil, fmt.Errorf("%w: %w", ErrForm, err)
	}
	return set, scope, nil
}
