package main

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/modeshift/modeshift/engine"
	"github.com/modeshift/modeshift/engine/api"
)

type evaluateCmd struct {
	Scope engine.Scope `arg:"" help:"The scope whose conditions are evaluated."`
	At    string       `placeholder:"TIME" help:"Evaluate an earlier instant: 2026-03-01T12:00:00Z, or how long ago: 90m."`
	All   bool         `help:"Show the conditions too that cannot matter in the present mode."`
}

// Help shows one real example.
func (evaluateCmd) Help() string {
	return `Example:
  modeshift evaluate checkout
  modeshift evaluate checkout --at 90m        # as it was an hour and a half ago
  modeshift evaluate checkout -o json

Asks the sources now and shows each condition as a tree: what every part of it comes to, the readings behind it,
the queries as they were sent, how old their samples are and what they cost, and why what is unknown is so.
Nothing is decided on it. mode() and dwell() are as of now, whatever the instant.

Exits 0 when every condition shown is known, 1 when one is unknown, 3 when no server answers.`
}

// Run implements the verb.
func (v *evaluateCmd) Run(s *streams, c *cli) error {
	at, err := instantOf(v.At, time.Now())
	if err != nil {
		return err
	}
	unknown := 0
	err = c.call(func(ctx context.Context, client *api.Client) error {
		e, err := client.Evaluate(ctx, v.Scope, at)
		if err != nil {
			return err
		}
		shown := e.Conditions[:0:0]
		for _, condition := range e.Conditions {
			if v.All || condition.Relevant {
				shown = append(shown, condition)
				if condition.Truth == engine.Unknown {
					unknown++
				}
			}
		}
		left := len(e.Conditions) - len(shown)
		e.Conditions = shown
		return c.show(s, e, func() error { return printEvaluation(s.out, e, left) })
	})
	if err == nil && unknown > 0 {
		return exit(exitNo, "%s", plural(unknown, "condition is unknown", "conditions are unknown"))
	}
	return err
}

// instantOf reads an instant: RFC 3339, or a duration before now. Empty is the zero time.
func instantOf(text string, now time.Time) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	if d, err := time.ParseDuration(strings.TrimPrefix(text, "-")); err == nil {
		return now.Add(-d), nil
	}
	at, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return at, exit(exitUsage, "%q is no time: write 2026-03-01T12:00:00Z, or how long ago, such as 90m", text)
	}
	return at, nil
}

func plural(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

func printEvaluation(w io.Writer, e api.Evaluation, left int) error {
	var b strings.Builder
	line := func(depth int, format string, args ...any) {
		b.WriteString(strings.TrimRight(strings.Repeat("  ", depth)+oneLine(fmt.Sprintf(format, args...)), " ") + "\n")
	}
	mode := ""
	if e.Mode != "" {
		mode = ", mode " + string(e.Mode)
	}
	line(0, "%s at %s%s: %s, %s, %s samples, %s", e.Scope, e.Instant.Format(time.RFC3339), mode, plural(e.Queries, "request", "requests"),
		plural(e.Rounds, "round", "rounds"), grouped(e.Samples), round(time.Duration(e.Seconds*float64(time.Second))))
	told := map[string]bool{}
	for _, c := range e.Conditions {
		blind := ""
		if c.Blind {
			blind = ", blind"
		}
		relevant := ""
		if !c.Relevant {
			relevant = "  (not asked for in this mode)"
		}
		line(0, "")
		line(0, "%s: %s%s  %s%s", c.Name, c.Truth, blind, c.Position, relevant)
		printPart(line, 1, c.Tree, told)
	}
	if left > 0 {
		line(0, "")
		line(0, "%s cannot matter in this mode: --all shows them", plural(left, "condition", "conditions"))
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// printPart prints a part of a condition with what is below it. A reading is told in full once; told remembers which were.
func printPart(line func(int, string, ...any), depth int, p api.EvaluatedPart, told map[string]bool) {
	truth := p.Truth.String()
	if p.Skipped {
		truth = "not asked: it does not matter any more"
	}
	mark := map[string]string{"and": "all of", "or": "one of", "not": "not", "if": "if, then, else", "burn": p.Text + ", one of", "pair": "both of"}[p.Op]
	if mark == "" {
		mark = p.Text
	}
	line(depth, "%s: %s", mark, truth)
	if p.Skipped && len(p.Readings) == 0 {
		return
	}
	for _, r := range p.Readings {
		printReading(line, depth+1, r, told)
	}
	for _, part := range p.Parts {
		printPart(line, depth+1, part, told)
	}
}

func printReading(line func(int, string, ...any), depth int, r api.EvaluatedReading, told map[string]bool) {
	value := fmt.Sprintf("%.6g", r.Reading.Value)
	switch {
	case r.Reading.Text != "":
		value = r.Reading.Text
	case r.Reading.Signal == "dwell()":
		value = round(time.Duration(r.Reading.Value * float64(time.Second)))
	}
	if r.Reading.Why != "" {
		value = strings.TrimSuffix(fmt.Sprintf("unknown: %s: %s", r.Reading.Why, r.Reading.Detail), ": ")
	}
	age := ""
	if r.AgeSeconds > 0 {
		age = fmt.Sprintf(", newest sample %s old", round(time.Duration(r.AgeSeconds*float64(time.Second))))
	}
	if !r.Reading.At.IsZero() {
		age += ", as of " + r.Reading.At.UTC().Format("15:04:05Z")
	}
	line(depth, "%s = %s%s", r.Reading.Signal, value, age)
	for _, q := range r.Queries {
		where := q.Source
		if q.Replica > 0 {
			where = fmt.Sprintf("%s (replica %d)", q.Source, q.Replica)
		}
		id := fmt.Sprint(where, q.At, q.Query)
		switch {
		case told[id] && q.Own == "":
			continue
		case told[id]:
			line(depth+1, "%s: in the request above", q.Own)
			continue
		}
		told[id] = true
		text := q.Query
		if q.Own != "" {
			text = q.Own
		}
		answer := grouped(q.Samples) + " samples"
		if q.Samples == 0 {
			answer = "it does not say how many samples it read"
		}
		if q.Why != "" {
			answer = fmt.Sprintf("%s: %s", q.Why, q.Detail)
		}
		line(depth+1, "%s", text)
		if q.Own != "" {
			line(depth+2, "sent with others: %s", q.Query)
		}
		line(depth+2, "%s at %s: %s, %s", where, q.At.UTC().Format("15:04:05Z"), answer, round(time.Duration(q.Seconds*float64(time.Second))))
	}
}

// grouped writes a number with its thousands apart.
func grouped(n int64) string {
	text := fmt.Sprint(n)
	for i := len(text) - 3; i > 0; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return text
}
