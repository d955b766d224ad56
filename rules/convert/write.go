package convert

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode"

	"go.yaml.in/yaml/v3"

	"github.com/modeshift/modeshift/rules"
)

// writer writes a rule file for people to read. It does so itself, because an encoder has its own mind about blank lines and
// long texts; how a single scalar is quoted it leaves to the encoder.
type writer struct {
	b     strings.Builder
	lines int
	begun []begun

	remarks []remark        // that are still to be written, with what they stand with
	written map[string]bool // the paths of keys that are written, below the SLO or the service
}

// path is that of a key, as one word.
func path(keys ...string) string { return strings.Join(keys, "\x00") }

// remarked writes what is said above a key, and returns what is said behind it.
func (w *writer) remarked(indent int, keys ...string) (behind string) {
	at := path(keys...)
	if w.written == nil {
		w.written = map[string]bool{}
	}
	w.written[at] = true
	for _, r := range w.remarks {
		switch {
		case path(r.path...) != at:
		case r.alone:
			w.line(indent, "%s", r.text)
		default:
			behind += " " + r.text
		}
	}
	return behind
}

// placed are remarks at the keys that a piece of a file has. What is said of another key goes to the next around it, which the
// key is named for.
func placed(remarks []remark, piece func(w *writer)) []remark {
	if len(remarks) == 0 {
		return nil
	}
	var trial writer
	piece(&trial)
	out := make([]remark, len(remarks))
	for i, r := range remarks {
		n := len(r.path)
		for n > 0 && !trial.written[path(r.path[:n]...)] {
			n--
		}
		goesOn := i > 0 && r.alone && remarks[i-1].alone && slices.Equal(r.path, remarks[i-1].path)
		if n < len(r.path) && !r.ends && !goesOn {
			r.text = "# " + strings.Join(r.path[n:], ".") + ": " + strings.TrimLeft(strings.TrimLeft(r.text, "#"), " \t")
		}
		r.alone = r.alone || n < len(r.path)
		if r.path = r.path[:n]; n == 0 {
			r.alone = true
		}
		out[i] = r
	}
	return out
}

// begun is the line at which an SLO begins.
type begun struct {
	line int
	slo  *slo
}

func (w *writer) line(indent int, format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	if text != "" {
		text = strings.Repeat(" ", indent) + text
	}
	w.b.WriteString(text + "\n")
	w.lines++
}

// field writes a key with a text, which may have several lines. at is where it stands.
func (w *writer) field(indent int, text string, at ...string) {
	behind := w.remarked(indent, at...)
	key := scalar(at[len(at)-1])
	if !strings.Contains(text, "\n") {
		w.line(indent, "%s: %s%s", key, scalar(text), behind)
		return
	}
	if !plainLines(text) {
		w.line(indent, "%s: %s%s", key, quoted(text), behind)
		return
	}
	mark := "|"
	if !strings.HasSuffix(text, "\n") {
		mark = "|-"
	}
	w.line(indent, "%s: %s%s", key, mark, behind)
	for line := range strings.Lines(text) {
		w.line(indent+2, "%s", strings.TrimSuffix(line, "\n"))
	}
}

// plainLines reports whether a text of several lines means the same as a block: what is invisible would not survive there.
func plainLines(text string) bool {
	if strings.HasPrefix(text, " ") || strings.HasPrefix(text, "\n") || strings.HasSuffix(text, "\n\n") {
		return false
	}
	for line := range strings.Lines(text) {
		line = strings.TrimSuffix(line, "\n")
		if strings.TrimRight(line, " \t") != line || strings.ContainsFunc(line, func(r rune) bool { return !unicode.IsPrint(r) }) {
			return false
		}
	}
	return true
}

// scalar is a string of one line as YAML writes it.
func scalar(s string) string {
	return encoded(&yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: s})
}

func quoted(s string) string {
	return encoded(&yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Style: yaml.DoubleQuotedStyle, Value: s})
}

func encoded(n *yaml.Node) string {
	out, err := yaml.Marshal(n)
	if err != nil {
		panic(fmt.Sprintf("a string that YAML cannot write: %v", err))
	}
	return strings.TrimSuffix(string(out), "\n")
}

// texts writes labels or annotations, sorted; nothing where there are none.
func (w *writer) texts(indent int, values map[string]string, at ...string) {
	if len(values) == 0 {
		return
	}
	w.key(indent, at...)
	for _, name := range slices.Sorted(maps.Keys(values)) {
		w.field(indent+2, values[name], append(slices.Clone(at), name)...)
	}
}

// key writes a key alone.
func (w *writer) key(indent int, at ...string) {
	behind := w.remarked(indent, at...)
	w.line(indent, "%s:%s", at[len(at)-1], behind)
}

