package greengrass_test

import (
	"fmt"
	"strings"
	"testing"
)

// strangeThings are path segments that no thing is called, with a part of what
// the API says.
var strangeThings = map[string]string{
	"..%2f..%2fgroups": "name of a thing", "a%20b": "name of a thing", "a%2Fb": "name of a thing", "%2e%2e": "name of a thing",
	"%c3%bc": "name of a thing", strings.Repeat("a", 129): "name of a thing", "a%0a": "name of a thing", "%00": "malformed", "a%ff": "malformed",
}

func TestConnectivityInfo(t *testing.T) {
	t.Parallel()
	a := open(t)
	const path = "/greengrass/things/GG_Core-1:x/connectivityInfo"
	const none = `{"ConnectivityInfo":[],"message":"Client devices cannot find core GG_Core-1:x: it has no connectivity information."}`
	const list = `[{"Id":"AUTOIP_127.0.0.1_0","HostAddress":"127.0.0.1","PortNumber":8883,"Metadata":""},{"Id":"b","HostAddress":"gate.example.org","PortNumber":443,"Metadata":"hall & <-"}]`
	a.do("GET", path, "").is(200, none)
	first := a.do("PUT", path, `{"ConnectivityInfo":`+list+`}`).is(200, `{"Version":"<version>","message":"Connectivity information of core GG_Core-1:x updated, entries: 2."}`)
	a.do("GET", path, "").is(200, `{"ConnectivityInfo":`+list+`}`)

	t.Run("only the address and the Id are required", func(t *testing.T) {
		a := a.with(t)
		second := a.do("PUT", path, `{"ConnectivityInfo":[{"HostAddress":"::1","Id":"c","Metadata":null,"PortNumber":null}]}`).
			is(200, `{"Version":"<version>","message":"Connectivity information of core GG_Core-1:x updated, entries: 1."}`)
		if second["version"] == first["version"] {
			t.Error("the version is the same")
		}
		a.do("GET", path, "").is(200, `{"ConnectivityInfo":[{"Id":"c","HostAddress":"::1","PortNumber":8883,"Metadata":""}]}`)
	})
	t.Run("another partition's is not seen", func(t *testing.T) {
		a.with(t).call(there, "GET", path, "", "").is(200, none)
	})
	t.Run("refused", func(t *testing.T) {
		a := a.with(t)
		eleven := make([]string, 11)
		for i := range eleven {
			eleven[i] = fmt.Sprintf(`{"HostAddress":"10.0.0.%d","Id":"%d"}`, i, i)
		}
		a.do("PUT", path, `{"ConnectivityInfo":[`+strings.Join(eleven, ",")+`]}`).
			refused(400, "BadRequestException", "Too many items in the Connectivity Information list. You can store a maximum of 10 endpoints.")
		for body, text := range map[string]string{
			``:                                  "ConnectivityInfo is required",
			`{}`:                                "ConnectivityInfo is required",
			`{"ConnectivityInfo":null}`:         "ConnectivityInfo is required",
			`{"ConnectivityInfo":{}}`:           "must not be a object",
			`[]`:                                "must be a JSON object",
			`{`:                                 "not valid JSON",
			`{"ConnectivityInfo":["a"]}`:        "must not be a string",
			`{"ConnectivityInfo":[null]}`:       "Id",
			`{"ConnectivityInfo":[{"Id":"a"}]}`: "HostAddress",
			`{"ConnectivityInfo":[{"HostAddress":"::1"}]}`:                                     "Id",
			`{"ConnectivityInfo":[{"HostAddress":"::1","Id":"a","PortNumber":"8883"}]}`:        "must not be a string",
			`{"ConnectivityInfo":[{"HostAddress":"::1","Id":"a","PortNumber":8883.5}]}`:        "must not be a number 8883.5",
			`{"ConnectivityInfo":[{"HostAddress":"::1","Id":"a","PortNumber":0}]}`:             "PortNumber",
			`{"ConnectivityInfo":[{"HostAddress":"::1","Id":"a","PortNumber":-1}]}`:            "PortNumber",
			`{"ConnectivityInfo":[{"HostAddress":"::1","Id":"a","PortNumber":65536}]}`:         "PortNumber",
			`{"ConnectivityInfo":[{"HostAddress":"::1","Id":"a","PortNumber":1e30}]}`:          "must not be a number",
			`{"ConnectivityInfo":[{"HostAddress":"a/b","Id":"a"}]}`:                            "HostAddress",
			`{"ConnectivityInfo":[{"HostAddress":"::1","Id":"a\u0000"}]}`:                      "NUL",
			"{\"ConnectivityInfo\":[{\"HostAddress\":\"::1\",\"Id\":\"\xff\"}]}":               "UTF-8",
			`{"ConnectivityInfo":[{"HostAddress":"a","Id":"a"},{"HostAddress":"b","Id":"a"}]}`: "twice",
		} {
			a.do("PUT", path, body).mentions(400, "BadRequestException", text)
		}
		for thing, text := range strangeThings {
			a.do("GET", "/greengrass/things/"+thing+"/connectivityInfo", "").mentions(400, "BadRequestException", text)
			a.do("PUT", "/greengrass/things/"+thing+"/connectivityInfo", `{"ConnectivityInfo":[]}`).mentions(400, "BadRequestException", text)
		}
		if got := a.do("GET", path, "").text; !strings.Contains(got, `"Id":"c"`) {
			t.Errorf("something was changed: %s", got)
		}
	})
	t.Run("an empty list removes all", func(t *testing.T) {
		a := a.with(t)
		a.do("PUT", path, `{"ConnectivityInfo":[]}`).mustStatus(200)
		a.do("GET", path, "").is(200, none)
	})
}

