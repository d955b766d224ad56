package api_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/modeshift/modeshift/engine"
	"github.com/modeshift/modeshift/engine/api"
	"github.com/modeshift/modeshift/engine/report"
)

// burned is who knows how budgets went: half of each piece of time.
type burned struct{ asked *api.BurnQuestion }

func (burned) Budgets(_ context.Context, _ engine.Scope, _ time.Time, _ int) ([]api.Budget, error) {
	return nil, nil
}
func (burned) Correctable(engine.Scope, string, string, time.Duration, string) error { return nil }
func (b burned) Burned(scope engine.Scope, q api.BurnQuestion) []api.Burned {
	*b.asked = q
	before := api.Budget{Scope: scope, SLO: "availability", Objective: "99.9", Period: "30d", To: q.Before, Known: true, Remaining: 0.9}
	after := before
	after.From = q.Before.Add(time.Minute) // the period is a new one
	after.To, after.Remaining, after.Step = q.After, 0.7, api.Duration(5*time.Minute)
	after.Series = []api.Burnt{{At: q.From, Known: 0.5, Burn: 3}}
	return []api.Burned{{Before: before, After: after}}
}

// moved sets a mode and returns the change.
func moved(t *testing.T, s *service, mode engine.Mode) engine.ChangeID {
	t.Helper()
	out, err := s.client(t, "operator-checkout").Set(t.Context(), "checkout", api.SetRequest{Mode: mode, Reason: "load test", DirectiveOnly: mode != "degraded"})
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range out.Events {
		if f, ok := e.Fact.(engine.ChangeStarted); ok {
			return f.Change
		}
	}
	t.Fatalf("no change came of it: %+v", out)
	return ""
}

func TestTheReportOfAChangeHasWhatTheLedgerKnows(t *testing.T) {
	w := newWorld(t, "checkout", "payments")
	var asked api.BurnQuestion
	s := serve(t, w, func(o *api.Options) { o.Log, o.Budgets = keeper{w}, burned{&asked} })
	id := moved(t, s, "degraded")
	back := moved(t, s, "normal")
	looked := w.looked.Load()
	r, err := s.client(t, "viewer-checkout").Report(t.Context(), "checkout", id)
	if err != nil {
		t.Fatal(err)
	}
	if n := w.looked.Load() - looked; n != 1 {
		t.Errorf("the rules of one digest were looked for %d times", n)
	}
	if r.Change != id || r.Open || r.Home != "normal" || len(r.Changes) != 2 || r.Changes[1].ID != back || r.Owner != "team-checkout" || len(r.LeftOut) != 0 {
		t.Errorf("%+v", r)
	}
	if len(r.People) != 2 || r.People[0].Who != "bob" || r.People[0].Why != "load test" {
		t.Errorf("people: %+v", r.People)
	}
	if from, to := r.Span(); !asked.Before.Equal(r.Began) || !asked.From.Equal(from) || !asked.To.Equal(to) || !asked.After.Equal(r.Ended.Add(10*time.Minute)) {
		t.Errorf("asked %+v of a story from %v to %v", asked, r.Began, r.Ended)
	}
	b := r.Budgets[0]
	if b.Before.Remaining != 0.9 || b.After.Remaining != 0.7 || !b.Renewed || len(b.Burn) != 1 || b.Burn[0].Known != 0.5 || !b.Burn[0].To.Equal(b.Burn[0].From.Add(5*time.Minute)) {
		t.Errorf("budget: %+v", b)
	}

	without := serve(t, w, nil)
	r, err = without.client(t, "viewer-checkout").Report(t.Context(), "checkout", id)
	if err != nil || len(r.Budgets) != 0 || fmt.Sprint(r.LeftOut) != "[this server keeps no error budgets]" {
		t.Errorf("without a ledger: %v, %v, left out %v", err, r.Budgets, r.LeftOut)
	}

	for name, c := range map[string]struct {
		bearer string
		scope  engine.Scope
		id     engine.ChangeID
		status int
		code   string
		says   string
	}{
		"no such change":          {"viewer-checkout", "checkout", "checkout-999999", http.StatusNotFound, api.CodeNotFound, "did you mean " + string(back) + "?"},
		"an event of a change":    {"viewer-checkout", "checkout", id + "9", http.StatusNotFound, api.CodeNotFound, "did you mean checkout-"},
		"no such scope":           {"viewer-all", "nowhere", "nowhere-1", http.StatusNotFound, api.CodeUnknownScope, ""},
		"a scope of others":       {"viewer-checkout", "payments", "payments-1", http.StatusForbidden, api.CodeForbidden, ""},
		"an instance reads flags": {"instance-checkout", "checkout", id, http.StatusForbidden, api.CodeForbidden, ""},
	} {
		_, err := s.client(t, c.bearer).Report(t.Context(), c.scope, c.id)
		if e := apiError(t, err); e.Status() != c.status || e.Code() != c.code || !strings.Contains(e.Error(), c.says) {
			t.Errorf("%s: %d %s: %v", name, e.Status(), e.Code(), e)
		}
	}
}

