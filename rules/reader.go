package rules

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/common/model"
	"go.yaml.in/yaml/v3"
)

// reader turns YAML values into Go values and notes what is wrong with them. It goes on after an error, so that one run
// shows all of them.
type reader struct {
	src     *source
	diags   Diagnostics
	faults  int
	doubts  int            // warnings and notes
	lenient bool           // a Sloth file: Sloth ignores keys it does not know
	words   int            // of the long queries so far, squared
	steps   int            // of the regular expressions so far, as far as they are larger than their text
	texts   int            // bytes of the conditions so far
	begins  string         // how a file begins, for whoever gives an empty one; empty: as a rule file does
	broken  map[*node]bool // documents whose mappings could not all be read as they stand: there is a key twice, or none
	seen    func(what string, lenient bool, fields []field)
}

func (r *reader) beginning() string {
	return cmp.Or(r.begins, "a rule file begins with `version: modeshift/v1` and `service: NAME`")
}

// add notes a fault, or a doubt: each has a bound of its own, so that no number of doubts hides a fault, or is one.
func (r *reader) add(d Diagnostic) {
	count, level, what := &r.doubts, LevelWarning, "warnings"
	if d.Level == LevelError {
		count, level, what = &r.faults, LevelError, "faults"
	}
	*count++
	switch {
	case *count <= maxDiagnostics:
		r.diags = append(r.diags, d)
	case *count == maxDiagnostics+1:
		r.diags = append(r.diags, Diagnostic{Level: level, Code: CodeTooManyFaults, File: r.src.name,
			Message: fmt.Sprintf("more than %d %s; the others are not shown", maxDiagnostics, what)})
	}
}

// whole reports a fault of the whole file.
func (r *reader) whole(message, hint string) {
	r.add(Diagnostic{Level: LevelError, Code: CodeUnreadable, File: r.src.name, Message: message, Hint: hint})
}

// full reports whether further faults are only counted. Places, excerpts and suggestions cost time, and a file made to have
// a hundred thousand faults would otherwise take minutes.
func (r *reader) full() bool { return r.faults > maxDiagnostics }

// coded is the reader as it reports what has a code of its own.
type coded struct {
	*reader
	code Code
}

func (r *reader) as(code Code) coded { return coded{r, code} }

func (r coded) at(line, column int, hint, format string, args ...any) {
	r.say(LevelError, line, column, hint, format, args...)
}

func (r coded) errorf(n *node, hint, format string, args ...any) {
	r.say(LevelError, n.line, n.column, hint, format, args...)
}

func (r coded) warnf(n *node, hint, format string, args ...any) {
	r.say(LevelWarning, n.line, n.column, hint, format, args...)
}

func (r coded) notef(n *node, hint, format string, args ...any) {
	r.say(LevelInfo, n.line, n.column, hint, format, args...)
}

// within reports a fault at byte off of a scalar's value.
func (r coded) within(n *node, off int, hint, format string, args ...any) {
	if r.full() {
		r.faults++
		return
	}
	line, column := r.src.within(n, off)
	r.say(LevelError, line, column, hint, format, args...)
}

func (r coded) say(level Level, line, column int, hint, format string, args ...any) {
	switch {
	case level == LevelError && r.full():
		r.faults++
	case level != LevelError && r.doubts > maxDiagnostics:
	default:
		d := r.src.diagnostic(level, line, column, fmt.Sprintf(format, args...), hint)
		d.Code = r.code
		r.add(d)
	}
}

// errorf reports a value that is of the wrong type, out of its bounds, or at odds with another one.
func (r *reader) errorf(n *node, hint, format string, args ...any) {
	r.as(CodeInvalidValue).errorf(n, hint, format, args...)
}

func (r *reader) position(n *node) string {
	return r.src.name + ":" + strconv.Itoa(n.line) + ":" + strconv.Itoa(n.column)
}

// field is a key a mapping may have.
type field struct {
	key      string
	required bool
	read     func(*node)
}

func need(key string, read func(*node)) field { return field{key, true, read} }
func may(key string, read func(*node)) field  { return field{key, false, read} }

