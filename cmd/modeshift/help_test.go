package main

import (
	"reflect"
	"strings"
	"testing"

	"github.com/modeshift/modeshift/rules/scenario"
)

// helps are the help texts of all verbs, by their words.
func helps(t *testing.T) map[string]string {
	t.Helper()
	texts := map[string]string{}
	var walk func(v reflect.Value, words string)
	walk = func(v reflect.Value, words string) {
		for i := range v.NumField() {
			f := v.Type().Field(i)
			if _, is := f.Tag.Lookup("cmd"); !is {
				continue
			}
			name := f.Tag.Get("name")
			if name == "" {
				name = strings.ToLower(f.Name)
			}
			at := words + " " + name
			if h, ok := v.Field(i).Interface().(interface{ Help() string }); ok {
				texts[at] = h.Help()
			}
			walk(v.Field(i), at)
		}
	}
	walk(reflect.ValueOf(cli{}), "modeshift")
	if len(texts) < 30 {
		t.Fatalf("only %d verbs have a help text: %v", len(texts), texts)
	}
	return texts
}

// Help is laid out as a Go comment is: what is indented stays as it is, and the rest flows. An indented line that goes on with a
// sentence would stand apart from it, as if it were code; and what stays as it is has to fit a screen, but for commands and pieces of files, which are
// copied from it.
func TestWhatIsIndentedInAHelpTextIsABlockOfItsOwn(t *testing.T) {
	for verb, text := range helps(t) {
		before := ""
		for line := range strings.SplitSeq(text, "\n") {
			indented := strings.HasPrefix(line, " ")
			if indented && before != "" && !strings.HasPrefix(before, " ") && !strings.HasSuffix(before, ":") {
				t.Errorf("%s: %q goes on in an indented line", verb, before)
			}
			if !indented && line != "" && strings.HasPrefix(before, " ") {
				t.Errorf("%s: %q goes on a block", verb, line)
			}
			command := strings.HasPrefix(strings.TrimSpace(line), "modeshift ") || strings.ContainsAny(line, "{$/")
			if indented && !command && len(line)+2 > 80 { // shown with two more
				t.Errorf("%s: %q does not fit into 80 columns", verb, line)
			}
			before = line
		}
	}
}

func TestTheHelpOfTestsNamesEveryScenario(t *testing.T) {
	for _, about := range scenario.Kinds {
		if !strings.Contains(rulesTestCmd{}.Help(), string(about.Kind)) {
			t.Errorf("%s is not named", about.Kind)
		}
	}
}
