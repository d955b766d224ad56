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
	// always an object, strings as they were written. Its member "timeout", a duration in text such as "30s", is how long an
	// attempt may take; it may stand under the kind's key or beside it. Check returns the specification in canonical form, an
	// object too and equal for equal meanings, with what the kind says of it; or all of its faults.
	//
	// A fault is shown at the value its path leads to or, where there is none, at what lies around it. One whose message
	// begins with `unknown key` or `there is no` and the key is shown at the key.
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

// timeoutKey is where an action, and a step's specification, says how long an attempt may take.
const timeoutKey = "timeout"

// actionKeys are what an action has beside its kind.
var actionKeys = []string{"name", "destructive", "why", "undo", "irreversible", "attempts", timeoutKey, targetsKey}

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
	var destructive, irreversible, undo, timeout, targets *node
	says := false
	fields := []field{
		need("name", func(n *node) {
			if name, ok := r.name(n, "the name of an action"); ok && r.unique(names, n, "action", name) {
				a.step.Name = name
			}
		}),
		may("destructive", func(n *node) { destructive = n; says, _ = r.boolean(n, "destructive") }),
		may("why", r.setText(&a.why, "why")),
		may("irreversible", func(n *node) { irreversible = n; a.step.Irreversible, _ = r.boolean(n, "irreversible") }),
		may("attempts", func(n *node) { a.step.Attempts = r.integer(n, "attempts", 1, maxAttempts) }),
		may(timeoutKey, func(n *node) {
			switch within, ok := r.duration(n, timeoutKey); {
			case !ok:
			case within > maxTimeout:
				r.errorf(n, "", "timeout is %s, and may be at most %s", model.Duration(within), model.Duration(maxTimeout))
			default:
				timeout = n
			}
		}),
		may("undo", func(n *node) { undo = n }),
		may(targetsKey, func(n *node) { targets, a.step.Targets = n, d.targets(n) }),
	}
	for _, kind := range kinds {
		fields = append(fields, may(kind, func(n *node) {
			if a.step.Kind == "" {
				a.step.Kind = kind
				parts[0] = d.specification(kind, n, timeout)
			}
		}))
	}
	r.mapping(d.oneKind(n, "an action", "", actionKeys), "an action", fields...)
	if undo != nil && a.step.Kind != "" {
		parts[1] = d.undo(undo, a.step.Kind, timeout)
	}
	a.step.Undo = undo != nil
	a.step.Spec, a.step.UndoSpec = parts[0].spec, parts[1].spec
	// What is taken back is not asked about again: an undo that does harm needs its yes beforehand.
	harm := parts[0].traits.Destructive || parts[1].traits.Destructive
	a.step.Keyed = parts[0].traits.Keyed && (undo == nil || parts[1].traits.Keyed)
	if a.step.Destructive = says; destructive == nil {
		a.step.Destructive = harm
	}
	if r.faults > before {
		return a // what follows from a fault would be said of what was not meant
	}
	d.fitTargets(&a, n, targets, parts)
	switch {
	case destructive != nil && !says && harm && a.why == "":
		r.as(CodeUngatedHarm).errorf(destructive, "say why not: `why: …`; or remove it", "%s is destructive, and action %q says that it is not", a.step.Kind, clip(a.step.Name))
	case a.step.Irreversible && a.step.Undo:
		r.errorf(irreversible, "remove one of the two", "action %q is said to be irreversible and has an undo", clip(a.step.Name))
	case a.step.Irreversible && !a.step.Destructive:
		r.errorf(irreversible, "write `destructive: true` too, or remove it", "action %q is said to be irreversible and is not destructive", clip(a.step.Name))
	case a.step.Destructive && !a.step.Undo && !a.step.Irreversible:
		r.as(CodeHarmForGood).errorf(a.at, fmt.Sprintf("add `undo: {%s: {…}}`, or `irreversible: true`, which approvers see", a.step.Kind),
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
			if _, meant := nearest(k.value, own); !meant {
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
		r.as(CodeUnknownName).errorf(stranger, hint, "there is no kind of action %q", clip(stranger.value))
		return n.without(stranger.value)
	default:
		r.as(CodeMissingKey).errorf(n.get("name").or(n), "give it one of: "+strings.Join(kinds, ", "), "%s needs what is to be done", what)
	}
	return n
}

// undo reads how a step is taken back.
func (d *draft) undo(n *node, kind string, timeout *node) part {
	r := d.r
	shape := fmt.Sprintf("write `undo: {%s: {…}}`", kind)
	if n.kind != yaml.MappingNode {
		r.errorf(n, shape, "undo must be a mapping, not %s", n.is())
		return part{}
	}
	if own := n.keyNode(targetsKey); own != nil {
		r.errorf(own, "leave it out: an undo acts on what its action acted on", "an undo finds no targets of its own")
		n = n.without(targetsKey)
	}
	var p part
	var fields []field
	for _, k := range d.kinds() {
		fields = append(fields, may(k, func(v *node) {
			if k != kind {
				r.errorf(n.keyNode(k), shape, "the undo of %s has to be %s too, not %s", kind, kind, k)
				return
			}
			p = d.specification(k, v, timeout)
		}))
	}
	r.mapping(d.oneKind(n, "an undo", shape, nil), "an undo", fields...)
	return p
}

// part is a specification that its kind has taken.
type part struct {
	spec   string // in canonical form; empty when there is none
	traits engine.Traits
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

// specification hands what stands under a kind's key to the kind, and shows the kind's faults where they are. timeout is what
// the action says of the time an attempt may take; nil when it says nothing.
func (d *draft) specification(kind string, n, timeout *node) part {
	r := d.r
	if n.kind != yaml.MappingNode {
		r.errorf(n, fmt.Sprintf("write `%s: {…}`", kind), "%s must be a mapping, not %s", kind, n.is())
		return part{}
	}
	read, ok := r.plain(n, kind)
	if !ok {
		return part{}
	}
	in := read.(map[string]any)
	if timeout != nil {
		if own := n.keyNode(timeoutKey); own != nil {
			r.errorf(own, "remove one of the two", "timeout is given here and on line %d", timeout.line)
			return part{}
		}
		within, _ := model.ParseDuration(timeout.value) // it was read before
		in[timeoutKey] = within.String()
	}
	spec := encode(in)
	if len(spec) > maxSpecBytes {
		r.errorf(n, "", "%s has %d bytes, and may have at most %d", kind, len(spec), maxSpecBytes)
		return part{}
	}
	canonical, traits, problems := d.opts.Kinds[kind].Check([]byte(spec))
	for _, p := range problems {
		at := n.place(p)
		if timeout != nil && len(p.Path) == 1 && p.Path[0] == timeoutKey {
			at = timeout
		}
		code := CodeInvalidValue
		if strings.HasPrefix(p.Message, "unknown key") || strings.HasPrefix(p.Message, "there is no ") {
			code = CodeUnknownKey
		}
		r.as(code).errorf(at, clipTo(300, p.Hint), "%s", clipTo(300, p.Message))
	}
	if len(problems) > 0 {
		return part{}
	}
	var out map[string]json.RawMessage
	if err := json.Unmarshal(canonical, &out); err != nil || out == nil {
		r.errorf(n, "", "%s gives no canonical form of this", kind)
		return part{}
	}
	if out[timeoutKey] == nil {
		out[timeoutKey] = json.RawMessage(strconv.Quote(model.Duration(defaultTimeout).String()))
	}
	return part{spec: encode(out), traits: traits}
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

// at follows a path of keys and indexes as far as it goes.
func (n *node) at(path []string) *node {
	for _, word := range path {
		var next *node
		switch n.kind {
		case yaml.MappingNode:
			next = n.get(word)
		case yaml.SequenceNode:
			if i, err := strconv.Atoi(word); err == nil && i >= 0 && i < len(n.items) {
				next = n.items[i]
			}
		}
		if next == nil {
			return n
		}
		n = next
	}
	return n
}

// place is where a kind's fault is shown: at the value its path leads to, or at the key when that should not be there.
func (n *node) place(p engine.SpecProblem) *node {
	if len(p.Path) > 0 {
		last := len(p.Path) - 1
		around := n.at(p.Path[:last])
		key := around.keyNode(p.Path[last])
		if key != nil && (strings.HasPrefix(p.Message, "unknown key") || strings.HasPrefix(p.Message, "there is no "+key.value)) {
			return key
		}
	}
	return n.at(p.Path)
}
