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

// field writes a key with a text, which may have several lines.
func (w *writer) field(indent int, key, text string) {
	if !strings.Contains(text, "\n") {
		w.line(indent, "%s: %s", key, scalar(text))
		return
	}
	if !plainLines(text) {
		w.line(indent, "%s: %s", key, quoted(text))
		return
	}
	mark := "|"
	if !strings.HasSuffix(text, "\n") {
		mark = "|-"
	}
	w.line(indent, "%s: %s", key, mark)
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
func (w *writer) texts(indent int, key string, values map[string]string) {
	if len(values) == 0 {
		return
	}
	w.line(indent, "%s:", key)
	for _, name := range slices.Sorted(maps.Keys(values)) {
		w.field(indent+2, scalar(name), values[name])
	}
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
func writeService(name string, notes []note, labels map[string]string, slos []*slo) *writer {
	w := &writer{}
	w.line(0, "version: modeshift/v1")
	w.line(0, "service: %s", scalar(name))
	w.texts(0, "labels", labels)
	w.line(0, "")
	w.decide(0, notes)
	w.line(0, "slos:")
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
	w.decide(2, s.notes)
	w.line(2, "- name: %s", scalar(s.name))
	objective, _ := decimal(s.objective)
	w.line(4, "objective: %s", objective)
	if s.calendar != "" {
		w.line(4, "calendar: %s", s.calendar)
		if s.timezone != "" {
			w.line(4, "timezone: %s", s.timezone)
		}
	} else {
		w.line(4, "period: %s", span(s.period))
	}
	if s.description != "" {
		w.field(4, "description", s.description)
	}
	w.texts(4, "labels", s.labels)
	w.line(4, "sli:")
	if s.total == "" {
		w.line(6, "raw:")
		w.field(8, "error_ratio_query", s.errors)
	} else {
		w.line(6, "events:")
		w.field(8, "error_query", s.errors)
		w.field(8, "total_query", s.total)
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
	w.line(4, "alerting:")
	a := &s.alerting
	if a.name != "" {
		w.field(6, "name", a.name)
	}
	w.texts(6, "labels", a.labels)
	w.texts(6, "annotations", a.annotations)
	w.tier("page_alert", &a.page)
	w.tier("ticket_alert", &a.ticket)
}

func (w *writer) tier(key string, t *tier) {
	switch {
	case t.disabled:
		w.line(6, "%s: {disable: true}", key)
	case len(t.labels) == 0 && len(t.annotations) == 0:
		w.line(6, "%s: {}", key)
	default:
		w.line(6, "%s:", key)
		w.texts(8, "labels", t.labels)
		w.texts(8, "annotations", t.annotations)
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
