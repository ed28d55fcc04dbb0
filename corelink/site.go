package corelink

import "github.com/fescue-edge/fescue"

// Site is what a core's MQTT server for client devices has to know beside the
// deployment. Each answer to a poll has it, since it changes on its own.
type Site struct {
	Identity
	// Ports are those of the core's connectivity information.
	Ports []int `json:"ports,omitempty"`
	// Revoked are the ids of the group's devices' certificates that are not to be
	// taken: they are not ACTIVE, or not registered any more.
	Revoked []string `json:"revoked,omitempty"`
}

// Identity is what a certificate of a core's MQTT server is made for. A core whose
// certificate is for another one asks for a new one.
type Identity struct {
	// Hosts are the names and IP addresses that the certificate has.
	Hosts []string `json:"hosts,omitempty"`
	// Authority is the id of the group's authority that signs.
	Authority string `json:"authority,omitempty"`
	// Intermediate is for how many seconds the intermediate is good with which the core
	// signs for itself while it has no line; 0 for none.
	Intermediate int64 `json:"intermediate,omitempty"`
}

// CertificateRequest asks for the certificate of a core's MQTT server. The names in
// it are the control plane's to choose.
type CertificateRequest struct {
	// CSR is a certificate signing request in PEM, for the key and the proof that the
	// core has it.
	CSR string `json:"csr"`
	// IntermediateCSR is one for the key of an intermediate authority, empty from a core
	// that asks for none.
	IntermediateCSR string `json:"intermediateCsr,omitempty"`
}

// ServerCertificate answers it.
type ServerCertificate struct {
	Identity
	// Chain is the certificate and the authority that signed it, in PEM.
	Chain string `json:"chain"`
	// IntermediateCertificate is what the same authority signed for the core to sign
	// with, in PEM; empty where the control plane hands out none.
	IntermediateCertificate string `json:"intermediateCertificate,omitempty"`
}

// Connectivity is where client devices reach a core: the body of UpdateConnectivityInfo
// and its answer to GetConnectivityInfo, as the API has them.
type Connectivity struct {
	ConnectivityInfo []fescue.ConnectivityInfo `json:"ConnectivityInfo"`
}
