package greengrass_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/fescue-edge/fescue"
)

// shape is DEF of the API: a container in its exact form. Members that have no
// value are absent.
func shape(c container, updated, name, version, tail string) string {
	s := fmt.Sprintf(`{"Arn":"%s<id>","CreationTimestamp":"%s","Id":"<id>","LastUpdatedTimestamp":"%s"`, c.arn, stamp, updated)
	if version != "" {
		s += fmt.Sprintf(`,"LatestVersion":"%s","LatestVersionArn":"%s<id>/versions/%s"`, version, c.arn, version)
	}
	if name != "" {
		s += fmt.Sprintf(`,"Name":%q`, name)
	}
	return s + tail + "}"
}

func versionShape(c container, version, definition string) string {
	if definition != "" {
		definition = `"Definition":` + definition + `,`
	}
	return fmt.Sprintf(`{"Arn":"%s<id>/versions/%s","CreationTimestamp":"%s",%s"Id":"<id>","Version":"%s"}`, c.arn, version, stamp, definition, version)
}

// The eight operations of the eight kinds, one after the other, each answer to
// the byte.
func TestContainers(t *testing.T) {
	t.Parallel()
	a := open(t)
	for _, c := range containers() {
		t.Run(c.Name, func(t *testing.T) {
			t.Parallel()
			a := a.with(t)
			a.do("GET", c.path, "").is(200, `{"`+c.list+`":[]}`)

			// Without a first version, and for a definition without a name.
			name := ""
			if c.Kind == fescue.GroupKind {
				name = "g"
			}
			bare := a.do("POST", c.path, `{"Name":"`+name+`"}`).is(201, shape(c, stamp, name, "", ""))
			item := c.path + "/" + bare["id"]
			a.do("GET", item, "").is(200, strings.ReplaceAll(shape(c, stamp, name, "", `,"tags":{}`), "<id>", bare["id"]))
			a.do("GET", item+"/versions", "").is(200, `{"Versions":[]}`)
			a.do("DELETE", item, "").is(200, `{}`)

			// With one, and tags, which are not echoed.
			body := `{"Name":"my < > & é","InitialVersion":` + c.body + `,"tags":{"b":"","a":"x"}}`
			made := a.do("POST", c.path, body).is(201, shape(c, stamp, "my < > & é", "<first>", ""))
			id, first := made["id"], made["first"]
			item = c.path + "/" + id
			sub := func(want, version string) string {
				return strings.NewReplacer("<id>", id, "<first>", version, "<v>", version).Replace(want)
			}
			a.do("GET", item, "").is(200, sub(shape(c, stamp, "my < > & é", "<first>", `,"tags":{"a":"x","b":""}`), first))
			a.do("GET", item+"/versions/"+first, "").is(200, sub(versionShape(c, "<v>", c.body), first))

			// A new version moves LatestVersion and leaves LastUpdatedTimestamp.
			second := a.do("POST", item+"/versions", c.body).is(201, strings.ReplaceAll(versionShape(c, "<v>", ""), "<id>", id))["v"]
			a.do("GET", item+"/versions", "").is(200, `{"Versions":[`+sub(versionShape(c, "<v>", ""), second)+`,`+sub(versionShape(c, "<v>", ""), first)+`]}`)
			a.do("GET", c.path, "").is(200, `{"`+c.list+`":[`+sub(shape(c, stamp, "my < > & é", "<first>", ""), second)+`]}`)

			// A new name changes LastUpdatedTimestamp.
			a.do("PUT", item, `{"Name":"renamed"}`).is(200, `{}`)
			got := decoded(t, a.do("GET", item, "").text)
			if got["Name"] != "renamed" || got["LastUpdatedTimestamp"] == stamp || got["CreationTimestamp"] != stamp || got["LatestVersion"] != second {
				t.Errorf("renamed to %v", got)
			}

			a.do("DELETE", item, "").is(200, `{}`)
			a.do("GET", c.path, "").is(200, `{"`+c.list+`":[]}`)
		})
	}
}

