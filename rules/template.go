package rules

import (
	"fmt"
	"regexp"
	"regexp/syntax"
	"strings"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"
)

// template is a query with places left open: pieces[0], places[0], pieces[1] and so on. The zero template is no query.
type template struct {
	pieces []string // one more than there are places
	places []place
}

// place is where something goes into a query: the window, or the instances.
type place struct {
	instances bool
	raw       bool // of instances: inside `…`, where a backslash is itself
	among     bool // of instances: the pattern has more than them
}

// The names of what goes into a query, as files write them: {{.window}}.
const (
	windowName    = "window"
	instancesName = "instances"
)

// probeInstances stands for the instances while a query is checked. Nobody writes it in a query.
const probeInstances = "modeshift:the:instances"

// allInstances is the pattern for them where nothing is narrowed. It matches series too that bear no such label, so that the
// query means what it would without the matcher.
const allInstances = ".*"

// anyInstance is the pattern that shows whether there is a label by which instances are told apart.
const anyInstance = ".+"

// of is the query's expression, which parses, of the instances of a pattern.
func (q *query) of(pattern string) parser.Expr {
	root, err := promQL.ParseExpr(q.template.fill(q.template.probe))
	if err != nil {
		panic(fmt.Sprintf("a query that was parsed does not parse: %v", err))
	}
	parser.Inspect(root, func(n parser.Node, _ []parser.Node) error {
		if s, ok := n.(*parser.VectorSelector); ok {
			for i, m := range s.LabelMatchers {
				switch {
				case m.Value == probeInstances:
					s.LabelMatchers[i] = labels.MustNewMatcher(m.Type, m.Name, pattern)
				case strings.Contains(m.Value, probeInstances):
					s.LabelMatchers[i] = labels.MustNewMatcher(m.Type, m.Name, strings.ReplaceAll(m.Value, probeInstances, "(?:"+pattern+")"))
				}
			}
		}
		return nil
	})
	return root
}

// narrows reports whether the template has a place for instances.
func (t template) narrows() bool {
	for _, p := range t.places {
		if p.instances {
			return true
		}
	}
	return false
}

// fill is the query with its places filled.
func (t template) fill(with func(place) string) string {
	var b strings.Builder
	for i, piece := range t.pieces {
		b.WriteString(piece)
		if i < len(t.places) {
			b.WriteString(with(t.places[i]))
		}
	}
	return b.String()
}

// render is the query over a window, of all instances.
func (t template) render(window time.Duration) string { return t.on(window, allInstances) }

