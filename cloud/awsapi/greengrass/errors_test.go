package greengrass_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/fescue-edge/fescue"
)

// The literal texts of the original, by kind: those of connectors and loggers
// are inferred from the others.
var missing = map[string]struct{ get, other, createVersion, version, code string }{
	"Group":        {"That Group Definition does not exist.", "That group definition does not exist.", "That group does not exist.", "Group", "VersionNotFoundException"},
	"Connector":    {"That Connector List Definition does not exist.", "That connectors definition does not exist.", "That connectors definition does not exist.", "Connector List", "VersionNotFoundException"},
	"Core":         {"That Core List Definition does not exist", "That cores definition does not exist.", "That cores definition does not exist.", "Core List", "VersionNotFoundException"},
	"Device":       {"That Device List Definition does not exist.", "That devices definition does not exist.", "That devices definition does not exist.", "Device List", "VersionNotFoundException"},
	"Function":     {"That Lambda List Definition does not exist.", "That lambdas definition does not exist.", "That lambdas does not exist.", "Lambda List", "IdNotFoundException"},
	"Logger":       {"That Logger List Definition does not exist.", "That loggers definition does not exist.", "That loggers definition does not exist.", "Logger List", "VersionNotFoundException"},
	"Resource":     {"That Resource List Definition does not exist.", "That resources definition does not exist.", "That resource definition does not exist.", "Resource List", "VersionNotFoundException"},
	"Subscription": {"That Subscription List Definition does not exist.", "That subscriptions definition does not exist.", "That subscriptions does not exist.", "Subscription List", "VersionNotFoundException"},
}

// hostile are path segments that stand where an id should, with what the API
// must see in them. All are ids that do not exist.
var hostile = map[string]string{
	"unknown":           "5f0c2a7e-1d34-4c55-9a0b-7e21c0a1b001",
	"upper case":        "5F0C2A7E-1D34-4C55-9A0B-7E21C0A1B001",
	"not a UUID":        "core",
	"path trick":        "..%2f..%2fgroups",
	"dots":              "%2e%2e",
	"an encoded slash":  "5f0c2a7e-1d34-4c55-9a0b-7e21c0a1b001%2f",
	"a percent sign":    "%25",
	"a quote":           "'%20OR%20''='",
	"a wildcard":        "%25%25%25%25%25%25%25%25-____-____-____-____________",
	"very long":         strings.Repeat("a", 4000),
	"the whole ARN":     "arn:aws:greengrass:us-east-1:123456789012:%2Fgreengrass%2Fgroups%2Fx",
	"a trailing %20":    "5f0c2a7e-1d34-4c55-9a0b-7e21c0a1b001%20",
	"a letter like 0":   "5f0c2a7e-1d34-4c55-9a0b-7e21c0a1b%D9%A0%D9%A0",
	"a trailing return": "5f0c2a7e-1d34-4c55-9a0b-7e21c0a1b001%0a",
}

func TestMissingContainers(t *testing.T) {
	t.Parallel()
	a := open(t)
	for _, c := range containers() {
		// One that another partition has, with the same request.
		foreign, foreignVersion := a.made(there, c)
		own, _ := a.made(here, c)
		ids := map[string]string{"another partition's": foreign}
		for name, id := range hostile {
			ids[name] = id
		}
		text := missing[c.Name]
		for name, id := range ids {
			t.Run(c.Name+", "+name, func(t *testing.T) {
				t.Parallel()
				a := a.with(t)
				item := c.path + "/" + id
				const code = "IdNotFoundException"
				a.do("GET", item, "").refused(404, code, text.get)
				a.do("PUT", item, `{"Name":"x"}`).refused(404, code, text.other)
				a.do("PUT", item, `{}`).refused(404, code, text.other)
				a.do("DELETE", item, "").refused(404, code, text.other)
				a.do("GET", item+"/versions", "").refused(404, code, text.other)
				a.do("GET", item+"/versions/"+foreignVersion, "").refused(404, code, text.other)
				a.do("POST", item+"/versions", c.body).refused(404, code, text.createVersion)
			})
		}
		ids["another partition's"] = foreignVersion
		for name, version := range ids {
			t.Run(c.Name+" version, "+name, func(t *testing.T) {
				t.Parallel()
				a := a.with(t)
				got := a.do("GET", c.path+"/"+own+"/versions/"+version, "")
				message, _ := decoded(t, got.text)["Message"].(string)
				if got.status != 404 || len(got.code) != 1 || got.code[0] != text.code ||
					!strings.HasPrefix(message, "Version ") || !strings.HasSuffix(message, " of "+text.version+" Definition "+own+" does not exist.") {
					t.Errorf("%d %q %s", got.status, got.code, got.text)
				}
				if version == hostile["unknown"] {
					got.refused(404, text.code, fmt.Sprintf("Version %s of %s Definition %s does not exist.", version, text.version, own))
				}
			})
		}
		t.Run(c.Name+", after everything, is still there", func(t *testing.T) {
			a := a.with(t)
			if got := a.call(there, "GET", c.path+"/"+foreign, "", ""); got.status != 200 || decoded(t, got.text)["Name"] != "n" {
				t.Errorf("%s", got.text)
			}
		})
	}
}

