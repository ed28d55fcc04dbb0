package fescue_test

import (
	"testing"

	"github.com/fescue-edge/fescue"
)

func ptr[T any](v T) *T { return &v }

func TestIsolation(t *testing.T) {
	t.Parallel()
	mode := func(m fescue.IsolationMode) *fescue.FunctionExecution {
		return &fescue.FunctionExecution{IsolationMode: m}
	}
	for name, row := range map[string]struct {
		own, group *fescue.FunctionExecution
		want       fescue.IsolationMode
		valid      bool
	}{
		"nobody says anything":    {nil, nil, fescue.GreengrassContainer, true},
		"both leave it out":       {mode(""), mode(""), fescue.GreengrassContainer, true},
		"the group says it":       {mode(""), mode(fescue.NoContainer), fescue.NoContainer, true},
		"the function's own word": {mode(fescue.GreengrassContainer), mode(fescue.NoContainer), fescue.GreengrassContainer, true},
		"a mode that is none":     {mode("Jail"), mode(fescue.NoContainer), "Jail", false},
	} {
		if got := fescue.Isolation(row.own, row.group); got != row.want || got.Valid() != row.valid {
			t.Errorf("%s: %s (valid %v), want %s", name, got, got.Valid(), row.want)
		}
	}
	if fescue.IsolationMode("").Valid() {
		t.Error("a mode that was left out counts as one")
	}
}

func TestIdentity(t *testing.T) {
	t.Parallel()
	as := func(uid, gid *int) *fescue.FunctionExecution {
		return &fescue.FunctionExecution{RunAs: &fescue.RunAs{Uid: uid, Gid: gid}}
	}
	for name, row := range map[string]struct {
		own, group *fescue.FunctionExecution
		uid, gid   *int
	}{
		"nobody says anything":   {nil, &fescue.FunctionExecution{}, nil, nil},
		"each half from another": {as(ptr(1), nil), as(ptr(7), ptr(8)), ptr(1), ptr(8)},
		"root is said, too":      {as(ptr(0), ptr(0)), as(ptr(7), ptr(8)), ptr(0), ptr(0)},
		"only the group":         {nil, as(nil, ptr(8)), nil, ptr(8)},
	} {
		uid, gid := fescue.Identity(row.own, row.group)
		same := func(a, b *int) bool { return (a == nil) == (b == nil) && (a == nil || *a == *b) }
		if !same(uid, row.uid) || !same(gid, row.gid) {
			t.Errorf("%s: %v %v", name, uid, gid)
		}
	}
}

func TestEntryPoint(t *testing.T) {
	t.Parallel()
	for _, row := range []struct{ runtime, handler, executable, want string }{
		{"python3.7", "app.handler", "python3.7", "app.handler"},
		{"python3.7", "app.handler", "exec_func", "app.handler"},
		{"python3.7", "app.handler", "", "app.handler"},
		{"python3.7", "", "app.handler", "app.handler"},
		{"java8", "App::handle", "java", "App::handle"},
		{fescue.ExecutableRuntime, "server", "", "server"},
		{fescue.ExecutableRuntime, "server", "other", "other"},
	} {
		if got := fescue.EntryPoint(row.runtime, row.handler, row.executable); got != row.want {
			t.Errorf("EntryPoint(%q, %q, %q) = %q, want %q", row.runtime, row.handler, row.executable, got, row.want)
		}
	}
}

func TestEndpointKinds(t *testing.T) {
	t.Parallel()
	for endpoint, want := range map[string]fescue.EndpointKind{
		"cloud": fescue.EndpointCloud, "GGShadowService": fescue.EndpointShadow,
		"arn:aws:lambda:eu-west-1:123456789012:function:f:1":       fescue.EndpointFunction,
		"arn:aws:iot:eu-west-1:123456789012:thing/pump":            fescue.EndpointDevice,
		"arn:aws:greengrass:eu-west-1::/connectors/SNS/versions/1": fescue.EndpointConnector,
		"": fescue.EndpointUnknown, "Cloud": fescue.EndpointUnknown, "arn:aws:lambda:x": fescue.EndpointUnknown,
		"arn:aws:iot:eu-west-1:123456789012:cert/x": fescue.EndpointUnknown, "arn:aws:iot:eu-west-1:123456789012:thing/": fescue.EndpointUnknown,
		"arn:aws:lambda:eu-west-1:123456789012:function:": fescue.EndpointUnknown,
	} {
		if got := fescue.EndpointKindOf(endpoint); got != want {
			t.Errorf("EndpointKindOf(%q) = %s, want %s", endpoint, got, want)
		}
	}
}

func TestSystemFunctions(t *testing.T) {
	t.Parallel()
	for arn, want := range map[string]fescue.SystemFunction{
		"arn:aws:lambda:::function:GGRouter":                        fescue.RouterFunction,
		"arn:aws:lambda:::function:GGCloudSpooler:1":                fescue.SpoolerFunction,
		"arn:aws:lambda:::function:GGNew":                           "GGNew",
		"arn:aws:lambda:::function:GGRouter:2":                      "",
		"arn:aws:lambda:eu-west-1::function:GGRouter":               "",
		"arn:aws:lambda::123456789012:function:GGRouter":            "",
		"arn:aws:lambda:eu-west-1:123456789012:function:GGRouter:1": "",
		"arn:aws:lambda:::function:":                                "",
		"GGRouter":                                                  "",
	} {
		if got, ok := fescue.SystemFunctionOf(arn); got != want || ok != (want != "") {
			t.Errorf("SystemFunctionOf(%q) = %q, %v, want %q", arn, got, ok, want)
		}
	}
	seen := make(map[fescue.SystemFunction]bool)
	for _, f := range fescue.SystemFunctions {
		if got, ok := fescue.SystemFunctionOf(f.Name.ARN()); !ok || got != f.Name || got.Facts() != f || seen[f.Name] {
			t.Errorf("%+v is %q by its ARN", f, got)
		}
		seen[f.Name] = true
	}
	if declared := declared(t, "systemfunctions.go", "SystemFunction"); len(declared) != len(seen) {
		t.Errorf("%d names, %d in the table", len(declared), len(seen))
	}
}

