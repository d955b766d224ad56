package engine_test

import (
	"testing"

	"github.com/modeshift/modeshift/engine"
)

func TestWhoIsToldFurtherWaitsForNobodyElsesReceiver(t *testing.T) {
	opened := engine.Event{Stream: "checkout", Version: 3, Fact: engine.IncidentOpened{Incident: engine.Incident{ID: "checkout-3", Severity: engine.SeverityPage}}}
	escalated := engine.Event{Stream: "checkout", Version: 5, Fact: engine.IncidentEscalated{Incident: "checkout-3", From: engine.SeverityPage, To: engine.SeverityExec}}
	resolved := engine.Event{Stream: "checkout", Version: 9, Fact: engine.IncidentResolved{Incident: "checkout-3", Severity: engine.SeverityPage, Escalated: engine.SeverityExec}}
	keys, ids := map[engine.Severity]string{}, map[string]bool{}
	for _, e := range []engine.Event{opened, escalated, resolved} {
		for _, f := range engine.Effects(e) {
			n := f.Notice
			if n.Incident != "checkout-3" {
				t.Errorf("%s/%d tells of %s: one incident has one deduplication key", e.Stream, e.Version, n.Incident)
			}
			if ids[f.ID] {
				t.Errorf("two jobs have the idempotency key %s", f.ID)
			}
			ids[f.ID] = true
			if key, before := keys[n.Severity]; before && key != f.Key {
				t.Errorf("what %s is told stands in two orders: %s and %s", n.Severity, key, f.Key)
			}
			keys[n.Severity] = f.Key
		}
	}
	if len(ids) != 5 || keys[engine.SeverityPage] == keys[engine.SeverityExec] {
		t.Errorf("jobs %v in the orders %v; a receiver that does not answer must not hold up the other", ids, keys)
	}
}
