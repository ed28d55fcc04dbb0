package policyvars_test

import (
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"math/big"
	"net"
	"net/url"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/fescue-edge/fescue/cloud/policyvars"
)

func attribute(value any, arcs ...int) pkix.AttributeTypeAndValue {
	return pkix.AttributeTypeAndValue{Type: asn1.ObjectIdentifier(arcs), Value: value}
}

func TestConnection(t *testing.T) {
	t.Parallel()
	link, err := url.Parse("urn:mill:7")
	if err != nil {
		t.Fatal(err)
	}
	base := map[string][]string{
		"iot:CertificateId": {"id"}, "aws:SecureTransport": {"true"}, "iot:Certificate.SerialNumber": {"ff01"},
	}
	for _, tc := range []struct {
		name   string
		remote string
		server string
		leaf   x509.Certificate
		want   map[string][]string
	}{
		{"a bare certificate", "", "", x509.Certificate{}, nil},
		{"where it comes from", "192.0.2.7:49152", "iot.example.com", x509.Certificate{}, map[string][]string{
			"aws:SourceIp": {"192.0.2.7"}, "iot:DomainName": {"iot.example.com"},
		}},
		{"from an IPv6 address", "[2001:db8::1]:49152", "", x509.Certificate{}, map[string][]string{"aws:SourceIp": {"2001:db8::1"}}},
		{"from no address", "pipe", "", x509.Certificate{}, nil},
		{"names", "", "", x509.Certificate{
			Subject: pkix.Name{Names: []pkix.AttributeTypeAndValue{
				attribute("mill", 2, 5, 4, 3), attribute("Acme", 2, 5, 4, 10), attribute("Acme West", 2, 5, 4, 10), attribute("DE", 2, 5, 4, 6),
			}},
			Issuer: pkix.Name{Names: []pkix.AttributeTypeAndValue{attribute("root", 2, 5, 4, 3)}},
		}, map[string][]string{
			"iot:Certificate.Subject.CommonName": {"mill"}, "iot:Certificate.Subject.Organization": {"Acme", "Acme West"},
			"iot:Certificate.Subject.Country": {"DE"}, "iot:Certificate.Issuer.CommonName": {"root"},
		}},
		{"names of other kinds", "", "", x509.Certificate{Subject: pkix.Name{Names: []pkix.AttributeTypeAndValue{
			attribute("mail@example.com", 1, 2, 840, 113549, 1, 9, 1), attribute("x", 2, 5, 4, 999), attribute("x", 2, 5, 29, 3),
			attribute("x", 2, 5, 4), attribute(7, 2, 5, 4, 3), attribute(nil, 2, 5, 4, 3),
		}}}, nil},
		{"no more than five values of a field", "", "", x509.Certificate{
			Subject: pkix.Name{Names: []pkix.AttributeTypeAndValue{
				attribute("1", 2, 5, 4, 11), attribute("2", 2, 5, 4, 11), attribute("3", 2, 5, 4, 11),
				attribute("4", 2, 5, 4, 11), attribute("5", 2, 5, 4, 11), attribute("6", 2, 5, 4, 11),
			}},
			DNSNames: []string{"a", "b", "c", "d", "e", "f"},
		}, map[string][]string{
			"iot:Certificate.Subject.OrganizationalUnit":      {"1", "2", "3", "4", "5"},
			"iot:Certificate.Subject.AlternativeName.DNSName": {"a", "b", "c", "d", "e"},
		}},
		{"alternative names", "", "", x509.Certificate{
			EmailAddresses: []string{"mill@example.com"}, URIs: []*url.URL{link}, IPAddresses: []net.IP{net.ParseIP("192.0.2.1")},
		}, map[string][]string{
			"iot:Certificate.Subject.AlternativeName.RFC822Name":                {"mill@example.com"},
			"iot:Certificate.Subject.AlternativeName.UniformResourceIdentifier": {"urn:mill:7"},
			"iot:Certificate.Subject.AlternativeName.IPAddress":                 {"192.0.2.1"},
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			leaf := tc.leaf
			leaf.SerialNumber = big.NewInt(0xff01)
			want := make(map[string][]string)
			for _, m := range []map[string][]string{base, tc.want} {
				for k, v := range m {
					want[k] = v
				}
			}
			got := policyvars.Connection(tc.remote, tls.ConnectionState{ServerName: tc.server}, &leaf, "id")
			if diff := cmp.Diff(want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}
