// Package mutant changes rule files in the ways in which people get them wrong: a factor doubled, && for ||, = for !=, another
// mode. A test that passes for a mutant would not have noticed the mistake.
//
// A mutant is a file again: one place of its text is another, it loads, and it means something else, by the digest of the rules.
// What does not load anyone notices, and what means the same there is nothing to notice about. Equal files have equal mutants in
// the same order.
package mutant

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/promql/parser"

	"github.com/modeshift/modeshift/rules"
)

// Kind is what a mutant changes.
type Kind string

// The kinds of mutants.
const (
	Objective Kind = "objective" // of an SLO
	Factor    Kind = "factor"    // of a burn-rate pair
	Window    Kind = "window"    // a range that something is measured over
	Duration  Kind = "for"       // for, min_duration, within and the like
	Number    Kind = "number"    // what something is compared with, and what it is counted against
	Matcher   Kind = "matcher"   // = for !=
	Operator  Kind = "operator"  // && for ||, < for >=, a ! left out
	// Boundary is < for <=: only a test in which a value is exactly the limit can notice it.
	Boundary Kind = "boundary"
	Mode     Kind = "mode"     // from and to
	Severity Kind = "severity" // page for ticket
	Choice   Kind = "choice"   // one of two words, such as no_traffic
)

// Mutant is a file with one place changed.
type Mutant struct {
	Kind         Kind
	File         rules.File // the whole of it
	Index        int        // of the file among those given to Of
	Line, Column int        // of the change
	Where        string     // what was changed, for people: transition shed: when
	Was, Is      string     // 14.4 and 28.8; Is is empty where Was was left out
}

// Position is the place in the form of an error.
func (m *Mutant) Position() string { return fmt.Sprintf("%s:%d:%d", m.File.Name, m.Line, m.Column) }

func (m *Mutant) String() string {
	if m.Is == "" {
		return fmt.Sprintf("%s: %s: %s left out", m.Position(), m.Where, m.Was)
	}
	return fmt.Sprintf("%s: %s: %s → %s", m.Position(), m.Where, m.Was, m.Is)
}

// Of are the mutants of rule files, in the order of their text. The error is that of files which do not load as they are.
func Of(files []rules.File, opts rules.Options) ([]Mutant, error) {
	whole, err := rules.Load(files, opts)
	if err != nil {
		return nil, err
	}
	var out []Mutant
	for i := range files {
		for _, c := range changesOf(files[i]) {
			data, line, column, ok := c.scalar.With(c.from, c.to, c.is)
			if !ok {
				continue
			}
			m := Mutant{Kind: c.kind, File: rules.File{Name: files[i].Name, Data: data}, Index: i, Line: line, Column: column,
				Where: c.where, Was: c.scalar.Value[c.from:c.to], Is: c.is}
			changed := slices.Clone(files)
			changed[i] = m.File
			if set, err := rules.Load(changed, opts); err == nil && set.Digest != whole.Digest {
				out = append(out, m)
			}
		}
	}
	return out, nil
}

// change is another text for some bytes of a value.
type change struct {
	scalar   *rules.Scalar
	kind     Kind
	where    string
	from, to int
	is       string
}

// changesOf are all changes of a file that come to mind, whether it would load or not.
func changesOf(f rules.File) []change {
	scalars := rules.Scalars(f)
	var out []change
	names := namesOf(scalars)
	for i := range scalars {
		s := &scalars[i]
		c := changer{scalar: s, where: names.where(s), modes: names.modes[s.Document]}
		c.change()
		out = append(out, c.out...)
	}
	return out
}

// names are what the things of a file are called.
type names struct {
	of    map[string]string // by document, list and index
	modes map[int][]string  // by document
}

// thing is a member of one of the lists of a document.
func thing(s *rules.Scalar) string { return fmt.Sprint(s.Document, s.Path[0], s.Item[0]) }

func namesOf(scalars []rules.Scalar) names {
	n := names{of: map[string]string{}, modes: map[int][]string{}}
	for i := range scalars {
		s := &scalars[i]
		if len(s.Path) == 3 && s.Path[1] == "" && s.Path[2] == "name" {
			n.of[thing(s)] = s.Value
			if s.Path[0] == "modes" {
				n.modes[s.Document] = append(n.modes[s.Document], s.Value)
			}
		}
	}
	return n
}

