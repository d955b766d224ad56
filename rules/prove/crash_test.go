package prove

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/modeshift/modeshift/engine"
	"github.com/modeshift/modeshift/engine/crash"
)

const apart = `
modes: [{name: normal}, {name: degraded}]
transitions:
  - {name: shed, from: [normal], to: degraded, when: sli("load") > 0.9}
  - {name: recover, from: [degraded], to: normal, when: sli("load") < 0.5}
`

// The states of a scope are looked at by several goroutines at once.
func TestAPanicAboutOneGroupLeavesTheOthersToBeProved(t *testing.T) {
	set := compile(t, service("cart", apart), service("checkout", apart), service("search", apart))
	var none []engine.Event
	brittle := func(p engine.Policy, s engine.State, in engine.Input) []engine.Event {
		if p.Scope == "checkout" && s.Mode == "degraded" {
			return none[len(none) : len(none)+1] // out of range
		}
		return engine.Decide(p, s, in)
	}
	reports := Run(t.Context(), set, nil, Options{decide: brittle})
	if len(reports) != 3 || reports[0].Answer() != Proved || reports[2].Answer() != Proved || reports[0].Crash != nil {
		t.Fatalf("%+v", reports)
	}
	r := reports[1]
	if r.Answer() != CannotTell || len(r.Findings) != len(properties) {
		t.Errorf("%s: %+v", r.Answer(), r)
	}
	for _, f := range r.Findings {
		if !strings.HasPrefix(f.Detail, "modeshift failed, which is a fault of its own: ") || !strings.Contains(f.Detail, "report it") || strings.Contains(f.Detail, "goroutine") {
			t.Errorf("%s: %s", f.Says, f.Detail)
		}
	}
	var e *crash.Error
	if !errors.As(r.Crash, &e) || !strings.Contains(string(e.Stack), "prove.(*search).expand") || !strings.HasPrefix(r.Crash.Error(), "checkout: modeshift failed") {
		t.Errorf("the stack of the search is lost: %v", r.Crash)
	}
}

func TestWhoStopsASearchHearsHowFarItCame(t *testing.T) {
	set := compile(t, service("cart", apart), service("checkout", apart), service("search", apart))
	ctx, cancel := context.WithCancel(t.Context())
	var calls atomic.Int64
	reports := Run(ctx, set, nil, Options{decide: func(p engine.Policy, s engine.State, in engine.Input) []engine.Event {
		if p.Scope == "checkout" && calls.Add(1) == 3 {
			cancel()
		}
		return engine.Decide(p, s, in)
	}})
	if len(reports) != 3 || reports[0].Answer() != Proved || reports[0].Stopped {
		t.Fatalf("%+v", reports)
	}
	for i, want := range map[int]string{1: "stopped after ", 2: "stopped before it was looked at"} {
		r := reports[i]
		if !r.Stopped || r.Answer() != CannotTell || len(r.Findings) != len(properties) || !strings.HasPrefix(r.Findings[0].Detail, want) || !strings.HasPrefix(r.Bound, want) {
			t.Errorf("%+v, want %q", r, want)
		}
	}
	if reports[1].States == 0 || reports[2].States != 0 {
		t.Errorf("%d and %d states", reports[1].States, reports[2].States)
	}
}

func TestTimeThatIsOverIsABoundAndNoStop(t *testing.T) {
	ctx, cancel := context.WithDeadline(t.Context(), time.Now().Add(-time.Second))
	defer cancel()
	for _, r := range Run(ctx, compile(t, service("cart", apart), service("checkout", apart)), nil, Options{}) {
		if r.Stopped || r.Bound != "time" || r.Findings[0].Detail != "a bound was reached: time" {
			t.Errorf("%+v", r)
		}
	}
}
