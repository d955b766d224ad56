package bench

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/promql/parser"
	"go.yaml.in/yaml/v3"

	"github.com/modeshift/modeshift/engine"
)

// slothVersion is the version whose rules are compared with. testdata has what it makes of one service.
const slothVersion = "v0.12.0"

// spec is a service as a Sloth file writes it; modeshift reads the same file unchanged.
func spec(service string) string {
	return fmt.Sprintf(`version: prometheus/v1
service: %[1]s
slos:
  - name: availability
    objective: 99.9
    sli:
      events:
        error_query: sum(rate(http_requests_total{job="%[1]s",code=~"5.."}[{{.window}}]))
        total_query: sum(rate(http_requests_total{job="%[1]s"}[{{.window}}]))
    alerting:
      name: HighErrorRate
      page_alert: {}
      ticket_alert: {}
`, service)
}

// specs writes the files of all services into a folder.
func (w *world) specs(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for _, s := range w.services {
		if err := os.WriteFile(filepath.Join(dir, s.name+".yaml"), []byte(spec(s.name)), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// sloth returns the path of Sloth's command. It is built from its module, in a module of its own, into the cache folder, where
// the Makefile keeps the linter too. Without it the test is skipped, or fails when CI=true.
func sloth(t testing.TB) string {
	t.Helper()
	base, err := os.UserCacheDir()
	var command string
	if err == nil {
		command, err = buildSloth(filepath.Join(base, "modeshift", "bin"))
	}
	if err != nil {
		say := t.Skipf
		if os.Getenv("CI") == "true" {
			say = t.Fatalf
		}
		say("Sloth %s is needed and cannot be had: %v", slothVersion, err)
	}
	return command
}

func buildSloth(cache string) (_ string, err error) {
	done := filepath.Join(cache, "sloth-"+slothVersion)
	if _, err := os.Stat(done); err == nil {
		return done, nil
	}
	if err := os.MkdirAll(cache, 0o755); err != nil {
		return "", err
	}
	lock, err := os.OpenFile(done+".lock", os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, lock.Close()) }() // closing gives the lock back
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		return "", fmt.Errorf("lock %s: %w", lock.Name(), err)
	}
	if _, err := os.Stat(done); err == nil {
		return done, nil // by whoever held the lock before
	}
	dir, err := os.MkdirTemp(cache, "sloth.part-*")
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	const path = "github.com/slok/sloth/cmd/sloth"
	for _, args := range [][]string{
		{"mod", "init", "tools.invalid/sloth"},
		{"get", "-tool", path + "@" + slothVersion},
		{"build", "-trimpath", "-o", "sloth", path},
	} {
		cmd := exec.Command("go", args...)
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), "GOFLAGS=-mod=mod", "GOWORK=off")
		if out, err := cmd.CombinedOutput(); err != nil {
			return "", fmt.Errorf("%s: %w: %s", cmd, err, out)
		}
	}
	return done, os.Rename(filepath.Join(dir, "sloth"), done)
}

// generate makes Sloth write the rules of the files in one folder into another.
func generate(command, from, to string) error {
	if err := os.MkdirAll(to, 0o755); err != nil {
		return err
	}
	if out, err := exec.Command(command, "generate", "-i", from, "-o", to).CombinedOutput(); err != nil {
		return fmt.Errorf("sloth generate: %w: %s", err, out)
	}
	return nil
}

// ruleFile is a rule file of Prometheus.
type ruleFile struct {
	Groups []struct {
		Name  string `yaml:"name"`
		Rules []struct {
			Record string            `yaml:"record"`
			Alert  string            `yaml:"alert"`
			Expr   string            `yaml:"expr"`
			Labels map[string]string `yaml:"labels"`
		} `yaml:"rules"`
	} `yaml:"groups"`
}

// pair is two windows of an alert.
type pair struct {
	severity    engine.Severity
	short, long time.Duration
	limit       float64 // of the error ratio, as Sloth writes it: its noise included
	// expr is Sloth's expression for the pair, with the series that its rules record replaced by their own expressions. It has
	// a value while the pair fires.
	expr string
}

