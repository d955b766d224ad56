package engine_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// command is one command of a transcript: its name, its places in order, its key=value pairs and its bare words.
type command struct {
	line int
	text string
	body []bodyLine
	phrase
	policy []policyLine // of a body
}

type bodyLine struct {
	line int
	text string
}

// phrase is a line taken apart by its form.
type phrase struct {
	name  string
	args  []string
	keys  map[string]string
	words []string
	pairs []string // names of the pairs, in the order written
}

func (p phrase) key(name string) string { return p.keys[name] }
func (p phrase) word(w string) bool     { return slices.Contains(p.words, w) }

// duration of a pair that was checked when it was parsed; 0 when there is none.
func (p phrase) duration(name string) time.Duration {
	d, _ := time.ParseDuration(p.keys[name])
	return d
}

// number of a pair that was checked when it was parsed; 0 when there is none.
func (p phrase) number(name string) int {
	n, _ := strconv.Atoi(p.keys[name])
	return n
}

// list of a pair, between commas.
func (p phrase) list(name string) []string {
	if p.keys[name] == "" {
		return nil
	}
	return strings.Split(p.keys[name], ",")
}

// check says whether a value has the form it should have.
type check func(string) error

func matching(what, pattern string) check {
	re := regexp.MustCompile("^(" + pattern + ")$")
	return func(v string) error {
		if !re.MatchString(v) {
			return fmt.Errorf("%q is not %s", v, what)
		}
		return nil
	}
}

func oneOf(words ...string) check {
	return func(v string) error {
		if !slices.Contains(words, v) {
			return fmt.Errorf("%q is not one of %s", v, strings.Join(words, ", "))
		}
		return nil
	}
}

func aDuration(v string) error {
	if d, err := time.ParseDuration(v); err != nil || d < 0 {
		return fmt.Errorf("%q is not a duration such as 15s", v)
	}
	return nil
}

func anInstant(v string) error {
	if _, err := time.ParseDuration(v); err != nil {
		return fmt.Errorf("%q is not an offset from the start such as 1h0m15s", v)
	}
	return nil
}

func aJSON(v string) error {
	if !json.Valid([]byte(v)) {
		return fmt.Errorf("%q is not JSON", v)
	}
	return nil
}

func anything(string) error { return nil }

var (
	aName     = matching("a name", `[a-zA-Z][\w-]*`)
	names     = matching("names between commas", `[a-zA-Z][\w-]*(,[a-zA-Z][\w-]*)*`)
	aTruth    = oneOf("true", "false", "unknown", "no-traffic")
	aNumber   = matching("a number", `\d+`)
	aPercent  = matching("a share such as 5%", `\d+(\.\d+)?%`)
	aFraction = matching("a share such as 9/10", `\d+/\d+`)
	groups    = matching("groups such as oncall:1,lead:1", `[\w-]+:\d+(,[\w-]+:\d+)*`)
	waves     = matching("percentages such as 5,25,100", `\d+(,\d+)*`)
	tiers     = matching("tiers such as availability/page", `[\w-]+/(page|ticket)(,[\w-]+/(page|ticket))*`)
	severity  = oneOf("info", "ticket", "page")
)

// grammar is what a kind of line may hold. A line that is not built yet has a grammar all the same.
type grammar struct {
	args  []check
	keys  map[string]check
	words []string
	open  bool // pairs that are not in keys are conditions
	later []string
	do    func(*session, command) (string, error) // nil: not built yet
}

var person = map[string]check{"by": aName, "person": aName, "role": names, "reason": anything, "on": aName}

func and(m map[string]check, more map[string]check) map[string]check {
	both := maps.Clone(m)
	maps.Copy(both, more)
	return both
}

// commands is the whole language, by the first word of a line.
var commands map[string]grammar

