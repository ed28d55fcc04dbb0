package iot_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestDescribeEndpoint(t *testing.T) {
	t.Parallel()
	a := open(t)
	for _, query := range []string{"", "?endpointType=iot:Data", "?endpointType=iot%3AData-ATS", "?endpointType=iot:CredentialProvider", "?endpointType=iot:Jobs"} {
		t.Run("one host: "+query, func(t *testing.T) {
			a := a.with(t)
			if diff := cmp.Diff(map[string]any{"endpointAddress": "iot.example.org"}, a.do("GET", "/endpoint"+query, "", "").ok()); diff != "" {
				t.Error(diff)
			}
		})
	}
	t.Run("an unknown type is refused", func(t *testing.T) {
		a := a.with(t)
		a.do("GET", "/endpoint?endpointType=iot:Nothing", "", "").refused(400, "InvalidRequestException", "iot:Nothing")
	})
}

func TestUnknownOperations(t *testing.T) {
	t.Parallel()
	a := open(t)
	for _, tc := range []struct{ method, path string }{
		{"GET", "/"}, {"PUT", "/things/x"}, {"POST", "/thing-groups/x"}, {"POST", "/cacertificate"}, {"GET", "/registrationcode"}, {"GET", "/things/x/y/z"},
	} {
		t.Run(tc.method+" "+tc.path, func(t *testing.T) {
			a := a.with(t)
			a.do(tc.method, tc.path, "", "").refused(404, "UnknownOperationException", tc.path)
		})
	}
}
