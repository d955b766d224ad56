package examples_test

import (
	"path/filepath"
	"testing"

	"github.com/modeshift/modeshift/engine/server"
	"github.com/modeshift/modeshift/rules"
	"github.com/modeshift/modeshift/rules/ruletest"
)

func TestTheTestsOfTheExamplesPass(t *testing.T) {
	folders, err := filepath.Glob("*/tests")
	if err != nil || len(folders) < 2 {
		t.Fatalf("folders %v, %v: want those of two examples", folders, err)
	}
	read, err := rules.ReadFiles(folders...)
	if err != nil {
		t.Fatal(err)
	}
	kinds, err := server.FormKinds()
	if err != nil {
		t.Fatal(err)
	}
	var files []*ruletest.File
	for _, f := range read {
		file, err := ruletest.Parse(f, ruletest.Options{Kinds: kinds})
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, file)
	}
	for _, r := range ruletest.RunAll(t.Context(), files, nil, nil) {
		if !r.Passed {
			t.Errorf("%s (%s): %s\n%+v\n%+v", r.Name, r.Position, r.Error, r.Failures, r.Timeline)
		}
	}
}