func TestCreateBodies(t *testing.T) {
	t.Parallel()
	a := open(t)
	core := containers()[2]
	t.Run("no body", func(t *testing.T) {
		t.Parallel()
		a.with(t).do("POST", core.path, "").is(201, shape(core, stamp, "", "", ""))
	})
	t.Run("nulls", func(t *testing.T) {
		t.Parallel()
		a.with(t).do("POST", core.path, `{"Name":null,"InitialVersion":null,"tags":null}`).is(201, shape(core, stamp, "", "", ""))
	})
	t.Run("an empty version", func(t *testing.T) {
		t.Parallel()
		a := a.with(t)
		made := a.do("POST", core.path, `{"InitialVersion":{}}`).is(201, shape(core, stamp, "", "<v>", ""))
		item := core.path + "/" + made["id"]
		a.do("GET", item+"/versions/"+made["v"], "").is(200, versionShape(core, "<v>", `{}`))
		for _, body := range []string{"", "{}", "null"} {
			v := a.do("POST", item+"/versions", body).is(201, versionShape(core, "<v>", ""))["v"]
			a.do("GET", item+"/versions/"+v, "").is(200, versionShape(core, "<v>", `{}`))
		}
	})
	t.Run("a group without a name", func(t *testing.T) {
		t.Parallel()
		for _, body := range []string{``, `{}`, `{"Name":""}`, `{"Name":null}`} {
			a.with(t).do("POST", "/greengrass/groups", body).mentions(400, "BadRequestException", "Name is required")
		}
	})
	t.Run("a group with references", func(t *testing.T) {
		t.Parallel()
		a := a.with(t)
		var members []string
		for _, c := range containers()[1:] {
			id, version := a.made(here, c)
			members = append(members, fmt.Sprintf(`%q:"%s%s/versions/%s"`, c.Reference, c.arn, id, version))
		}
		definition := "{" + strings.Join(members, ",") + "}"
		group := containers()[0]
		made := a.do("POST", group.path, `{"Name":"g","InitialVersion":`+definition+`}`).is(201, shape(group, stamp, "g", "<v>", ""))
		a.do("GET", group.path+"/"+made["id"]+"/versions/"+made["v"], "").is(200, versionShape(group, "<v>", definition))
	})
	t.Run("functions keep their default", func(t *testing.T) {
		t.Parallel()
		a := a.with(t)
		c := containers()[4]
		const body = `{"DefaultConfig":{"Execution":{"IsolationMode":"NoContainer","RunAs":{"Gid":0,"Uid":0}}},"Functions":[{"FunctionArn":"arn:aws:lambda:us-east-1:123456789012:function:f:1","FunctionConfiguration":{"Pinned":false,"Timeout":3},"Id":"f"}]}`
		made := a.do("POST", c.path, `{"InitialVersion":`+body+`}`).is(201, shape(c, stamp, "", "<v>", ""))
		a.do("GET", c.path+"/"+made["id"]+"/versions/"+made["v"], "").is(200, versionShape(c, "<v>", body))
	})
}

