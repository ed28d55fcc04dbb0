package recovery

import (
	"bytes"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"
	"time"

	"github.com/fescue-edge/fescue/pki"
)

const configName = "config/config.json"

// configFile is what is needed of config.json. The paths of private keys are read
// only so that those files are never opened.
type configFile struct {
	CoreThing struct {
		CertPath string `json:"certPath"`
		KeyPath  string `json:"keyPath"`
		ThingARN string `json:"thingArn"`
	} `json:"coreThing"`
	Crypto *struct {
		Principals struct {
			IoTCertificate struct {
				PrivateKeyPath  string `json:"privateKeyPath"`
				CertificatePath string `json:"certificatePath"`
			} `json:"IoTCertificate"`
		} `json:"principals"`
	} `json:"crypto"`
	Runtime struct {
		AllowFunctionsToRunAsRoot json.RawMessage `json:"allowFunctionsToRunAsRoot"`
	} `json:"runtime"`
	WriteDirectory string `json:"writeDirectory"`
}

// identity is where the core's certificate and its key are, as the file says.
func (c configFile) identity() (certificate, key string) {
	if c.Crypto != nil {
		id := c.Crypto.Principals.IoTCertificate
		return id.CertificatePath, id.PrivateKeyPath
	}
	return c.CoreThing.CertPath, c.CoreThing.KeyPath
}

func (r *reading) readConfig() error {
	data, err := readFile(r.Root, configName, maxConfigFile)
	if errors.Is(err, fs.ErrNotExist) {
		r.report.warn(configName, "it is not there, so the core's certificate is not known")
		return nil
	}
	if err != nil {
		return err
	}
	if err := json.Unmarshal(data, &r.config); err != nil {
		return fmt.Errorf("%s does not parse: %w", configName, err)
	}
	if arn := r.config.CoreThing.ThingARN; arn != r.doc.Cores[0].ThingArn {
		return fmt.Errorf("%s is of %.256q, group.json of %.256q: these are files of two cores", configName, arn, r.doc.Cores[0].ThingArn)
	}
	return nil
}

// coreCertificate is the id of the core's certificate, which is registered when
// the folder has it.
func (r *reading) coreCertificate(named string) (id string, err error) {
	about := "core " + r.coreThing
	thing := Thing{ThingName: r.coreThing, Epoch: r.readEpoch()}
	defer func() { r.group.Things = append(r.group.Things, thing) }()
	text, where, err := r.readCertificate()
	if err != nil {
		return "", err
	}
	if text == nil {
		if where != "" {
			where = " (" + where + " is not in the folder)"
		}
		r.report.supply(about, "its certificate %s in PEM%s: register it with RegisterCertificateWithoutCA, and attach it to the thing and a policy", named, where)
		return named, nil
	}
	cert, err := pki.ParseCertificate(text)
	if err != nil {
		return "", fmt.Errorf("%s: %w", where, err)
	}
	id = pki.CertificateID(cert.Raw)
	if id != named {
		r.report.warn(about, "group.json names the certificate %s, %s is %s: the one that the core has counts", named, where, id)
	}
	if !r.Now.IsZero() && !cert.NotAfter.After(r.Now) {
		r.report.warn(about, "its certificate ended on %s: no server lets it in", cert.NotAfter.UTC().Format(time.DateOnly))
	}
	policy := r.coreThing + "-policy"
	r.register(id, pki.EncodeCertificate(cert.Raw), policy)
	r.assumePolicy(policy, r.CorePolicy, "the core's certificate")
	thing.Principals = []string{id}
	return id, nil
}

// readCertificate reads the file that config.json names as the core's
// certificate; text is nil when the folder does not have it. The path is the
// gateway's own, while the folder may lie anywhere: a path that leads out of it
// is looked for by its name in certs.
func (r *reading) readCertificate() (text []byte, where string, err error) {
	named, key := r.config.identity()
	if named == "" {
		return nil, "", nil
	}
	if r.config.Crypto != nil {
		rest, ok := strings.CutPrefix(named, "file://")
		if !ok {
			return nil, "", fmt.Errorf("%s: the certificate %.256q is no file:// URI", configName, named)
		}
		named, key = rest, strings.TrimPrefix(key, "file://")
	}
	if named == key {
		return nil, "", fmt.Errorf("%s names %s as certificate and as private key; it is not opened", configName, named)
	}
	where = "certs/" + path.Base(path.Clean("/"+named))
	if rel, ok := strings.CutPrefix(path.Clean("/"+named), "/certs/"); ok {
		where = "certs/" + rel
	}
	if !fs.ValidPath(where) || strings.HasSuffix(where, "/") {
		return nil, "", fmt.Errorf("%s: the certificate path %.256q is no path of a file", configName, named)
	}
	data, err := readFile(r.Root, where, maxCertFile)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, where, nil
	}
	if err != nil {
		return nil, "", err
	}
	text, err = onlyCertificate(data)
	if err != nil {
		return nil, "", fmt.Errorf("%s: %w", where, err)
	}
	return text, where, nil
}

// onlyCertificate is the first certificate of a PEM text, which may have comments
// around and a chain behind it. A text with a private key is refused.
func onlyCertificate(data []byte) ([]byte, error) {
	if bytes.Contains(data, []byte("PRIVATE KEY")) {
		return nil, errors.New("it holds a private key, which is nobody's but its owner's; put the certificate into a file of its own")
	}
	for {
		var block *pem.Block
		if block, data = pem.Decode(data); block == nil {
			return nil, errors.New("it holds no certificate in PEM form")
		}
		if block.Type == "CERTIFICATE" {
			return pem.EncodeToMemory(&pem.Block{Type: block.Type, Bytes: block.Bytes}), nil
		}
	}
}

// deviceCertificates are the given certificates by their ids.
func (r *reading) deviceCertificates() (map[string][]byte, error) {
	byID := make(map[string][]byte, len(r.DeviceCertificates))
	for _, data := range r.DeviceCertificates {
		text, err := onlyCertificate(data)
		if err != nil {
			return nil, fmt.Errorf("a device's certificate: %w", err)
		}
		cert, err := pki.ParseCertificate(text)
		if err != nil {
			return nil, fmt.Errorf("a device's certificate: %w", err)
		}
		byID[pki.CertificateID(cert.Raw)] = text
	}
	return byID, nil
}
