package rules

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/common/model"
	"go.yaml.in/yaml/v3"

	"github.com/modeshift/modeshift/engine"
)

// Kind is a kind of action, as far as reading a file goes. It talks to nobody, and is safe for concurrent use.
type Kind interface {
	// Check reads the specification of a step, or of its undo: the JSON of what stands under the kind's key in the file,
	// always an object, strings as they were written. It returns the specification in canonical form, an object too and
	// equal for equal meanings, with what the kind says of it; or all of its faults. A fault is shown at the value its path
	// leads to or, where there is none, at what lies around it; one whose message begins with "unknown key" at the key.
	Check(spec []byte) (canonical []byte, traits engine.Traits, problems []engine.SpecProblem)
}

// Limits of actions. Each is stored with every change, and what a change does should be seen at a glance.
const (
	maxActions     = 50
	maxSpecBytes   = 32 << 10
	maxAttempts    = 20
	maxTimeout     = time.Hour
	defaultTimeout = 30 * time.Second // of an attempt
)

// timeoutKey is where a step's specification says how long an attempt may take, as a duration in text: "30s".
const timeoutKey = "timeout"

// actionKeys are what an action has beside its kind.
var actionKeys = []string{"name", "destructive", "why", "undo", "irreversible", "attempts", timeoutKey}

// actionDraft is an action as it was read.
type actionDraft struct {
	step engine.Step
	why  string // it is said not to be destructive
	at   *node  // its name, or all of it
}

// actions reads a transition's actions; never nil.
func (d *draft) actions(n *node) []actionDraft {
	out := []actionDraft{}
	names := map[string]*node{}
	d.r.list(n, "actions", func(n *node) {
		if len(out) < maxActions {
			out = append(out, d.action(n, names))
		}
	})
	switch {
	case n.kind != yaml.SequenceNode:
	case len(n.items) == 0:
		d.r.errorf(n, "name what is to be done, or remove it", "actions is empty")
	case len(n.items) > maxActions:
		d.r.errorf(n.items[maxActions], "let a program do several things in one action", "a transition may have at most %d actions", maxActions)
	}
	return out
}

