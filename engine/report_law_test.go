package engine_test

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/modeshift/modeshift/engine"
	"github.com/modeshift/modeshift/engine/explain"
	"github.com/modeshift/modeshift/engine/report"
)

// reportable checks that the post-mortem of a change can be drafted out of a stream, also when its beginning was cut off, and that
// what it says hangs together.
func reportable(events []engine.Event, id engine.ChangeID, policies explain.Policies) error {
	now := events[len(events)-1].At.Add(time.Minute)
	for name, from := range map[string]int{"whole": 0, "cut": len(events) / 2} {
		r, err := report.Make(report.Input{Change: id, Events: events[from:], Policies: policies, Now: now})
		switch {
		case from > 0 && errors.Is(err, explain.ErrUnknown):
			continue // its beginning is what was cut off
		case err != nil:
			return fmt.Errorf("report of %s, %s: %w", id, name, err)
		}
		r.Weigh(nil)
		if err := coherent(r); err != nil {
			return fmt.Errorf("report of %s, %s: %w", id, name, err)
		}
	}
	return nil
}

// coherent says what of a report contradicts the rest.
func coherent(r report.Report) error {
	told := map[report.Ref]bool{}
	var last time.Time
	for _, m := range r.Timeline {
		if told[m.Event] || m.At.Before(last) {
			return fmt.Errorf("%s is told twice, or too late", m.Event)
		}
		told[m.Event], last = true, m.At
		if m.What == m.Kind {
			return fmt.Errorf("nobody says what %s is", m.Kind)
		}
	}
	for _, a := range r.Answers {
		for _, f := range a.Says {
			for _, e := range f.Events {
				if !told[e] {
					return fmt.Errorf("%q rests on %s, which is not told", f.Text, e)
				}
			}
		}
	}
	if r.Open != r.Ended.IsZero() || !r.Ended.IsZero() && r.Ended.Before(r.Began) || !r.Left.IsZero() && r.Left.Before(r.Began) {
		return fmt.Errorf("open %v, from %v, out of %s since %v, until %v", r.Open, r.Began, r.Home, r.Left, r.Ended)
	}
	for i, b := range r.Modes {
		if !b.From.Before(b.To) || i > 0 && !b.From.Equal(r.Modes[i-1].To) {
			return fmt.Errorf("modes: %+v", r.Modes)
		}
	}
	asked := 0
	for _, c := range r.Changes {
		if c.Asked {
			asked++
		}
	}
	if asked != 1 {
		return fmt.Errorf("%d of its changes are the one that was asked for", asked)
	}
	var text strings.Builder
	if err := errors.Join(r.Markdown(&text), r.HTML(&text)); err != nil {
		return err
	}
	for _, never := range []string{"0001-01-01", "%!", "<nil>"} {
		if strings.Contains(text.String(), never) {
			return fmt.Errorf("it says %s", never)
		}
	}
	return nil
}
