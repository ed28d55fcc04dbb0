package main

import (
	"os"
	"path/filepath"
	"strings"

	"github.com/goreleaser/nfpm/v2"
	"github.com/goreleaser/nfpm/v2/files"
)

// product is one package, whatever its format.
type product struct {
	name, summary string
	// program is the file of /usr/bin.
	program string
	// unit is its service, state the folder that the service keeps.
	unit, state string
	// files are those of packaging/, by where they go.
	files map[string]string
	// settings are files of packaging/ that are the machine's own once they are there.
	settings map[string]string
}

const homepage = "https://github.com/fescue-edge/fescue"

// products are what there is to install.
var products = []product{
	{
		name: "fescue", program: "fescue", unit: "fescue-server.service", state: "/var/lib/fescue",
		summary: "AWS IoT Greengrass V1, self-hosted: the control plane and the operator's program",
		files: map[string]string{
			"/usr/lib/systemd/system/fescue-server.service": "server/fescue-server.service",
			"/usr/lib/sysusers.d/fescue.conf":               "server/sysusers.conf",
			"/usr/lib/tmpfiles.d/fescue.conf":               "server/tmpfiles.conf",
		},
		settings: map[string]string{"/etc/fescue/server.env": "server/server.env"},
	},
	{
		name: "fescue-core", program: "fescue-core", unit: "fescue-core.service", state: "/greengrass",
		summary: "AWS IoT Greengrass V1, self-hosted: the core, which runs functions on a gateway",
		files: map[string]string{
			"/usr/lib/systemd/system/fescue-core.service": "core/fescue-core.service",
			"/usr/lib/sysusers.d/fescue-core.conf":        "core/sysusers.conf",
		},
		settings: map[string]string{"/etc/fescue/core.env": "core/core.env"},
	},
}

// info describes the package of a product. Programs lie in one folder, and the scripts
// are written into another one.
func (p product) info(r release, a architecture, programs, scripts string) (*nfpm.Info, error) {
	contents := files.Contents{
		{Source: filepath.Join(programs, p.program), Destination: "/usr/bin/" + p.program, FileInfo: &files.ContentFileInfo{Mode: 0o755}},
		{Source: "../LICENSE", Destination: "/usr/share/doc/" + p.name + "/copyright", FileInfo: &files.ContentFileInfo{Mode: 0o644}},
		{Destination: "/etc/fescue", Type: files.TypeDir, FileInfo: &files.ContentFileInfo{Mode: 0o755}},
	}
	for to, from := range p.files {
		contents = append(contents, &files.Content{Source: from, Destination: to, FileInfo: &files.ContentFileInfo{Mode: 0o644}})
	}
	for to, from := range p.settings {
		// They may have the password of a database.
		contents = append(contents, &files.Content{Source: from, Destination: to, Type: files.TypeConfigNoReplace, FileInfo: &files.ContentFileInfo{Mode: 0o600}})
	}
	info := &nfpm.Info{
		Name: p.name, Arch: a.nfpm, Platform: "linux", Version: r.version, MTime: r.time,
		Section: "net", Priority: "optional", License: "Apache-2.0", Homepage: homepage,
		Maintainer: "The Fescue authors <fescue@localhost>", Description: p.summary,
		Overridables: nfpm.Overridables{
			Contents: contents,
			// The build's machine is in no package.
			RPM: nfpm.RPM{BuildHost: "localhost", Summary: p.summary},
		},
	}
	words := strings.NewReplacer("@NAME@", p.name, "@UNIT@", p.unit, "@STATE@", p.state)
	for from, into := range map[string]*string{
		"postinstall.sh": &info.Scripts.PostInstall, "preremove.sh": &info.Scripts.PreRemove, "postremove.sh": &info.Scripts.PostRemove,
	} {
		text, err := os.ReadFile(filepath.Join("scripts", from))
		if err != nil {
			return nil, err
		}
		*into = filepath.Join(scripts, p.name+"-"+from)
		if err := os.WriteFile(*into, []byte(words.Replace(string(text))), 0o755); err != nil {
			return nil, err
		}
	}
	return nfpm.WithDefaults(info), nil
}
