package api_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/modeshift/modeshift/engine"
)

// suggesting is a world in which shed is ready once, and not any more after many other events.
func suggesting(t *testing.T) *world {
	t.Helper()
	w := newWorld(t, "checkout", "payments")
	p := policy("checkout")
	p.Automation, p.Transitions[0].For = engine.AutomationSuggest, 0
	w.policies["checkout"] = p
	see := func(at time.Duration, hot bool) {
		w.decide(t, "checkout", engine.Actor{}, &engine.Observed{Instant: noon.Add(at), Prev: noon.Add(at - 15*time.Second),
			Conditions: []engine.Observation{{Asked: true, Truth: engine.TruthOf(hot)}}})
	}
	see(15*time.Second, true)
	w.freezes(t, "checkout", 4)
	see(30*time.Second, false)
	return w
}

func TestHistorySaysFromWhenToWhenASuggestionWasReadyOnWhicheverPageIsLookedAt(t *testing.T) {
	w := suggesting(t)
	client := serve(t, w, nil).client(t, "viewer-checkout")
	all, err := client.History(t.Context(), "checkout", 0, 100)
	if err != nil || len(all.Suggestions) != 1 {
		t.Fatalf("%+v, %v", all.Suggestions, err)
	}
	whole := all.Suggestions[0]
	if whole.Transition != "shed" || whole.From != "normal" || whole.To != "degraded" || whole.Until.IsZero() || whole.Began >= whole.Ended {
		t.Errorf("%+v", whole)
	}
	for before, told := range map[engine.Version]int{whole.Began + 1: 1, whole.Ended + 1: 1, whole.Ended: 0, whole.Began: 0} {
		page, err := client.History(t.Context(), "checkout", before, 1)
		if err != nil || len(page.Suggestions) != told {
			t.Errorf("the page before %d: %+v, %v", before, page.Suggestions, err)
		}
		if told == 1 && (page.Suggestions[0].Began != whole.Began || page.Suggestions[0].Ended != whole.Ended || page.Suggestions[0].Ready != whole.Ready) {
			t.Errorf("the page before %d says %+v, the whole %+v", before, page.Suggestions[0], whole)
		}
	}
}

func TestSuggestionsAreThoseOfAWhile(t *testing.T) {
	s := serve(t, suggesting(t), nil)
	client := s.client(t, "viewer-checkout")
	r, err := client.Suggestions(t.Context(), "checkout", noon, noon.Add(time.Hour))
	if err != nil || r.Scope != "checkout" || r.Automation != engine.AutomationSuggest || len(r.Suggestions) != 1 || len(r.Transitions) != 1 || r.Text == "" {
		t.Errorf("%+v, %v", r, err)
	}
	// Without a word it is the last week, and noon is long past.
	if r, err := client.Suggestions(t.Context(), "checkout", time.Time{}, time.Time{}); err != nil || len(r.Suggestions) != 0 || r.To.Sub(r.From) != 7*24*time.Hour {
		t.Errorf("%+v, %v", r, err)
	}
	for path, want := range map[string]int{
		"/api/v1/scopes/checkout/suggestions?from=2026-03-02T00:00:00Z&to=2026-03-01T00:00:00Z": http.StatusUnprocessableEntity,
		"/api/v1/scopes/payments/suggestions":                                                   http.StatusForbidden,
	} {
		if resp, text := s.do(t, "GET", path, "", as("viewer-checkout")); resp.StatusCode != want {
			t.Errorf("%s: %d %s", path, resp.StatusCode, text)
		}
	}
}
