package policy

import (
	"strconv"
	"strings"
)

// Names of policy variables and condition keys, as Request.Variables has them
// (AWS IoT Core developer guide, "AWS IoT Core policy variables"; IAM user
// guide, "AWS global condition context keys").
const (
	// KeyClientID is the MQTT client id.
	KeyClientID = "iot:ClientId"
	// KeyConnectAttributes is "PersistentConnect", "LastWill", both or neither.
	KeyConnectAttributes = "iot:ConnectAttributes"
	// KeyDomainName is the server name that the client asked for in TLS.
	KeyDomainName = "iot:DomainName"
	// KeyCertificateID is the id of the certificate in use.
	KeyCertificateID = "iot:CertificateId"
	// KeyThingName and the three after it are known only on an MQTT connection
	// whose client id is the name of a thing that the certificate is attached
	// to; KeyThingAttribute makes the fifth of them.
	KeyThingName     = "iot:Connection.Thing.ThingName"
	KeyThingTypeName = "iot:Connection.Thing.ThingTypeName"
	// KeyIsAttached is "true" or "false".
	KeyIsAttached = "iot:Connection.Thing.IsAttached"
	// KeySourceIP is the address a request comes from, without port.
	KeySourceIP = "aws:SourceIp"
	// KeySecureTransport is "true" for a request over TLS, else "false".
	KeySecureTransport = "aws:SecureTransport"
	// KeyUserAgent is the HTTP header of that name.
	KeyUserAgent = "aws:UserAgent"
	// KeyUserName is the name of the user whose access key signed the request.
	KeyUserName = "aws:username"
	// KeyPrincipalARN and KeyPrincipalAccount name who signed the request.
	KeyPrincipalARN     = "aws:PrincipalArn"
	KeyPrincipalAccount = "aws:PrincipalAccount"
	// KeyRequestedRegion is the Region of the request's signature.
	KeyRequestedRegion = "aws:RequestedRegion"
	// KeyTagKeys are the keys of the tags in the request.
	KeyTagKeys = "aws:TagKeys"
	// KeyS3Prefix is the prefix that an S3 listing asks for.
	KeyS3Prefix = "s3:prefix"

	// CertificateSubject and CertificateIssuer come before the name of a field
	// such as CommonName, Organization or AlternativeName.DNSName. A field has
	// its values in the order of the certificate, at most five (AWS's limit).
	// Policies reach them by suffix: .List is all of them, .1 the second, no
	// suffix the first.
	CertificateSubject = certificatePrefix + "Subject."
	CertificateIssuer  = certificatePrefix + "Issuer."
	// CertificateSerialNumber is the certificate's own serial number.
	CertificateSerialNumber = certificatePrefix + "SerialNumber"

	certificatePrefix = "iot:Certificate."
	attributePrefix   = "iot:Connection.Thing.Attributes["
)

// KeyThingAttribute is the key of a thing's attribute.
func KeyThingAttribute(name string) string { return attributePrefix + name + "]" }

// KeyResourceTag and KeyRequestTag are the keys of a tag on the resource and of
// one in the request.
func KeyResourceTag(tag string) string { return "aws:ResourceTag/" + tag }

// KeyRequestTag is the key of a tag in the request.
func KeyRequestTag(tag string) string { return "aws:RequestTag/" + tag }

// keyType is what the values of a key are; it decides which operators fit.
type keyType uint8

const (
	unknownKey keyType = iota
	textKey
	boolKey
	addressKey
)

// keyTypes are the single keys that a condition may name.
var keyTypes = map[string]keyType{
	KeyClientID:             textKey,
	KeyConnectAttributes:    textKey,
	KeyDomainName:           textKey,
	KeyCertificateID:        textKey,
	KeyThingName:            textKey,
	KeyThingTypeName:        textKey,
	KeyIsAttached:           boolKey,
	KeySourceIP:             addressKey,
	KeySecureTransport:      boolKey,
	KeyUserAgent:            textKey,
	KeyUserName:             textKey,
	KeyPrincipalARN:         textKey,
	KeyPrincipalAccount:     textKey,
	KeyRequestedRegion:      textKey,
	KeyTagKeys:              textKey,
	KeyS3Prefix:             textKey,
	CertificateSerialNumber: textKey,
}

// keyFamilies are prefixes of keys that end in a name of the user's choice.
var keyFamilies = []string{attributePrefix, CertificateSubject, CertificateIssuer, "aws:ResourceTag/", "aws:RequestTag/"}

// key is a reference to a variable: its name in Request.Variables and which of
// its values are meant.
type key struct {
	name  string
	index int // of the value; or one of the two below
}

const (
	allValues = -1
	onlyValue = -2 // for text, there must not be a second one
)

// parseKey reads a reference. Known names and prefixes match in any case, as
// AWS's do, and are written canonically, so that evaluation can look them up as
// they are.
func parseKey(s string) key {
	k := key{name: s, index: onlyValue}
	for name := range keyTypes {
		if strings.EqualFold(name, s) {
			k.name = name
			return k
		}
	}
	for _, family := range keyFamilies {
		if len(s) > len(family) && strings.EqualFold(family, s[:len(family)]) {
			k.name = family + s[len(family):]
			break
		}
	}
	if !strings.HasPrefix(k.name, certificatePrefix) {
		return k
	}
	k.index = 0
	if field, ok := strings.CutSuffix(k.name, ".List"); ok {
		k.name, k.index = field, allValues
	} else if i := strings.LastIndexByte(k.name, '.'); i > 0 {
		if n, err := strconv.ParseUint(k.name[i+1:], 10, 8); err == nil {
			k.name, k.index = k.name[:i], int(n)
		}
	}
	return k
}

func (k key) typ() keyType {
	if t := keyTypes[k.name]; t != unknownKey {
		return t
	}
	for _, family := range keyFamilies {
		if rest, ok := strings.CutPrefix(k.name, family); ok && rest != "" && (family != attributePrefix || strings.HasSuffix(rest, "]") && len(rest) > 1) {
			return textKey
		}
	}
	return unknownKey
}

// value is what stands in a text for the variable. An empty value is none: put
// into "topic/${x}/cmd" it would name a topic that nobody meant.
func (k key) value(variables map[string][]string) (string, bool) {
	values := variables[k.name]
	i := k.index
	if i < 0 {
		if len(values) != 1 {
			return "", false
		}
		i = 0
	}
	if i >= len(values) || values[i] == "" {
		return "", false
	}
	return values[i], true
}

// values are what a condition compares.
func (k key) values(variables map[string][]string) []string {
	values := variables[k.name]
	if k.index < 0 {
		return values
	}
	if k.index >= len(values) {
		return nil
	}
	return values[k.index : k.index+1]
}
