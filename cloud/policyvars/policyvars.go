// Package policyvars knows what IoT policies may ask of a device's connection:
// where it comes from, what it asked for in TLS, and the fields of its
// certificate. It must not know which protocol is spoken on the connection, nor
// what the registry says of the certificate.
package policyvars

import (
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"net"

	"github.com/fescue-edge/fescue/policy"
)

// nameFields are the policy variables behind iot:Certificate.Subject. and Issuer.
// by the last arc of their attribute type under 2.5.4 (AWS IoT Core developer
// guide, "X.509 certificate policy variables"; RFC 5280, appendix A).
var nameFields = map[int]string{
	3:  "CommonName",
	4:  "Surname",
	5:  "SerialNumber",
	6:  "Country",
	8:  "State",
	10: "Organization",
	11: "OrganizationalUnit",
	12: "Title",
	42: "GivenName",
	43: "Initials",
	44: "GenerationQualifier",
	46: "DistinguishedNameQualifier",
	65: "Pseudonym",
}

// maxFieldValues is how many values of a repeated field AWS makes available.
const maxFieldValues = 5

func addName(vars map[string][]string, prefix string, name pkix.Name) {
	for _, a := range name.Names {
		text, ok := a.Value.(string)
		if !ok || len(a.Type) != 4 || a.Type[0] != 2 || a.Type[1] != 5 || a.Type[2] != 4 {
			continue
		}
		if field := nameFields[a.Type[3]]; field != "" && len(vars[prefix+field]) < maxFieldValues {
			vars[prefix+field] = append(vars[prefix+field], text)
		}
	}
}

// Connection is the policy variables that stay the same for a whole connection
// over mutual TLS: remote is its other end, "host:port", leaf the certificate
// whose key it has proven, certificateID that certificate's id.
func Connection(remote string, state tls.ConnectionState, leaf *x509.Certificate, certificateID string) map[string][]string {
	vars := map[string][]string{
		policy.KeyCertificateID:        {certificateID},
		policy.KeySecureTransport:      {"true"},
		policy.CertificateSerialNumber: {leaf.SerialNumber.Text(16)},
	}
	if host, _, err := net.SplitHostPort(remote); err == nil {
		vars[policy.KeySourceIP] = []string{host}
	}
	if state.ServerName != "" {
		vars[policy.KeyDomainName] = []string{state.ServerName}
	}
	addName(vars, policy.CertificateSubject, leaf.Subject)
	addName(vars, policy.CertificateIssuer, leaf.Issuer)
	addAlternatives(vars, leaf)
	return vars
}

func addAlternatives(vars map[string][]string, leaf *x509.Certificate) {
	const prefix = policy.CertificateSubject + "AlternativeName."
	add := func(field, value string) {
		if len(vars[prefix+field]) < maxFieldValues {
			vars[prefix+field] = append(vars[prefix+field], value)
		}
	}
	for _, v := range leaf.DNSNames {
		add("DNSName", v)
	}
	for _, v := range leaf.EmailAddresses {
		add("RFC822Name", v)
	}
	for _, v := range leaf.URIs {
		add("UniformResourceIdentifier", v.String())
	}
	for _, v := range leaf.IPAddresses {
		add("IPAddress", v.String())
	}
}
