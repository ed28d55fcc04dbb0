package greengrass_test

import (
	"strings"
	"testing"

	"github.com/fescue-edge/fescue"
)

const (
	knownID      = "5f0c2a7e-1d34-4c55-9a0b-7e21c0a1b001"
	knownVersion = "8a4be6d2-90f1-4b7c-8c11-2d5f3e6a9002"
)

func restorePath(k fescue.Kind, id, version string) string {
	return "/fescue/v1/definitions/" + k.Segment + "/" + id + "/versions/" + version
}

func TestRestoreVersion(t *testing.T) {
	t.Parallel()
	for _, c := range containers() {
		t.Run(c.Name, func(t *testing.T) {
			t.Parallel()
			a := open(t)
			path := restorePath(c.Kind, knownID, knownVersion)
			body := `{"Name":"n","tags":{"a":"b"},"CreationTimestamp":"2023-01-02T03:04:05.678Z","LastUpdatedTimestamp":"2023-02-02T03:04:05.678Z",` +
				`"Version":{"CreationTimestamp":"2023-01-03T03:04:05.678Z","Definition":` + c.body + `}}`
			arn := c.arn + knownID + "/versions/" + knownVersion
			a.do("PUT", path, body).is(200, `{"Arn":"`+arn+`","Made":true}`)
			a.do("PUT", path, body).is(200, `{"Arn":"`+arn+`","Made":false}`)
			a.do("GET", c.path+"/"+knownID, "").is(200, `{"Arn":"`+c.arn+knownID+`","CreationTimestamp":"2023-01-02T03:04:05.678Z","Id":"`+knownID+
				`","LastUpdatedTimestamp":"2023-02-02T03:04:05.678Z","LatestVersion":"`+knownVersion+`","LatestVersionArn":"`+arn+`","Name":"n","tags":{"a":"b"}}`)
			a.do("GET", c.path+"/"+knownID+"/versions/"+knownVersion, "").is(200, `{"Arn":"`+arn+
				`","CreationTimestamp":"2023-01-03T03:04:05.678Z","Definition":`+c.body+`,"Id":"`+knownID+`","Version":"`+knownVersion+`"}`)
			// Another partition has room for the same ids.
			a.call(there, "PUT", path, "", body).is(200, `{"Arn":"`+strings.Replace(arn, here.Account, there.Account, 1)+`","Made":true}`)
		})
	}

	a := open(t)
	core := restorePath(fescue.CoreKind, knownID, knownVersion)
	t.Run("other content under the same ids", func(t *testing.T) {
		a := a.with(t)
		a.do("PUT", core, `{"Version":{"Definition":{"Cores":[]}}}`).is(200, `{"Arn":"`+arnPrefix+"/greengrass/definition/cores/"+knownID+"/versions/"+knownVersion+`","Made":true}`)
		a.do("PUT", core, `{"Version":{"Definition":{}}}`).refused(409, "ConflictException",
			"Version "+knownVersion+" of Core "+knownID+" exists with other content. A version never changes.")
	})
	t.Run("what is refused", func(t *testing.T) {
		a := a.with(t)
		good := `{"Name":"n","Version":{"Definition":{}}}`
		other := fescue.NewID()
		for _, c := range []struct {
			path, body string
			status     int
			code, text string
		}{
			{"/fescue/v1/definitions/boats/" + knownID + "/versions/" + other, good, 404, "IdNotFoundException", "no kind of definition"},
			{restorePath(fescue.CoreKind, "x", other), good, 400, "BadRequestException", "not a UUID"},
			{restorePath(fescue.CoreKind, strings.ToUpper(knownID), other), good, 400, "BadRequestException", "not a UUID"},
			{restorePath(fescue.CoreKind, knownID, "1"), good, 400, "BadRequestException", "not a UUID"},
			{restorePath(fescue.CoreKind, knownID, "%2e%2e"), good, 400, "BadRequestException", "not a UUID"},
			{restorePath(fescue.GroupKind, knownID, other), `{"Version":{"Definition":{}}}`, 400, "BadRequestException", "Name is required"},
			{restorePath(fescue.CoreKind, knownID, other), ``, 400, "BadRequestException", "Version.Definition is required"},
			{restorePath(fescue.CoreKind, knownID, other), `{"Version":{"Definition":null}}`, 400, "BadRequestException", "Version.Definition is required"},
			{restorePath(fescue.CoreKind, knownID, other), `{"Version":{"Definition":[]}}`, 400, "BadRequestException", "must be a JSON object"},
			{restorePath(fescue.CoreKind, knownID, other), `{"Version":7}`, 400, "BadRequestException", `"Version" must not be a number`},
			{restorePath(fescue.CoreKind, knownID, other), `{"tags":{"aws:x":"y"},"Version":{"Definition":{}}}`, 400, "BadRequestException", "reserved"},
			{restorePath(fescue.CoreKind, knownID, other), `{"CreationTimestamp":"yesterday","Version":{"Definition":{}}}`, 400, "BadRequestException", "CreationTimestamp is not a time"},
			{restorePath(fescue.CoreKind, knownID, other), `{"LastUpdatedTimestamp":"1950-01-01T00:00:00Z","Version":{"Definition":{}}}`, 400, "BadRequestException", "LastUpdatedTimestamp is not a time"},
		} {
			a.do("PUT", c.path, c.body).mentions(c.status, c.code, c.text)
		}
		// The version is checked as a new one is.
		a.do("PUT", restorePath(fescue.CoreKind, knownID, other), `{"Version":{"Definition":{"Cores":[{}]}}}`).
			refused(400, "", "The cores definition is invalid or corrupted. (ErrorDetails: [Id '' is invalid. It must have 1 to 128 characters of [a-zA-Z0-9:_-], ThingArn of '' is invalid: '', CertificateArn of '' is invalid: ''])")
		a.do("PUT", restorePath(fescue.GroupKind, knownID, other), `{"Name":"n","Version":{"Definition":{"CoreDefinitionVersionArn":"x"}}}`).
			refused(400, "", "The group is invalid or corrupted. (ErrorDetails: [Cores definition reference does not exist])")
	})
}
