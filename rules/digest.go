package rules

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/modeshift/modeshift/engine"
)

// digestOf is the SHA-256 of a value's JSON. Map keys are sorted there, so that equal values have equal digests.
func digestOf(v any) engine.Digest {
	b := buffers.Get().(*[]byte)
	*b = appendJSON((*b)[:0], v)
	sum := sha256.Sum256(*b)
	buffers.Put(b)
	return engine.Digest(hex.EncodeToString(sum[:]))
}

// buffers hold JSON that nobody needs once there is a digest of it.
var buffers = sync.Pool{New: func() any { return new([]byte) }}

// inJSON is a value's JSON, made once for the many values it is part of.
type inJSON []byte

// appendJSON appends what encoding/json makes of a value. Digests are made of lists, words and numbers, which it writes itself: what
// stands behind the conditions of a thousand services is some hundred megabytes of JSON. All else it leaves to encoding/json.
func appendJSON(b []byte, v any) []byte {
	switch v := v.(type) {
	case inJSON:
		return append(b, v...)
	case func([]byte) []byte: // appends its JSON itself
		return v(b)
	case []any:
		return appendList(b, v)
	case []string:
		return appendList(b, v)
	case string:
		return appendText(b, v)
	case engine.Digest:
		return appendText(b, string(v))
	case engine.Severity:
		return appendText(b, string(v))
	case SignalKind:
		return appendText(b, string(v))
	case NoTraffic:
		return appendText(b, string(v))
	case bool:
		return strconv.AppendBool(b, v)
	case int:
		return strconv.AppendInt(b, int64(v), 10)
	case time.Duration:
		return strconv.AppendInt(b, int64(v), 10)
	case float64:
		if a := math.Abs(v); a == 0 || a >= 1e-6 && a < 1e21 { // others have an exponent
			return strconv.AppendFloat(b, v, 'f', -1, 64)
		}
	case nil:
		return append(b, "null"...)
	}
	text, err := json.Marshal(v)
	if err != nil {
		panic(fmt.Sprintf("digest of %T: %v", v, err)) // they are strings and finite numbers
	}
	return append(b, text...)
}

func appendList[T any](b []byte, list []T) []byte {
	if list == nil {
		return append(b, "null"...)
	}
	b = append(b, '[')
	for i := range list {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendJSON(b, list[i])
	}
	return append(b, ']')
}

// appendText appends a string that needs no escapes as it is.
func appendText(b []byte, text string) []byte {
	for i := range len(text) {
		switch c := text[i]; {
		case c < ' ', c >= utf8.RuneSelf, c == '"', c == '\\', c == '<', c == '>', c == '&':
			quoted, err := json.Marshal(text)
			if err != nil {
				panic(fmt.Sprintf("digest of %q: %v", text, err)) // a string always has JSON
			}
			return append(b, quoted...)
		}
	}
	b = append(b, '"')
	b = append(b, text...)
	return append(b, '"')
}

// digests fills in the digests of a document without faults. They are made of what the rules mean: queries and expressions in
// canonical form, durations as numbers; not of places, comments and spaces.
func (d *draft) digests() {
	s := d.service
	p := &s.Policy
	for i, c := range s.Conditions {
		p.Conditions[i].Digest = digestOf(func(b []byte) []byte { return d.meaning(b, c) })
	}
	for i := range p.Transitions {
		t := &p.Transitions[i]
		does := []any{t.Name, t.From, t.To, t.For, t.Severity, p.Conditions[t.When].Digest,
			t.Gate, t.Playbook, d.refers(t.Playbook.Verify), d.refers(t.Until), cmp.Or(t.RetryAfter, engine.DefaultRetryAfter), t.UndoEntry,
			d.reasons(i)}
		if o := t.Rollout; o != nil {
			does = append(does, []any{o.Waves, o.Pause, d.refers(o.Verify)})
		}
		t.Digest = digestOf(does)
	}
	all := []any{p.Scope, p.Interval, p.BlindAfter, p.Owner, p.Runbook, p.Modes, meaningLabels(s.Labels)}
	if p.Automation != "" {
		all = append(all, p.Automation)
	}
	if p.Parent != "" {
		all = append(all, []any{"parent", p.Parent})
	}
	if p.Informs {
		all = append(all, "informs")
	}
	if p.Flap != (engine.Flap{}) {
		all = append(all, p.Flap)
	}
	if p.StuckAfter > 0 && p.StuckAfter != engine.DefaultStuckAfter {
		all = append(all, "stuck_after", p.StuckAfter)
	}
	for i := range p.Conditions {
		c := &p.Conditions[i]
		all = append(all, []any{c.Name, c.Every, c.Digest})
	}
	for i := range p.Transitions {
		all = append(all, p.Transitions[i].Digest)
	}
	for i := range p.Alerts {
		a := &p.Alerts[i]
		all = append(all, append([]any{a.SLO, a.Severity, a.Name, a.Condition, a.Labels, a.Notes}, meaningEscalation(a.Escalation)...))
	}
	for i := range s.SLOs {
		slo := &s.SLOs[i]
		slo.Measure = digestOf([]any{slo.Events, d.queries[slo.Name], cmp.Or(slo.Source, s.Source)})
		entry := []any{slo.Name, slo.Period, meaningLabels(slo.Labels), d.meaningSLO(slo)}
		if slo.Calendar != "" {
			entry = append(entry, slo.Calendar, slo.Timezone.String())
		}
		all = append(all, entry)
	}
	for i := range s.SLIs {
		all = append(all, []any{s.SLIs[i].Name, s.SLIs[i].Unit, d.meaningSLI(&s.SLIs[i])})
	}
	for _, c := range s.Schedules {
		all = append(all, meaningSchedule(c))
	}
	if m := instancesMeaning(p.Instances); m != nil {
		all = append(all, m)
	}
	s.Digest = digestOf(all)
	p.Digest = s.Digest
	d.remarks()
}