func init() {
	on := map[string]check{"on": aName}
	commands = map[string]grammar{
		"policy": {do: (*session).doPolicy},
		"given":  {args: []check{anInstant, aName}, keys: on, do: (*session).doGiven},
		"observe": {args: []check{anInstant}, keys: and(on, map[string]check{"prev": anInstant, "at": anInstant, "frozen": anything,
			"missed": matching("a window such as migrate:30m/1h", `[\w-]+:\w+/\w+`)}),
			words: []string{"source-blind"}, open: true, do: (*session).doObserve},
		"every": {args: []check{aDuration, oneOf("from"), anInstant, oneOf("to"), anInstant},
			keys: and(on, map[string]check{"frozen": anything}), words: []string{"source-blind"}, open: true, do: (*session).doEvery},
		"sources": {args: []check{anInstant}, keys: map[string]check{"prev": anInstant, "at": anInstant, "until": anInstant}, open: true, do: (*session).doSources},
		"set": {args: []check{anInstant, aName}, keys: and(person, map[string]check{"for": aDuration, "via": aName}),
			words: []string{"directive-only", "force"}, do: (*session).doSet},
		"unpin":    {args: []check{anInstant}, keys: person, do: (*session).doUnpin},
		"freeze":   {args: []check{anInstant}, keys: and(person, map[string]check{"for": aDuration}), do: (*session).doFreeze},
		"unfreeze": {args: []check{anInstant}, keys: person, do: (*session).doUnfreeze},
		"correct": {args: []check{anInstant}, keys: and(person, map[string]check{"slo": aName, "from": anInstant, "to": anInstant, "cron": anything,
			"duration": aDuration, "timezone": anything}), do: (*session).doCorrect},
		"withdraw": {args: []check{anInstant}, keys: and(person, map[string]check{"correction": anything}), do: (*session).doWithdraw},
		"reload":   {args: []check{anInstant}, keys: map[string]check{"by": aName}, words: []string{"silent"}, do: (*session).doReload},
		"remove":   {args: []check{anInstant}, keys: on, do: (*session).doRemove},
		"heads":    {args: []check{anInstant}, do: (*session).doHeads},
		"log-fault": {args: []check{anInstant}, keys: map[string]check{"from": anInstant, "detail": anything},
			do: (*session).doLogFault},
		"lead":     {keys: map[string]check{"term": aNumber}, do: (*session).doLead},
		"state":    {keys: on, do: (*session).doState},
		"evidence": {do: (*session).doEvidence},
		"check":    {args: []check{oneOf("fold")}, do: (*session).doCheck},

		"tick":   {args: []check{anInstant}, keys: on, do: (*session).doTick},
		"review": {args: []check{anInstant, oneOf("yes", "no")}, keys: and(person, map[string]check{"proposal": anything, "digest": anything}), words: []string{"blind"}, do: (*session).doReview},
		"step": {args: []check{anInstant, aName, oneOf("done", "failed", "unknown")}, keys: and(on, map[string]check{
			"change": anything, "detail": anything, "attempt": aNumber}), words: []string{"undo", "asked"}, do: (*session).doStep},
		"targets": {args: []check{anInstant, aName, matching("a number or unknown", `\d+|unknown`)}, keys: and(on, map[string]check{
			"change": anything, "detail": anything, "attempt": aNumber}), do: (*session).doTargets},

		"report": {args: []check{anInstant}, keys: and(on, map[string]check{"acked": aFraction, "failed": aNumber, "readers": aNumber,
			"revision": aNumber}), do: (*session).doReport},
		"instances": {args: []check{anInstant, aNumber}, keys: on, do: (*session).doInstances},
		"cancel":    {args: []check{anInstant}, keys: and(person, map[string]check{"change": anything, "proposal": anything}), do: (*session).doCancel},
		"undo":      {args: []check{anInstant}, keys: and(person, map[string]check{"change": anything}), do: (*session).doUndo},
		"settle":    {args: []check{anInstant}, keys: and(person, map[string]check{"change": anything, "as": oneOf("done", "undone")}), do: (*session).doSettle},
		"hear":      {args: []check{anInstant}, keys: and(on, map[string]check{"term": aNumber, "detail": anything}), do: (*session).doHear},
		"suggestions": {args: []check{anInstant}, keys: and(on, map[string]check{"at": anInstant, "from": anInstant, "severity": oneOf("ticket", "info"),
			"text": anything}), do: (*session).doSuggestions},
		"recover": {args: []check{anInstant}, keys: and(person, map[string]check{"term": aNumber}), do: (*session).doRecover},
	}
}

