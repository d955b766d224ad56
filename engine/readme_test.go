package engine_test

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// The page How it decides says each rule with what proves it. A transcript that no rule leads to is a rule that nobody can read
// about; a link that leads nowhere proves nothing.
func TestEveryTranscriptProvesARuleOfThePage(t *testing.T) {
	text, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	all, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(all) == 0 {
		t.Fatal(all, err)
	}
	pending := readPending(t, all)
	linked := map[string]bool{}
	for _, m := range regexp.MustCompile(`\]\(([^):]+)\)(°?)`).FindAllStringSubmatch(string(text), -1) {
		path, marked := m[1], m[2] != ""
		if _, err := os.Stat(path); err != nil {
			t.Error(err)
		}
		name, isTranscript := strings.CutPrefix(path, "testdata/")
		if !isTranscript || !strings.HasSuffix(name, ".txt") {
			continue
		}
		linked[name] = true
		switch waits := slices.Contains(pending, name); {
		case waits && !marked:
			t.Errorf("%s is pending: put a ° behind its link", name)
		case !waits && marked:
			t.Errorf("%s is built: take the ° behind its link away", name)
		}
	}
	for _, path := range all {
		if !linked[filepath.Base(path)] {
			t.Errorf("no rule of the page links to %s: find the rule it proves, or write it", path)
		}
	}
	// Each rule says why, and names at least one proof.
	rules := regexp.MustCompile(`(?m)^- \*\*`).Split(string(text), -1)[1:]
	if len(rules) < 60 {
		t.Errorf("the page has %d rules", len(rules))
	}
	for _, r := range rules {
		r, _, _ = strings.Cut(r, "\n## ")
		rule, rest, _ := strings.Cut(strings.Join(strings.Fields(r), " "), "**")
		why, _, proved := strings.Cut(rest, "[")
		if !proved || strings.TrimSpace(why) == "" {
			t.Errorf("no reason or no proof: %s", rule)
		}
	}
	if says, waits := strings.Contains(string(text), "A rule that °"), len(pending) > 0; says != waits {
		t.Errorf("the page explains its marks: %v; there are any: %v", says, waits)
	}
}
