package main

import (
	"strings"
	"testing"
)

func TestTheReportPrintsWhatMattersAndCounts(t *testing.T) {
	const ok = `{"Action":"start","Package":"p"}
{"Action":"run","Package":"p","Test":"TestA"}
{"Action":"output","Package":"p","Test":"TestA","Output":"=== RUN   TestA\n"}
{"Action":"output","Package":"p","Test":"TestA","Output":"a is fine\n"}
{"Action":"pass","Package":"p","Test":"TestA"}
{"Action":"output","Package":"p","Output":"PASS\n"}
{"Action":"output","Package":"p","Output":"ok  \tp\t0.1s\n"}
{"Action":"pass","Package":"p"}
`
	const skipped = `{"Action":"output","Package":"q","Test":"TestB","Output":"    b_test.go:3: no database here\n"}
{"Action":"output","Package":"q","Test":"TestB","Output":"--- SKIP: TestB (0.00s)\n"}
{"Action":"skip","Package":"q","Test":"TestB"}
{"Action":"pass","Package":"q"}
`
	const failed = `{"Action":"output","Package":"r","Test":"TestC","Output":"    c_test.go:4: seven is not eight\n"}
{"Action":"fail","Package":"r","Test":"TestC"}
{"Action":"fail","Package":"r"}
`
	const panicked = `{"Action":"output","Package":"s","Test":"TestD","Output":"panic: at the end\n"}
{"Action":"fail","Package":"s"}
`
	const broken = `{"ImportPath":"u","Action":"build-output","Output":"u.go:1: undefined: x\n"}
{"ImportPath":"u","Action":"build-fail"}
{"Action":"fail","Package":"u"}
`
	for _, c := range []struct {
		name, in string
		ci, ok   bool
		want     []string
		not      []string
	}{
		{"all is well", ok, true, true, []string{"ok  \tp\t0.1s\n", "1 tests passed, 0 failed, 0 skipped, in 1 packages"}, []string{"a is fine", "=== RUN"}},
		{"a skipped test is told with its reason", ok + skipped, false, true, []string{"skipped: q: TestB: b_test.go:3: no database here", "1 skipped"}, nil},
		{"in CI it is a failure", ok + skipped, true, false, []string{"with CI=true a skipped test is a failure"}, nil},
		{"a failed test is shown", ok + failed, false, false, []string{"seven is not eight", "failed: r", "1 tests passed, 1 failed"}, nil},
		{"a panic is shown though its test never ended", panicked, false, false, []string{"panic: at the end", "failed: s"}, nil},
		{"a package that does not build is shown", ok + broken, false, false, []string{"undefined: x", "failed: u"}, nil},
		{"what is no JSON is passed on", "go: downloading x\n" + ok, true, true, []string{"go: downloading x\n"}, nil},
		{"nothing at all is a failure", "", false, false, []string{"nothing was tested"}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			var out strings.Builder
			tally, err := report(strings.NewReader(c.in), &out)
			if err != nil {
				t.Fatal(err)
			}
			if got := tally.say(&out, c.ci); got != c.ok {
				t.Errorf("all is well: %v, want %v", got, c.ok)
			}
			for _, w := range c.want {
				if !strings.Contains(out.String(), w) {
					t.Errorf("it does not say %q:\n%s", w, out.String())
				}
			}
			for _, n := range c.not {
				if strings.Contains(out.String(), n) {
					t.Errorf("it says %q:\n%s", n, out.String())
				}
			}
		})
	}
}