// policyLine is one line of a policy's body. Actions and rollouts are indented under their transition.
type policyLine struct {
	line int
	phrase
	under int // index of the transition's line, or -1
}

// policyWords is the language of policies. What is in later is not built yet.
var policyWords = map[string]grammar{
	"scope":       {args: []check{names}},
	"interval":    {args: []check{aDuration}},
	"blind_after": {args: []check{aDuration}},
	"owner":       {args: []check{anything}},
	"runbook":     {args: []check{anything}},
	"condition":   {args: []check{aName}, keys: map[string]check{"every": aDuration, "text": anything}, words: []string{"scheduled"}},
	"mode": {args: []check{aName}, keys: map[string]check{"flags": aJSON, "min": aDuration, "max": aDuration, "stuck": aDuration,
		"on_expiry": matching("page or propose:NAME", `page|propose:[\w-]+`), "imposes": aName, "pause": names,
		"suppress": names, "severities": matching("page, ticket or both", `page|ticket|page,ticket`)},
		words: []string{"beside"}},
	"alert": {args: []check{aName, oneOf("page", "ticket")}, keys: map[string]check{"when": aName, "name": aName, "labels": aJSON, "notes": aJSON,
		"escalate": oneOf("page", "exec"), "burns": aName, "for": aDuration}, words: []string{"nobody"}},
	"transition": {args: []check{aName}, keys: map[string]check{"from": names, "to": aName, "when": aName, "severity": severity, "for": aDuration,
		"alerts": tiers, "text": anything, "approval": groups, "within": aDuration, "otherwise": oneOf("deny", "page", "escalate"),
		"escalate-to": groups, "until": aName, "retry_after": aDuration, "on_failure": oneOf("hold", "undo"), "undo": oneOf("entry"),
		"publish": oneOf("first", "last"), "verify": aName}},
	"action": {args: []check{aName}, keys: map[string]check{"targets": aNumber, "attempts": aNumber, "selector": anything, "text": anything},
		words: []string{"destructive", "undo", "irreversible", "key"}},

	"rollout":     {keys: map[string]check{"waves": waves, "pause": aDuration, "verify": aName}},
	"min_applied": {args: []check{aPercent}},
	"flap":        {keys: map[string]check{"changes": aNumber, "within": aDuration}},
	"stuck_after": {args: []check{aDuration}},
	"automation":  {args: []check{oneOf("on", "suggest", "off")}},
	"informs":     {},
	"divergence":  {keys: map[string]check{"grace": aDuration, "page": aPercent}},

	"parent": {args: []check{aName}},
	"brake":  {keys: map[string]check{"max": aNumber, "share": aPercent, "within": aDuration}},
}

