package rules

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/prometheus/prometheus/model/labels"
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

// Two services that select by the same regular expression hold one compiled one: it is larger than the rest of a selector.
func TestRegularExpressionsAreSharedByAllFilesOfALoad(t *testing.T) {
	const text = "version: modeshift/v1\nservice: %s\nslis: [{name: x, query: 'sum(rate(a{job=\"%[1]s\",code=~\"5..\"}[5m])) / sum(rate(a{code!~\"5..\"}[5m]))'}]\n"
	set := mustLoad(t, Options{}, fmt.Sprintf(text, "a"), fmt.Sprintf(text, "b"))
	shared := 0
	for i, s := range set.Services[0].Selectors {
		for k, m := range s.Matchers {
			other := set.Services[1].Selectors[i].Matchers[k]
			if m.GetRegexString() == "" {
				continue
			}
			if shared++; m != other {
				t.Errorf("%s: two matchers", m)
			}
			if matches := m.Matches("503"); matches != (m.Type == labels.MatchRegexp) {
				t.Errorf("%s matches 503: %v", m, matches)
			}
		}
	}
	if shared != 2 {
		t.Errorf("%d regular expressions, want two: hardly a test", shared)
	}
}
