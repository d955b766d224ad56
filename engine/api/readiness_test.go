package api_test

import (
	"context"
	"errors"
	"net/http"
	"reflect"
	"sync"
	"testing"

	"github.com/modeshift/modeshift/engine"
	"github.com/modeshift/modeshift/engine/api"
	"github.com/modeshift/modeshift/engine/readiness"
)

func TestReadinessIsWhatTheServerKnowsOfAScope(t *testing.T) {
	w := newWorld(t, "checkout", "shop")
	asked, release := make(chan struct{}, 100), make(chan struct{})
	s := serve(t, w, func(o *api.Options) {
		o.Readiness = func(_ context.Context, v engine.View) (readiness.Facts, error) {
			if v.State.Scope == "shop" {
				asked <- struct{}{}
				<-release
			}
			return readiness.Facts{Scope: v.State.Scope, Mode: v.State.Mode, Roles: []readiness.Holders{{Role: "oncall", People: 2}}}, nil
		}
	})
	f, err := s.client(t, "admin").Readiness(t.Context(), "checkout")
	if err != nil || f.Scope != "checkout" || f.Mode != "normal" || !reflect.DeepEqual(f.Roles, []readiness.Holders{{Role: "oncall", People: 2}}) {
		t.Fatalf("%+v, %v", f, err)
	}
	for scope, want := range map[engine.Scope]string{"nobody": api.CodeUnknownScope, engine.Fleet: api.CodeNoRules} {
		var refused *api.Error
		if _, err := s.client(t, "admin").Readiness(t.Context(), scope); !errors.As(err, &refused) || refused.Code() != want {
			t.Errorf("%s: %v", scope, err)
		}
	}
	// The sources are asked for it: no more than two at once. What becomes of the two is no matter: this server cuts slow answers off.
	var two sync.WaitGroup
	for range 2 {
		two.Go(func() { _, _ = s.client(t, "admin").Readiness(t.Context(), "shop") })
		<-asked
	}
	var busy *api.Error
	if _, err := s.client(t, "admin").Readiness(t.Context(), "checkout"); !errors.As(err, &busy) || busy.Status() != http.StatusServiceUnavailable {
		t.Errorf("a third: %v", err)
	}
	close(release)
	two.Wait()
	without := serve(t, w, nil)
	if _, err := without.client(t, "admin").Readiness(t.Context(), "checkout"); !errors.As(err, &busy) || busy.Code() != api.CodeNoRules {
		t.Errorf("nobody can tell: %v", err)
	}
}

// Readiness counts people as gates do: two tokens of one person are one, an admin is in no group, and a token for another scope
// says yes to nothing here.
func TestTheHoldersOfARoleAreThePeopleWhoMaySayYes(t *testing.T) {
	digit := func(c byte) string {
		b := make([]byte, 64)
		for i := range b {
			b[i] = c
		}
		return string(b)
	}
	tokens, err := api.NewTokens(
		api.Token{SHA256: digit('1'), Principal: "ann-laptop", Person: "ann", Roles: []api.Role{"oncall", "lead"}, Scopes: []engine.Scope{"checkout"}},
		api.Token{SHA256: digit('2'), Principal: "ann-phone", Person: "ann", Roles: []api.Role{"oncall"}, Scopes: []engine.Scope{"*"}},
		api.Token{SHA256: digit('3'), Principal: "bob", Roles: []api.Role{"oncall"}, Scopes: []engine.Scope{"shop"}},
		api.Token{SHA256: digit('4'), Principal: "root", Roles: []api.Role{api.RoleAdmin}},
		api.Token{SHA256: digit('5'), Principal: "checkout-1", Roles: []api.Role{api.RoleInstance}, Scopes: []engine.Scope{"checkout"}},
	)
	if err != nil {
		t.Fatal(err)
	}
	for scope, want := range map[engine.Scope]map[string][]string{
		"checkout": {"oncall": {"ann"}, "lead": {"ann"}, "admin": {"root"}},
		"shop":     {"oncall": {"ann", "bob"}, "admin": {"root"}},
	} {
		if got := tokens.Holders(scope); !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %v, want %v", scope, got, want)
		}
	}
}
