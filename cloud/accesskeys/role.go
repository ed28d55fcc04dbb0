package accesskeys

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/fescue-edge/fescue/policy"
)

// Grant is what an access key may do.
type Grant struct {
	// Role is one of Roles; empty means admin.
	Role string
	// GroupTag, as "site=north", limits the key to groups with that tag.
	GroupTag string
}

// Admin is the role that may do everything.
const Admin = "admin"

// roles are the built-in roles: each is a policy document, evaluated as every
// other one is. What a document does not allow is denied, so that an operation
// that is new to Fescue is the admin's alone until a row here names it.
var roles = []struct {
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

// Roles are the names of the roles.
func Roles() []string {
	names := make([]string, len(roles))
	for i, r := range roles {
		names[i] = r.name
	}
	return names
}

// compiledRoles are the documents of the roles by name.
var compiledRoles = sync.OnceValue(func() map[string]policy.Set {
	sets := make(map[string]policy.Set, len(roles))
	for _, r := range roles {
		d, err := policy.Parse(r.document)
		if err != nil {
			panic(fmt.Sprintf("accesskeys: the document of role %s: %v", r.name, err))
		}
		sets[r.name] = policy.Set{d}
	}
	return sets
})

// Validate says what is wrong with a grant that an operator asks for.
func (g Grant) Validate() error {
	_, err := g.policies()
	return err
}

// policies are the documents of the grant: those of its role, and the limit to
// groups, which only denies.
func (g Grant) policies() (policy.Set, error) {
	role := g.Role
	if role == "" {
		role = Admin
	}
	set, ok := compiledRoles()[role]
	if !ok {
		return nil, fmt.Errorf("%w: role %q is not one of %s", ErrForm, role, strings.Join(Roles(), ", "))
	}
	if g.GroupTag == "" {
		return set, nil
	}
	limit, err := groupLimit(g.GroupTag)
	if err != nil {
		return nil, err
	}
	return append(slices.Clone(set), limit), nil
}

// groupLimit denies what reaches beyond the groups with a tag. Definitions, code
// and objects belong to no group, and do nothing until a deployment of a group
// names them; what acts on the fleet without naming a group is denied.
func groupLimit(tag string) (*policy.Document, error) {
	key, value, ok := strings.Cut(tag, "=")
	if !ok || key == "" || value == "" || len(key) > 128 || len(value) > 256 {
		return nil, fmt.Errorf("%w: the limit to groups %q is not tag=value", ErrForm, tag)
	}
	const groups = "arn:*:greengrass:*:*:/greengrass/groups/*"
	type object = map[string]any
	unless := func(kind string) object {
		return object{"StringNotEquals": object{"aws:" + kind + "/" + key: value}}
	}
	document, err := json.Marshal(object{
		"Version": "2008-10-17", // in which ${ in a tag is ordinary text
		"Statement": []object{
			{"Effect": "Deny", "NotAction": []string{"greengrass:*", "lambda:*", "s3:*", "sts:*", "fescue:*", "*:Get*", "*:List*", "*:Describe*"}, "Resource": "*"},
			{"Effect": "Deny", "Resource": "*", "Action": []string{
				"greengrass:*BulkDeployment*", "greengrass:AssociateService*", "greengrass:DisassociateService*",
				"greengrass:CreateSoftwareUpdateJob", "greengrass:Update*Connectivity*", "greengrass:UpdateThing*",
				"secretsmanager:*GetSecretValue", "sts:AssumeRole",
			}},
			{"Effect": "Deny", "Action": "*", "Resource": groups, "Condition": unless("ResourceTag")},
			{"Effect": "Deny", "Action": "fescue:*", "NotResource": groups},
			{"Effect": "Deny", "Action": "greengrass:CreateGroup", "Resource": "*", "Condition": unless("RequestTag")},
		},
	})
	if err != nil {
		return nil, err
	}
	d, err := policy.Parse(string(document))
	if err != nil {
		return nil, fmt.Errorf("%w: the limit to groups %q: %w", ErrForm, tag, err)
	}
	return d, nil
}
