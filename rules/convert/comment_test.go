package convert

import (
	"bytes"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/modeshift/modeshift/rules"
)

// commented puts a comment behind each query of a file, and returns how many there are.
func commented(t *testing.T, file rules.File) (rules.File, int) {
	t.Helper()
	queries := 0
	var visit func(*yaml.Node)
	visit = func(n *yaml.Node) {
		for i, child := range n.Content {
			if n.Kind == yaml.MappingNode && i%2 == 1 && child.Kind == yaml.ScalarNode &&
				slices.Contains([]string{"query", "promql", "metric", "error_query", "total_query", "error_ratio_query", "errorQuery", "totalQuery", "errorRatioQuery"}, n.Content[i-1].Value) {
				child.Value += " # as (seen by the proxy"
				child.Style = yaml.DoubleQuotedStyle
				queries++
			}
			visit(child)
		}
	}
	var out bytes.Buffer
	in, enc := yaml.NewDecoder(bytes.NewReader(file.Data)), yaml.NewEncoder(&out)
	for {
		var doc yaml.Node
		if in.Decode(&doc) != nil {
			break
		}
		visit(&doc)
		if err := enc.Encode(&doc); err != nil {
			t.Fatal(err)
		}
	}
	return rules.File{Name: file.Name, Data: out.Bytes()}, queries
}

// A query that ends in a comment is put into sums, quotients and subqueries all the same: what stands behind it there is no part of the
// comment.
func TestACommentBehindAQueryChangesNothing(t *testing.T) {
	names, err := filepath.Glob(filepath.Join("testdata", "good", "*.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	compared := map[Tool]int{}
	for _, name := range names {
		files, err := rules.ReadFiles(name)
		if err != nil {
			t.Fatal(err)
		}
		with, queries := commented(t, files[0])
		for _, tool := range []Tool{Sloth, OpenSLO, Pyrra} {
			for _, opts := range []Options{{}, {Dialect: DialectNobl9}, {Dialect: DialectLiteral}} {
				want, err := Import(tool, files, opts)
				if err != nil || queries == 0 {
					continue // of another tool, or another dialect
				}
				got, err := Import(tool, []rules.File{with}, opts)
				if err != nil {
					t.Errorf("%s: %v", name, err)
					continue
				}
				compared[tool]++
				same(t, name, got, want)
			}
		}
	}
	for _, tool := range []Tool{Sloth, OpenSLO, Pyrra} {
		if compared[tool] == 0 {
			t.Errorf("nothing of %s was compared", tool)
		}
	}
}

// same compares what is asked for two imports of the same SLOs.
func same(t *testing.T, name string, got, want *Result) {
	t.Helper()
	asked := map[string][3]string{}
	for was, slo := range loaded(t, want) {
		errors, total := slo.Queries(time.Hour)
		asked[was.service+"/"+was.name] = [3]string{errors, total, was.was.ratio(time.Hour)}
	}
	for was, slo := range loaded(t, got) {
		errors, total := slo.Queries(time.Hour)
		for i, text := range []string{errors, total, was.was.ratio(time.Hour)} {
			if text == "" && asked[was.service+"/"+was.name][i] == "" {
				continue
			}
			if a, b := canonical(t, text), canonical(t, asked[was.service+"/"+was.name][i]); a != b {
				t.Errorf("%s: %s/%s: with comments %s, and without %s", name, was.service, was.name, a, b)
			}
		}
	}
}