func TestThingRuntimeConfiguration(t *testing.T) {
	t.Parallel()
	a := open(t)
	const path = "/greengrass/things/core/runtimeconfig"
	is := func(a *api, telemetry, sync string) {
		a.t.Helper()
		a.do("GET", path, "").is(200, `{"RuntimeConfiguration":{"TelemetryConfiguration":{"ConfigurationSyncStatus":"`+sync+`","Telemetry":"`+telemetry+`"}}}`)
	}
	is(a, "On", "OutOfSync")
	a.do("PUT", path, `{"TelemetryConfiguration":{"ConfigurationSyncStatus":"InSync","Telemetry":"Off"}}`).is(200, `{}`)
	is(a, "Off", "OutOfSync")

	t.Run("the core says that it does so", func(t *testing.T) {
		if err := a.store.Cores().ReportTelemetry(t.Context(), here, "core", "Off"); err != nil {
			t.Fatal(err)
		}
		is(a.with(t), "Off", "InSync")
		a.with(t).do("PUT", path, `{"TelemetryConfiguration":{"Telemetry":"On"}}`).is(200, `{}`)
		is(a.with(t), "On", "OutOfSync")
	})
	t.Run("another partition's is not seen", func(t *testing.T) {
		a := a.with(t)
		a.call(there, "PUT", path, "", `{"TelemetryConfiguration":{"Telemetry":"Off"}}`).is(200, `{}`)
		is(a, "On", "OutOfSync")
	})
	t.Run("refused", func(t *testing.T) {
		a := a.with(t)
		for body, text := range map[string]string{
			``:                              "Telemetry is required",
			`{"TelemetryConfiguration":{}}`: "Telemetry is required",
			`{"RuntimeConfiguration":{"TelemetryConfiguration":{"Telemetry":"On"}}}`: "Telemetry is required",
			`{"TelemetryConfiguration":null}`:                                        "Telemetry is required",
			`{"TelemetryConfiguration":{"Telemetry":"on"}}`:                          "not one of On and Off",
			`{"TelemetryConfiguration":{"Telemetry":true}}`:                          "must not be a bool",
			`{"TelemetryConfiguration":"On"}`:                                        "must not be a string",
			`{"TelemetryConfiguration"`:                                              "not valid JSON",
		} {
			a.do("PUT", path, body).mentions(400, "BadRequestException", text)
		}
		for thing, text := range strangeThings {
			a.do("GET", "/greengrass/things/"+thing+"/runtimeconfig", "").mentions(400, "BadRequestException", text)
			a.do("PUT", "/greengrass/things/"+thing+"/runtimeconfig", `{"TelemetryConfiguration":{"Telemetry":"On"}}`).mentions(400, "BadRequestException", text)
		}
	})
}
