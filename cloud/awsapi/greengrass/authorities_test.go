package greengrass_test

import (
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/cloud/store/storetest"
	"github.com/fescue-edge/fescue/pki"
)

func authoritiesPath(group string) string {
	return "/greengrass/groups/" + group + "/certificateauthorities"
}

// authorities lists the ids of a group's authorities and checks the shape.
func (a *api) authorities(group string) []string {
	a.t.Helper()
	got := a.do("GET", authoritiesPath(group), "")
	var ids []string
	var items []string
	for _, id := range regexp.MustCompile(`"([0-9a-f]{64})"`).FindAllStringSubmatch(got.text, -1) {
		ids = append(ids, id[1])
		items = append(items, fmt.Sprintf(`{"GroupCertificateAuthorityArn":"%s/greengrass/groups/%s/certificateauthorities/%s","GroupCertificateAuthorityId":"%s"}`, arnPrefix, group, id[1], id[1]))
	}
	got.is(200, `{"GroupCertificateAuthorities":[`+strings.Join(items, ",")+`]}`)
	return ids
}

// rotated calls CreateGroupCertificateAuthority and returns the id of what it
// made.
func (a *api) rotated(group, header string) string {
	a.t.Helper()
	got := a.call(here, "POST", authoritiesPath(group), header, "{}")
	arn, _ := decoded(a.t, got.text)["GroupCertificateAuthorityArn"].(string)
	id, ok := strings.CutPrefix(arn, arnPrefix+authoritiesPath(group)+"/")
	if got.status != 200 || !ok || !fescue.ValidHash(id) {
		a.t.Fatalf("%s: status %d, body %s", got.what, got.status, got.text)
	}
	return id
}

func TestGroupCertificateAuthorities(t *testing.T) {
	t.Parallel()
	a := open(t)
	group, _ := a.made(here, containers()[0])
	var first string
	t.Run("a group has one without asking", func(t *testing.T) {
		a := a.with(t)
		ids := a.authorities(group)
		if len(ids) != 1 {
			t.Fatal(ids)
		}
		first = ids[0]
		got := decoded(t, a.do("GET", authoritiesPath(group)+"/"+first, "").text)
		cert, err := pki.ParseCertificate([]byte(fmt.Sprint(got["PemEncodedCertificate"])))
		if err != nil || pki.CertificateID(cert.Raw) != first || cert.Subject.CommonName != "123456789012:"+group {
			t.Errorf("%v, %v", got, err)
		}
		if got["GroupCertificateAuthorityArn"] != arnPrefix+authoritiesPath(group)+"/"+first || got["GroupCertificateAuthorityId"] != first || len(got) != 3 {
			t.Errorf("%v", got)
		}
	})
	t.Run("create rotates; the old one stays while its leaf lives", func(t *testing.T) {
		a := a.with(t)
		core := storetest.Core(t, a.store, here, group, 1)
		core.Until = now.Add(time.Hour)
		if err := a.store.GroupAuthorities().RecordHolder(t.Context(), here, group, first, core); err != nil {
			t.Fatal(err)
		}
		second := a.rotated(group, "")
		if got, want := fmt.Sprint(a.authorities(group)), fmt.Sprint([]string{second, first}); got != want {
			t.Errorf("%s, want %s", got, want)
		}
		a.do("GET", authoritiesPath(group)+"/"+first, "").mustStatus(200)

		third := a.rotated(group, "X-Amzn-Client-Token: t")
		if again := a.rotated(group, "X-Amzn-Client-Token: t"); again != third || len(a.authorities(group)) != 2 {
			t.Errorf("%s, want %s", again, third)
		}
		a.do("GET", authoritiesPath(group)+"/"+second, "").refused(404, "IdNotFoundException", "That group certificate authority does not exist.")
	})
	t.Run("the token of another group", func(t *testing.T) {
		a := a.with(t)
		other, _ := a.made(here, containers()[0])
		a.call(here, "POST", authoritiesPath(other), "X-Amzn-Client-Token: t", "").mentions(400, "InvalidInputException", "client token")
		a.call(here, "POST", authoritiesPath(other), "X-Amzn-Client-Token: "+strings.Repeat("t", 65), "").mentions(400, "BadRequestException", "at most 64")
		if id := a.rotated(other, "X-Amzn-Client-Token: u"); fmt.Sprint(a.authorities(other)) != "["+id+"]" {
			t.Errorf("%s is not the only one", id)
		}
	})
	t.Run("unknown authority", func(t *testing.T) {
		a := a.with(t)
		for _, id := range []string{strings.Repeat("0", 64), strings.ToUpper(first), "x", "..%2f" + first, "configuration", "%25"} {
			a.do("GET", authoritiesPath(group)+"/"+id, "").refused(404, "IdNotFoundException", "That group certificate authority does not exist.")
		}
		a.do("GET", authoritiesPath(group)+"/%00", "").mentions(400, "BadRequestException", "malformed")
	})
}

