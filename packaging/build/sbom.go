package main

import (
	"debug/buildinfo"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"time"
)

// bom is a bill of materials in the form of CycloneDX 1.5, as far as what a Go program
// is made of needs it.
type bom struct {
	Format      string `json:"bomFormat"`
	SpecVersion string `json:"specVersion"`
	Version     int    `json:"version"`
	Metadata    struct {
		Timestamp string    `json:"timestamp"`
		Component component `json:"component"`
	} `json:"metadata"`
	Components []component `json:"components"`
}

// component is a program or a Go module.
type component struct {
	Type    string `json:"type"`
	Name    string `json:"name"`
	Version string `json:"version"`
	PURL    string `json:"purl,omitempty"`
}

func moduleOf(m *debug.Module) component {
	if m.Replace != nil {
		m = m.Replace
	}
	return component{"library", m.Path, m.Version, "pkg:golang/" + m.Path + "@" + m.Version}
}

// writeBOM writes what the program of a product is made of, which its build says, and
// returns the file's name.
func (c command) writeBOM(p product, r release, a architecture, programs string) (name string, err error) {
	info, err := buildinfo.ReadFile(filepath.Join(programs, p.program))
	if err != nil {
		return "", err
	}
	b := bom{Format: "CycloneDX", SpecVersion: "1.5", Version: 1}
	b.Metadata.Timestamp, b.Metadata.Component = r.time.Format(time.RFC3339), component{Type: "application", Name: p.name, Version: r.version}
	b.Components = []component{moduleOf(&debug.Module{Path: "stdlib", Version: strings.TrimPrefix(info.GoVersion, "go")})}
	for _, m := range info.Deps {
		b.Components = append(b.Components, moduleOf(m))
	}
	text, err := json.MarshalIndent(b, "", "  ")
	if err != nil {
		return "", err
	}
	name = fmt.Sprintf("%s_%s_%s.cdx.json", p.name, r.version, a.name)
	return name, os.WriteFile(filepath.Join(c.dist, name), append(text, '\n'), 0o644)
}
