package runtimes_test

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/runtimes"
)

func TestBounds(t *testing.T) {
	t.Parallel()
	const machine = 24 << 20
	for _, tc := range []struct {
		runtime            string
		container, machine int64
		variables          map[string]string
		want               []string
	}{
		{"java8", 32768, machine, nil, []string{"-Xmx16384k"}},
		{"java8", 65536, machine, nil, []string{"-Xmx40960k"}},
		{"java11", 262144, machine, map[string]string{"JAVA_HOME": "/opt/java"}, []string{"-Xmx188416k"}},
		// What Java takes by itself is less.
		{"java8", 524288, 1 << 20, nil, nil},
		{"java8", 1<<31 - 1, machine, nil, nil},
		{"java8", 262144, machine, map[string]string{"JAVA_TOOL_OPTIONS": "-Xmx200m"}, nil},
		{"java8", 262144, machine, map[string]string{"_JAVA_OPTIONS": "-XX:MaxRAMPercentage=80"}, nil},
		{"java8", 262144, machine, map[string]string{"JDK_JAVA_OPTIONS": "-Xmx200m"}, nil},
		{"python3.7", 65536, machine, nil, nil},
		{"nodejs12.x", 16384, machine, nil, []string{"--max-old-space-size=8"}},
		{"nodejs12.x", 65536, machine, nil, []string{"--max-old-space-size=32"}},
		{"nodejs6.10", 262144, machine, nil, []string{"--max-old-space-size=176"}},
		{"nodejs12.x", 262144, machine, map[string]string{"NODE_OPTIONS": "--max-old-space-size=100"}, nil},
	} {
		if got := runtimes.Of(tc.runtime).Bounds(tc.container, tc.machine, tc.variables); !slices.Equal(got, tc.want) {
			t.Errorf("%s in %d of %d KB with %v: %q, want %q", tc.runtime, tc.container, tc.machine, tc.variables, got, tc.want)
		}
	}
}

func TestTable(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		runtime, label string
		// output is an interpreter's, runs whether it does.
		output string
		runs   bool
	}{
		{"python3.7", "python3.x", "Python 3.7.17\n", true},
		{"python3.7", "python3.x", "Python 3.13.0rc1\n", true},
		{"python3.7", "python3.x", "Python 2.7.18\n", false},
		{"python3.7", "python3.x", "Python 3", false},
		{"python3.7", "python3.x", "pyenv: python3.7: command not found", false},
		{"python3.7", "python3.x", "", false},
		{"python3.12", "python3.x", "Python 3.8.1 (default)", true},
		{"python2.7", "python2.7", "Python 2.7.18", true},
		{"python2.7", "python2.7", "Python 2.6.9", false},
		{"python2.7", "python2.7", "Python 3.7.1", false},
		{fescue.ExecutableRuntime, fescue.ExecutableRuntime, "", false},
		{"python4.0", "", "", false},
		{"python3", "", "", false},
		{"python3.8 ", "", "", false},
		{"xpython3.8", "", "", false},
		{"nodejs12.x", "nodejs", "v12.22.12\n", true},
		{"nodejs12.x", "nodejs", "v20.20.2\n", true},
		{"nodejs12.x", "nodejs", "v8.17.0\n", false},
		{"nodejs12.x", "nodejs", "v22.0.0-pre", true},
		{"nodejs12.x", "nodejs", "v12", false},
		{"nodejs12.x", "nodejs", "12.22.12", false},
		{"nodejs6.10", "nodejs", "v6.9.0", true},
		{"nodejs8.10", "nodejs", "v6.17.1", false},
		{"nodejs4.3", "nodejs", "v4.9.1", false}, // older than the runtime's own code
		{"nodejs4.3", "nodejs", "v6.17.1", true},
		{"nodejs", "", "", false},
		{"nodejs4.3-edge", "", "", false},
		{"nodejs12", "", "", false},
		{"java8", "java", "openjdk version \"17.0.15\" 2025-04-15\nOpenJDK Runtime Environment", true},
		{"java8", "java", "java version \"1.8.0_392\"", true},
		{"java8", "java", "java version \"1.7.0_80\"", false},
		{"java8", "java", "Picked up JAVA_TOOL_OPTIONS: -Xmx64m\nopenjdk version \"9\"", true},
		{"java8.al2", "java", "openjdk version \"21-ea\" 2023-09-19", true},
		{"java11", "java", "openjdk version \"1.8.0_392\"", false},
		{"java11", "java", "version 17", false},
		{"java8.al3", "", "", false},
		{"java", "", "", false},
		{fescue.ExecutableRuntime + "s", "", "", false},
		{"", "", "", false},
	} {
		t.Run(tc.runtime+" "+tc.output, func(t *testing.T) {
			t.Parallel()
			row := runtimes.Of(tc.runtime)
			if row == nil || tc.label == "" {
				if row != nil || tc.label != "" {
					t.Errorf("row %+v, want %q", row, tc.label)
				}
				return
			}
			if row.Label != tc.label {
				t.Errorf("label %q, want %q", row.Label, tc.label)
			}
			if len(row.Interpreters) == 0 {
				return
			}
			found, text, ok := row.Said(tc.output)
			if got := ok && row.Runs(row.Wanted(tc.runtime), found); got != tc.runs {
				t.Errorf("%q is version %v (%q, %t): runs %t, want %t", tc.output, found, text, ok, got, tc.runs)
			}
		})
	}
}

// TestTableAndFiles: what an interpreter runs is among the files.
func TestTableAndFiles(t *testing.T) {
	t.Parallel()
	dir := extracted(t)
	for _, row := range runtimes.All() {
		if len(row.Interpreters) == 0 {
			continue
		}
		if info, err := os.Stat(filepath.Join(dir, row.Main)); err != nil || !info.Mode().IsRegular() {
			t.Errorf("%s: %s: %v", row.Label, row.Main, err)
		}
		if row.Missing == "" || row.Language == "" || len(row.Probe) == 0 {
			t.Errorf("%s: the row lacks something: %+v", row.Label, row)
		}
	}
}

// TestTableAndFeatures: the control plane takes for served what a core runs, and
// nothing else.
func TestTableAndFeatures(t *testing.T) {
	t.Parallel()
	for _, runtime := range []string{
		"python2.7", "python3.6", "python3.7", "python3.8", "python3.13", "python4.0", "python", fescue.ExecutableRuntime,
		"nodejs", "nodejs4.3", "nodejs4.3-edge", "nodejs6.10", "nodejs8.10", "nodejs12.x", "nodejs22.x", "nodejs12", "java8", "java8.al2", "java11", "java8.x", "java", "go1.x", "provided", "",
	} {
		feature, needs := fescue.RuntimeFeature(runtime)
		if served := !needs || fescue.Served(feature); served != (runtimes.Of(runtime) != nil) {
			t.Errorf("%q: the control plane takes it for served: %t", runtime, served)
		}
	}
}
