package engine_test

import (
	"slices"
	"testing"
	"time"

	"github.com/modeshift/modeshift/engine"
)

// While nobody knows what stands above a scope, what was asked for further up goes on: the rules of the one in between are lost.
func TestWhatNobodyCanTellDoesNotEndAnImposition(t *testing.T) {
	p := engine.Policy{Digest: "rules-1", Scope: "checkout", Parent: "shop", Interval: 15 * time.Second, BlindAfter: 5 * time.Minute,
		Modes: []engine.ModeRule{{Name: "normal"}, {Name: "degraded"}}}
	at := time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC)
	var s engine.State
	decide := func(above ...engine.Above) (kinds []string) {
		at = at.Add(time.Second)
		for _, e := range engine.Decide(p, s, engine.Input{At: at, Above: above, What: &engine.Observed{Instant: at, Prev: s.At}}) {
			s = engine.Apply(s, e)
			kinds = append(kinds, e.Kind())
		}
		return kinds
	}
	decide(engine.Above{Scope: "shop", Mode: "normal"}, engine.Above{Scope: "global", Mode: "alert", Imposes: "degraded"})
	if s.Mode != "degraded" {
		t.Fatalf("mode %s", s.Mode)
	}
	if got := decide(engine.Above{Scope: "shop", Mode: "normal", Unsure: true}); len(got) > 0 || s.Mode != "degraded" {
		t.Errorf("%v in %s", got, s.Mode)
	}
	if got := decide(engine.Above{Scope: "shop", Mode: "normal"}, engine.Above{Scope: "global", Mode: "normal"}); !slices.Contains(got, "ImpositionEnded") || s.Mode != "normal" {
		t.Errorf("%v in %s", got, s.Mode)
	}
}

// The scopes above are found up to the first of which nobody knows more, and a circle, which files cannot have, ends.
func TestAncestryEnds(t *testing.T) {
	there := engine.State{Version: 1, Target: "normal"}
	policy := func(parent engine.Scope) *engine.Policy {
		return &engine.Policy{Parent: parent, Modes: []engine.ModeRule{{Name: "normal"}}}
	}
	find := func(name engine.Scope) (engine.State, *engine.Policy) {
		switch name {
		case "a":
			return there, policy("b")
		case "b":
			return there, policy("a")
		case "lost":
			return there, nil
		case "retired":
			return engine.State{Version: 9, Retired: true}, policy("a")
		}
		return engine.State{}, nil
	}
	for parent, want := range map[engine.Scope]int{"": 0, "a": 32, "lost": 1, "retired": 1, "nobody": 1} {
		if got := engine.Ancestry(policy(parent), find); len(got) != want {
			t.Errorf("above %q: %d scopes, want %d", parent, len(got), want)
		}
	}
}