// action reads one step of a playbook.
func (d *draft) action(n *node, names map[string]*node) actionDraft {
	r := d.r
	a := actionDraft{at: n.get("name").or(n), step: engine.Step{Attempts: 1}}
	kinds := d.kinds()
	if len(kinds) == 0 {
		r.errorf(a.at, "configure a kind of action in the server's own file, or remove the action", "no action can be carried out: no kind of action is configured")
		return a
	}
	if n.kind != yaml.MappingNode {
		r.errorf(n, fmt.Sprintf("write `- {name: …, %s: {…}}`", kinds[0]), "an action must be a mapping, not %s", n.is())
		return a
	}
	before := r.faults
	var parts [2]part // what is done, and its undo
	var destructive, irreversible, undo, timeout *node
	says := false
	within := defaultTimeout
	fields := []field{
		need("name", func(n *node) {
			if name, ok := r.name(n, "the name of an action"); ok && r.unique(names, n, "action", name) {
				a.step.Name = name
			}
		}),
		may("destructive", func(n *node) { destructive = n; says, _ = r.boolean(n, "destructive") }),
		may("why", r.setText(&a.why, "why")),
		may("irreversible", func(n *node) { irreversible = n; a.step.Irreversible, _ = r.boolean(n, "irreversible") }),
		may("attempts", func(n *node) { a.step.Attempts, _ = r.integer(n, "attempts", 1, maxAttempts) }),
		may(timeoutKey, func(n *node) {
			timeout = n
			var ok bool
			if within, ok = r.duration(n, timeoutKey); ok && within > maxTimeout {
				r.errorf(n, "", "timeout is %s, and may be at most %s", model.Duration(within), model.Duration(maxTimeout))
			}
		}),
		may("undo", func(n *node) { undo = n }),
	}
	for _, kind := range kinds {
		fields = append(fields, may(kind, func(n *node) {
			if a.step.Kind == "" {
				a.step.Kind = kind
				parts[0] = d.specification(kind, n)
			}
		}))
	}
	r.mapping(d.oneKind(n, "an action", "", actionKeys), "an action", fields...)
	if undo != nil && a.step.Kind != "" {
		parts[1] = d.undo(undo, a.step.Kind)
	}
	for _, body := range []*node{n.get(a.step.Kind), undo.get(a.step.Kind)} {
		if timeout != nil && body.get(timeoutKey) != nil {
			r.errorf(body.keyNode(timeoutKey), "remove one of the two", "timeout is given here and on line %d", timeout.line)
		}
	}
	a.step.Undo = undo != nil
	a.step.Spec, a.step.UndoSpec = parts[0].text(within, timeout != nil), parts[1].text(within, timeout != nil)
	// What is taken back is not asked about again: an undo that does harm needs its yes beforehand.
	harm := parts[0].traits.Destructive || parts[1].traits.Destructive
	a.step.Keyed = parts[0].traits.Keyed && (undo == nil || parts[1].traits.Keyed)
	if a.step.Destructive = says; destructive == nil {
		a.step.Destructive = harm
	}
	if r.faults > before {
		return a // what follows from a fault would be said of what was not meant
	}
	switch {
	case destructive != nil && !says && harm && a.why == "":
		r.errorf(destructive, "say why not: `why: …`; or remove it", "%s is destructive, and action %q says that it is not", a.step.Kind, clip(a.step.Name))
	case a.step.Irreversible && a.step.Undo:
		r.errorf(irreversible, "remove one of the two", "action %q is said to be irreversible and has an undo", clip(a.step.Name))
	case a.step.Irreversible && !a.step.Destructive:
		r.errorf(irreversible, "write `destructive: true` too, or remove it", "action %q is said to be irreversible and is not destructive", clip(a.step.Name))
	case a.step.Destructive && !a.step.Undo && !a.step.Irreversible:
		r.errorf(a.at, fmt.Sprintf("add `undo: {%s: {…}}`, or `irreversible: true`, which approvers see", a.step.Kind),
			"action %q is destructive and has no undo", clip(a.step.Name))
	}
	return a
}

// kinds are the names of the kinds there are, sorted.
func (d *draft) kinds() []string {
	out := make([]string, 0, len(d.opts.Kinds))
	for k := range d.opts.Kinds {
		out = append(out, k)
	}
	slices.Sort(out)
	return out
}

// oneKind sees that a mapping has the key of exactly one kind beside its own keys. It returns the mapping without a key that
// seems to be a kind nobody knows, which it has reported. hint is for one that is not like any kind.
func (d *draft) oneKind(n *node, what, hint string, own []string) *node {
	r, kinds := d.r, d.kinds()
	var first, stranger *node
	for _, k := range n.keys {
		switch {
		case slices.Contains(own, k.value):
		case !slices.Contains(kinds, k.value):
			if _, meant := nearest(k.value, own); !meant && !slices.Contains(later, k.value) {
				stranger = cmp.Or(stranger, k)
			}
		case first == nil:
			first = k
		default:
			r.errorf(k, "make two of it", "%s does one thing, and this is %s and %s", what, first.value, k.value)
		}
	}
	switch {
	case first != nil:
	case stranger != nil:
		if _, meant := nearest(stranger.value, kinds); meant || hint == "" {
			hint = r.choose(stranger.value, kinds, "")
		}
		r.errorf(stranger, hint, "there is no kind of action %q", clip(stranger.value))
		return n.without(stranger.value)
	default:
		r.errorf(n.get("name").or(n), "give it one of: "+strings.Join(kinds, ", "), "%s needs what is to be done", what)
	}
	return n
}