// comment writes a text as comments of a readable width.
func (w *writer) comment(indent int, text string) {
	const width = 110
	line := ""
	for word := range strings.FieldsSeq(text) {
		if line != "" && len(line)+1+len(word) > width-indent {
			w.line(indent, "# %s", line)
			line = word
			continue
		}
		line = strings.TrimPrefix(line+" "+word, " ")
	}
	if line != "" {
		w.line(indent, "# %s", line)
	}
}

// writeService writes the rule file of a service.
func writeService(name string, notes []note, labels map[string]string, remarks []remark, slos []*slo) *writer {
	head := func(w *writer) {
		w.remarked(0)
		w.field(0, "modeshift/v1", "version")
		w.field(0, name, "service")
		w.texts(0, labels, "labels")
		w.line(0, "")
		w.decide(0, notes)
		w.key(0, "slos")
	}
	w := &writer{remarks: placed(remarks, head)}
	head(w)
	for i, s := range slos {
		if i > 0 {
			w.line(0, "")
		}
		w.slo(s)
	}
	return w
}

// decide writes what a person has to decide, so that whoever reads the file later sees it too.
func (w *writer) decide(indent int, notes []note) {
	for _, n := range notes {
		text := "DECIDE: " + n.text
		if n.hint != "" {
			text += ": " + n.hint
		}
		w.comment(indent, text)
	}
}

func (w *writer) slo(s *slo) {
	w.begun = append(w.begun, begun{w.lines + 1, s})
	w.remarks, w.written = placed(s.remarks, func(w *writer) { w.keys(s) }), nil
	w.keys(s)
}

// keys writes the keys of an SLO.
func (w *writer) keys(s *slo) {
	w.remarked(2)
	w.decide(2, s.notes)
	behind := w.remarked(2, "name")
	w.line(2, "- name: %s%s", scalar(s.name), behind)
	objective, _ := decimal(s.objective)
	behind = w.remarked(4, "objective")
	w.line(4, "objective: %s%s", objective, behind)
	behind = w.remarked(4, "period")
	if s.calendar != "" {
		w.line(4, "calendar: %s%s", s.calendar, behind)
		if s.timezone != "" {
			w.line(4, "timezone: %s", s.timezone)
		}
	} else {
		w.line(4, "period: %s%s", span(s.period), behind)
	}
	if s.description != "" {
		w.field(4, s.description, "description")
	}
	w.texts(4, s.labels, "labels")
	w.key(4, "sli")
	if s.total == "" {
		w.key(6, "sli", "raw")
		w.field(8, s.errors, "sli", "raw", "error_ratio_query")
	} else {
		w.key(6, "sli", "events")
		w.field(8, s.errors, "sli", "events", "error_query")
		w.field(8, s.total, "sli", "events", "total_query")
	}
	if len(s.windows) > 0 {
		w.line(4, "windows:")
		for _, p := range s.windows {
			factor, _ := decimal(p.factor)
			text := fmt.Sprintf("- {severity: %s, long: %s, short: %s, factor: %s}", p.severity, span(p.long), span(p.short), factor)
			if p.note != "" {
				text += " # " + p.note
			}
			w.line(6, "%s", text)
		}
	}
	w.key(4, "alerting")
	a := &s.alerting
	if a.name != "" {
		w.field(6, a.name, "alerting", "name")
	}
	w.texts(6, a.labels, "alerting", "labels")
	w.texts(6, a.annotations, "alerting", "annotations")
	w.tier("page_alert", &a.page)
	w.tier("ticket_alert", &a.ticket)
}

func (w *writer) tier(key string, t *tier) {
	behind := w.remarked(6, "alerting", key)
	switch {
	case t.disabled:
		w.line(6, "%s: {disable: true}%s", key, behind)
	case len(t.labels) == 0 && len(t.annotations) == 0:
		w.line(6, "%s: {}%s", key, behind)
	default:
		w.line(6, "%s:%s", key, behind)
		w.texts(8, t.labels, "alerting", key, "labels")
		w.texts(8, t.annotations, "alerting", key, "annotations")
	}
}

// blame says of a fault of the rule file where it comes from: whoever imports knows their own file, not ours.
func (w *writer) blame(d rules.Diagnostic) rules.Diagnostic {
	var from *slo
	for _, b := range w.begun {
		if from == nil || b.line <= d.Line {
			from = b.slo
		}
	}
	out := from.at.Place()
	out.Message = fmt.Sprintf("SLO %q would make a rule file that does not load: %s", from.name, d.Message)
	out.Hint = d.Hint
	return out
}