// mapping reads a mapping's keys in the order of fields, and reports those nobody knows. what names it: "a transition".
func (r *reader) mapping(n *node, what string, fields ...field) bool {
	known := make([]string, len(fields))
	for i := range fields {
		known[i] = fields[i].key
	}
	if n.kind == yaml.ScalarNode && nameShape.MatchString(n.value) && known[0] == "name" {
		r.errorf(n, "write `{name: "+clip(n.value)+", …}`", "%s must be a mapping, not %s", what, n.is())
		return false
	}
	if n.kind != yaml.MappingNode {
		r.errorf(n, "it is written `{key: value}`, and has: "+strings.Join(known, ", "), "%s must be a mapping, not %s", what, n.is())
		return false
	}
	if r.seen != nil {
		r.seen(what, r.lenient, fields)
	}
	for _, k := range n.keys {
		if slices.Contains(known, k.value) {
			continue
		}
		switch {
		case r.lenient && slices.Contains([]string{"modes", "transitions", "schedules", "slis"}, k.value):
			r.as(CodeUnknownKey).errorf(k, "write `version: modeshift/v1`", "%q belongs to a modeshift/v1 file, and this one says prometheus/v1", k.value)
		case k.value == "plugin" || k.value == "plugins" || k.value == "slo_plugins":
			r.as(CodeUnknownKey).errorf(k, "write the query the plugin makes under `sli: events:` or `sli: raw:`", "Sloth plugins are not supported: %q", k.value)
		case r.lenient:
			r.as(CodeUnknownKey).warnf(k, r.didYouMean(k.value, known), "unknown key %q of %s is ignored", clip(k.value), what)
		default:
			hint := r.didYouMean(k.value, known)
			if hint == "" {
				hint = what + " has: " + strings.Join(known, ", ")
			}
			r.as(CodeUnknownKey).errorf(k, hint, "unknown key %q of %s", clip(k.value), what)
		}
	}
	for _, f := range fields {
		v := n.get(f.key)
		switch {
		case v == nil && f.required, v != nil && v.null() && f.required:
			at := n
			if v != nil {
				at = v
			}
			r.as(CodeMissingKey).errorf(at, "add `"+f.key+": …`", "%s needs %q", what, f.key)
		case v == nil, v.null() && r.lenient:
		default:
			f.read(v)
		}
	}
	return true
}

// list reads each entry of a list.
func (r *reader) list(n *node, what string, each func(*node)) {
	if n.kind != yaml.SequenceNode {
		hint := "begin each entry with '- '"
		if n.kind == yaml.ScalarNode && !n.null() && !strings.ContainsAny(n.value, "\n,:") {
			hint = "write `[" + clip(n.value) + "]`, or begin each entry with '- ' on a line of its own"
		}
		if len(n.keys) > 0 && strings.HasPrefix(n.keys[0].value, "-") {
			hint = "put a blank after the dash: `- " + clip(strings.TrimLeft(n.keys[0].value, "-")) + "`"
		} else if len(n.keys) > 0 && len(n.items[0].keys) == len(n.items[0].items) && n.items[0].value == "" {
			hint = "begin each entry with '- ': `- name: " + clip(n.keys[0].value) + "`"
		}
		r.errorf(n, hint, "%s must be a list, not %s", what, n.is())
		return
	}
	for i, item := range n.items {
		if i == maxEntries {
			r.errorf(item, "split it into several services, or generate less", "%s has %d entries, and may have at most %d", what, len(n.items), maxEntries)
			return
		}
		each(item)
	}
}

// text reads a string that may not be empty.
func (r *reader) text(n *node, what string) (string, bool) {
	switch {
	case n.kind != yaml.ScalarNode || n.null():
		r.errorf(n, "write a word or a text in its place", "%s must be a string, not %s", what, n.is())
		return "", false
	case n.tag != "!!str" && n.tag != "!!timestamp":
		r.errorf(n, "put it in quotes: "+strconv.Quote(clip(n.value)), "%s must be a string, not %s", what, n.is())
		return "", false
	case strings.TrimSpace(n.value) == "":
		r.errorf(n, "write it, or leave the key out", "%s is empty", what)
		return "", false
	}
	return n.value, true
}

// oneOf reads one of a few words.
func (r *reader) oneOf(n *node, what string, words ...string) (string, bool) {
	if n.kind == yaml.ScalarNode && slices.Contains(words, n.value) {
		return n.value, true
	}
	if n.kind == yaml.ScalarNode && n.tag == "!!str" {
		r.errorf(n, r.choose(n.value, words, ""), "%s cannot be %q", what, clip(n.value))
	} else {
		r.errorf(n, fmt.Sprintf("write `%s: %s`", what, strings.Join(words, "` or `"+what+": ")), "%s cannot be %s", what, n.is())
	}
	return "", false
}

// setText returns a reader of a string into p.
func (r *reader) setText(p *string, what string) func(*node) {
	return func(n *node) { *p, _ = r.text(n, what) }
}

const maxName = 100

// nameShape is Sloth's, and lets a name have a single character too.
var nameShape = regexp.MustCompile(`^[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$`)

// name reads an identifier.
func (r *reader) name(n *node, what string) (string, bool) {
	s, ok := r.text(n, what)
	if !ok {
		return "", false
	}
	if !nameShape.MatchString(s) || len(s) > maxName {
		r.errorf(n, fmt.Sprintf("use letters, digits, '-', '_' and '.', beginning and ending with a letter or digit, at most %d", maxName),
			"%q cannot be %s", clip(s), what)
		return "", false
	}
	return s, true
}