// where names a place: transition shed: rollout verify.
func (n names) where(s *rules.Scalar) string {
	path := slices.DeleteFunc(slices.Clone(s.Path), func(k string) bool { return k == "" })
	if len(s.Path) > 2 && s.Path[1] == "" {
		what := map[string]string{"slos": "SLO", "slis": "SLI"}[s.Path[0]]
		if what == "" {
			what = strings.TrimSuffix(s.Path[0], "s")
		}
		return fmt.Sprintf("%s %s: %s", what, n.of[thing(s)], strings.Join(path[1:], " "))
	}
	return strings.Join(path, " ")
}

// changer finds the changes of one value.
type changer struct {
	scalar *rules.Scalar
	where  string
	modes  []string
	out    []change
}

func (c *changer) add(kind Kind, from, to int, is string) {
	c.out = append(c.out, change{c.scalar, kind, c.where, from, to, is})
}

// whole changes all of the value.
func (c *changer) whole(kind Kind, is string) {
	if is != "" && is != c.scalar.Value {
		c.add(kind, 0, len(c.scalar.Value), is)
	}
}

func (c *changer) change() {
	v := c.scalar.Value
	path := c.scalar.Path
	key := ""
	for _, k := range slices.Backward(path) {
		if key = k; k != "" {
			break
		}
	}
	under := func(k string) bool { return slices.Contains(path, k) }
	switch {
	case under("labels"), under("annotations"), under("flags"), under("actions"), len(path) == 0:
	case key == "objective":
		c.whole(Objective, otherObjective(v))
	case key == "factor":
		c.whole(Factor, scaled(v, 2))
		c.whole(Factor, scaled(v, 0.5))
	case key == "long", key == "short":
		c.whole(Window, otherDuration(v, 2))
		c.whole(Window, otherDuration(v, 0.5))
	case slices.Contains([]string{"for", "min_duration", "max_duration", "within", "pause", "retry_after", "duration", "max_age", "stuck_after"}, key):
		c.whole(Duration, otherDuration(v, 2))
		c.whole(Duration, otherDuration(v, 0.5))
	case key == "min_events", key == "count", key == "changes":
		c.whole(Number, scaled(v, 2))
	case key == "no_traffic":
		c.whole(Choice, map[string]string{"good": "unknown", "unknown": "good"}[v])
	case key == "severity":
		c.whole(Severity, map[string]string{"page": "ticket", "ticket": "page"}[v])
	case key == "otherwise", key == "on_expiry":
		c.whole(Choice, map[string]string{"deny": "page", "page": "deny"}[v])
	case path[0] == "transitions" && (key == "from" || key == "to"), key == "imposes":
		for i, m := range c.modes { // the next one
			if m == v {
				c.whole(Mode, c.modes[(i+1)%len(c.modes)])
				break
			}
		}
	case slices.Contains([]string{"when", "until", "verify"}, key):
		c.condition(v)
	case slices.Contains([]string{"error_query", "total_query", "error_ratio_query"}, key), path[0] == "slis" && key == "query":
		c.query(v)
	}
}

// otherObjective leaves a tenth of the budget, or ten times as much where it is small.
func otherObjective(v string) string {
	o, err := strconv.ParseFloat(v, 64)
	if err != nil || !(o > 0 && o < 100) {
		return ""
	}
	if budget := 100 - o; budget < 10 {
		return decimal(100 - 10*budget)
	}
	return decimal(100 - (100-o)/10)
}

func decimal(f float64) string {
	s := strconv.FormatFloat(f, 'f', 9, 64)
	return strings.TrimRight(strings.TrimRight(s, "0"), ".")
}

// scaled is a number some times as great; empty where it is none. What is a decimal stays one: CEL tells them apart.
func scaled(v string, times float64) string {
	f, err := strconv.ParseFloat(v, 64)
	if err != nil || f == 0 || f > 1e9 {
		return ""
	}
	text := decimal(f * times)
	if strings.Contains(v, ".") && !strings.Contains(text, ".") {
		text += ".0"
	}
	return text
}

// otherDuration is a duration some times as long; empty where it is none.
func otherDuration(v string, times float64) string {
	d, err := model.ParseDuration(v)
	if err != nil || d == 0 {
		return ""
	}
	longer := time.Duration(float64(d) * times).Truncate(time.Second)
	if longer <= 0 {
		return ""
	}
	return model.Duration(longer).String()
}

