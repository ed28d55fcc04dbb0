package wire_test

import (
	"slices"
	"testing"

	"github.com/fescue-edge/fescue/cloud/awsapi/wire"
)

// TestServices: a name, a scope and a host lead to one row.
func TestServices(t *testing.T) {
	t.Parallel()
	signed, hosts := map[string]string{}, map[string]string{}
	for _, s := range wire.Services {
		for _, name := range append([]string{s.Name}, s.Signed...) {
			if other, twice := signed[name]; twice || name == "" {
				t.Errorf("%q is signed for by %s and %s", name, other, s.Name)
			}
			if signed[name] = s.Name; wire.Find(name).Name != s.Name {
				t.Errorf("%s leads to %+v", name, wire.Find(name))
			}
		}
		for _, label := range s.Hosts {
			if other, twice := hosts[label]; twice {
				t.Errorf("the host %s is of %s and %s", label, other, s.Name)
			}
			hosts[label] = s.Name
		}
		if s.Throttled.Code != "" && (s.Throttled.Status < 400 || s.Throttled.Message == "") {
			t.Errorf("%s: %+v", s.Name, s.Throttled)
		}
	}
	for service, action := range map[string]string{
		"greengrass": "greengrass:X", "iotdata": "iot:X", "iotdevicegateway": "iot:X", "iot-jobs-data": "iotjobsdata:X", "secretsmanager": "secretsmanager:X", "sns": "sns:X",
	} {
		if got := wire.Find(service).Action("X"); got != action {
			t.Errorf("%s: %s, want %s", service, got, action)
		}
	}
	for service, operation := range map[string]string{"iot": "CreateKeysAndCertificate", "fescue": "CreateAccessKey"} {
		if !slices.Contains(wire.Find(service).Once, operation) {
			t.Errorf("%s may be repeated, and makes another one", operation)
		}
	}
	if s := wire.Find("sns"); s.Protocol != wire.RESTJSON || s.Global || s.Throttled.Code != "" {
		t.Errorf("%+v", s)
	}
}

// TestWords: everything is refused in every protocol.
func TestWords(t *testing.T) {
	t.Parallel()
	for what, words := range map[string]wire.Words{"not served": wire.NotServed, "denied": wire.Denied, "throttled": wire.Throttled, "full": wire.Full, "uncertain": wire.Uncertain} {
		for protocol, r := range words {
			if r.Status < 400 || r.Code == "" {
				t.Errorf("%s in protocol %d: %+v", what, protocol, r)
			}
		}
	}
}
