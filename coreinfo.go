package fescue

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"
)

// CoreInfo is what a core says of itself: what software it is and what the machine
// under it can do. The control plane judges groups by it before they are offered.
// The zero CoreInfo is of a core that has never said.
type CoreInfo struct {
	// Version is that of the core's software; "devel" for one that was not built
	// from a release.
	Version string `json:"version,omitempty"`
	// Architecture is the machine's in Go's terms: amd64, arm64, arm.
	Architecture string `json:"architecture,omitempty"`
	// Kernel is the release of the kernel that runs, as `uname -r` prints it.
	Kernel string `json:"kernel,omitempty"`
	// Cgroups says which versions of control groups are mounted: v1, v2, hybrid, or
	// nothing.
	Cgroups string `json:"cgroups,omitempty"`
	// Root reports whether the core runs as root and so can give functions users of
	// their own.
	Root bool `json:"root,omitempty"`
	// Runtimes are the interpreters that were found on the machine.
	Runtimes []CoreRuntime `json:"runtimes,omitempty"`
	// Unserved are the features that the core does not serve.
	Unserved []Feature `json:"unserved,omitempty"`
	// Missing is what the machine lacks for containers, each with what to do about it.
	Missing []string `json:"missing,omitempty"`
	// Findings are what is wrong with the machine, by code, as of when each came up.
	Findings []ErrorDetail `json:"findings,omitempty"`
	// Formats are the manifest formats that the core reads, rising.
	Formats []int `json:"formats,omitempty"`
}

// CoreRuntime is an interpreter on a core's machine.
type CoreRuntime struct {
	// Name is the interpreter's, such as "Python"; Version is what it says of itself,
	// such as "3.11.2".
	Name    string `json:"name"`
	Version string `json:"version"`
	Path    string `json:"path"`
}

// Bounds of what a core may say of itself.
const (
	maxCoreText     = 256 // bytes of each text
	maxCoreRuntimes = 100
	maxCoreFormats  = 32
	maxCoreUnserved = 200
	maxCoreFindings = 20
	maxCoreMissing  = 20
	maxFindingText  = 2000 // bytes of a finding's message, and of what is missing
)

// Hash names what is said, so that a core need not say it again. Of findings only the
// codes count: their messages have numbers that change all the time.
func (c CoreInfo) Hash() string {
	c.Findings = slices.Clone(c.Findings)
	for i := range c.Findings {
		c.Findings[i].DetailedErrorMessage = ""
	}
	// A struct of strings, numbers and lists of them always encodes.
	data, err := json.Marshal(c)
	if err != nil {
		return ""
	}
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

// Known reports whether the core has said anything.
func (c CoreInfo) Known() bool { return len(c.Formats) > 0 }

// Serves reports whether the core serves a feature, by its own words.
func (c CoreInfo) Serves(f Feature) bool { return !slices.Contains(c.Unserved, f) }

// Need completes a need with why the core does not serve it, for the text of its
// feature's code.
func (c CoreInfo) Need(n Need) Need {
	if n.Feature == FeatureContainers {
		missing := "the core does not say"
		if len(c.Missing) > 0 {
			missing = strings.Join(c.Missing, "; ")
		}
		n.Values = append(slices.Clone(n.Values), missing)
	}
	return n
}

// Validate refuses what no core says of itself.
func (c CoreInfo) Validate() error {
	if len(c.Runtimes) > maxCoreRuntimes || len(c.Formats) > maxCoreFormats || len(c.Unserved) > maxCoreUnserved {
		return fmt.Errorf("%d runtimes, %d formats and %d features; at most %d, %d and %d are taken",
			len(c.Runtimes), len(c.Formats), len(c.Unserved), maxCoreRuntimes, maxCoreFormats, maxCoreUnserved)
	}
	if len(c.Findings) > maxCoreFindings {
		return fmt.Errorf("%d findings, at most %d are taken", len(c.Findings), maxCoreFindings)
	}
	if len(c.Missing) > maxCoreMissing {
		return fmt.Errorf("%d things are missing, at most %d are taken", len(c.Missing), maxCoreMissing)
	}
	for _, text := range c.Missing {
		if err := checkCoreText(text, maxFindingText); err != nil {
			return err
		}
	}
	if len(c.Formats) == 0 {
		return fmt.Errorf("it says no manifest format that the core reads")
	}
	texts := []string{c.Version, c.Architecture, c.Kernel, c.Cgroups}
	for _, r := range c.Runtimes {
		texts = append(texts, r.Name, r.Version, r.Path)
	}
	for _, f := range c.Unserved {
		texts = append(texts, string(f))
	}
	for _, text := range texts {
		if err := checkCoreText(text, maxCoreText); err != nil {
			return err
		}
	}
	for _, f := range c.Findings {
		if err := errors.Join(checkCoreText(f.DetailedErrorCode, maxCoreText), checkCoreText(f.DetailedErrorMessage, maxFindingText)); err != nil {
			return err
		}
	}
	return nil
}

func checkCoreText(text string, limit int) error {
	if len(text) > limit || !utf8.ValidString(text) || strings.ContainsFunc(text, func(r rune) bool { return r < ' ' }) {
		return fmt.Errorf("%.300q is longer than %d bytes or no plain text", text, limit)
	}
	return nil
}
