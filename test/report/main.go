// Command report reads what `go test -json` writes, prints what `go test` would print, and ends with a count of all tests.
//
//	go test -json ./... | go run ./test/report
//
// It exits 1 when a test or a package failed or nothing ran, and, with CI=true in the environment, also when a test was
// skipped: a machine that lacks what a test needs must not look as if the test had passed.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"sort"
	"strings"
)

// event is a line of `go test -json`. Source: go doc test2json.
type event struct {
	Action     string
	Package    string
	Test       string // empty: the package as a whole
	Output     string
	ImportPath string // for the output of a build
}

// tally is what came of all tests, subtests included.
type tally struct {
	passed, failed, skipped int
	packages                int
	broken                  []string // packages that failed
	missing                 []string // what was skipped, with its last words
}

func main() {
	t, err := report(os.Stdin, os.Stdout)
	if err != nil {
		fmt.Fprintln(os.Stderr, "report:", err)
		os.Exit(1)
	}
	if !t.say(os.Stdout, os.Getenv("CI") == "true") {
		os.Exit(1)
	}
}

// report passes on the output of packages and of tests that failed, and counts.
func report(in io.Reader, out io.Writer) (tally, error) {
	var t tally
	output := map[[2]string][]string{} // of a test that is not over yet
	lines := bufio.NewReader(in)
	for {
		line, err := lines.ReadString('\n')
		if err == io.EOF && line == "" {
			return t, nil
		}
		if err != nil && err != io.EOF {
			return t, err
		}
		var e event
		if json.Unmarshal([]byte(line), &e) != nil || e.Action == "" {
			if _, err := io.WriteString(out, line); err != nil { // not from a test: the toolchain speaks
				return t, err
			}
			continue
		}
		if err := t.take(e, output, out); err != nil {
			return t, err
		}
	}
}

func (t *tally) take(e event, output map[[2]string][]string, out io.Writer) error {
	key := [2]string{e.Package, e.Test}
	over := func(say bool) error {
		var err error
		if say {
			_, err = io.WriteString(out, strings.Join(output[key], ""))
		}
		delete(output, key)
		return err
	}
	switch {
	case e.Action == "build-output", e.Action == "output" && e.Test == "" && e.Output != "PASS\n":
		_, err := io.WriteString(out, e.Output)
		return err
	case e.Action == "output":
		output[key] = append(output[key], e.Output)
	case e.Test == "" && (e.Action == "pass" || e.Action == "fail" || e.Action == "skip"):
		t.packages++
		if e.Action == "fail" {
			t.broken = append(t.broken, e.Package)
			// A package that panics or runs out of time leaves tests without an end: their output says why.
			for k := range output {
				if k[0] == e.Package {
					key = k
					if err := over(true); err != nil {
						return err
					}
				}
			}
		}
	case e.Action == "pass":
		t.passed++
		return over(false)
	case e.Action == "fail":
		t.failed++
		return over(true)
	case e.Action == "skip":
		t.skipped++
		t.missing = append(t.missing, e.Package+": "+e.Test+": "+why(output[key]))
		return over(false)
	}
	return nil
}

// why is what a skipped test said, without the lines around it.
func why(output []string) string {
	for i := len(output) - 1; i >= 0; i-- {
		if s := strings.TrimSpace(output[i]); s != "" && !strings.HasPrefix(s, "---") && !strings.HasPrefix(s, "===") {
			return s
		}
	}
	return "it did not say why"
}

// say writes the summary and reports whether all is well.
func (t tally) say(out io.Writer, ci bool) bool {
	var b strings.Builder
	b.WriteString("\n")
	sort.Strings(t.missing)
	for _, m := range t.missing {
		fmt.Fprintf(&b, "skipped: %s\n", m)
	}
	for _, p := range t.broken {
		fmt.Fprintf(&b, "failed: %s\n", p)
	}
	ok := t.failed == 0 && len(t.broken) == 0
	if t.packages == 0 || t.passed+t.failed+t.skipped == 0 {
		ok = false
		b.WriteString("nothing was tested\n")
	}
	if ci && t.skipped > 0 {
		ok = false
		b.WriteString("with CI=true a skipped test is a failure\n")
	}
	fmt.Fprintf(&b, "%d tests passed, %d failed, %d skipped, in %d packages\n", t.passed, t.failed, t.skipped, t.packages)
	_, err := io.WriteString(out, b.String())
	return ok && err == nil
}
