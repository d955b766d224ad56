package convert

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/modeshift/modeshift/rules"
)

func TestACommentIsWhatYAMLTakesForOne(t *testing.T) {
	for text, want := range map[string]string{
		"a: b # c":                        "1:6 # c",
		"a: b#c\n#d":                      "2:1 #d",
		"a: 'b # c' # d":                  "1:12 # d",
		"a: 'it''s # c' # d":              "1:16 # d",
		`a: "b \" # c" # d`:               "1:15 # d",
		"a: it's # c":                     "1:9 # c",
		"a: it is\n  'so # c":             "2:7 # c",
		"a: \"b\n  # c\"\nd: e # f":       "3:6 # f",
		"a: | # b\n  # c\n\n  # d\n# e":   "1:6 # b; 5:1 # e",
		"a: >-\n# b":                      "2:1 # b",
		"- a: |\n  # b\n":                 "2:3 # b",
		"- a: |\n    # b\n  c: d # e":     "3:8 # e",
		"- |\n # b\n- c # d":              "3:5 # d",
		"- - |\n   # b\n  - c # d":        "3:7 # d",
		"a: {b: 'c # d', e: f} # g":       "1:23 # g",
		"a: [b, # c\n  \"d # e\", # f\n]": "1:8 # c; 2:12 # f",
		"a: &x 'b # c' # d":               "1:15 # d",
		"a: !!str |\n  # b\nc: d # e":     "3:6 # e",
		"--- # a\nb: c\n... # d":          "1:5 # a; 3:5 # d",
		"a:# b":                           "",
		"a: b\r\n# c\r\n":                 "2:1 # c",
		"? a # b\n: 'c # d' # e":          "1:5 # b; 2:11 # e",
		"a: {\"b\":'c # d'} # e":          "1:18 # e",
		"\ufeff# a":                       "1:1 # a",
		"a: b # c\u2028d: e":              "1:6 # c",
		"a: b\n # c\n 'd # e'\n":          "2:2 # c",
		"a: http://b/#c # d":              "1:16 # d",
		"'a # b': c # d":                  "1:12 # d",
	} {
		var got []string
		for _, c := range commentsOf(breaks.Split(text, -1)) {
			got = append(got, fmt.Sprintf("%d:%d %s", c.line, c.column, c.text))
		}
		if strings.Join(got, "; ") != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}

// Every comment of a file is in the rule file, or told of with its line. Which they are the YAML decoder says.
func TestNoCommentIsLostWithoutAWord(t *testing.T) {
	known := 0
	sources(t, "good", 1, func(t *testing.T, _ string, tool Tool, f rules.File, opts Options) {
		result, err := Import(tool, []rules.File{f}, opts)
		if err != nil {
			t.Fatal(err)
		}
		told := said(slices.DeleteFunc(slices.Clone(result.Differences), func(d Difference) bool { return d.Code != "comments" }))
		var text strings.Builder
		for _, s := range result.Services {
			text.Write(s.Text)
		}
		lines := strings.Split(string(f.Data), "\n")
		for _, c := range decoded(t, f.Data) {
			known++
			words := strings.TrimLeft(c, "# ")
			line := 1 + slices.IndexFunc(lines, func(l string) bool { return strings.HasSuffix(strings.TrimSpace(l), c) })
			if !strings.Contains(text.String(), words) && !strings.Contains(told, fmt.Sprintf(":%d:", line)) && !strings.Contains(told, fmt.Sprintf(" %d", line)) {
				t.Errorf("%q of line %d is lost; told is %q", c, line, told)
			}
		}
	})
	if known < 30 {
		t.Errorf("%d comments are too few to show it", known)
	}
}

// decoded are the comments of a file as the decoder has them, a line each.
func decoded(t *testing.T, data []byte) (out []string) {
	t.Helper()
	var walk func(n *yaml.Node)
	walk = func(n *yaml.Node) {
		for line := range strings.SplitSeq(strings.Join([]string{n.HeadComment, n.LineComment, n.FootComment}, "\n"), "\n") {
			if line != "" {
				out = append(out, line)
			}
		}
		for _, c := range n.Content {
			walk(c)
		}
	}
	d := yaml.NewDecoder(strings.NewReader(string(data)))
	for {
		var n yaml.Node
		if d.Decode(&n) != nil {
			return out
		}
		walk(&n)
	}
}

// What --windows names is read, and nothing of its comments has a place.
func TestTheCommentsOfAlertWindowsAreToldOf(t *testing.T) {
	slo, err := os.ReadFile(filepath.Join("testdata", "good", "sloth-getting-started.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	windows, err := os.ReadFile(filepath.Join("testdata", "good", "windows-7d.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	result, err := Import(Sloth, []rules.File{{Name: "slo.yaml", Data: slo}},
		Options{Period: 7 * day, Windows: []rules.File{{Name: "7d.yaml", Data: append([]byte("# ours\n"), windows...)}}})
	if err != nil {
		t.Fatal(err)
	}
	if !slices.ContainsFunc(result.Differences, func(d Difference) bool {
		return d.Code == "comments" && d.Position() == "7d.yaml:1:1" && d.Message == "a comment is not carried over"
	}) {
		t.Errorf("nothing is told of it:\n%s", said(result.Differences))
	}
}
