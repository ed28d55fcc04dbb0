//go:build linux

package test

import (
	"encoding/json"
	"errors"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"github.com/fescue-edge/fescue"
)

// alert is a rule of packaging/monitoring/alerts.yaml, as far as it is looked at.
var alert = regexp.MustCompile(`(?m)^      - alert: (Fescue[A-Za-z]+)
        expr: (.+)
(?:        for: \d+[mh]
)?        labels: \{severity: (?:warning|critical)\}
        annotations:
          summary: "([^"\n]+)"
          remedy: "([^"\n]+)"
`)

// In an expression: a metric with what its labels are matched with, the labels by which it
// is grouped, and what is neither.
var (
	selector = regexp.MustCompile(`\b(fescue|process|go)_[a-z0-9_]+(?:\{([^}]*)\})?`)
	grouped  = regexp.MustCompile(`\bby \(([^)]*)\)`)
	matched  = regexp.MustCompile(`([a-z_]+)(?:=~|=|!=|!~)"[^"]*"`)
)

// exposition is what a server says of itself: the labels of metrics, by their names.
type exposition map[string][]string

// scrape reads the metrics at the address of operators.
func (s *server) scrape(t *testing.T) exposition {
	t.Helper()
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(strings.NewReader(s.metrics(t)))
	if err != nil {
		t.Fatal(err)
	}
	has := make(exposition)
	for name, family := range families {
		has[name] = []string{}
		for _, label := range family.GetMetric()[0].GetLabel() {
			has[name] = append(has[name], label.GetName())
		}
	}
	return has
}

// lacks says what an expression names that a server does not have; used gets the metrics.
func (e exposition) lacks(expression string, used map[string]bool) (missing []string) {
	labels := map[string]bool{"job": true, "instance": true} // Prometheus's own
	var wanted []string
	for _, found := range selector.FindAllStringSubmatch(expression, -1) {
		name, _, _ := strings.Cut(found[0], "{")
		if base, ok := strings.CutSuffix(name, "_bucket"); ok {
			name, labels["le"] = base, true
		}
		own, ok := e[name]
		if !ok {
			missing = append(missing, "the metric "+name)
			continue
		}
		used[name] = true
		for _, label := range own {
			labels[label] = true
		}
		for _, label := range matched.FindAllStringSubmatch(found[2], -1) {
			wanted = append(wanted, label[1])
		}
	}
	for _, list := range grouped.FindAllStringSubmatch(expression, -1) {
		for label := range strings.SplitSeq(list[1], ",") {
			wanted = append(wanted, strings.TrimSpace(label))
		}
	}
	for _, label := range wanted {
		if !labels[label] {
			missing = append(missing, "the label "+label)
		}
	}
	return missing
}

// TestMonitoring: alert rules and the dashboard name metrics and labels that servers have,
// and the dashboard shows every metric of Fescue's own.
func TestMonitoring(t *testing.T) {
	t.Parallel()
	nowhere := "http://" + address(t)
	h := startServerWith(t, []string{"FESCUE_EVENT_SECRET=a secret of the monitoring's test"}, t.TempDir(), "--ops", address(t), "--event-url", nowhere, "--forward", "mill/#="+nowhere).site(region)
	g := h.provision(t, "Watched_Core")
	group, version := g.groupVersion(t, "", nil, nil)
	deployed := h.deploy(t, group, version)
	if _, err := h.fescue(t, "cancel", "--group", group, deployed); err != nil {
		t.Fatal(err)
	}
	h.await(t, group, deployed, fescue.Failure)
	var has exposition
	eventually(t, "the deployment is counted", func() error {
		if has = h.scrape(t); has["fescue_deployments_ended_total"] == nil {
			return errors.New("it is not")
		}
		return nil
	})

	used := make(map[string]bool)
	text := string(readFile(t, "../packaging/monitoring/alerts.yaml"))
	rules := alert.FindAllStringSubmatch(text, -1)
	if n := strings.Count(text, "alert: "); len(rules) != n || n < 10 {
		t.Errorf("%d of %d rules have all that a rule has", len(rules), n)
	}
	for _, rule := range rules {
		if missing := has.lacks(rule[2], used); len(missing) > 0 {
			t.Errorf("the rule %s names %q, which servers do not have", rule[1], missing)
		}
	}

	var dashboard struct {
		Panels []struct {
			Title, Type string
			Targets     []struct{ Expr string }
		}
	}
	if err := json.Unmarshal(readFile(t, "../packaging/monitoring/dashboard.json"), &dashboard); err != nil {
		t.Fatal(err)
	}
	shown := make(map[string]bool)
	for _, panel := range dashboard.Panels {
		if panel.Type != "row" && len(panel.Targets) == 0 {
			t.Errorf("the panel %s shows nothing", panel.Title)
		}
		for _, target := range panel.Targets {
			if missing := has.lacks(target.Expr, shown); len(missing) > 0 {
				t.Errorf("the panel %s names %q, which servers do not have", panel.Title, missing)
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(has)) {
		if strings.HasPrefix(name, "fescue_") && !shown[name] {
			t.Errorf("no panel shows %s", name)
		}
	}

	t.Run("what is not there is found", func(t *testing.T) {
		for expression, want := range map[string]string{
			"fescue_cores > 0":                                              "",
			"fescue_core > 0":                                               "the metric fescue_core",
			`fescue_cores{core="a"} > 0`:                                    "the label core",
			"sum by (listener) (fescue_cores)":                              "the label listener",
			"sum by (job, listener) (fescue_connections)":                   "",
			"rate(fescue_api_request_seconds_bucket[5m])":                   "",
			`sum by (code) (rate(fescue_api_requests_total{code="x"}[5m]))`: "the label code, the label code",
		} {
			if got := strings.Join(has.lacks(expression, map[string]bool{}), ", "); got != want {
				t.Errorf("%s: %q, want %q", expression, got, want)
			}
		}
	})
}
