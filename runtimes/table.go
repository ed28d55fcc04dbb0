package runtimes

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/fescue-edge/fescue"
)

// Runtime is how the functions of one family of Lambda's runtimes are run. Words in
// braces in its texts are filled in: {runtime} is Lambda's name, {handler} the
// function's, {code} the folder of its package and {runtimes} that of Extract, both
// as its process sees them, {paths} where interpreters are looked for.
type Runtime struct {
	// Label names the family's runtimes to people: "python3.x".
	Label string
	// Language is what its interpreters run, "Python"; it is empty for programs.
	Language string
	// pattern matches Lambda's names. Its groups are the version.
	pattern *regexp.Regexp

	// Interpreters are the file names by which one is looked for, the best first. A
	// star stands for a number, of which greater ones are better; what bears the name
	// {runtime} must be of that very version. Without any the handler names the
	// program, a file in the package.
	Interpreters []string
	// Probe are the arguments that make an interpreter say its version. The groups of
	// said are the whole of it, the major and the minor number.
	Probe []string
	said  *regexp.Regexp
	// exact says whether an interpreter is of the very version, runs whether it can
	// stand in for it.
	exact, runs func(wanted, found Version) bool
	// Missing is what is said when there is none.
	Missing string
	// MemoryKB is about what an interpreter needs to start; 0 for programs.
	MemoryKB int

	// heap bounds what an interpreter takes for objects before it looks which of them
	// are needed; it is nil for those that see to it themselves.
	heap *heap
	// OutOfMemory is the status with which an interpreter ends that has no more memory
	// for objects, or the negative number of the signal; 0 for those that do not tell.
	OutOfMemory int

	// Main is the file that the interpreter runs, below the folder of Extract.
	Main string
	// Arguments come before those of the function.
	Arguments []string
	// Lists are variables that hold lists of folders.
	Lists []List

	// BinaryOnly functions get and give bytes, whatever their encoding says.
	BinaryOnly bool
	// WorksAlone means that a function need not ask for work: that it lives is all
	// that shows that it came up.
	WorksAlone bool
}

// List is what is put in front of a variable that holds a list, separated by
// colons.
type List struct {
	Name  string
	Parts []string
}

// table is all that a core runs. What a group may ask for has the same names
// in fescue.RuntimeFeature.
var table = []Runtime{
	{
		// Developer guide, "Run Lambda functions on the core": the uploaded file
		// itself, binary only.
		Label:   fescue.ExecutableRuntime,
		pattern: regexp.MustCompile("^" + regexp.QuoteMeta(fescue.ExecutableRuntime) + "$"),
		// A program was linked against a library that is only there to be linked
		// against; the core has the one that does something.
		Lists:      []List{{"LD_LIBRARY_PATH", []string{"{runtimes}/executable"}}},
		BinaryOnly: true,
		WorksAlone: true,
	},
	python("python2.7", `^python(2)\.([0-9]+)$`, Version.same, "python2.7"),
	// After the very version and the distribution's own choice any other will do.
	python("python3.x", `^python(3)\.([0-9]+)$`, Version.sameMajor, "{runtime}", "python3", "python3.*"),
	{
		Label: "nodejs", Language: "Node.js", pattern: regexp.MustCompile(`^nodejs([0-9]+)\.([0-9]+|x)$`),
		// The original looked for Lambda's name only, which its administrators linked
		// to what they had.
		Interpreters: []string{"{runtime}", "node", "nodejs", "node*", "nodejs*.x", "nodejs*.10"},
		exact:        Version.sameMajor, runs: runsNode,
		Probe: []string{"--version"}, said: regexp.MustCompile(`^v(([0-9]+)\.([0-9]+)\S*)$`),
		Missing:     "cannot find executable {runtime}, or a node of that version or a newer one, under any of the provided paths {paths}; install Node.js (Debian: apt-get install nodejs) to run {runtime} functions",
		MemoryKB:    16384,
		heap:        &heap{"--max-old-space-size=%d", 1024, 16384, []string{"NODE_OPTIONS"}},
		OutOfMemory: -6, // it aborts
		Main:        NodeMain,
		Arguments:   []string{"{main}", "--handler={handler}"},
		Lists:       []List{{"NODE_PATH", []string{"{code}/", "{runtimes}/nodejs/node_modules", "{code}/node_modules"}}},
	},
	{
		Label: "java", Language: "Java", pattern: regexp.MustCompile(`^java([0-9]+)(\.al2)?$`),
		// The original wanted a file java8, or a java of that version or a newer one.
		Interpreters: []string{"{runtime}", "java"},
		exact:        Version.sameMajor, runs: runsJava,
		// Java 8 calls itself 1.8. The options that JAVA_TOOL_OPTIONS has come first.
		Probe: []string{"-version"}, said: regexp.MustCompile(`(?m)^\S+ version "((?:1\.)?([0-9]+)(?:\.([0-9]+))?[^"]*)"`),
		Missing:     "cannot find executable {runtime}, or a java of that version or a newer one, under any of the provided paths {paths}; install a Java runtime (Debian: apt-get install default-jre-headless) to run {runtime} functions",
		MemoryKB:    32768,
		heap:        &heap{"-Xmx%dk", 1, 8192, []string{"JAVA_TOOL_OPTIONS", "JDK_JAVA_OPTIONS", "_JAVA_OPTIONS"}},
		OutOfMemory: 137, // what shells say of processes that the kernel killed for it
		Main:        JavaMain,
		// A package has its classes at its root and jars in lib.
		Arguments: []string{"-cp", "{main}:{code}:{code}/lib/*", "com.amazonaws.greengrass.runtime.LambdaRuntime", "--handler={handler}"},
	},
}

