package rules

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "rewrite the expected diagnostics in testdata/bad")

// Each file of testdata/bad is wrong in one way, or in several; the .txt beside it is what its author is told.
func TestBadFilesAreExplained(t *testing.T) {
	names, err := filepath.Glob("testdata/bad/*.yaml")
	if err != nil || len(names) < 335 {
		t.Fatalf("%d files, %v", len(names), err)
	}
	for _, name := range names {
		t.Run(strings.TrimSuffix(filepath.Base(name), ".yaml"), func(t *testing.T) {
			data, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			set, err := Load([]File{{Name: filepath.Base(name), Data: data}}, Options{Kinds: kinds})
			var diags Diagnostics
			if !errors.As(err, &diags) {
				t.Fatalf("loaded; error %v", err)
			}
			if len(set.Services) > 0 {
				t.Errorf("%d services are whole", len(set.Services))
			}
			for _, d := range diags {
				if d.File == "" || d.Message == "" || d.Line > 0 && (d.Column < 1 || !strings.Contains(d.Excerpt, "\n")) {
					t.Errorf("incomplete: %#v", d)
				}
			}
			golden := strings.TrimSuffix(name, ".yaml") + ".txt"
			got := diags.Error() + "\n"
			if *update {
				if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if got != string(want) {
				t.Errorf("got:\n%s\nwant:\n%s", got, want)
			}
		})
	}
}

func TestGoodFilesLoadWithoutAWarning(t *testing.T) {
	files, err := ReadFiles("testdata/good")
	if err != nil {
		t.Fatal(err)
	}
	set, err := Load(files, Options{Kinds: kinds})
	if err != nil {
		t.Fatalf("\n%v", err)
	}
	if len(set.Warnings) > 0 {
		t.Errorf("\n%v", set.Warnings)
	}
	var names []string
	for _, s := range set.Services {
		names = append(names, string(s.Policy.Scope))
	}
	if got, want := fmt.Sprint(names), "[checkout gateway home-wifi k8s-apiserver myservice raw-home-wifi shop]"; got != want {
		t.Errorf("services %s, want %s", got, want)
	}
}
