package iot_test

import (
	"fmt"
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestCertificates(t *testing.T) {
	t.Parallel()
	a := open(t)

	t.Run("keys and certificate", func(t *testing.T) {
		a := a.with(t)
		body := a.do("POST", "/keys-and-certificate?setAsActive=true", "", "").ok()
		id := body["certificateId"].(string)
		pair := body["keyPair"].(map[string]any)
		if body["certificateArn"] != arnPrefix+"cert/"+id || len(id) != 64 || len(pair) != 2 || len(body) != 4 {
			t.Errorf("got %v", body)
		}
		for _, text := range []any{body["certificatePem"], pair["PublicKey"], pair["PrivateKey"]} {
			if s, ok := text.(string); !ok || !strings.HasPrefix(s, "-----BEGIN ") || !strings.HasSuffix(s, "-----\n") {
				t.Errorf("not PEM: %v", text)
			}
		}
		described := a.do("GET", "/certificates/"+id, "", "").ok()["certificateDescription"].(map[string]any)
		if g, _ := described["generationId"].(string); len(g) != 36 {
			t.Errorf("generation %q", g)
		}
		delete(described, "generationId")
		seconds := float64(now.UnixMilli()) / 1000
		want := map[string]any{
			"certificateArn": body["certificateArn"], "certificateId": id, "certificatePem": body["certificatePem"],
			"status": "ACTIVE", "ownedBy": here.Account, "creationDate": seconds, "lastModifiedDate": seconds, "customerVersion": 1.0,
			"validity":        map[string]any{"notBefore": float64(now.Unix() - 3600), "notAfter": 2524607999.0},
			"certificateMode": "DEFAULT",
		}
		if diff := cmp.Diff(want, described); diff != "" {
			t.Error(diff)
		}
	})
	t.Run("from a signing request, inactive by default", func(t *testing.T) {
		a := a.with(t)
		body := a.do("POST", "/certificates", "", object("certificateSigningRequest", signingRequest(t))).ok()
		if len(body) != 3 {
			t.Errorf("got %v", body)
		}
		described := a.do("GET", "/certificates/"+body["certificateId"].(string), "", "").ok()["certificateDescription"].(map[string]any)
		if described["status"] != "INACTIVE" || described["certificatePem"] != body["certificatePem"] {
			t.Errorf("got %v", described)
		}
	})
	t.Run("registered once, in one partition", func(t *testing.T) {
		a := a.with(t)
		text := selfSigned(t)
		body := a.do("POST", "/certificate/register-no-ca", "", object("certificatePem", text)).ok()
		again := a.do("POST", "/certificate/register-no-ca", "", object("certificatePem", text)).refused(409, "ResourceAlreadyExistsException", "already registered")
		if len(body) != 2 || again["resourceId"] != body["certificateId"] || again["resourceArn"] != body["certificateArn"] {
			t.Errorf("got %v, then %v", body, again)
		}
		elsewhere := a.call(there, "POST", "/certificate/register-no-ca", "", object("certificatePem", text)).refused(409, "CertificateConflictException", "one account and Region")
		if strings.Contains(fmt.Sprint(elsewhere), here.Account) {
			t.Errorf("the refusal says whose it is: %v", elsewhere)
		}
		path := "/certificates/" + body["certificateId"].(string)
		described := a.do("GET", path, "", "").ok()["certificateDescription"].(map[string]any)
		if described["status"] != "INACTIVE" || described["certificateMode"] != "SNI_ONLY" {
			t.Errorf("got %v", described)
		}
		a.call(there, "GET", path, "", "").refused(404, "ResourceNotFoundException", "not found")
	})
	t.Run("registered with its authority", func(t *testing.T) {
		a := a.with(t)
		text := selfSigned(t)
		a.do("POST", "/certificate/register", "", object("certificatePem", text, "caCertificatePem", selfSigned(t))).refused(400, "CertificateValidationException", "caCertificatePem")
		body := a.do("POST", "/certificate/register?setAsActive=true", "", object("certificatePem", text, "caCertificatePem", text)).ok()
		described := a.do("GET", "/certificates/"+body["certificateId"].(string), "", "").ok()["certificateDescription"].(map[string]any)
		if described["status"] != "ACTIVE" || described["certificateMode"] != "DEFAULT" {
			t.Errorf("got %v", described)
		}
	})
	t.Run("the life of a certificate", func(t *testing.T) {
		a := a.with(t)
		id, arn := a.certificate(here)
		path := "/certificates/" + id
		a.do("POST", "/things/held", "", "").ok()
		a.do("POST", "/policies/held", "", object("policyDocument", allowAll)).ok()
		a.do("PUT", "/things/held/principals", "x-amzn-principal: "+arn, "").ok()
		a.do("PUT", "/target-policies/held", "", object("target", arn)).ok()
		a.do("DELETE", path, "", "").refused(406, "CertificateStateException", "Certificate must be deactivated (not ACTIVE) before deletion. Id: "+id)
		a.do("PUT", path+"?newStatus=REVOKED", "", "").ok()
		a.do("PUT", path+"?newStatus=ACTIVE", "", "").refused(406, "CertificateStateException", id)
		a.do("DELETE", path+"?forceDelete=true", "", "").refused(409, "DeleteConflictException", "Things must be detached before deletion (arn: "+arn+")")
		a.do("DELETE", "/things/held", "", "").refused(400, "InvalidRequestException", "Cannot delete. Thing held is still attached to one or more principals")
		a.do("DELETE", "/things/held/principals", "x-amzn-principal: "+arn, "").ok()
		a.do("DELETE", path, "", "").refused(409, "DeleteConflictException", "Certificate policies must be detached before deletion (arn: "+arn+")")
		a.do("DELETE", path+"?forceDelete=true", "", "").ok()
		a.do("GET", path, "", "").refused(404, "ResourceNotFoundException", id)
	})
	t.Run("lists survive deletions between pages", func(t *testing.T) {
		b := open(t)
		first := make(map[string]bool)
		for range 3 {
			id, _ := b.certificate(here)
			first[id] = true
		}
		list := b.do("GET", "/certificates?pageSize=2&isAscendingOrder=true", "", "").ok()
		for _, item := range list["certificates"].([]any) {
			id := item.(map[string]any)["certificateId"].(string)
			delete(first, id)
			b.do("PUT", "/certificates/"+id+"?newStatus=INACTIVE", "", "").ok()
			b.do("DELETE", "/certificates/"+id, "", "").ok()
		}
		marker := url.QueryEscape(list["nextMarker"].(string))
		list = b.do("GET", "/certificates?isAscendingOrder=true&marker="+marker, "", "").ok()
		rest := list["certificates"].([]any)
		if _, more := list["nextMarker"]; more || len(rest) != 1 || !first[rest[0].(map[string]any)["certificateId"].(string)] {
			t.Errorf("got %v", list)
		}
	})
	id, _ := a.certificate(here)
	for _, tc := range []struct{ title, method, path, body, code, text string }{
		{"no signing request", "POST", "/certificates", "{}", "InvalidRequestException", "signing request"},
		{"a signing request of another kind", "POST", "/certificates", object("certificateSigningRequest", selfSigned(t)), "InvalidRequestException", "signing request"},
		{"a flag that is none", "POST", "/keys-and-certificate?setAsActive=yes", "", "InvalidRequestException", "setAsActive"},
		{"no certificate", "POST", "/certificate/register-no-ca", "{}", "CertificateValidationException", "certificatePem"},
		{"nonsense", "POST", "/certificate/register", object("certificatePem", "x"), "CertificateValidationException", "certificatePem"},
		{"a number", "POST", "/certificate/register", `{"certificatePem":1}`, "InvalidRequestException", "certificatePem"},
		{"a status of AWS's own", "POST", "/certificate/register-no-ca", object("certificatePem", selfSigned(t), "status", "PENDING_TRANSFER"), "InvalidRequestException", "PENDING_TRANSFER"},
		{"no status", "PUT", "/certificates/" + id, "", "InvalidRequestException", "status"},
		{"lower case", "PUT", "/certificates/" + id + "?newStatus=active", "", "InvalidRequestException", "status"},
		{"a short id", "GET", "/certificates/abc", "", "InvalidRequestException", "certificate id"},
		{"an id in capitals", "GET", "/certificates/" + strings.Repeat("A", 64), "", "InvalidRequestException", "certificate id"},
		{"a path", "DELETE", "/certificates/..%2f" + id, "", "InvalidRequestException", "certificate id"},
		{"a marker of another list", "GET", "/certificates?marker=eyJrIjoiYSBiIn0", "", "InvalidRequestException", "marker"},
	} {
		t.Run("refused: "+tc.title, func(t *testing.T) {
			a := a.with(t)
			a.do(tc.method, tc.path, "", tc.body).refused(400, tc.code, tc.text)
		})
	}
}
