package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/modeshift/modeshift/engine/crash"
)

const twoModes = `version: modeshift/v1
service: SERVICE
slis: [{name: load, query: load}]
modes: [{name: normal}, {name: degraded}]
transitions:
  - {name: shed, from: [normal], to: degraded, when: sli("load") > 0.9}
  - {name: recover, from: [degraded], to: normal, when: sli("load") < 0.5}
`

const twoTests = `rule_files: [cart.yaml]
tests:
  - name: a load sheds
    input_series: [{series: load, values: 0x4 1x40}]
    expect: [{between: [1m, 2m], mode: degraded}]
  - name: no load does not
    input_series: [{series: load, values: 0x40}]
    expect: [{at: 5m, mode: normal}]
`

// said carries out a verb and returns what it wrote, and how it exits.
func said(verb func(s *streams) error) (out, stderr string, code int) {
	var a, b strings.Builder
	code = report(guarded(func() error { return verb(&streams{out: &a, err: &b}) }), &b)
	return a.String(), b.String(), code
}

func writeTwo(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range map[string]string{"cart.yaml": strings.ReplaceAll(twoModes, "SERVICE", "cart"), "shop.yaml": strings.ReplaceAll(twoModes, "SERVICE", "shop"), "test.yaml": twoTests} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// Who stops a proof reached no bound, and needs neither more time nor more states.
func TestAProofThatIsStoppedSaysHowFarItCame(t *testing.T) {
	dir := writeTwo(t)
	v := rulesProveCmd{Paths: []string{filepath.Join(dir, "cart.yaml"), filepath.Join(dir, "shop.yaml")}, MaxStates: 1000, Timeout: span(time.Minute)}
	set, err := v.load()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	out, text, code := said(func(s *streams) error { return v.prove(ctx, s, &cli{Output: "table"}, set) })
	if code != exitCannotTell || text != "modeshift: interrupted: 0 of 2 groups looked at; nothing is proved of the rest\n" || out != "2 groups: cannot tell\n" {
		t.Errorf("it exits %d and says %q, on standard output %q", code, text, out)
	}
	if out, _, _ = said(func(s *streams) error { return v.prove(ctx, s, &cli{Output: "json"}, set) }); !strings.Contains(out, `"stopped": true`) || strings.Contains(out, "a bound") {
		t.Errorf("as JSON: %s", out)
	}
}

func TestTestsThatAreStoppedSayHowFarTheyCame(t *testing.T) {
	v := rulesTestCmd{Paths: []string{filepath.Join(writeTwo(t), "test.yaml")}}
	files, err := v.files()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	out, text, code := said(func(s *streams) error { return v.test(ctx, s, &cli{Output: "table"}, files, time.Now()) })
	if code != exitCannotTell || text != "modeshift: interrupted: 0 of 2 tests run, and 0 of them passed\n" || out != "" {
		t.Errorf("it exits %d and says %q, on standard output %q", code, text, out)
	}
}

// The exit code of a panic in Go is 2, which is that of wrong use here.
func TestAPanicOfAVerbExitsAsOneThatCannotTell(t *testing.T) {
	var text strings.Builder
	code := run([]string{"version"}, &streams{nil, nil, &text}) // it writes to nowhere
	lines := strings.SplitN(text.String(), "\n", 3)
	if code != exitCannotTell || !strings.HasPrefix(lines[0], "modeshift: modeshift failed, which is a fault of its own: ") || !strings.Contains(lines[0], "report it") {
		t.Errorf("it exits %d and says:\n%s", code, text.String())
	}
	if !strings.Contains(text.String(), "versionCmd.Run") || !strings.Contains(text.String(), "goroutine ") {
		t.Errorf("the stack is not in it:\n%s", text.String())
	}
}

func TestStacksGoToStandardErrorOncePerPlace(t *testing.T) {
	panics := func(n int) error {
		return crash.Try(func() error {
			var none []int
			_ = none[n]
			return nil
		})
	}
	_, text, code := said(func(*streams) error { return crashed(exitNo, errors.Join(panics(1), panics(2)), "") })
	if code != exitNo || strings.Count(text, "[running]") != 1 || !strings.HasPrefix(text, "\nFor the report, the stack of stopped_test.go:") {
		t.Errorf("it exits %d and says:\n%s", code, text)
	}
	if _, text, code := said(func(*streams) error { return crashed(exitNo, nil, "") }); code != exitNo || text != "" {
		t.Errorf("of no panic at all: %d, %q", code, text)
	}
}
