package examples_test

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/modeshift/modeshift/engine/server"
	"github.com/modeshift/modeshift/rules"
)

// People copy examples: what `modeshift rules check` would find in them they would find in their own files.
func TestNothingIsFoundInTheExamples(t *testing.T) {
	folders, err := filepath.Glob("*/rules")
	if err != nil || len(folders) < 5 {
		t.Fatalf("%v, %v", folders, err)
	}
	kinds, err := server.FormKinds()
	if err != nil {
		t.Fatal(err)
	}
	for _, folder := range folders {
		files, err := rules.ReadFiles(folder)
		if err != nil {
			t.Fatal(err)
		}
		set, err := rules.Load(files, rules.Options{Findings: true, Kinds: kinds, Now: time.Date(2026, time.November, 26, 12, 0, 0, 0, time.UTC)})
		if err != nil {
			t.Errorf("\n%v", err)
		}
		if found := set.Warnings.Warnings(); len(found) > 0 {
			t.Errorf("\n%v", found)
		}
	}
}
