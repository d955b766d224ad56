package exec_test

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/modeshift/modeshift/actions"
	"github.com/modeshift/modeshift/actions/exec"
	"github.com/modeshift/modeshift/engine"
)

func TestTargetsArriveAsOneArgumentEachWhateverTheirLabelsHold(t *testing.T) {
	dir := t.TempDir()
	k := kind(t, func(o *exec.Options) { o.Dir = dir })
	job := step(t, k, run("do-args", "--", "{{.targets}}", "all={{.targets}}", "{{len .targets}}"))
	job.Targets = []string{"--flag", "$(touch mark)", "; touch mark", "a\ntouch mark", "a b", `"`, "*", "{{.scope}}", "-"}
	answer, err := k.Do(t.Context(), job)
	var args []string
	if err := errors.Join(err, json.Unmarshal([]byte(strings.TrimPrefix(answer, "exit 0: ")), &args)); err != nil {
		t.Fatal(err)
	}
	if n := len(job.Targets); len(args) != n+3 || !reflect.DeepEqual(args[1:n+1], job.Targets) || args[n+2] != "9" {
		t.Errorf("they arrive as %q", args)
	}
	var list []string
	if err := json.Unmarshal([]byte(strings.TrimPrefix(args[len(args)-2], "all=")), &list); err != nil || !reflect.DeepEqual(list, job.Targets) {
		t.Errorf("in a text they arrive as %q, %v", args[len(args)-2], err)
	}
	if _, err := os.Stat(filepath.Join(dir, "mark")); err == nil {
		t.Error("a shell has run")
	}
}

func TestATargetThatWouldBeAnOptionOrHoldsNULIsRefused(t *testing.T) {
	k := kind(t, nil)
	for label, want := range map[string]string{"--flag": "put -- before it", "-f": "put -- before it", "--": "put -- before it", "a\x00b": "NUL"} {
		job := step(t, k, run("do-args", "{{.targets}}"))
		job.Targets = []string{"good", label}
		if _, err := k.Do(t.Context(), job); outcome(err) != engine.OutcomeFailed || !actions.Final(err) || !strings.Contains(err.Error(), want) {
			t.Errorf("%q gives %v", label, err)
		}
	}
}

// A target cannot be the -- that lets those after it through.
func TestATargetDoesNotEndTheOptions(t *testing.T) {
	k := kind(t, nil)
	job := step(t, k, run("do-args", "-{{.reason}}", "{{.targets}}"))
	job.Facts.Reason, job.Targets = "-", []string{"--flag"}
	if _, err := k.Do(t.Context(), job); outcome(err) != engine.OutcomeFailed {
		t.Errorf("it gives %v", err)
	}
}

func TestAKindSaysWhetherAStepAsksForTargets(t *testing.T) {
	k := kind(t, nil)
	for spec, want := range map[string]bool{
		`{"program": "self", "args": ["{{.targets}}"]}`:                              true,
		`{"program": "self", "stdin": "{{.targets}}"}`:                               true,
		`{"program": "self", "done": {"program": "self", "args": ["{{.targets}}"]}}`: true,
		`{"program": "self", "args": ["{{.scope}}", "targets"]}`:                     false,
	} {
		if _, traits, problems := k.Check([]byte(spec)); len(problems) > 0 || traits.Targets != want {
			t.Errorf("%s: %+v, %v", spec, traits, problems)
		}
	}
}