func TestPaging(t *testing.T) {
	t.Parallel()
	// pages follows NextToken, with something made before each page, and
	// returns the values of a member of the list's items.
	pages := func(a *api, path, list, member string, between func()) (values []string) {
		next := ""
		for range 100 {
			got := decoded(a.t, a.do("GET", path+"?MaxResults=2"+next, "").text)
			items, ok := got[list].([]any)
			if !ok || len(items) > 2 || len(items) == 0 {
				a.t.Fatalf("%s: %v", path, got)
			}
			for _, item := range items {
				values = append(values, item.(map[string]any)[member].(string))
			}
			token, more := got["NextToken"].(string)
			if !more {
				if _, there := got["NextToken"]; there {
					a.t.Errorf("NextToken %v", got["NextToken"])
				}
				return values
			}
			next = "&NextToken=" + token
			between()
		}
		a.t.Fatal("the pages do not end")
		return nil
	}
	t.Run("containers, ascending, over inserts", func(t *testing.T) {
		t.Parallel()
		a := open(t)
		c := containers()[1]
		before := make(map[string]int)
		for range 5 {
			id, _ := a.made(here, c)
			before[id] = 0
		}
		last := ""
		rounds := 0
		for _, id := range pages(a, c.path, "Definitions", "Id", func() {
			if rounds++; rounds < 4 {
				a.made(here, c)
			}
			a.made(there, c)
		}) {
			if id <= last {
				t.Errorf("%s after %s", id, last)
			}
			last = id
			if _, known := before[id]; known {
				before[id]++
			}
		}
		for id, n := range before {
			if n != 1 {
				t.Errorf("%s stands %d times on the pages", id, n)
			}
		}
	})
	t.Run("versions, newest first, over inserts", func(t *testing.T) {
		t.Parallel()
		a := open(t)
		c := containers()[0]
		id, version := a.made(here, c)
		want := []string{version}
		add := func() string {
			return decoded(t, a.do("POST", c.path+"/"+id+"/versions", `{}`).text)["Version"].(string)
		}
		for range 4 {
			want = append([]string{add()}, want...)
		}
		got := pages(a, c.path+"/"+id+"/versions", "Versions", "Version", func() { add() })
		if strings.Join(got, " ") != strings.Join(want, " ") {
			t.Errorf("%v, want %v", got, want)
		}
	})
	t.Run("a page that ends the list has no token", func(t *testing.T) {
		t.Parallel()
		a := open(t)
		c := containers()[3]
		a.made(here, c)
		a.made(here, c)
		for _, query := range []string{"?MaxResults=2", "?MaxResults=3", "?MaxResults=99999999999999", "", "?MaxResults=", "?NextToken="} {
			if got := decoded(t, a.do("GET", c.path+query, "").text); len(got["Definitions"].([]any)) != 2 || got["NextToken"] != nil {
				t.Errorf("%s: %v", query, got)
			}
		}
	})
	t.Run("malformed", func(t *testing.T) {
		t.Parallel()
		a := open(t)
		id, _ := a.made(here, containers()[0])
		for _, path := range []string{"/greengrass/groups", "/greengrass/definition/cores", "/greengrass/groups/" + id + "/versions", "/greengrass/groups/" + id + "/deployments"} {
			for _, max := range []string{"0", "-1", "x", "1.5", "%20"} {
				a.do("GET", path+"?MaxResults="+max, "").mentions(400, "BadRequestException", "MaxResults")
			}
			for _, token := range []string{"x", "%00", "=", "Li4vLi4v", strings.Repeat("A", 5000), "%ff"} {
				a.do("GET", path+"?NextToken="+token, "").mentions(400, "BadRequestException", "NextToken")
			}
			a.do("GET", path+"?a=%zz", "").mentions(400, "BadRequestException", "query")
		}
	})
}