// later names the words of a policy that are not built yet, in the order written.
func laterWords(lines []policyLine) []string {
	var out []string
	for _, l := range lines {
		g := policyWords[l.name]
		if slices.Contains(g.later, "") {
			out = append(out, l.name)
		}
		for _, k := range append(slices.Clone(l.pairs), l.words...) {
			if slices.Contains(g.later, k) {
				out = append(out, k)
			}
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// parse takes a command apart and checks all of its words.
func (c *command) parse() error {
	p, err := parsePhrase(c.text)
	if err != nil {
		return fmt.Errorf("%d: %w", c.line, err)
	}
	g, known := commands[p.name]
	if !known {
		return fmt.Errorf("%d: unknown command %q", c.line, p.name)
	}
	if c.phrase, err = p.fit(g); err != nil {
		return fmt.Errorf("%d: %s: %w", c.line, p.name, err)
	}
	takesBody := c.name == "policy" || c.name == "reload"
	if takesBody != (len(c.body) > 0) {
		return fmt.Errorf("%d: %s: a body of indented lines belongs to policy and reload, and to nothing else", c.line, c.name)
	}
	transition := -1
	for i, b := range c.body {
		p, err := parsePhrase(strings.TrimSpace(b.text))
		if err != nil {
			return fmt.Errorf("%d: %w", b.line, err)
		}
		g, known := policyWords[p.name]
		if !known {
			return fmt.Errorf("%d: unknown word of a policy %q", b.line, p.name)
		}
		if p, err = p.fit(g); err != nil {
			return fmt.Errorf("%d: %s: %w", b.line, p.name, err)
		}
		l := policyLine{line: b.line, phrase: p, under: -1}
		nested := strings.HasPrefix(b.text, "    ")
		switch p.name {
		case "transition":
			transition = i
		case "action", "rollout":
			if l.under = transition; transition < 0 || !nested {
				return fmt.Errorf("%d: %s stands indented under its transition", b.line, p.name)
			}
		}
		c.policy = append(c.policy, l)
	}
	return nil
}

// parsePhrase splits a line at its blanks. Quotes and brackets keep a value together.
func parsePhrase(line string) (phrase, error) {
	p := phrase{keys: map[string]string{}}
	var fields []string
	var field strings.Builder
	quoted, depth := false, 0
	for i, r := range line + " " {
		switch {
		case r == '"' && (i == 0 || line[i-1] != '\\'):
			quoted = !quoted
		case quoted:
		case r == '{' || r == '[':
			depth++
		case r == '}' || r == ']':
			depth--
		}
		if r == ' ' && !quoted && depth == 0 {
			if field.Len() > 0 {
				fields = append(fields, field.String())
			}
			field.Reset()
			continue
		}
		field.WriteRune(r)
	}
	if quoted || depth != 0 {
		return p, fmt.Errorf("a quote or bracket is left open")
	}
	p.name = fields[0]
	for _, f := range fields[1:] {
		k, v, pair := strings.Cut(f, "=")
		switch {
		case pair:
			if strings.HasPrefix(v, `"`) {
				u, err := strconv.Unquote(v)
				if err != nil {
					return p, fmt.Errorf("%s: %w", v, err)
				}
				v = u
			}
			if _, twice := p.keys[k]; twice {
				return p, fmt.Errorf("%s= is there twice", k)
			}
			p.keys[k] = v
			p.pairs = append(p.pairs, k)
		default:
			p.args = append(p.args, f)
		}
	}
	return p, nil
}

// fit checks a phrase against a grammar and moves what stands after the places to the words.
func (p phrase) fit(g grammar) (phrase, error) {
	if len(p.args) < len(g.args) {
		return p, fmt.Errorf("%d more to come before the pairs", len(g.args)-len(p.args))
	}
	for i, is := range g.args {
		if err := is(p.args[i]); err != nil {
			return p, err
		}
	}
	p.args, p.words = p.args[:len(g.args)], p.args[len(g.args):]
	for _, w := range p.words {
		if !slices.Contains(g.words, w) {
			return p, fmt.Errorf("unknown word %q", w)
		}
	}
	for _, k := range p.pairs {
		is, known := g.keys[k]
		if !known && !g.open {
			return p, fmt.Errorf("unknown word %q", k+"=")
		}
		if !known {
			is = anything // a condition or a source: checked against the policy
		}
		if err := is(p.keys[k]); err != nil {
			return p, fmt.Errorf("%s: %w", k, err)
		}
	}
	return p, nil
}
