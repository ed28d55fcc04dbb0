package agent

import (
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/core/depot"
)

// Finding is something about this machine that will stand in the way of a
// deployment, or soon will.
type Finding struct {
	// Code is stable; Message says what is wrong and what to do.
	Code, Message string
}

// Codes of findings.
const (
	FindingDiskFull    = "CORE_DISK_FULL_ERROR"
	FindingClock       = "CORE_CLOCK_WRONG"
	FindingCertificate = "CORE_CERTIFICATE_EXPIRES"
)

const (
	// clockTolerance is how far the core's clock may be from the control plane's.
	clockTolerance = 5 * time.Minute
	// expiryNotice is how long before its end a certificate is warned of.
	expiryNotice = 30 * 24 * time.Hour
	// findingsEvery is how often findings are looked for, so that one is reported
	// soon and once.
	findingsEvery = time.Minute
)

// Certificate is one that the core depends on.
type Certificate struct {
	// What says whose it is, for messages; File is where it lies.
	What, File string
	NotAfter   time.Time
}

// Findings looks at this machine now. It may be called at any time, by several.
func (a *Agent) Findings() []Finding {
	var list []Finding
	if free, known := a.folder.depot.Free(); known && free < depot.Margin {
		list = append(list, Finding{FindingDiskFull, fmt.Sprintf(
			"The disk of %s is full: %d kB are free, less than %d kB. Free space; no deployment can be staged until then", a.folder.root, free>>10, int64(depot.Margin)>>10)})
	}
	// A clock is compared with the control plane's, by its last answer.
	if c, ok := a.Cloud.(interface {
		ClockOffset() (time.Duration, bool)
	}); ok {
		if offset, known := c.ClockOffset(); known && offset.Abs() > clockTolerance {
			direction := "behind"
			if offset > 0 {
				direction = "ahead of"
			}
			list = append(list, Finding{FindingClock, fmt.Sprintf(
				"The core's clock is %s %s the control plane's: it says %s. Set it, or have a time service keep it; certificates look expired or not yet valid otherwise",
				offset.Abs().Round(time.Second), direction, a.Now().UTC().Format(time.RFC3339))})
		}
	}
	now := a.Now()
	for _, c := range a.Certificates() {
		left := c.NotAfter.Sub(now)
		switch {
		case left <= 0:
			list = append(list, Finding{FindingCertificate, fmt.Sprintf(
				"The certificate of %s in %s ended at %s. Replace it; if the clock of this machine (%s) is wrong, set it",
				c.What, c.File, c.NotAfter.UTC().Format(time.RFC3339), now.UTC().Format(time.RFC3339))})
		case left < expiryNotice:
			list = append(list, Finding{FindingCertificate, fmt.Sprintf(
				"The certificate of %s in %s ends in %d days, at %s. Replace it before", c.What, c.File, int(left.Hours()/24), c.NotAfter.UTC().Format(time.RFC3339))})
		}
	}
	return list
}

// attention is the findings of now as they are reported to the control plane.
func (a *Agent) attention() (list []fescue.ErrorDetail) {
	for _, f := range a.Findings() {
		list = append(list, fescue.ErrorDetail{DetailedErrorCode: f.Code, DetailedErrorMessage: cut(f.Message, 1000)})
	}
	return list
}

// note puts findings into a deployment's timeline.
func note(list []Finding) string {
	var texts []string
	for _, f := range list {
		texts = append(texts, f.Code+": "+cut(f.Message, 1000)+".")
	}
	return strings.Join(texts, " ")
}

// watchFindings logs what is found new, and what is over.
func (a *Agent) watchFindings() {
	now := a.Now()
	if !a.lookedAt.IsZero() && now.Sub(a.lookedAt).Abs() < findingsEvery {
		return
	}
	a.lookedAt = now
	found := a.Findings()
	has := func(list []Finding, code string) bool {
		return slices.ContainsFunc(list, func(f Finding) bool { return f.Code == code })
	}
	for _, f := range found {
		if !has(a.found, f.Code) {
			a.Logger.Warn("Something on this machine needs attention.", slog.String("code", f.Code), slog.String("errorString", f.Message))
		}
	}
	for _, f := range a.found {
		if !has(found, f.Code) {
			a.Logger.Info("What needed attention is over.", slog.String("code", f.Code))
		}
	}
	a.found = found
}