func TestPaths(t *testing.T) {
	t.Parallel()
	a := open(t)
	id, _ := a.made(here, containers()[0])
	t.Run("that are malformed", func(t *testing.T) {
		t.Parallel()
		a := a.with(t)
		for _, segment := range []string{"%00", id + "%00", "%ff", "%c3%28", "%ed%a0%80"} {
			for _, path := range []string{"/greengrass/groups/%s", "/greengrass/definition/cores/%s/versions", "/greengrass/groups/" + id + "/versions/%s", "/greengrass/groups/%s/role", "/greengrass/groups/%s/deployments"} {
				a.do("GET", fmt.Sprintf(path, segment), "").mentions(400, "BadRequestException", "path segment")
			}
		}
	})
	t.Run("that name no operation", func(t *testing.T) {
		t.Parallel()
		a := a.with(t)
		for _, c := range [][2]string{
			{"GET", "/"},
			{"GET", "/greengrass"},
			{"GET", "//greengrass/groups"},
			{"GET", "/greengrass//groups"},
			{"GET", "/greengrass/groups/" + id + "//"},
			{"GET", "/greengrass/groups/" + id + "/Versions"},
			{"GET", "/Greengrass/groups"},
			{"GET", "/greengrass%2fgroups"},
			{"GET", "/greengrass/./groups"},
			{"GET", "/greengrass/definition/../groups"},
			{"GET", "/greengrass/definition/things"},
			{"GET", "/greengrass/definition/groups"},
			{"DELETE", "/greengrass/groups"},
			{"PATCH", "/greengrass/groups/" + id},
			{"POST", "/greengrass/groups/" + id},
		} {
			a.do(c[0], c[1], "").mentions(404, "UnknownOperationException", c[0]+" "+c[1])
		}
	})
	t.Run("that lack a label", func(t *testing.T) {
		t.Parallel()
		a := a.with(t)
		for _, c := range [][3]string{
			{"GET", "/greengrass/groups/", "GroupId of GetGroup is empty"},
			{"GET", "/greengrass/groups//", "GroupId of GetGroup is empty"},
			{"DELETE", "/greengrass/groups/", "GroupId of DeleteGroup is empty"},
			{"GET", "/greengrass/groups//versions", "GroupId of ListGroupVersions is empty"},
			{"PUT", "/greengrass/groups//role", "GroupId of AssociateRoleToGroup is empty"},
			{"GET", "/greengrass/groups/" + id + "/versions/", "GroupVersionId of GetGroupVersion is empty"},
		} {
			a.do(c[0], c[1], "").mentions(400, "BadRequestException", c[2])
		}
	})
	t.Run("that end in a slash", func(t *testing.T) {
		t.Parallel()
		if got := a.with(t).do("GET", "/greengrass/groups/"+id+"/", ""); got.status != 200 {
			t.Errorf("%d %s", got.status, got.text)
		}
	})
	t.Run("that are escaped where they need not be", func(t *testing.T) {
		t.Parallel()
		if got := a.with(t).do("GET", "/%67reengrass/groups/"+strings.ReplaceAll(id, "-", "%2D"), ""); got.status != 200 {
			t.Errorf("%d %s", got.status, got.text)
		}
	})
}

