package fescue

import (
	"runtime"
	"runtime/debug"
)

// version, commit and date are what whoever builds packages has the linker write here, in
// place of what Go makes of the checkout: -ldflags "-X github.com/fescue-edge/fescue.version=1.2.0".
var version, commit, date string

// Build says what a program was built from, as far as its build says.
type Build struct {
	// Version is that of the module: a release, or what Go makes of the commit; empty
	// when the program was built without it, as `go run` and -buildvcs=false do.
	Version string `json:"version,omitempty"`
	// Commit is the revision in version control, Date its time as RFC 3339, Modified
	// whether there were changes on top of it.
	Commit   string `json:"commit,omitempty"`
	Date     string `json:"date,omitempty"`
	Modified bool   `json:"modified,omitempty"`
	Go       string `json:"go"`
	// Platform is operating system and architecture, as linux/amd64.
	Platform string `json:"platform"`
}

// ReadBuild reads this program's build information.
func ReadBuild() Build {
	info, _ := debug.ReadBuildInfo()
	b := buildOf(info)
	if version != "" {
		b.Version, b.Commit, b.Date, b.Modified = version, commit, date, false
	}
	return b
}

// buildOf takes what is known from the information, which is nil when there is none.
func buildOf(info *debug.BuildInfo) Build {
	b := Build{Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH}
	if info == nil {
		return b
	}
	if info.Main.Version != "(devel)" {
		b.Version = info.Main.Version
	}
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			b.Commit = s.Value
		case "vcs.time":
			b.Date = s.Value
		case "vcs.modified":
			b.Modified = s.Value == "true"
		}
	}
	return b
}

// String is what is known, a line for each.
func (b Build) String() string {
	text := b.Version
	if text == "" {
		text = "devel"
	}
	if b.Commit == "" {
		text += "\ncommit  unknown: built without what version control tells, as go run and -buildvcs=false do"
	} else {
		text += "\ncommit  " + b.Commit
		if b.Modified {
			text += ", with changes that are not committed"
		}
	}
	if b.Date != "" {
		text += "\ndate    " + b.Date
	}
	return text + "\nbuilt   by " + b.Go + " for " + b.Platform
}
