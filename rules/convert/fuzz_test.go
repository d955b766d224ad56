package convert

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/modeshift/modeshift/rules"
	"github.com/modeshift/modeshift/test/inputs"
)

// Whatever a file holds, it becomes rule files that load, or faults that say where and what.
func FuzzImport(f *testing.F) {
	for _, text := range corpus(f) {
		f.Add([]byte(text[0]))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, tool := range []Tool{Sloth, OpenSLO, Pyrra} {
			whole(t, tool, data, Options{})
		}
	})
}

func TestManyFilesAreImportedOrExplained(t *testing.T) {
	t.Parallel()
	inputs.Each(t, corpus(t), func(t *testing.T, r *rand.Rand, in []string) string {
		return whole(t, []Tool{Sloth, OpenSLO, Pyrra}[r.IntN(3)], []byte(in[0]), Options{})
	})
}

// corpus are the files of testdata.
func corpus(t testing.TB) (texts [][]string) {
	t.Helper()
	for _, folder := range []string{"good", "bad"} {
		names, err := filepath.Glob(filepath.Join("testdata", folder, "*.yaml"))
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range names {
			data, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			texts = append(texts, []string{string(data)})
		}
	}
	return texts
}

// whole imports a file, and sees that it becomes rule files, which were loaded, or faults that say where and what. It returns
// what was said.
func whole(t *testing.T, tool Tool, data []byte, opts Options) string {
	t.Helper()
	_, err := Import(tool, []rules.File{{Name: "a.yaml", Data: data}}, opts)
	var faults rules.Diagnostics
	var wrong *UsageError
	switch {
	case err == nil: // and then each was loaded
	case errors.As(err, &faults):
		if len(faults) == 0 {
			t.Errorf("%s refused it without a fault", tool)
		}
		for _, d := range faults {
			if d.File == "" || d.Message == "" {
				t.Errorf("incomplete: %+v", d)
			}
		}
	case !errors.As(err, &wrong):
		t.Errorf("%s: %v", tool, err)
	}
	if err == nil {
		return ""
	}
	return its.ReplaceAllString(err.Error(), "")
}

var its = regexp.MustCompile(`"[^"]*"|\d+`)

// Each value of each good file is taken away, and put where something else belongs. A generator of bytes hardly ever comes to
// files that are nearly right.
func TestAFileThatIsNearlyRightIsImportedOrExplained(t *testing.T) {
	odd := []*yaml.Node{
		{Kind: yaml.ScalarNode, Tag: "!!null", Value: "null"},
		{Kind: yaml.ScalarNode, Tag: "!!int", Value: "0"},
		{Kind: yaml.ScalarNode, Tag: "!!str", Value: "x y\n\tz: {{.window}}\u00e9"},
		{Kind: yaml.SequenceNode, Content: []*yaml.Node{{Kind: yaml.ScalarNode, Tag: "!!str", Value: "a"}}},
	}
	tried := 0
	sources(t, "good", 1, func(t *testing.T, _ string, tool Tool, f rules.File, opts Options) {
		var docs []*yaml.Node
		for dec := yaml.NewDecoder(bytes.NewReader(f.Data)); ; {
			var n yaml.Node
			if err := dec.Decode(&n); err != nil {
				break
			}
			docs = append(docs, &n)
		}
		try := func() {
			var b bytes.Buffer
			enc := yaml.NewEncoder(&b)
			for _, d := range docs {
				if err := enc.Encode(d); err != nil {
					t.Fatal(err)
				}
			}
			tried++
			whole(t, tool, b.Bytes(), opts)
			if t.Failed() {
				t.Fatalf("of this file:\n%s", b.String())
			}
		}
		var walk func(n *yaml.Node)
		walk = func(n *yaml.Node) {
			for i, c := range n.Content {
				if n.Kind == yaml.MappingNode && i%2 == 0 {
					continue
				}
				for _, o := range odd {
					n.Content[i] = o
					try()
				}
				n.Content[i] = c
				switch all := n.Content; n.Kind {
				case yaml.SequenceNode:
					n.Content = slices.Delete(slices.Clone(all), i, i+1)
					try()
					n.Content = all
				case yaml.MappingNode:
					n.Content = slices.Delete(slices.Clone(all), i-1, i+1)
					try()
					n.Content = all
				}
				walk(c)
			}
		}
		for _, d := range docs {
			walk(d)
		}
	})
	if tried < 2000 {
		t.Errorf("%d files tried", tried)
	}
}