func TestMalformedBodies(t *testing.T) {
	t.Parallel()
	a := open(t)
	for _, c := range containers() {
		id, _ := a.made(here, c)
		for _, op := range []struct {
			name, method, path string
			bodies             map[string]string
		}{
			{"create", "POST", c.path, map[string]string{
				`{"Name":7}`: `"Name" must not be a number`, `{"Name":"n","tags":[]}`: `"tags" must not be a array`,
				`{"Name":"n","tags":{"a":1}}`: `"tags" must not be a number`, `{"Name":"n","InitialVersion":[]}`: "must be a JSON object",
				`{"Name":"n","InitialVersion":"x"}`: "must be a JSON object", `{"Name":"n","InitialVersion":7}`: "must be a JSON object",
			}},
			{"create version", "POST", c.path + "/" + id + "/versions", nil},
			{"update", "PUT", c.path + "/" + id, map[string]string{`{"Name":{}}`: `"Name" must not be a object`}},
		} {
			t.Run(c.Name+", "+op.name, func(t *testing.T) {
				t.Parallel()
				a := a.with(t)
				for body, text := range op.bodies {
					a.do(op.method, op.path, body).mentions(400, "BadRequestException", text)
				}
				for body, text := range map[string]string{
					`[]`: "must be a JSON object", `"x"`: "must be a JSON object", `{`: "not valid JSON", `{"Name":"n"}}`: "after the JSON document",
					`{"Name":"n"}{}`: "after the JSON document", "{\"Name\":\"\xff\"}": "UTF-8", `{"Name":"\u0000"}`: "NUL", "\xef\xbb\xbf{}": "not valid JSON",
					`{"Name":"n",}`: "not valid JSON", strings.Repeat(`{"a":`, 20_000): "not valid JSON",
				} {
					a.do(op.method, op.path, body).mentions(400, "BadRequestException", text)
				}
				a.do(op.method, op.path, `{"Name":"`+strings.Repeat("x", 1<<20)+`"}`).mentions(400, "BadRequestException", "body could not be read")
			})
		}
		if c.Kind == fescue.GroupKind {
			continue
		}
		t.Run(c.Name+", a version of the wrong type", func(t *testing.T) {
			t.Parallel()
			a := a.with(t)
			for _, body := range []string{fmt.Sprintf(`{%q:{}}`, c.Member), fmt.Sprintf(`{%q:["x"]}`, c.Member), fmt.Sprintf(`{%q:[{"Id":7}]}`, c.Member)} {
				a.do("POST", c.path+"/"+id+"/versions", body).mentions(400, "BadRequestException", `"`+c.Member)
				a.do("POST", c.path, `{"InitialVersion":`+body+`}`).mentions(400, "BadRequestException", `"`+c.Member)
			}
		})
	}
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	a := open(t)
	byName := make(map[string]container)
	for _, c := range containers() {
		byName[c.Name] = c
	}
	t.Run("an update without a name", func(t *testing.T) {
		t.Parallel()
		for _, c := range containers() {
			a := a.with(t)
			id, _ := a.made(here, c)
			for _, body := range []string{``, `{}`, `{"Name":""}`, `{"Name":null}`} {
				got := a.do("PUT", c.path+"/"+id, body)
				if c.Name == "Resource" {
					got.refused(400, "InvalidInputException", "Invalid resource name.")
				} else {
					got.refused(400, "InvalidContainerDefinitionException", "Input does not contain any attributes to be updated")
				}
			}
		}
	})
	t.Run("another partition's reference", func(t *testing.T) {
		t.Parallel()
		a := a.with(t)
		core := byName["Core"]
		id, version := a.made(there, core)
		arn := there.VersionARN(fescue.CoreKind, id, version)
		const message = "The group is invalid or corrupted. (ErrorDetails: [Cores definition reference does not exist])"
		for _, arn := range []string{arn, strings.Replace(arn, there.Account, here.Account, 1)} {
			a.do("POST", "/greengrass/groups", `{"Name":"g","InitialVersion":{"CoreDefinitionVersionArn":"`+arn+`"}}`).refused(400, "", message)
		}
		if got := a.call(there, "POST", "/greengrass/groups", "", `{"Name":"g","InitialVersion":{"CoreDefinitionVersionArn":"`+arn+`"}}`); got.status != 201 {
			t.Errorf("%s", got.text)
		}
	})
}