func (r *reader) boolean(n *node, what string) (value, ok bool) {
	if n.kind != yaml.ScalarNode || n.tag != "!!bool" {
		r.errorf(n, "write true or false", "%s must be true or false, not %s", what, n.is())
		return false, false
	}
	return strings.EqualFold(n.value, "true"), true
}

// number reads a finite number.
func (r *reader) number(n *node, what string) (float64, bool) {
	if n.kind != yaml.ScalarNode || n.tag != "!!int" && n.tag != "!!float" {
		r.errorf(n, "", "%s must be a number, not %s", what, n.is())
		return 0, false
	}
	f, err := strconv.ParseFloat(strings.ReplaceAll(n.value, "_", ""), 64)
	if n.tag == "!!int" {
		var i int64
		i, err = strconv.ParseInt(strings.ReplaceAll(n.value, "_", ""), 0, 64)
		f = float64(i)
		if err != nil && errors.Is(err, strconv.ErrRange) || err == nil && (i > maxExact || i < -maxExact) {
			r.errorf(n, "put it in quotes if it is an identifier", "%s is %s, which is too large to be held exactly", what, clip(n.value))
			return 0, false
		}
	}
	if err != nil || math.IsNaN(f) || math.IsInf(f, 0) {
		r.errorf(n, "", "%s must be a finite number, not %s", what, clip(n.value))
		return 0, false
	}
	return f, true
}

// integer reads a whole number between two bounds; 0 when it is not one.
func (r *reader) integer(n *node, what string, least, most int) int {
	if n.kind == yaml.ScalarNode && n.tag == "!!int" {
		if i, err := strconv.ParseInt(strings.ReplaceAll(n.value, "_", ""), 0, 64); err == nil && i >= int64(least) && i <= int64(most) {
			return int(i)
		}
	}
	r.errorf(n, "", "%s must be a whole number from %d to %d, not %s", what, least, most, n.is())
	return 0
}

const durationHint = "write a Prometheus duration such as 30s, 5m, 1h30m or 30d"

// durationWords is a duration as people write one. A month has no letter.
var durationWords = regexp.MustCompile(`(?i)^([0-9]{1,6}) ?(s|secs?|seconds?|m|mins?|minutes?|h|hrs?|hours?|d|days?|w|weeks?)$`)

// duration reads a Prometheus duration longer than zero.
func (r *reader) duration(n *node, what string) (time.Duration, bool) {
	if n.kind != yaml.ScalarNode || n.null() {
		r.errorf(n, durationHint, "%s must be a duration, not %s", what, n.is())
		return 0, false
	}
	d, err := model.ParseDuration(n.value)
	if err != nil {
		hint := durationHint
		if v := n.value; len(v) < 8 && strings.Trim(v, "0123456789") == "" {
			hint = fmt.Sprintf("say in what: %ss, %sm, %sh or %sd", v, v, v, v)
		} else if m := durationWords.FindStringSubmatch(v); m != nil {
			hint = "write " + m[1] + strings.ToLower(m[2][:1])
		}
		r.errorf(n, hint, "%s is %q, which is not a duration", what, clip(n.value))
		return 0, false
	}
	if d <= 0 {
		r.errorf(n, durationHint, "%s must be longer than zero", what)
		return 0, false
	}
	return time.Duration(d), true
}

func (r *reader) setDuration(p *time.Duration, what string) func(*node) {
	return func(n *node) {
		if d, ok := r.duration(n, what); ok {
			*p = d
		}
	}
}

// labels reads names with string values.
func (r *reader) labels(n *node, what string) map[string]string {
	if n.null() {
		return nil
	}
	if n.kind != yaml.MappingNode {
		r.errorf(n, "write `name: value`", "%s must be a mapping, not %s", what, n.is())
		return nil
	}
	out := make(map[string]string, len(n.keys))
	for i, k := range n.keys {
		v := n.items[i]
		switch {
		case v.kind != yaml.ScalarNode || v.null():
			r.errorf(v, "", "%s %q must be a string, not %s", what, clip(k.value), v.is())
		case v.tag != "!!str" && v.tag != "!!timestamp":
			r.errorf(v, "put it in quotes: "+strconv.Quote(clip(v.value)), "%s %q must be a string, not %s", what, clip(k.value), v.is())
		default:
			out[k.value] = v.value
		}
	}
	return out
}

func (r *reader) setLabels(p *map[string]string, what string) func(*node) {
	return func(n *node) { *p = r.labels(n, what) }
}

// unique notes a name and reports one that is taken.
func (r *reader) unique(seen map[string]*node, n *node, what, name string) bool {
	if first := seen[name]; first != nil {
		r.as(CodeDuplicateName).errorf(n, "give each a name of its own", "%s %q is declared on line %d already", what, name, first.line)
		return false
	}
	seen[name] = n
	return true
}
