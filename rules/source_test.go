package rules

import (
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
	"pgregory.net/rapid"
)

// Every byte of a scalar is found again in the file, in all styles YAML has.
func TestScalarBytesAreFoundInTheSource(t *testing.T) {
	letters := rapid.StringOfN(rapid.RuneFrom([]rune("abcXYZ019 \n\t\"'\\:#{}[],&*!|>-%@`é🔥\u00a0")), 1, 60, -1)
	// Of those hardly any is written plain, and -short draws few.
	plain := rapid.StringMatching(`[abcXYZ]([abcXYZ019é🔥:#{}&*!|>%@-]{0,20}[abcXYZ])?( [abcXYZ]{1,5}){0,3}`)
	checked := map[yaml.Style]int{}
	check := func(t *rapid.T, want string, style yaml.Style) {
		text, err := yaml.Marshal(&yaml.Node{Kind: yaml.MappingNode, Content: []*yaml.Node{
			{Kind: yaml.ScalarNode, Value: "list"},
			{Kind: yaml.SequenceNode, Content: []*yaml.Node{{Kind: yaml.MappingNode, Content: []*yaml.Node{
				{Kind: yaml.ScalarNode, Value: "key"},
				{Kind: yaml.ScalarNode, Tag: "!!str", Value: want, Style: style},
				{Kind: yaml.ScalarNode, Value: "after"},
				{Kind: yaml.ScalarNode, Value: "x"},
			}}}},
		}})
		if err != nil {
			return // not to be had in this style
		}
		var doc yaml.Node
		if err := yaml.Unmarshal(text, &doc); err != nil {
			return
		}
		y := doc.Content[0].Content[1].Content[0].Content[1]
		src := newSource("f", string(text))
		w := unfolder{text: src.text, at: src.offset(y.Line, y.Column)}
		if !w.scalar(y.Value) {
			t.Fatalf("cannot read %q again from\n%s\ngot %q", y.Value, text, w.value)
		}
		checked[y.Style]++
		for i := range len(y.Value) {
			c := y.Value[i]
			if strings.IndexByte("abcXYZ019:#{}[],&*!|>-%@`", c) < 0 {
				continue // may be written in another way
			}
			if src.text[w.from[i]] != c {
				t.Fatalf("byte %d (%q) of %q is said to come from %q in\n%s", i, c, y.Value, src.text[w.from[i]], text)
			}
			if i > 0 && w.from[i] < w.from[i-1] {
				t.Fatalf("byte %d comes from before byte %d in\n%s", i, i-1, text)
			}
		}
	}
	styles := []yaml.Style{0, yaml.DoubleQuotedStyle, yaml.SingleQuotedStyle, yaml.LiteralStyle, yaml.FoldedStyle}
	rapid.Check(t, func(t *rapid.T) {
		for _, s := range styles {
			check(t, rapid.OneOf(letters, plain).Draw(t, "value"), s)
		}
	})
	for _, s := range styles[:4] { // a folded scalar is written only where a line breaks
		if checked[s] == 0 {
			t.Errorf("no scalar of style %d was checked", s)
		}
	}
}

func TestFoldedScalarsAreFoundInTheSource(t *testing.T) {
	for _, text := range []string{
		"k: >\n  one\n  two\n",
		"k: >-\n  one\n\n  two\n\n\n  three\n",
		"k: >+\n  one\n    more\n    indented\n  two\n\n",
		"k: >2\n    one\n  two\n",
		"k: >- # comment\n\n  one\n  two",
		"k: &anchor >-\n  one\n  two\n",
		"k: !!str |-\n  one\n   two\n",
		"k: one\n  two\n\n  three\n",
		"k: 'one\n  two''s\n\n  three'\n",
		"k: \"one \\\n   two\\u00e9\n\n  three\"\n",
	} {
		var doc yaml.Node
		if err := yaml.Unmarshal([]byte(text), &doc); err != nil {
			t.Fatalf("%q: %v", text, err)
		}
		y := doc.Content[0].Content[1]
		src := newSource("f", text)
		n := &node{kind: y.Kind, value: y.Value, line: y.Line, column: y.Column}
		for _, word := range []string{"two", "three", "more", "indented"} {
			off := strings.Index(y.Value, word)
			if off < 0 {
				continue
			}
			line, column := src.within(n, off)
			if got := src.offset(line, column); !strings.HasPrefix(src.text[got:], word) {
				t.Errorf("%q in %q is said to be at %d:%d", word, text, line, column)
			}
		}
	}
}

func TestTheCaretStandsUnderItsColumn(t *testing.T) {
	for _, c := range []struct {
		line   string
		column int
		want   string
	}{
		{"abc", 1, "abc\n^"},
		{"abc", 3, "abc\n  ^"},
		{"abc", 4, "abc\n   ^"},
		{"abc", 99, "abc\n   ^"},
		{"\ta\tb", 4, "\ta\tb\n\t \t^"},
		{"é🔥b", 3, "é🔥b\n  ^"},
		{"a\x00b", 3, "a\uFFFDb\n  ^"},
		{"a\u009b\u202eb", 4, "a\uFFFD\uFFFDb\n   ^"},
		{"", 1, "\n^"},
	} {
		if got := excerpt(c.line, c.column); got != c.want {
			t.Errorf("excerpt(%q, %d) = %q, want %q", c.line, c.column, got, c.want)
		}
	}
	long := strings.Repeat("x", 500) + "!" + strings.Repeat("y", 500)
	shown, caret, _ := strings.Cut(excerpt(long, 501), "\n")
	if at := len(caret) - 1; []rune(shown)[at] != '!' || len([]rune(shown)) != excerptWidth {
		t.Errorf("%q\n%q", shown, caret)
	}
}

// What a file holds does nothing to the terminal of whoever reads that it is wrong.
func TestMessagesDoNothingToATerminal(t *testing.T) {
	_, diags := load(t, Options{}, "version: modeshift/v1\nservice: s\nschedules: [{name: a, cron: \"0 0 * * \\e[2J\", duration: 1h}]\nslis: [{name: x, query: \"up{a=~\\\"(\\e]0;x\\a\\\"}\"}]\n\"a\\nb\\u202e\": 1\n")
	if len(diags) != 3 {
		t.Fatalf("\n%v", diags)
	}
	for _, d := range diags {
		if strings.ContainsFunc(d.Summary()+d.Hint, unprintable) {
			t.Errorf("%q", d.Error())
		}
	}
}