func TestClientTokens(t *testing.T) {
	t.Parallel()
	a := open(t)
	const header = "X-Amzn-Client-Token: "
	for _, c := range containers() {
		t.Run(c.Name, func(t *testing.T) {
			t.Parallel()
			a := a.with(t)
			create := func(p fescue.Partition, token, body string) *answer {
				return a.call(p, "POST", c.path, header+token, body)
			}
			first := create(here, "t1", `{"Name":"n","tags":{"a":"b"}}`)
			first.is(201, shape(c, stamp, "n", "", ""))
			if again := create(here, "t1", ` {"tags":{"a":"b"} , "Name":"n"}`); again.text != first.text || again.status != 201 {
				t.Errorf("%s, again %s", first.text, again.text)
			}
			create(here, "t1", `{"Name":"m"}`).refused(400, "InvalidInputException", "The client token was used before for a different request. Use a new token.")
			for _, other := range []*answer{create(here, "T1", `{"Name":"n"}`), create(there, "t1", `{"Name":"m"}`)} {
				if other.status != 201 || other.text == first.text {
					t.Errorf("%d %s", other.status, other.text)
				}
			}
			id := decoded(t, first.text)["Id"].(string)
			item := c.path + "/" + id
			version := a.call(here, "POST", item+"/versions", header+"t1", c.body)
			version.is(201, versionShape(c, "<v>", ""))
			if again := a.call(here, "POST", item+"/versions", header+"t1", c.body); again.text != version.text {
				t.Errorf("%s, again %s", version.text, again.text)
			}
			otherID, _ := a.made(here, c)
			a.call(here, "POST", c.path+"/"+otherID+"/versions", header+"t1", c.body).mentions(400, "InvalidInputException", "client token")

			// What was made is shown as it is now, and made anew once deleted.
			a.do("PUT", item, `{"Name":"renamed"}`).is(200, `{}`)
			if again := decoded(t, create(here, "t1", `{"Name":"n","tags":{"a":"b"}}`).text); again["Id"] != id || again["Name"] != "renamed" {
				t.Errorf("%v", again)
			}
			a.do("DELETE", item, "").is(200, `{}`)
			if again := create(here, "t1", `{"Name":"n","tags":{"a":"b"}}`); again.status != 201 || decoded(t, again.text)["Id"] == id {
				t.Errorf("%d %s", again.status, again.text)
			}
			a.call(here, "POST", item+"/versions", header+"t1", c.body).mentions(404, "IdNotFoundException", "does not exist")
		})
	}
	t.Run("an SDK's attempts of one call", func(t *testing.T) {
		t.Parallel()
		a := a.with(t)
		id := func(attempt, name string) any {
			made := a.call(here, "POST", "/greengrass/groups", "Amz-Sdk-Invocation-Id: "+attempt, `{"Name":"`+name+`"}`)
			if made.status != 201 {
				t.Fatalf("%d %s", made.status, made.text)
			}
			return decoded(t, made.text)["Id"]
		}
		const one, two = "4d5c7c0a-1f0e-4d0c-9a44-0d7c1c8fbb01", "4d5c7c0a-1f0e-4d0c-9a44-0d7c1c8fbb02"
		first := id(one, "n")
		if again := id(one, "n"); again != first {
			t.Errorf("%v, again %v", first, again)
		}
		for _, other := range []any{id(two, "n"), id(one, "m"), id("", "n"), id("x", "n"), id(one+"\n"+keyHeader+": another", "n")} {
			if other == first {
				t.Error("another call is answered what the first one made")
			}
		}
		for _, none := range []string{"x", "00000000-0000-0000-0000-000000000000"} {
			if id(none, "n") == id(none, "n") {
				t.Errorf("%s is no id, and makes two calls one", none)
			}
		}
	})
	t.Run("whatever has become of what the request names", func(t *testing.T) {
		t.Parallel()
		a := a.with(t)
		core, version := a.made(here, containers()[2])
		body := `{"CoreDefinitionVersionArn":"` + here.VersionARN(fescue.CoreKind, core, version) + `"}`
		create := func() *answer {
			return a.call(here, "POST", "/greengrass/groups", header+"gone", `{"Name":"g","InitialVersion":`+body+`}`)
		}
		group := create()
		add := func() *answer {
			return a.call(here, "POST", "/greengrass/groups/"+decoded(t, group.text)["Id"].(string)+"/versions", header+"gone", body)
		}
		added := add()
		latest := create()
		a.do("DELETE", "/greengrass/definition/cores/"+core, "").is(200, `{}`)
		if again := create(); group.status != 201 || again.status != 201 || again.text != latest.text {
			t.Errorf("%s, again %s", latest.text, again.text)
		}
		if again := add(); added.status != 201 || again.status != 201 || again.text != added.text {
			t.Errorf("%s, again %s", added.text, again.text)
		}
	})
	t.Run("malformed", func(t *testing.T) {
		t.Parallel()
		a := a.with(t)
		create := func(token string) *answer {
			return a.call(here, "POST", "/greengrass/definition/cores", header+token, `{}`)
		}
		create(strings.Repeat("x", 65)).mentions(400, "BadRequestException", "at most 64")
		create("é").mentions(400, "BadRequestException", "printable ASCII")
		create("a\tb").mentions(400, "BadRequestException", "printable ASCII")
		create("\xff").mentions(400, "BadRequestException", "printable ASCII")
		create(strings.Repeat("x", 64)).is(201, shape(containers()[2], stamp, "", "", ""))
	})
	t.Run("numbers that differ in the last place", func(t *testing.T) {
		t.Parallel()
		a := a.with(t)
		body := func(size string) string {
			return `{"InitialVersion":{"Functions":[{"Id":"f","FunctionArn":"arn:aws:lambda:us-east-1:123456789012:function:f:1","FunctionConfiguration":{"MemorySize":` + size + `}}]}}`
		}
		if got := a.call(here, "POST", "/greengrass/definition/functions", header+"n1", body("9007199254740993")); got.status != 201 {
			t.Fatal(got.text)
		}
		a.call(here, "POST", "/greengrass/definition/functions", header+"n1", body("9007199254740992")).mentions(400, "InvalidInputException", "client token")
	})
}
