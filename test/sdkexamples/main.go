// Sdkexamples runs the examples of the published Greengrass Core SDKs, from copies of
// their repositories, on a server and a core of its own, and prints what came of each:
//
//	go run ./test/sdkexamples --sdks DIR
//
// They are not part of Fescue and not of its tests: nothing of them is kept.
package main

import (
	"bufio"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"text/tabwriter"
)

// row is what came of an example, as package test writes it.
type row struct {
	SDK, Example, Outcome string
}

func main() {
	sdks := flag.String("sdks", "", "the folder with the repositories aws-greengrass-core-sdk-python, -js, -java and -c")
	container := flag.Bool("container", false, "run the functions in containers")
	asJSON := flag.Bool("json", false, "print a line of JSON for each example")
	verbose := flag.Bool("v", false, "print what the test that runs them prints")
	flag.Usage = func() {
		fmt.Fprint(flag.CommandLine.Output(), `Usage: go run ./test/sdkexamples --sdks DIR [flags]

Runs the examples of the Greengrass Core SDKs and prints a table of what came of each.
Needs python3, node with npm, javac and gcc; an example of Python 2 also python2.7. The
exit code is 1 when one failed.

Examples:
  go run ./test/sdkexamples --sdks ~/sdks
  go run ./test/sdkexamples --sdks ~/sdks --container

Flags:
`)
		flag.PrintDefaults()
	}
	flag.Parse()
	if *sdks == "" {
		flag.Usage()
		os.Exit(2)
	}
	failed, err := run(*sdks, *container, *asJSON, *verbose)
	if err != nil {
		fmt.Fprintln(os.Stderr, "sdkexamples:", err)
	}
	if failed || err != nil {
		os.Exit(1)
	}
}

func run(sdks string, container, asJSON, verbose bool) (failed bool, err error) {
	sdks, err = filepath.Abs(sdks)
	if err != nil {
		return false, err
	}
	dir, err := os.MkdirTemp("", "sdkexamples-")
	if err != nil {
		return false, err
	}
	defer os.RemoveAll(dir)
	table := filepath.Join(dir, "table")
	test := exec.Command("go", "test", "./test", "-tags", "sdkexamples", "-run", "^TestSDKExamples$", "-count", "1", "-timeout", "30m", "-v")
	test.Env = append(os.Environ(), "FESCUE_TEST_SDKS="+sdks, "FESCUE_TEST_SDK_TABLE="+table, fmt.Sprintf("FESCUE_TEST_SDK_CONTAINER=%t", container))
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		return false, err
	}
	defer log.Close()
	test.Stdout, test.Stderr = log, log
	if verbose {
		test.Stdout, test.Stderr = os.Stderr, os.Stderr
	}
	tested := test.Run()
	rows, err := read(table)
	if len(rows) == 0 && !verbose {
		text, _ := os.ReadFile(log.Name())
		os.Stderr.Write(text)
	}
	if err != nil || len(rows) == 0 {
		return true, fmt.Errorf("no example ran: %v", tested)
	}
	out := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	for _, r := range rows {
		if asJSON {
			text, err := json.Marshal(r)
			if err != nil {
				return true, err
			}
			fmt.Println(string(text))
			continue
		}
		fmt.Fprintf(out, "%s\t%s\t%s\n", r.SDK, r.Example, r.Outcome)
	}
	return tested != nil, out.Flush()
}

func read(table string) (rows []row, err error) {
	file, err := os.Open(table)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	lines := bufio.NewScanner(file)
	for lines.Scan() {
		var r row
		if err := json.Unmarshal(lines.Bytes(), &r); err != nil {
			return nil, err
		}
		rows = append(rows, r)
	}
	return rows, lines.Err()
}
