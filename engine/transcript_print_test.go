package engine_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/modeshift/modeshift/engine"
)

// offset writes an instant as its distance from the start: +15s.
func offset(t time.Time) string {
	if t.Before(start) {
		return "-" + start.Sub(t).String()
	}
	return "+" + t.Sub(start).String()
}

// text quotes what holds blanks or quotes, or is empty.
func text(s string) string {
	if s == "" || strings.ContainsAny(s, " \t\n\"") {
		return strconv.Quote(s)
	}
	return s
}

// printEvent writes an event as one line, and its effects below it.
func printEvent(b *strings.Builder, e engine.Event) {
	fmt.Fprintf(b, "%s %s/%d %s", offset(e.At), e.Stream, e.Version, e.Kind())
	flatten(b, "", reflect.ValueOf(e.Fact))
	if e.Reason != (engine.Reason{}) {
		fmt.Fprintf(b, " | %s", e.Reason.Code)
		if e.Reason.Text != "" {
			fmt.Fprintf(b, ": %s", e.Reason.Text)
		}
	}
	b.WriteString("\n")
	for _, f := range engine.Effects(e) {
		if n := f.Notice; n != nil {
			fmt.Fprintf(b, "  -> %s %s %s: %s\n", n.Severity, n.Action, n.Incident, n.Summary)
		} else {
			fmt.Fprintf(b, "  -> %s %s\n", f.Key, f.ID)
		}
	}
}

// flatten writes the fields of a fact in the order of their declaration, without those that are zero. A truth is always
// written: its zero value means something.
func flatten(b *strings.Builder, name string, v reflect.Value) {
	pair := func(s string) { fmt.Fprintf(b, " %s=%s", strings.TrimPrefix(name, "."), text(s)) }
	switch x := v.Interface().(type) {
	case engine.Truth:
		pair(x.String())
		return
	case time.Time:
		if !x.IsZero() {
			pair(offset(x))
		}
		return
	case time.Duration:
		if x != 0 {
			pair(x.String())
		}
		return
	case json.RawMessage:
		fmt.Fprintf(b, " %s=%s", strings.TrimPrefix(name, "."), x)
		return
	}
	if v.IsZero() {
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			f := v.Type().Field(i)
			label, _, _ := strings.Cut(f.Tag.Get("json"), ",")
			if label == "" {
				label = strings.ToLower(f.Name)
			}
			flatten(b, name+"."+label, v.Field(i))
		}
	case reflect.Pointer:
		flatten(b, name, v.Elem())
	case reflect.Map:
		var buf bytes.Buffer
		enc := json.NewEncoder(&buf)
		enc.SetEscapeHTML(false)
		if err := enc.Encode(v.Interface()); err != nil {
			panic(err)
		}
		fmt.Fprintf(b, " %s=%s", strings.TrimPrefix(name, "."), strings.TrimSpace(buf.String()))
	case reflect.Slice:
		if v.Type().Elem().Kind() == reflect.String {
			var parts []string
			for i := range v.Len() {
				parts = append(parts, v.Index(i).String())
			}
			pair(strings.Join(parts, ","))
			return
		}
		for i := range v.Len() {
			flatten(b, fmt.Sprintf("%s.%d", name, i), v.Index(i))
		}
	default:
		pair(fmt.Sprint(v.Interface()))
	}
}

// printState writes what a stream is like, a line for each thing that is so.
func printState(s engine.State, at time.Time) string {
	var b strings.Builder
	line := func(name string, v any) {
		b.WriteString(name)
		flatten(&b, "", reflect.ValueOf(v))
		b.WriteString("\n")
	}
	fmt.Fprintf(&b, "%s/%d mode=%s target=%s revision=%d dwell=%s", s.Scope, s.Version, s.Mode, s.Target, s.Directive.Revision, s.Dwell(at))
	if s.Lost != 0 {
		fmt.Fprintf(&b, " lost=%s", s.Lost)
	}
	if s.Retired {
		b.WriteString(" retired")
	}
	b.WriteString("\n")
	if s.Change != nil {
		line("change", *s.Change)
	}
	for _, c := range s.Clocks {
		line("clock", c)
	}
	for _, w := range s.Withheld {
		line("withheld", w)
	}
	for _, i := range s.Incidents {
		line("incident", i)
	}
	if s.Pin != nil {
		line("pin", *s.Pin)
	}
	if s.Freeze != nil {
		line("freeze", *s.Freeze)
	}
	for _, x := range s.Blind {
		line("blind", x)
	}
	return b.String()
}
