package convert

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/promql/parser"

	"github.com/modeshift/modeshift/engine"
	"github.com/modeshift/modeshift/rules"
)

var update = flag.Bool("update", false, "rewrite what is expected in testdata")

// sources are the files of a folder of testdata, each with the tool that its name begins with, and the options that its first
// line says: `# options: period=7d windows=7d`.
func sources(t *testing.T, folder string, least int, each func(t *testing.T, name string, tool Tool, f rules.File, opts Options)) {
	t.Helper()
	names, err := filepath.Glob(filepath.Join("testdata", folder, "*.yaml"))
	if err != nil || len(names) < least {
		t.Fatalf("%d files, %v", len(names), err)
	}
	for _, name := range names {
		base := strings.TrimSuffix(filepath.Base(name), ".yaml")
		tool, _, _ := strings.Cut(base, "-")
		if strings.HasSuffix(base, ".want") || tool == "windows" {
			continue
		}
		t.Run(base, func(t *testing.T) {
			data, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			opts := Options{Severities: map[string]engine.Severity{}}
			if first, _, _ := strings.Cut(string(data), "\n"); strings.HasPrefix(first, "# options: ") {
				for word := range strings.FieldsSeq(strings.TrimPrefix(first, "# options: ")) {
					option(t, &opts, folder, word)
				}
			}
			each(t, strings.TrimSuffix(name, ".yaml"), Tool(tool), rules.File{Name: filepath.Base(name), Data: data}, opts)
		})
	}
}

func option(t *testing.T, opts *Options, folder, word string) {
	t.Helper()
	key, value, _ := strings.Cut(word, "=")
	switch key {
	case "period":
		d, err := model.ParseDuration(value)
		if err != nil {
			t.Fatal(err)
		}
		opts.Period = time.Duration(d)
	case "windows":
		name := "windows-" + value + ".yaml"
		data, err := os.ReadFile(filepath.Join("testdata", folder, name))
		if err != nil {
			t.Fatal(err)
		}
		opts.Windows = []rules.File{{Name: name, Data: data}}
	case "dialect":
		opts.Dialect = Dialect(value)
	case "service":
		opts.Service = value
	case "severity":
		word, severity, _ := strings.Cut(value, ":")
		opts.Severities[word] = engine.Severity(severity)
	default:
		t.Fatalf("no option %q", key)
	}
}

// expect compares with a file, or writes it.
func expect(t *testing.T, name, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(name, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s: got:\n%s\nwant:\n%s", name, got, want)
	}
}

// said is how differences are told in testdata.
func said(diffs []Difference) string {
	var b strings.Builder
	for _, d := range diffs {
		fmt.Fprintf(&b, "%s: %s: %s", d.Position(), d.Kind, d.Code)
		if d.SLO != "" {
			fmt.Fprintf(&b, " of %s/%s", d.Service, d.SLO)
		}
		fmt.Fprintf(&b, ": %s\n", d.Message)
		if d.Hint != "" {
			fmt.Fprintf(&b, "  = %s\n", d.Hint)
		}
	}
	return b.String()
}

// The .want.yaml beside a file is the rule file made of it, several one after the other; the .txt is every difference.
func TestFilesBecomeRuleFilesAndEveryDifferenceIsTold(t *testing.T) {
	sources(t, "good", 1, func(t *testing.T, name string, tool Tool, f rules.File, opts Options) {
		result, err := Import(tool, []rules.File{f}, opts)
		if err != nil {
			t.Fatal(err)
		}
		var text strings.Builder
		for i, s := range result.Services {
			if i > 0 {
				text.WriteString("\n---\n")
			}
			text.Write(s.Text)
		}
		expect(t, name+".want.yaml", text.String())
		expect(t, name+".txt", said(result.Differences))
		for _, d := range result.Differences {
			if d.Line == 0 || d.Column == 0 || d.File == "" || d.Message == "" {
				t.Errorf("incomplete: %+v", d)
			}
			if d.Kind == Decide && !strings.Contains(text.String(), "# DECIDE: ") {
				t.Errorf("the rule file does not say what is to decide: %s", d.Message)
			}
		}
	})
}

// Each file of testdata/bad is wrong in one way, or in several; the .txt beside it is what its author is told.
func TestBadFilesAreExplained(t *testing.T) {
	sources(t, "bad", 1, func(t *testing.T, name string, tool Tool, f rules.File, opts Options) {
		result, err := Import(tool, []rules.File{f}, opts)
		if err == nil {
			t.Fatalf("it became %d rule files", len(result.Services))
		}
		var diags rules.Diagnostics
		if errors.As(err, &diags) {
			for _, d := range diags {
				if d.File == "" || d.Message == "" || d.Line > 0 && (d.Column < 1 || !strings.Contains(d.Excerpt, "\n")) {
					t.Errorf("incomplete: %#v", d)
				}
			}
		}
		expect(t, name+".txt", err.Error()+"\n")
	})
}

// loaded are the SLOs of an import, ours beside theirs.
func loaded(t *testing.T, result *Result) map[*slo]*rules.SLO {
	t.Helper()
	out := map[*slo]*rules.SLO{}
	for _, s := range result.Services {
		set, err := rules.Load([]rules.File{{Name: s.Name, Data: s.Text}}, rules.Options{})
		if err != nil {
			t.Fatal(err)
		}
		for _, one := range s.slos {
			if out[one] = set.Service(engine.Scope(s.Name)).SLO(one.name); out[one] == nil {
				t.Fatalf("%s is lost", one.name)
			}
		}
	}
	return out
}

// canonical is an expression without what does not matter.
func canonical(t *testing.T, text string) string {
	t.Helper()
	e, err := parser.NewParser(parser.Options{}).ParseExpr(text)
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	parser.Inspect(e, func(n parser.Node, _ []parser.Node) error {
		if p, ok := n.(*parser.BinaryExpr); ok {
			p.LHS, p.RHS = inner(p.LHS), inner(p.RHS)
		}
		return nil
	})
	return inner(e).String()
}

// inner is an expression without the parentheses around it. The tree needs none, and String writes none for it.
func inner(e parser.Expr) parser.Expr {
	for {
		p, ok := e.(*parser.ParenExpr)
		if !ok {
			return e
		}
		e = p.Expr
	}
}