// What cores of this version serve is still named for one of the version before.
func TestJudgeOlderCore(t *testing.T) {
	t.Parallel()
	needs := []fescue.Need{{Feature: fescue.FeatureNodeJS, Function: "f", Values: []any{"f", "nodejs12.x"}}}
	older := fescue.CoreInfo{Formats: []int{1}, Unserved: []fescue.Feature{fescue.FeatureNodeJS}}
	failures, _ := fescue.Judge(needs, older, older.Serves)
	if len(failures) != 1 || failures[0].Detail.DetailedErrorCode != string(fescue.RuntimeUnsupported) {
		t.Errorf("%+v", failures)
	}
	if failures, warnings := fescue.Judge(needs, fescue.CoreInfo{}, fescue.Served); len(failures)+len(warnings) != 0 {
		t.Errorf("%+v, %+v", failures, warnings)
	}
}

// Every feature has at most one row, and a code that is in the table of failures.
func TestUnservedFeatures(t *testing.T) {
	t.Parallel()
	names := declared(t, "features.go", "Feature")
	rows := make(map[fescue.Feature]bool)
	for _, u := range fescue.UnservedFeatures {
		if rows[u.Feature] || fescue.Served(u.Feature) != (u.ByMachine || u.Served) {
			t.Errorf("%s stands there twice, or is served all the same", u.Feature)
		}
		rows[u.Feature] = true
		u.Code.Warns() // panics for a code without a row
	}
	for name := range rows {
		found := false
		for _, n := range names {
			found = found || n == string(name)
		}
		if !found {
			t.Errorf("%s is no feature", name)
		}
	}
	if !fescue.Served("anything else") {
		t.Error("a feature without a row is not served")
	}
	for runtime, want := range map[string]fescue.Feature{
		"python2.7": "", "python3.12": "", fescue.ExecutableRuntime: "", "nodejs12.x": fescue.FeatureNodeJS, "nodejs": fescue.FeatureOtherRuntimes, "nodejs4.3-edge": fescue.FeatureOtherRuntimes,
		"java8": fescue.FeatureJava, "java8.al2": fescue.FeatureJava, "python": fescue.FeatureOtherRuntimes, "python4.0": fescue.FeatureOtherRuntimes, "go1.x": fescue.FeatureOtherRuntimes,
	} {
		if got, ok := fescue.RuntimeFeature(runtime); got != want || ok != (want != "") {
			t.Errorf("RuntimeFeature(%q) = %q, %v, want %q", runtime, got, ok, want)
		}
	}
	t.Run("judged", func(t *testing.T) {
		t.Parallel()
		needs := []fescue.Need{
			{Feature: fescue.FeatureGroupRole}, {Feature: fescue.FeatureContainers, Function: "f", Values: []any{"f"}}, {Feature: "served"},
		}
		failures, warnings := fescue.Judge(needs, fescue.CoreInfo{}, func(f fescue.Feature) bool { return f != fescue.FeatureContainers && f != fescue.FeatureGroupRole })
		if len(failures) != 1 || failures[0].Function != "f" || failures[0].Detail.DetailedErrorCode != string(fescue.ContainerUnsupported) ||
			len(warnings) != 1 || warnings[0].Detail.DetailedErrorCode != string(fescue.GroupRoleUnserved) {
			t.Errorf("failures %+v, warnings %+v", failures, warnings)
		}
		failures, warnings = fescue.Judge(needs, fescue.CoreInfo{}, func(fescue.Feature) bool { return true })
		if len(failures)+len(warnings) != 0 {
			t.Errorf("failures %+v, warnings %+v of a core that serves all", failures, warnings)
		}
	})
}

func TestProcessProblems(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct {
		encoding  string
		timeout   *int
		variables map[string]string
		command   []string
		want      int
	}{
		"nothing":          {},
		"what there is":    {fescue.EncodingBinary, ptr(86400), map[string]string{"A": "b=c"}, []string{"-v", ""}, 0},
		"an encoding":      {"xml", nil, nil, nil, 1},
		"timeouts":         {"", ptr(-1), nil, nil, 1},
		"a long timeout":   {"", ptr(86401), nil, nil, 1},
		"variables' names": {"", nil, map[string]string{"": "a", "A=B": "a", "C\x00": "a"}, nil, 3},
		"a variable":       {"", nil, map[string]string{"A": "\x00"}, nil, 1},
		"arguments":        {"", nil, nil, []string{"a", "\x00", "b\x00"}, 2},
		"several":          {"xml", ptr(-1), map[string]string{"": ""}, []string{"\x00"}, 4},
	} {
		if got := fescue.ProcessProblems(row.encoding, row.timeout, row.variables, row.command...); len(got) != row.want {
			t.Errorf("%s: %q, want %d", name, got, row.want)
		}
	}
}

func TestModeConflicts(t *testing.T) {
	t.Parallel()
	if got := fescue.ModeConflicts(fescue.NoContainer, ptr(1), ptr(true)); len(got) != 2 {
		t.Errorf("%v", got)
	}
	for _, got := range [][]fescue.FailureCode{
		fescue.ModeConflicts(fescue.GreengrassContainer, ptr(1), ptr(true)), fescue.ModeConflicts(fescue.NoContainer, nil, ptr(false)),
	} {
		if len(got) != 0 {
			t.Errorf("%v", got)
		}
	}
}