// undo reads how a step is taken back.
func (d *draft) undo(n *node, kind string) part {
	r := d.r
	shape := fmt.Sprintf("write `undo: {%s: {…}}`", kind)
	if n.kind != yaml.MappingNode {
		r.errorf(n, shape, "undo must be a mapping, not %s", n.is())
		return part{}
	}
	var p part
	var fields []field
	for _, k := range d.kinds() {
		fields = append(fields, may(k, func(v *node) {
			if k != kind {
				r.errorf(n.keyNode(k), shape, "the undo of %s has to be %s too, not %s", kind, kind, k)
				return
			}
			p = d.specification(k, v)
		}))
	}
	r.mapping(d.oneKind(n, "an undo", shape, nil), "an undo", fields...)
	return p
}

// part is a specification that its kind has taken.
type part struct {
	object map[string]json.RawMessage // in canonical form; nil when there is none
	traits engine.Traits
}

// text is the specification as a step carries it, with the time an attempt may take; empty when there is none. What the
// kind itself says of that time counts unless the action says otherwise.
func (p part) text(within time.Duration, said bool) string {
	if p.object == nil {
		return ""
	}
	if said || p.object[timeoutKey] == nil {
		p.object[timeoutKey] = json.RawMessage(strconv.Quote(model.Duration(within).String()))
	}
	return encode(p.object)
}

// encode is compact JSON with sorted keys. Nobody reads it as HTML.
func encode(v any) string {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		panic(fmt.Sprintf("JSON of %T: %v", v, err)) // it was made of JSON
	}
	return strings.TrimSuffix(b.String(), "\n")
}

// specification hands what stands under a kind's key to the kind, and shows the kind's faults where they are.
func (d *draft) specification(kind string, n *node) part {
	r := d.r
	if n.kind != yaml.MappingNode {
		r.errorf(n, fmt.Sprintf("write `%s: {…}`", kind), "%s must be a mapping, not %s", kind, n.is())
		return part{}
	}
	value, ok := r.plain(n, kind)
	if !ok {
		return part{}
	}
	spec := encode(value)
	if len(spec) > maxSpecBytes {
		r.errorf(n, "", "%s has %d bytes, and may have at most %d", kind, len(spec), maxSpecBytes)
		return part{}
	}
	canonical, traits, problems := d.opts.Kinds[kind].Check([]byte(spec))
	for _, p := range problems {
		r.errorf(n.at(p.Path, strings.HasPrefix(p.Message, "unknown key")), clipTo(300, p.Hint), "%s", clipTo(300, p.Message))
	}
	if len(problems) > 0 {
		return part{}
	}
	p := part{traits: traits}
	if err := json.Unmarshal(canonical, &p.object); err != nil || p.object == nil {
		r.errorf(n, "", "%s gives no canonical form of this", kind)
		return part{}
	}
	return p
}

// plain reads a value as JSON has it, null included.
func (r *reader) plain(n *node, what string) (any, bool) {
	switch {
	case n.null():
		return nil, true
	case n.kind == yaml.SequenceNode:
		list, whole := make([]any, 0, len(n.items)), true
		for i, item := range n.items {
			v, ok := r.plain(item, what+"."+strconv.Itoa(i))
			list, whole = append(list, v), whole && ok
		}
		return list, whole
	case n.kind == yaml.MappingNode:
		m, whole := make(map[string]any, len(n.keys)), true
		for i, k := range n.keys {
			v, ok := r.plain(n.items[i], what+"."+clip(k.value))
			m[k.value], whole = v, whole && ok
		}
		return m, whole
	}
	v, _, ok := r.json(n, what)
	return v, ok
}

// at follows a path of keys and indexes as far as it goes. key asks for the last key itself in place of its value.
func (n *node) at(path []string, key bool) *node {
	for i, word := range path {
		switch n.kind {
		case yaml.MappingNode:
			v := n.get(word)
			if v == nil {
				return n
			}
			if key && i == len(path)-1 {
				return n.keyNode(word)
			}
			n = v
		case yaml.SequenceNode:
			k, err := strconv.Atoi(word)
			if err != nil || k < 0 || k >= len(n.items) {
				return n
			}
			n = n.items[k]
		default:
			return n
		}
	}
	return n
}