// meaningLabels is nil for labels of which there are none: to write that down says nothing.
func meaningLabels(labels map[string]string) map[string]string {
	if len(labels) == 0 {
		return nil
	}
	return labels
}

// remarks fills in the digest of what decides nothing.
func (d *draft) remarks() {
	s := d.service
	var all []any
	for i := range s.SLOs {
		if slo := &s.SLOs[i]; slo.Description != "" {
			all = append(all, []any{"slo", slo.Name, slo.Description})
		}
	}
	for i := range s.Flags {
		f := s.Flags[i]
		f.Position = ""
		all = append(all, []any{"flag", f})
	}
	for _, a := range d.allows {
		if s.lives == nil {
			s.lives = map[Code]string{}
		}
		s.lives[a.code] = a.why
	}
	if len(s.lives) > 0 {
		all = append(all, []any{"allow", s.lives})
	}
	if len(s.Drills) > 0 {
		all = append(all, []any{"drill", s.Drills})
	}
	if len(all) > 0 {
		s.Remarks = digestOf(all)
	}
}

// refers is the meaning of the condition a transition refers to; empty when it refers to none.
func (d *draft) refers(ref engine.ConditionRef) engine.Digest {
	if i, ok := ref.Index(); ok {
		return d.service.Policy.Conditions[i].Digest
	}
	return ""
}

// reasons are why the actions of transition i are said not to be destructive. People who approve it rely on them. A document
// without faults has as many drafts as transitions.
func (d *draft) reasons(i int) []string {
	var out []string
	for _, a := range d.transitions[i].actions {
		out = append(out, a.why)
	}
	return out
}

// meaning appends a condition's expression, and what stands behind each signal in it.
func (d *draft) meaning(out []byte, c *Condition) []byte {
	s := d.service
	out = appendText(append(out, '['), c.canonical)
	for _, b := range c.burning {
		for _, w := range s.SLO(b.slo).Tier(b.severity).Windows {
			out = appendJSON(append(out, ','), []any{b.slo, b.severity, w.Long, w.Short, w.Factor})
		}
	}
	for _, sig := range c.signals {
		var behind any
		switch sig.Kind {
		case SignalSLO:
			behind = d.meaningSLO(s.SLO(sig.Name))
		case SignalBudget:
			slo := s.SLO(sig.Name)
			behind = []any{d.meaningSLO(slo), slo.Period, slo.Calendar, slo.Timezone.String()}
		case SignalSLI:
			behind = d.meaningSLI(s.SLI(sig.Name))
		case SignalSchedule:
			behind = meaningSchedule(s.Schedule(sig.Name))
		case SignalAlert:
			if s.Source != "" {
				behind = s.Source
			}
		}
		out = appendText(append(out, ",["...), string(sig.Kind))
		out = appendText(append(out, ','), sig.Name)
		out = strconv.AppendInt(append(out, ','), int64(sig.Window), 10)
		out = strconv.AppendInt(append(out, ','), int64(sig.Every), 10)
		out = append(appendJSON(append(out, ','), behind), ']')
	}
	return append(out, ']')
}

func (d *draft) meaningSLO(s *SLO) any {
	if d.meanings[s.Name] == nil {
		d.meanings[s.Name] = appendJSON(nil, []any{s.Objective.String(), s.Events, d.queries[s.Name], s.MinEvents, s.NoTraffic, s.MaxAge,
			cmp.Or(s.Source, d.service.Source), s.Agree, s.Recorded})
	}
	return d.meanings[s.Name]
}

func (d *draft) meaningSLI(s *SLI) any {
	return []any{d.queries["sli/"+s.Name], s.MaxAge, cmp.Or(s.Source, d.service.Source), s.Agree}
}

func meaningSchedule(s *Schedule) any {
	return []any{s.Name, s.Cron, s.Duration, s.Timezone.String()}
}

func setDigest(services []*Service) engine.Digest {
	all := make([]any, 0, len(services))
	for _, s := range services {
		all = append(all, []any{s.Policy.Scope, s.Digest})
	}
	return digestOf(all)
}