// token finds what a condition is made of: strings, numbers, names and operators.
var token = regexp.MustCompile(`"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'|[0-9]+(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?|[A-Za-z_][A-Za-z_0-9.]*|&&|\|\||[<>=!]=|[<>!]`)

// The operators that may stand for one another.
var (
	opposite = map[string]string{"&&": "||", "||": "&&", "<": ">=", ">": "<=", "<=": ">", ">=": "<", "==": "!=", "!=": "=="}
	beside   = map[string]string{"<": "<=", "<=": "<", ">": ">=", ">=": ">"}
)

func (c *changer) condition(v string) {
	for _, at := range token.FindAllStringIndex(v, -1) {
		from, to := at[0], at[1]
		switch t := v[from:to]; {
		case t[0] == '"' || t[0] == '\'':
			inner := t[1 : len(t)-1]
			if other := map[string]string{"page": "ticket", "ticket": "page"}[inner]; other != "" {
				c.add(Severity, from+1, to-1, other)
			}
			if other := otherDuration(inner, 2); other != "" {
				c.add(Window, from+1, to-1, other)
			}
			for i, m := range c.modes {
				if m == inner && strings.HasSuffix(strings.TrimRight(v[:from], " "), "=") {
					c.add(Mode, from+1, to-1, c.modes[(i+1)%len(c.modes)])
				}
			}
		case t[0] >= '0' && t[0] <= '9':
			for _, times := range []float64{2, 0.5} {
				if other := scaled(t, times); other != "" {
					c.add(Number, from, to, other)
				}
			}
		case t == "!":
			c.add(Operator, from, to, "")
		default:
			if other := opposite[t]; other != "" {
				c.add(Operator, from, to, other)
			}
			if other := beside[t]; other != "" {
				c.add(Boundary, from, to, other)
			}
		}
	}
}

// action is {{.window}} or {{.instances}} in a query.
var action = regexp.MustCompile(`\{\{[^{}]*\}\}`)

// The operators of a query that may stand for one another.
var arithmetic = map[parser.ItemType]string{parser.ADD: "-", parser.SUB: "+", parser.MUL: "/", parser.DIV: "*"}

func (c *changer) query(v string) {
	// As long, so that places stay, and something that the lexer reads in a range and in a string.
	text := action.ReplaceAllStringFunc(v, func(s string) string { return strings.Repeat("1", len(s)-1) + "s" })
	lexer := parser.Lex(text)
	braces, brackets := 0, 0
	var last parser.ItemType
	for {
		var item parser.Item
		lexer.NextItem(&item)
		if item.Typ == parser.EOF || item.Typ == parser.ERROR {
			return
		}
		from, to := int(item.Pos), int(item.Pos)+len(item.Val)
		operand := last == parser.RIGHT_PAREN || last == parser.RIGHT_BRACE || last == parser.NUMBER || last == parser.IDENTIFIER || last == parser.METRIC_IDENTIFIER || last == parser.RIGHT_BRACKET
		switch item.Typ {
		case parser.LEFT_BRACE:
			braces++
		case parser.RIGHT_BRACE:
			braces--
		case parser.LEFT_BRACKET:
			brackets++
		case parser.RIGHT_BRACKET:
			brackets--
		case parser.EQL, parser.NEQ, parser.EQL_REGEX, parser.NEQ_REGEX:
			if braces > 0 && !strings.Contains(following(v, to), "{{") {
				c.add(Matcher, from, to, map[string]string{"=": "!=", "!=": "=", "=~": "!~", "!~": "=~"}[item.Val])
			}
		case parser.DURATION:
			if other := otherDuration(item.Val, 2); brackets > 0 && other != "" && v[from:to] == item.Val {
				c.add(Window, from, to, other)
			}
		case parser.NUMBER:
			if other := scaled(item.Val, 2); braces == 0 && brackets == 0 && other != "" && v[from:to] == item.Val {
				c.add(Number, from, to, other)
			}
		default:
			if other := arithmetic[item.Typ]; other != "" && braces == 0 && operand {
				c.add(Operator, from, to, other)
			}
		}
		last = item.Typ
	}
}

// following is the string after an operator.
func following(v string, at int) string {
	if m := quoted.FindString(v[at:]); m != "" {
		return m
	}
	return ""
}

var quoted = regexp.MustCompile("^\\s*(\"(?:[^\"\\\\]|\\\\.)*\"|'(?:[^'\\\\]|\\\\.)*'|`[^`]*`)")
