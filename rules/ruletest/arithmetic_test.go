package ruletest

import (
	"testing"
	"time"

	"github.com/modeshift/modeshift/engine"
	"github.com/modeshift/modeshift/rules"
	"github.com/modeshift/modeshift/rules/series"
)

func TestATierIsHeldAgainstArithmeticAtEachBoundary(t *testing.T) {
	from := time.Date(2026, 1, 5, 1, 0, 0, 0, time.UTC)
	burn := series.Span{From: from, To: from.Add(10 * time.Minute)}
	sure := rules.Seen{Surely: true, Perhaps: true, Fires: rules.Bounds{Earliest: time.Minute, Latest: 2 * time.Minute},
		Resets: rules.Bounds{Earliest: 4 * time.Minute, Latest: 5 * time.Minute}}
	perhaps := sure
	perhaps.Surely = false
	for name, c := range map[string]struct {
		seen             rules.Seen
		fires, quiet     time.Duration // from the burn's beginning, from its end; 0: never
		end              time.Duration // from the burn's beginning
		wantWant, gotGot string
	}{
		"in time":             {sure, time.Minute, 5 * time.Minute, time.Hour, "", ""},
		"at the last instant": {sure, 2 * time.Minute, 4 * time.Minute, time.Hour, "", ""},
		"too early":           {sure, time.Minute - 1, 5 * time.Minute, time.Hour, "it fires 1m0s to 2m0s after the burn begins", "it fires after 1m0s"},
		"too late":            {sure, 2*time.Minute + time.Second, 5 * time.Minute, time.Hour, "it fires 1m0s to 2m0s after the burn begins", "it fires after 2m1s"},
		"never":               {sure, 0, 0, time.Hour, "it fires 1m0s to 2m0s after the burn begins", "it does not fire"},
		"not yet":             {sure, 0, 0, 2*time.Minute - 1, "", ""},
		"never, perhaps":      {perhaps, 0, 0, time.Hour, "", ""},
		"though it cannot":    {rules.Seen{}, time.Minute, 5 * time.Minute, time.Hour, "it does not fire", "it fires after 1m0s"},
		"quiet too early":     {sure, time.Minute, 4*time.Minute - time.Second, time.Hour, "it is quiet 4m0s to 5m0s after the burn ends", "it is quiet after 3m59s"},
		"quiet too late":      {sure, time.Minute, 5*time.Minute + time.Second, time.Hour, "it is quiet 4m0s to 5m0s after the burn ends", "it is quiet after 5m1s"},
		"never quiet":         {sure, time.Minute, 0, time.Hour, "it is quiet 4m0s to 5m0s after the burn ends", "it is not quiet"},
		"not quiet yet":       {sure, time.Minute, 0, 15*time.Minute - 1, "", ""},
	} {
		s := &sum{burn: burn, seen: c.seen}
		see := func(at time.Time, truth engine.Truth) {
			s.look(&engine.Observed{Instant: at, Conditions: []engine.Observation{{Asked: true, Truth: truth}}})
		}
		see(from.Add(-time.Second), engine.False)
		if c.fires > 0 {
			see(from.Add(c.fires), engine.True)
		}
		if c.quiet > 0 {
			see(burn.To.Add(c.quiet), engine.False)
		}
		if want, got := s.judge(from.Add(c.end)); want != c.wantWant || got != c.gotGot {
			t.Errorf("%s: want %q, got %q; should be %q and %q", name, want, got, c.wantWant, c.gotGot)
		}
	}
}
