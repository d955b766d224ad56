package api_test

import (
	"errors"
	"testing"
	"time"

	"github.com/modeshift/modeshift/engine"
	"github.com/modeshift/modeshift/engine/api"
)

// What instances are told of a flag comes from the directive, whose it is from the declaration, and its type from all modes.
func TestFlagsAreWhatInstancesAreToldAndWhatTheFileSays(t *testing.T) {
	w := newWorld(t, "checkout", "shop")
	s := serve(t, w, func(o *api.Options) {
		o.Flags = func(scope engine.Scope, at time.Time) []api.Flag {
			if scope != "checkout" || at.IsZero() {
				return nil
			}
			return []api.Flag{{Name: "writes", Declared: true, Owner: "ada", Expires: "2027-03-01", Untested: true}}
		}
	})
	client := s.client(t, "admin")
	list, err := client.Flags(t.Context())
	if err != nil || len(list.Flags) != 3 || list.At.IsZero() {
		t.Fatalf("%+v, %v", list, err)
	}
	want := []api.Flag{
		{Scope: "checkout", Name: "writes", Mode: "normal", Declared: true, Owner: "ada", Expires: "2027-03-01", Untested: true},
		{Scope: "checkout", Name: "recommendations", Type: "boolean", Mode: "normal", Owner: "team-checkout"},
		{Scope: "shop", Name: "recommendations", Type: "boolean", Mode: "normal", Owner: "team-shop"},
	}
	for i := range want {
		if list.Flags[i] != want[i] {
			t.Errorf("%+v, want %+v", list.Flags[i], want[i])
		}
	}

	w.decide(t, "shop", engine.Actor{Principal: "ada", Person: "ada"}, &engine.SetRequested{Mode: "degraded", Reason: "drill"})
	list, err = client.ScopeFlags(t.Context(), "shop")
	if err != nil || len(list.Flags) != 1 || !list.Flags[0].Set || list.Flags[0].Value != false || list.Flags[0].Mode != "degraded" {
		t.Errorf("%+v, %v", list, err)
	}
	if list, err = client.ScopeFlags(t.Context(), engine.Fleet); err != nil || list.Flags == nil || len(list.Flags) != 0 {
		t.Errorf("the fleet: %+v, %v", list, err)
	}
	var refused *api.Error
	if _, err = client.ScopeFlags(t.Context(), "nobody"); !errors.As(err, &refused) || refused.Code() != api.CodeUnknownScope {
		t.Errorf("a scope that is not there: %v", err)
	}
}