func (p *pair) String() string {
	return fmt.Sprintf("the %s pair %s/%s", p.severity, model.Duration(p.short), model.Duration(p.long))
}

// every is how often the pair is decided: those of a page at every tick, those of a ticket every sixtieth of the short window.
func (p *pair) every() time.Duration {
	if p.severity == engine.SeverityPage {
		return interval
	}
	return p.short / 60
}

// pairsOf returns the pairs of the alerts in a rule file of one service, pages first, and the expressions of all rules.
func pairsOf(text []byte) (pairs []pair, exprs []string, err error) {
	var f ruleFile
	if err := yaml.Unmarshal(text, &f); err != nil {
		return nil, nil, err
	}
	recorded := map[string]string{}
	for _, g := range f.Groups {
		for _, r := range g.Rules {
			exprs = append(exprs, r.Expr)
			if r.Record != "" {
				recorded[r.Record] = r.Expr
			}
		}
	}
	for _, g := range f.Groups {
		for _, r := range g.Rules {
			if r.Alert == "" {
				continue
			}
			root, err := promQL.ParseExpr(r.Expr)
			if err != nil {
				return nil, nil, err
			}
			for _, side := range alternatives(root) {
				p, err := pairOf(side.String(), recorded)
				if err != nil {
					return nil, nil, fmt.Errorf("%s: %w", side, err)
				}
				p.severity = engine.Severity(r.Labels["sloth_severity"])
				pairs = append(pairs, p)
			}
		}
	}
	if len(pairs) != 4 {
		return nil, nil, fmt.Errorf("%d pairs of windows, expected four", len(pairs))
	}
	return pairs, exprs, nil
}

var promQL = parser.NewParser(parser.Options{})

// alternatives are the sides of an `or`.
func alternatives(e parser.Expr) []parser.Expr {
	switch e := e.(type) {
	case *parser.ParenExpr:
		return alternatives(e.Expr)
	case *parser.BinaryExpr:
		if e.Op == parser.LOR {
			return append(alternatives(e.LHS), alternatives(e.RHS)...)
		}
	}
	return []parser.Expr{e}
}

// pairOf reads one side of an alert's expression.
func pairOf(text string, recorded map[string]string) (p pair, err error) {
	root, err := promQL.ParseExpr(text)
	if err != nil {
		return p, err
	}
	var selectors []*parser.VectorSelector
	parser.Inspect(root, func(n parser.Node, _ []parser.Node) error {
		switch n := n.(type) {
		case *parser.VectorSelector:
			selectors = append(selectors, n)
		case *parser.BinaryExpr:
			if n.Op == parser.GTR {
				p.limit, err = constant(n.RHS)
			}
		}
		return err
	})
	if err != nil {
		return p, err
	}
	if len(selectors) != 2 {
		return p, fmt.Errorf("%d selectors, expected two", len(selectors))
	}
	slices.SortFunc(selectors, func(a, b *parser.VectorSelector) int { return int(b.PosRange.Start - a.PosRange.Start) })
	for _, s := range selectors { // from the back, so that positions stay true
		window, ok := strings.CutPrefix(s.Name, "slo:sli_error:ratio_rate")
		expr, known := recorded[s.Name]
		d, err := model.ParseDuration(window)
		if !ok || !known || err != nil {
			return p, fmt.Errorf("%s is not recorded", s.Name)
		}
		if p.long = max(p.long, time.Duration(d)); p.short == 0 || time.Duration(d) < p.short {
			p.short = time.Duration(d)
		}
		text = text[:s.PosRange.Start] + "(" + expr + ")" + text[s.PosRange.End:]
	}
	p.expr = text
	return p, nil
}

// constant computes a product of numbers.
func constant(e parser.Expr) (float64, error) {
	switch e := e.(type) {
	case *parser.ParenExpr:
		return constant(e.Expr)
	case *parser.NumberLiteral:
		return e.Val, nil
	case *parser.BinaryExpr:
		l, err := constant(e.LHS)
		r, err2 := constant(e.RHS)
		if e.Op == parser.MUL {
			return l * r, errors.Join(err, err2)
		}
	}
	return 0, fmt.Errorf("%s is no product of numbers", e)
}
