package mqttfront

import (
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"maps"
	"net"
	"slices"

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

// connectionVariables are the policy variables that stay the same for the whole
// connection.
func connectionVariables(remote net.Addr, state tls.ConnectionState, leaf *x509.Certificate, certificateID string) map[string][]string {
	vars := map[string][]string{
		policy.KeyCertificateID:        {certificateID},
		policy.KeySecureTransport:      {"true"},
		policy.CertificateSerialNumber: {leaf.SerialNumber.Text(16)},
	}
	if host, _, err := net.SplitHostPort(remote.String()); err == nil {
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

// clientVariables add to a connection's variables what its client id says. The
// variables of a thing resolve only when the client id is the name of a thing
// that the certificate is attached to.
func clientVariables(connection map[string][]string, clientID string, p *Principal) map[string][]string {
	vars := maps.Clone(connection)
	vars[policy.KeyClientID] = []string{clientID}
	if !slices.Contains(p.Things, clientID) {
		vars[policy.KeyIsAttached] = []string{"false"}
		return vars
	}
	maps.Copy(vars, p.ThingVariables[clientID])
	vars[policy.KeyThingName] = []string{clientID}
	vars[policy.KeyIsAttached] = []string{"true"}
	return vars
}
