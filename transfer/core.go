package transfer

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/fescue-edge/fescue/recovery"
)

// quickStartPolicy is the policy of AWS's quick start for cores, which stands in
// for one that nobody knows: what it allowed must go on working.
const quickStartPolicy = `{"Version":"2012-10-17","Statement":[` +
	`{"Effect":"Allow","Action":["iot:Publish","iot:Subscribe","iot:Connect","iot:Receive"],"Resource":["*"]},` +
	`{"Effect":"Allow","Action":["greengrass:*"],"Resource":["*"]}]}`

// devicePolicy stands in for the policies of client devices: what they need to
// find a core, and to speak to it and to AWS IoT.
const devicePolicy = `{"Version":"2012-10-17","Statement":[` +
	`{"Effect":"Allow","Action":["iot:Publish","iot:Subscribe","iot:Connect","iot:Receive"],"Resource":["*"]},` +
	`{"Effect":"Allow","Action":["greengrass:Discover"],"Resource":["*"]}]}`

// CoreFolder says where the files of a V1 core lie.
type CoreFolder struct {
	// Root has config/, certs/ and ggc/.
	Root string
	// Deployment is its deployment folder; default ggc/deployment in Root.
	Deployment string
	// Certificates is a folder of client devices' certificates; empty for none.
	Certificates string
}

// Core is the open folders of a V1 core. No link leads out of them.
type Core struct {
	root, deployment *os.Root
	certificates     [][]byte
}

// OpenCore opens the folders, and reads the devices' certificates. Files that are
// named as keys are not opened.
func OpenCore(f CoreFolder) (*Core, error) {
	root, err := os.OpenRoot(f.Root)
	if err != nil {
		return nil, err
	}
	c := &Core{root: root}
	if c.deployment, err = f.deployment(root); err == nil {
		c.certificates, err = f.certificates()
	}
	if err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

// Read reads what the core was deployed from. It fills in the policies and devices'
// certificates of o. The group reads the code of functions when it is asked for it:
// before Close.
func (c *Core) Read(o recovery.Options) (*recovery.Group, *recovery.Report, error) {
	o.CorePolicy, o.DevicePolicy, o.DeviceCertificates = quickStartPolicy, devicePolicy, c.certificates
	return recovery.Read(recovery.Folder{Root: c.root.FS(), Deployment: c.deployment.FS()}, o)
}

// Close closes the folders.
func (c *Core) Close() error {
	err := c.root.Close()
	if c.deployment != nil {
		err = errors.Join(err, c.deployment.Close())
	}
	return err
}

// deployment opens the deployment folder.
func (f CoreFolder) deployment(root *os.Root) (*os.Root, error) {
	if f.Deployment != "" {
		return os.OpenRoot(f.Deployment)
	}
	folder, err := root.OpenRoot("ggc/deployment")
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s has no ggc/deployment. Is it the root folder of a core? With a writeDirectory in config.json, name its deployment folder with --deployment", f.Root)
	}
	return folder, err
}

// maxCertificate bounds a file of a certificate, in bytes; what is larger is none.
const maxCertificate = 64 << 10

// certificates reads the devices' certificates.
func (f CoreFolder) certificates() ([][]byte, error) {
	if f.Certificates == "" {
		return nil, nil
	}
	root, err := os.OpenRoot(f.Certificates)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	entries, err := fs.ReadDir(root.FS(), ".")
	if err != nil {
		return nil, err
	}
	var list [][]byte
	for _, e := range entries {
		name := strings.ToLower(e.Name())
		if !e.Type().IsRegular() || strings.Contains(name, "key") || filepath.Ext(name) != ".pem" && filepath.Ext(name) != ".crt" {
			continue
		}
		file, err := root.Open(e.Name())
		if err != nil {
			return nil, err
		}
		data, err := io.ReadAll(io.LimitReader(file, maxCertificate+1))
		file.Close()
		if err != nil {
			return nil, err
		}
		if len(data) > maxCertificate {
			return nil, fmt.Errorf("%s is larger than the %d bytes that a certificate may have", filepath.Join(f.Certificates, e.Name()), maxCertificate)
		}
		list = append(list, data)
	}
	return list, nil
}