// oldestNode is the first major version that understands what is in NodeMain.
const oldestNode = 6

func runsNode(wanted, found Version) bool { return found.Major >= max(wanted.Major, oldestNode) }

// oldestJava is the first major version that understands what is in JavaMain.
const oldestJava = 8

func runsJava(wanted, found Version) bool { return found.Major >= max(wanted.Major, oldestJava) }

func python(label, pattern string, runs func(wanted, found Version) bool, interpreters ...string) Runtime {
	return Runtime{
		Label: label, Language: "Python", pattern: regexp.MustCompile(pattern),
		Interpreters: interpreters, exact: Version.same, runs: runs,
		// Python 2 prints its version to stderr.
		Probe: []string{"--version"}, said: regexp.MustCompile(`^Python (([0-9]+)\.([0-9]+)\S*)`),
		Missing:   "cannot find executable {runtime} under any of the provided paths {paths}; install it to run {runtime} functions",
		MemoryKB:  16384,
		Main:      PythonMain,
		Arguments: []string{"-u", "{main}", "--handler={handler}"},
		Lists:     []List{{"PYTHONPATH", []string{"{code}"}}},
	}
}

// Of is the row of one of Lambda's runtimes, nil for one that a core does not run.
func Of(runtime string) *Runtime {
	i := slices.IndexFunc(table, func(r Runtime) bool { return r.pattern.MatchString(runtime) })
	if i < 0 {
		return nil
	}
	return &table[i]
}

// All are the rows of the table.
func All() []Runtime { return slices.Clone(table) }

// Version is that of a language, as far as it counts.
type Version struct{ Major, Minor int }

func (v Version) same(other Version) bool { return v == other }

func (v Version) sameMajor(other Version) bool { return v.Major == other.Major }

func versionOf(major, minor string) (v Version) {
	// What is no number, such as the x of 12.x, is 0.
	v.Major, _ = strconv.Atoi(major)
	v.Minor, _ = strconv.Atoi(minor)
	return v
}

// Wanted is the version in one of Lambda's names for the row.
func (r *Runtime) Wanted(runtime string) Version {
	if parts := r.pattern.FindStringSubmatch(runtime); len(parts) > 2 {
		return versionOf(parts[1], parts[2])
	}
	return Version{}
}

// Said is the version that an interpreter printed, and its text such as "3.11.2";
// false if that is not its kind.
func (r *Runtime) Said(output string) (v Version, text string, ok bool) {
	parts := r.said.FindStringSubmatch(strings.TrimSpace(output))
	if parts == nil {
		return Version{}, "", false
	}
	return versionOf(parts[2], parts[3]), parts[1], true
}

// heap is how an interpreter is told how much memory objects may take.
type heap struct {
	// argument has a number, of so many KB each.
	argument string
	unitKB   int64
	// besidesKB is about what it takes for all else, a quarter of the rest aside.
	besidesKB int64
	// variables are those by which a function sees to it itself.
	variables []string
}

// quarter of a machine's memory is about what interpreters take for objects by
// themselves.
const quarter = 4

// Bounds are the arguments that keep an interpreter within the memory of a container,
// which it does not see: it would go by that of the machine, and be killed for what it
// does not need any more. They come before all others.
func (r *Runtime) Bounds(containerKB, machineKB int64, variables map[string]string) []string {
	h := r.heap
	if h == nil || slices.ContainsFunc(h.variables, func(name string) bool { return variables[name] != "" }) {
		return nil
	}
	kb := max(containerKB/2, containerKB*3/4-h.besidesKB)
	if kb >= machineKB/quarter {
		return nil
	}
	return []string{fmt.Sprintf(h.argument, kb/h.unitKB)}
}

// Exact says whether an interpreter is of the very version that is wanted.
func (r *Runtime) Exact(wanted, found Version) bool { return r.exact(wanted, found) }

// Runs says whether an interpreter of a version runs functions for another.
func (r *Runtime) Runs(wanted, found Version) bool { return r.runs(wanted, found) }
