package greengrass_test

import (
	"regexp"
	"strings"
	"testing"

	"github.com/fescue-edge/fescue"
)

func TestRoles(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ path, none string }{
		"group role":   {"/greengrass/groups/5f0c2a7e-1d34-4c55-9a0b-7e21c0a1b001/role", "You need to attach an IAM role to this deployment group."},
		"service role": {"/greengrass/servicerole", "You need to attach a service role to this account."},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := open(t)
			seconds := regexp.MustCompile(`^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z$`)
			put := func(role string) string {
				at := a.do("PUT", c.path, `{"RoleArn":"`+role+`"}`).is(200, `{"AssociatedAt":"<at>"}`)["at"]
				if !seconds.MatchString(at) {
					t.Errorf("AssociatedAt %q", at)
				}
				return at
			}
			a.do("GET", c.path, "").refused(404, "", c.none)
			for _, role := range []string{
				"arn:aws:iam::123456789012:role/Greengrass_ServiceRole", "arn:aws:iam::210987654321:role/service-role/a+=,.@-_b",
				"arn:aws-cn:iam::123456789012:role/r", "arn:aws-us-gov:iam::123456789012:role/r",
			} {
				at := put(role)
				a.do("GET", c.path, "").is(200, `{"AssociatedAt":"`+at+`","RoleArn":"`+role+`"}`)
			}
			a.call(there, "GET", c.path, "", "").refused(404, "", c.none)
			for _, role := range []string{
				"", "role", "arn:aws:iam::123456789012:role/", "arn:aws:iam::123456789012:user/u", "arn:aws:iam::12345678901:role/r", "arn:aws:iam:us-east-1:123456789012:role/r",
				"arn:aws:iam::123456789012:role/r\\n", "arn:aws:iam::123456789012:role/a b", "arn:aws:iam::123456789012:role/" + strings.Repeat("x", 513), "arn:aws-iso:iam::123456789012:role/r",
			} {
				a.do("PUT", c.path, `{"RoleArn":"`+role+`"}`).refused(400, "BadRequestException", "That role ARN is invalid.")
			}
			for _, body := range []string{``, `{}`, `{"RoleArn":null}`} {
				a.do("PUT", c.path, body).refused(400, "BadRequestException", "That role ARN is invalid.")
			}
			a.do("PUT", c.path, `{"RoleArn":7}`).mentions(400, "BadRequestException", `"RoleArn" must not be a number`)
			for range 2 { // also when there is none
				if at := a.do("DELETE", c.path, "").is(200, `{"DisassociatedAt":"<at>"}`)["at"]; !seconds.MatchString(at) {
					t.Errorf("DisassociatedAt %q", at)
				}
				a.do("GET", c.path, "").refused(404, "", c.none)
			}
		})
	}
	t.Run("a group's role is not the service role", func(t *testing.T) {
		t.Parallel()
		a := open(t)
		const role = `{"RoleArn":"arn:aws:iam::123456789012:role/r"}`
		a.do("PUT", "/greengrass/servicerole", role).is(200, `{"AssociatedAt":"<at>"}`)
		id, _ := a.made(here, containers()[0])
		for _, group := range []string{id, "%20", "servicerole", "%2f", "..%2fservicerole"} {
			a.do("GET", "/greengrass/groups/"+group+"/role", "").refused(404, "", "You need to attach an IAM role to this deployment group.")
			a.do("DELETE", "/greengrass/groups/"+group+"/role", "").is(200, `{"DisassociatedAt":"<at>"}`)
		}
		if got := a.do("GET", "/greengrass/servicerole", ""); got.status != 200 {
			t.Errorf("%d %s", got.status, got.text)
		}
	})
	t.Run("goes with the group", func(t *testing.T) {
		t.Parallel()
		a := open(t)
		id, _ := a.made(here, containers()[0])
		a.do("PUT", "/greengrass/groups/"+id+"/role", `{"RoleArn":"arn:aws:iam::123456789012:role/r"}`).is(200, `{"AssociatedAt":"<at>"}`)
		a.do("DELETE", "/greengrass/groups/"+id, "").is(200, `{}`)
		if _, _, err := a.store.GroupRoles().AssociatedRole(t.Context(), fescue.Partition{AWS: "aws", Account: "123456789012", Region: "us-east-1"}, id); err == nil {
			t.Error("the role stays")
		}
	})
}
