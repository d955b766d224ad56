package examples_test

import (
	"os"
	"regexp"
	"testing"

	"github.com/modeshift/modeshift/engine/server"
	"github.com/modeshift/modeshift/rules"
)

// The README's first lines are the first a new user types: the rules they name have to load.
func TestTheRulesTheReadmeNamesLoad(t *testing.T) {
	text, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	named := regexp.MustCompile(`(?:rules check|--rules) (examples/\S+)`).FindAllStringSubmatch(string(text), -1)
	if len(named) < 2 {
		t.Fatalf("the README names %d folders of rules; it should check and run one", len(named))
	}
	kinds, err := server.FormKinds()
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range named {
		files, err := rules.ReadFiles("../" + m[1])
		if err != nil {
			t.Fatal(err)
		}
		if _, err := rules.Load(files, rules.Options{Kinds: kinds}); err != nil {
			t.Errorf("%s: %v", m[1], err)
		}
	}
}