func TestGroupCertificateConfiguration(t *testing.T) {
	t.Parallel()
	a := open(t)
	group, _ := a.made(here, containers()[0])
	path := authoritiesPath(group) + "/configuration/expiry"
	shows := func(expiry string) string {
		return `{"CertificateAuthorityExpiryInMilliseconds":"2524607999000","CertificateExpiryInMilliseconds":"` + expiry + `","GroupId":"` + group + `"}`
	}
	a.do("GET", path, "").is(200, shows("604800000"))
	for _, value := range []string{`"2592000000"`, `1209600000`, `"604800000"`, `604800001`} {
		t.Run(value, func(t *testing.T) {
			a := a.with(t)
			a.do("PUT", path, `{"CertificateExpiryInMilliseconds":`+value+`}`).is(200, shows(strings.Trim(value, `"`)))
			a.do("GET", path, "").is(200, shows(strings.Trim(value, `"`)))
		})
	}
	t.Run("out of range", func(t *testing.T) {
		for _, value := range []string{"604799999", "2592000001", "0", "-604800000", "9223372036854775807", "-9223372036854775808"} {
			for _, quote := range []string{"", `"`} {
				a.with(t).do("PUT", path, `{"CertificateExpiryInMilliseconds":`+quote+value+quote+`}`).refused(400, "BadRequestException",
					"CertificateExpiryInMilliseconds "+value+" is not between 604800000 (7 days) and 2592000000 (30 days).")
			}
		}
	})
	t.Run("malformed", func(t *testing.T) {
		for _, value := range []string{`""`, `"x"`, `"6.048e8"`, `604800000.5`, `true`, `[]`, `{}`, `"9223372036854775808"`, `"604800000 1"`, `"\u0036"`} {
			a.with(t).do("PUT", path, `{"CertificateExpiryInMilliseconds":`+value+`}`).mentions(400, "BadRequestException", "CertificateExpiryInMilliseconds")
		}
		for _, body := range []string{"", "{}", `{"CertificateExpiryInMilliseconds":null}`} {
			a.with(t).do("PUT", path, body).mentions(400, "BadRequestException", "CertificateExpiryInMilliseconds is required")
		}
		a.with(t).do("PUT", path, "{").mentions(400, "BadRequestException", "not valid JSON")
	})
	t.Run("nothing of that was kept", func(t *testing.T) {
		a.with(t).do("GET", path, "").is(200, shows("604800001"))
	})
}

func TestAuthoritiesOfMissingGroups(t *testing.T) {
	t.Parallel()
	a := open(t)
	theirs, _ := a.made(there, containers()[0])
	core, _ := a.made(here, containers()[2])
	groups := map[string]string{"another partition's": theirs, "a definition's": core}
	for name, id := range hostile {
		groups[name] = id
	}
	for name, id := range groups {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a, path := a.with(t), authoritiesPath(id)
			for _, g := range []*answer{
				a.do("POST", path, "{}"), a.do("GET", path, ""), a.do("GET", path+"/"+strings.Repeat("0", 64), ""),
				a.do("GET", path+"/configuration/expiry", ""),
				a.do("PUT", path+"/configuration/expiry", `{"CertificateExpiryInMilliseconds":"604800000"}`),
			} {
				g.refused(404, "IdNotFoundException", "That group definition does not exist.")
			}
		})
	}
}