// on is the query over a window, of the instances of a pattern.
func (t template) on(window time.Duration, pattern string) string {
	return t.fill(func(p place) string {
		if !p.instances {
			return model.Duration(window).String()
		}
		text := pattern
		if p.among {
			text = "(?:" + text + ")"
		}
		if !p.raw {
			text = strings.ReplaceAll(text, `\`, `\\`)
		}
		return text
	})
}

// patternOf is the regular expression that matches the names of instances and nothing else; empty where there are none. It holds
// neither quotes nor line breaks, whatever the names hold, so that it may stand inside any of PromQL's strings. An empty name is
// left out: it would match all series that do not bear the label.
func patternOf(names []string) string {
	var b strings.Builder
	for _, name := range names {
		if name == "" {
			continue
		}
		if b.Len() > 0 {
			b.WriteByte('|')
		}
		for _, c := range name { // what is no text comes out as U+FFFD, as it does in JSON
			switch {
			case c < ' ' || c == 0x7f || strings.ContainsRune("\"'`", c):
				fmt.Fprintf(&b, `\x%02x`, c)
			case strings.ContainsRune(`\.+*?()|[]{}^$`, c):
				b.WriteByte('\\')
				b.WriteRune(c)
			default:
				b.WriteRune(c)
			}
		}
	}
	return b.String()
}

// Narrows reports whether the SLO can be measured on some instances alone.
func (s *SLO) Narrows() bool { return s.errors.narrows() }

// QueriesOn is Queries narrowed to instances. They are empty where there are none, or the SLO does not narrow.
func (s *SLO) QueriesOn(window time.Duration, instances []string) (errors, total string) {
	pattern := patternOf(instances)
	if pattern == "" || !s.Narrows() {
		return "", ""
	}
	return s.errors.on(window, pattern), s.total.on(window, pattern)
}

// Narrows reports whether the SLI can be measured on some instances alone.
func (s *SLI) Narrows() bool { return s.query.narrows() }

// QueryOn is Query narrowed to instances; empty where there are none, or the SLI does not narrow.
func (s *SLI) QueryOn(instances []string) string {
	pattern := patternOf(instances)
	if pattern == "" || !s.Narrows() {
		return ""
	}
	return strings.TrimSpace(s.query.on(0, pattern))
}

// mentionsInstances finds the action in an SLI's query, which is no template otherwise: braces have a meaning of their own in
// PromQL.
var mentionsInstances = regexp.MustCompile(`\{\{-?\s*\$?\.` + instancesName + `\b`)

// fitInstances sees that {{.instances}} stands where it selects them and nothing else, and notes how it is written there. root is
// the query with probeInstances in their places.
func (r *reader) fitInstances(q *query, what string, root parser.Expr) bool {
	const usage = `write it as the value of a matcher: instance=~"{{.instances}}"`
	off := 0
	for i := range q.template.places {
		off += len(q.template.pieces[i])
		p := &q.template.places[i]
		if !p.instances {
			off += len(q.template.probe(*p))
			continue
		}
		quote, ok := matcherAt(q.template.fill(q.template.probe), off)
		if !ok {
			r.as(CodeBadQuery).within(q.node, q.source(off), usage, "{{.instances}} of %s may stand only in the value of a =~ matcher", what)
			return false
		}
		p.raw = quote == '`'
		off += len(probeInstances)
	}
	fits, among := true, false
	parser.Inspect(root, func(n parser.Node, _ []parser.Node) error {
		s, ok := n.(*parser.VectorSelector)
		if !ok {
			return nil
		}
		narrowed := false
		for _, m := range s.LabelMatchers {
			if m.Type != labels.MatchRegexp || !strings.Contains(m.Value, probeInstances) {
				continue
			}
			narrowed = true
			if !matchesOnly(m.Value) {
				line, column := r.src.within(q.node, q.source(int(s.PosRange.Start)))
				r.as(CodeBadQuery).at(line, column, `text may stand before and after it: instance=~"{{.instances}}:9090"`,
					"%s=~%q of %s matches more than the instances", m.Name, clip(strings.ReplaceAll(m.Value, probeInstances, "{{.instances}}")), what)
				fits = false
			}
			among = among || m.Value != probeInstances
		}
		q.open = q.open || !narrowed
		return nil
	})
	for i := range q.template.places {
		q.template.places[i].among = among
	}
	return fits
}

// matcherAt finds the quote of the string around a byte of a query, and whether that is the value of a =~ matcher.
func matcherAt(text string, off int) (quote byte, ok bool) {
	lexer := parser.Lex(text)
	var last, item parser.Item
	for {
		last = item
		lexer.NextItem(&item)
		switch {
		case item.Typ == parser.EOF || item.Typ == parser.ERROR:
			return 0, false
		case int(item.Pos) <= off && off < int(item.Pos)+len(item.Val):
			return item.Val[0], item.Typ == parser.STRING && last.Typ == parser.EQL_REGEX
		}
	}
}

// matchesOnly reports whether a pattern matches nothing without one of the instances in it: they may have text around them, and
// be neither optional nor one of several choices.
func matchesOnly(pattern string) bool {
	re, err := syntax.Parse(pattern, syntax.Perl)
	if err != nil || strings.Contains(pattern, `\Q`) { // after \Q the alternatives would be letters
		return false
	}
	var has func(re *syntax.Regexp) bool
	has = func(re *syntax.Regexp) bool {
		switch re.Op {
		case syntax.OpLiteral:
			return re.Flags&syntax.FoldCase == 0 && strings.Contains(string(re.Rune), probeInstances)
		case syntax.OpCapture, syntax.OpConcat:
			for _, sub := range re.Sub {
				if has(sub) {
					return true
				}
			}
		}
		return false
	}
	return has(re)
}

// probe is what stands for a place while the query is checked.
func (template) probe(p place) string {
	if p.instances {
		return probeInstances
	}
	return model.Duration(probeWindow).String()
}
