package api_test

import (
	"net/http"
	"testing"

	"github.com/modeshift/modeshift/engine"
	"github.com/modeshift/modeshift/engine/api"
	"github.com/modeshift/modeshift/engine/explain"
)

// keeper is a world whose log tells what digests stood for.
type keeper struct{ *world }

func (k keeper) Policies(scope engine.Scope, digest engine.Digest) []engine.Policy {
	k.looked.Add(1)
	k.mu.Lock()
	defer k.mu.Unlock()
	if p, ok := k.policies[scope]; ok && p.Digest == digest {
		return []engine.Policy{p}
	}
	return nil
}

func TestAChangeIsExplainedAndDecidedAgain(t *testing.T) {
	w := newWorld(t, "checkout", "payments")
	// More events than are read at a time come first.
	w.freezes(t, "checkout", 1010)
	s := serve(t, w, func(o *api.Options) { o.Log = keeper{w} })
	out, err := s.client(t, "operator-checkout").Set(t.Context(), "checkout", api.SetRequest{Mode: "degraded", Reason: "load test"})
	if err != nil {
		t.Fatal(err)
	}
	var id engine.ChangeID
	for _, e := range out.Events {
		if f, ok := e.Fact.(engine.ChangeStarted); ok {
			id = f.Change
		}
	}
	x, err := s.client(t, "viewer-checkout").Explain(t.Context(), "checkout", id)
	if err != nil {
		t.Fatal(err)
	}
	if x.Change != id || x.Outcome != explain.Done || x.To != "degraded" || x.Rule.Position != "checkout.yaml:9:5" || len(x.Timeline) < 3 {
		t.Errorf("%+v", x)
	}
	if len(x.People) != 1 || x.People[0].Person != "bob" || x.People[0].Reason != "load test" {
		t.Errorf("people: %+v", x.People)
	}
	if x.Replay.Decisions != 1 || x.Replay.Difference != nil || x.Replay.NotKept != 0 || !x.Rule.Kept {
		t.Errorf("%s, rule %+v", x.Replay, x.Rule)
	}

	without := serve(t, w, nil)
	if x, err := without.client(t, "viewer-checkout").Explain(t.Context(), "checkout", id); err != nil || x.Replay.Decisions != 0 || x.Replay.NotKept != 1 || x.Rule.Kept {
		t.Errorf("where rules are not kept: %+v, %v", x.Replay, err)
	}

	for name, c := range map[string]struct {
		bearer string
		scope  engine.Scope
		id     engine.ChangeID
		status int
		code   string
	}{
		"no such change":          {"viewer-checkout", "checkout", "checkout-999999", http.StatusNotFound, api.CodeNotFound},
		"an event that is none":   {"viewer-checkout", "checkout", "checkout-1", http.StatusNotFound, api.CodeNotFound},
		"no such scope":           {"viewer-all", "nowhere", "nowhere-1", http.StatusNotFound, api.CodeUnknownScope},
		"a scope of others":       {"viewer-checkout", "payments", "payments-1", http.StatusForbidden, api.CodeForbidden},
		"an instance reads flags": {"instance-checkout", "checkout", id, http.StatusForbidden, api.CodeForbidden},
	} {
		_, err := s.client(t, c.bearer).Explain(t.Context(), c.scope, c.id)
		if e := apiError(t, err); e.Status() != c.status || e.Code() != c.code {
			t.Errorf("%s: %d %s, want %d %s", name, e.Status(), e.Code(), c.status, c.code)
		}
	}

	w.mu.Lock()
	w.cut = 500
	w.mu.Unlock()
	_, err = s.client(t, "viewer-checkout").Explain(t.Context(), "checkout", id)
	if e := apiError(t, err); e.Status() != http.StatusGone || e.Code() != api.CodeGone {
		t.Errorf("when the beginning was archived: %d %s", e.Status(), e.Code())
	}
}
