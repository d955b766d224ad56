package rules

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/modeshift/modeshift/engine"
)

const documentsText = `version: modeshift/v1
service: one
modes: [{name: normal}, {name: degraded}]
---
version: modeshift/v1
service: two
modes: [{name: normal}, {name: degraded}]
transitions:
  - {name: t, from: [normal], to: degraded, when: 'mode("one") == "degraded"'}
---
version: prometheus/v1
service: three
slos:
  - name: a
    objective: 99
    sli: {raw: {error_ratio_query: 'avg_over_time(x[{{.window}}])'}}
    alerting: {name: A}
`

func TestAFileMayHoldSeveralDocumentsOfEitherVersion(t *testing.T) {
	set := mustLoad(t, Options{}, documentsText)
	if len(set.Services) != 3 || set.Service("two").File != "a.yaml" || len(set.Service("three").SLOs) != 1 {
		t.Errorf("%d services", len(set.Services))
	}
}

func TestADocumentThatIsBadKeepsTheOthersOfItsFileFromNothing(t *testing.T) {
	last := mustLoad(t, Options{}, documentsText)
	for _, c := range []struct{ name, old, new, problem string }{
		{"a fault", "service: three", "service: three\nslis: []", "a.yaml:13:1: "},
		{"its name is gone", "service: three", "servce: three", `a.yaml:11:1: a rule file needs "service"`},
		{"its name is no name", "service: three", "service: [three]", "a.yaml:12:10: "},
		{"it has no version", "version: prometheus/v1\n", "", "a.yaml:11:1: the file does not say its version"},
		{"a key is there twice", "service: three", "service: three\nslos: []", "a.yaml:14:1: duplicate key \"slos\""},
		{"a key is there twice, deep inside", "objective: 99\n", "objective: 99\n    objective: 98\n", "a.yaml:16:5: duplicate key"},
		{"its name is there twice", "service: three", "service: four\nservice: three", "a.yaml:13:1: duplicate key \"service\""},
		{"a key is a list", "service: three", "service: three\n[a, b]: c", "a.yaml:13:1: a key must be a word"},
		{"a word is merged in", "service: three", "service: three\n<<: three", "a.yaml:13:1: << merges mappings"},
	} {
		text := strings.Replace(strings.Replace(documentsText, c.old, c.new, 1), "name: t,", "name: shed,", 1)
		set, diags := reload(t, last, Options{}, text)
		if len(diags.Errors()) == 0 || len(set.Services) != 3 {
			t.Fatalf("%s: %d services\n%v", c.name, len(set.Services), diags)
		}
		if s := set.Service("two"); s.Problem != "" || s.Policy.Transitions[0].Name != "shed" {
			t.Errorf("%s: the good document is not taken: %q", c.name, s.Problem)
		}
		if s := set.Service("three"); s.Digest != last.Service("three").Digest || s.Problem == "" {
			t.Errorf("%s: the bad one is not kept: %q", c.name, s.Problem)
		} else if !strings.HasPrefix(s.Problem, c.problem) {
			t.Errorf("%s: %q, want %q", c.name, s.Problem, c.problem)
		}
	}
}

func TestEachServiceIsToldTheFaultOfItsOwnDocument(t *testing.T) {
	last := mustLoad(t, Options{}, documentsText)
	text := strings.ReplaceAll(documentsText, "{name: degraded}", "{name: degraded, colour: red}")
	set, _ := reload(t, last, Options{}, text)
	for _, c := range []struct {
		scope engine.Scope
		want  string
	}{{"one", "a.yaml:3:42: "}, {"two", "a.yaml:7:42: "}} {
		if got := set.Service(c.scope).Problem; !strings.HasPrefix(got, c.want) {
			t.Errorf("%s: %q, want %q", c.scope, got, c.want)
		}
	}
}

// Every diagnostic has a code that its place in the code gave it on purpose, and findings have a page.
func TestEveryDiagnosticHasACode(t *testing.T) {
	errs := []Code{CodeUnreadable, CodeNotYAML, CodeTooManyFaults, CodeUnknownVersion, CodeUnknownKey, CodeMissingKey, CodeDuplicateKey,
		CodeDuplicateName, CodeUnknownName, CodeInvalidValue, CodeBadQuery, CodeBadCondition, CodeUngatedHarm, CodeHarmForGood,
		CodeEndless, CodeUnplanned, CodeCircle, CodeBadReference}
	seen := map[Code]int{}
	names, err := filepath.Glob("testdata/bad/*.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		_, err = Load([]File{{Name: filepath.Base(name), Data: data}}, Options{Kinds: kinds})
		var diags Diagnostics
		if !errors.As(err, &diags) {
			t.Fatalf("%s loads", name)
		}
		for _, d := range diags {
			seen[d.Code]++
			switch {
			case d.Level == LevelError && !slices.Contains(errs, d.Code), d.Level == LevelError && d.Code.Docs() != "":
				t.Errorf("%s: an error with the code %q", d.Summary(), d.Code)
			case d.Level != LevelError && d.Code != CodeUnknownKey && d.Code.Docs() != "rules/FINDINGS.md#"+string(d.Code):
				t.Errorf("%s: a finding with the code %q", d.Summary(), d.Code)
			}
		}
	}
	for _, c := range errs {
		if seen[c] == 0 && c != CodeTooManyFaults && c != CodeBadReference && c != CodeCircle {
			t.Errorf("no bad file gets %s", c)
		}
	}
}

// Editors underline from Column to End.
func TestADiagnosticEndsAfterTheWordItPointsAt(t *testing.T) {
	for _, c := range []struct {
		line   string
		column int
		end    int
	}{
		{"ownr: team", 1, 5},
		{`  to: "a b", x`, 7, 12},
		{"  from: [a, bé]", 13, 15},
		{"when: 'x", 7, 9}, // a quote that is closed on another line
		{"x: {", 4, 5},
		{"x: ", 4, 0},
		{"x:  y", 3, 0},
	} {
		if got := endOfWord(c.line, c.column); got != c.end {
			t.Errorf("%q from %d: %d, want %d", c.line, c.column, got, c.end)
		}
	}
}