func TestTheReportOfALongHistoryReadsAPartOfIt(t *testing.T) {
	w := newWorld(t, "checkout")
	s := serve(t, w, func(o *api.Options) { o.Log = keeper{w} })
	early := moved(t, s, "degraded")
	moved(t, s, "normal")
	w.freezes(t, "checkout", 11_000)
	late := moved(t, s, "degraded")
	before := w.reads.Load()
	r, err := s.client(t, "viewer-checkout").Report(t.Context(), "checkout", late)
	if err != nil {
		t.Fatal(err)
	}
	if r.Change != late || r.Home != "normal" || len(r.Changes) != 1 || !r.Open {
		t.Errorf("%s: home %s, %d changes, open %v", r.Change, r.Home, len(r.Changes), r.Open)
	}
	if a := r.Answers[0]; a.Verdict != report.CannotTell || !strings.Contains(fmt.Sprint(a.Says), "was not read") {
		t.Errorf("what was not read: %+v", a)
	}
	if n := w.reads.Load() - before; n != 0 {
		t.Errorf("it read the whole log %d times", n)
	}
	// One at the beginning is decided again, and what came five thousand events later is not read.
	r, err = s.client(t, "viewer-checkout").Report(t.Context(), "checkout", early)
	if err != nil || r.Open || len(r.Changes) != 2 || !strings.Contains(fmt.Sprint(r.Answers[0].Says), "comes out the same") {
		t.Errorf("%v: %+v", err, r.Answers)
	}

	w.mu.Lock()
	w.cut = int64(len(w.log)) - 100
	w.mu.Unlock()
	r, err = s.client(t, "viewer-checkout").Report(t.Context(), "checkout", late)
	if err != nil || r.Change != late || !strings.Contains(fmt.Sprint(r.LeftOut), "was archived") {
		t.Errorf("when the beginning was archived: %v, left out %v", err, r.LeftOut)
	}
}

func TestTheReportFindsWhatTheFleetWasLikeThen(t *testing.T) {
	w := newWorld(t, "checkout")
	w.decide(t, engine.Fleet, engine.Actor{}, &engine.TimePassed{})
	s := serve(t, w, func(o *api.Options) { o.Log = keeper{w} })
	heads := func(n int) { // each is an event of the fleet, and later by a second
		for i := range n {
			w.decide(t, engine.Fleet, engine.Actor{}, &engine.HeadsObserved{Heads: []engine.Head{{Stream: "checkout", Version: engine.Version(i + 1), Hash: fmt.Sprint(i)}}})
		}
	}
	heads(1500)
	w.decide(t, engine.Fleet, engine.Actor{Principal: "ada"}, &engine.FreezeRequested{Reason: "game day"})
	heads(5)
	id := moved(t, s, "degraded")
	w.decide(t, engine.Fleet, engine.Actor{Principal: "ada"}, &engine.UnfreezeRequested{Reason: "over"})
	moved(t, s, "normal")
	heads(1500)
	r, err := s.client(t, "viewer-checkout").Report(t.Context(), "checkout", id)
	if err != nil {
		t.Fatal(err)
	}
	told := ""
	for _, m := range r.Timeline {
		if strings.HasPrefix(string(m.Event), "fleet/") {
			told += m.Kind + " "
		}
	}
	if told != "AutomationFrozen AutomationReleased " {
		t.Errorf("of the fleet it tells %q", told)
	}
}

func TestAReviewCoversWhatTheTokenMaySee(t *testing.T) {
	w := newWorld(t, "checkout", "payments")
	s := serve(t, w, nil)
	moved(t, s, "degraded")
	scopes := func(r report.Review) string {
		text := ""
		for _, m := range r.Modes {
			text += fmt.Sprintf("%s/%s %s ", m.Scope, m.Mode, m.Standing)
		}
		return text
	}
	month := api.Duration(30 * 24 * time.Hour)
	// The world's clock stands in March: from now, all of it may be long ago.
	ages := api.Duration(400 * 24 * time.Hour)
	one, err := s.client(t, "viewer-checkout").LookBack(t.Context(), ages)
	if err != nil || scopes(one) != "checkout/normal used checkout/degraded in force checkout/read-only never used " {
		t.Errorf("%v: %s", err, scopes(one))
	}
	all, err := s.client(t, "viewer-all").LookBack(t.Context(), month)
	if err != nil || !strings.Contains(scopes(all), "payments/normal in force") || !strings.Contains(scopes(all), "checkout/") {
		t.Errorf("%v: %s", err, scopes(all))
	}
	if r, err := s.client(t, "viewer-all").ScopeLookBack(t.Context(), "payments", month); err != nil || strings.Contains(scopes(r), "checkout") {
		t.Errorf("%v: %s", err, scopes(r))
	}
	for _, since := range []string{"never", "0s", "-7d", "2y"} {
		resp, text := s.do(t, "GET", "/api/v1/review?since="+since, "", as("viewer-all"))
		if resp.StatusCode != http.StatusUnprocessableEntity || !strings.Contains(text, "write 7d, 30d or 12h") {
			t.Errorf("since %s: %d %s", since, resp.StatusCode, text)
		}
	}
	if _, err := s.client(t, "viewer-checkout").ScopeLookBack(t.Context(), "payments", month); apiError(t, err).Status() != http.StatusForbidden {
		t.Errorf("a scope of others: %v", err)
	}
}
