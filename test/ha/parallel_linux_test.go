package ha

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/modeshift/modeshift/engine"
	"github.com/modeshift/modeshift/engine/api"
)

// crowd is how many ask at the same moment.
const crowd = 100

// atOnce has everybody call f at the same moment. It returns the outcomes of those whose call was carried out; all others
// have to be refused by a status, with a reason.
func atOnce(t *testing.T, status int, f func(n int) (api.Outcome, error)) (carriedOut []api.Outcome) {
	t.Helper()
	var mu sync.Mutex // guards carriedOut
	var all sync.WaitGroup
	begin := make(chan struct{})
	for n := range crowd {
		all.Go(func() {
			<-begin
			out, err := f(n)
			var refused *api.Error
			switch {
			case err == nil:
				mu.Lock()
				carriedOut = append(carriedOut, out)
				mu.Unlock()
			case !errors.As(err, &refused) || refused.Status() != status || refused.Error() == "":
				t.Errorf("caller %d: %v, want %d and a reason", n, err, status)
			}
		})
	}
	close(begin)
	all.Wait()
	return carriedOut
}

// torn is a service that may go to either of two modes, neither of them safer than the other.
func torn(url string) string {
	text := "version: modeshift/v1\nservice: torn\nmodes: [{name: normal}, {name: east, beside: true}, {name: west, beside: true}]\ntransitions:\n"
	for _, to := range []string{"east", "west"} {
		text += fmt.Sprintf("  - name: go-%[1]s\n    from: [normal]\n    to: %[1]s\n    when: '%[2]s'\n    actions:\n%[3]s", to, never, call("route", url, ""))
	}
	return text
}

func count[F engine.Fact](s *site, t *testing.T, scope engine.Scope) int {
	t.Helper()
	return len(facts[F](s.events(t, scope)))
}

func TestOfAHundredAtTheSameMomentExactlyOneIsCarriedOut(t *testing.T) {
	t.Parallel()
	target := newTarget(t, nil)
	two := strings.NewReplacer("service: gated", "service: two", "{role: oncall, count: 1}, {role: lead, count: 1}", "{role: oncall, count: 2}")
	one := strings.NewReplacer("service: gated", "service: one", ", {role: lead, count: 1}", "")
	s := newPlayhouse(t, map[string]string{
		"torn.yaml": torn(target.URL), "one.yaml": one.Replace(gated(target.URL)), "two.yaml": two.Replace(gated(target.URL)),
	})
	// A crowd of people, and one person with as many tokens.
	tokens, err := os.ReadFile(filepath.Join(s.dir, "tokens.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	clients := map[string]*api.Client{}
	for n := range crowd {
		for name, person := range map[string]string{fmt.Sprint("p", n): fmt.Sprint("person-", n), fmt.Sprint("t", n): "eve"} {
			tokens = fmt.Appendf(tokens, "- {principal: %s, person: %s, roles: [oncall, operator], scopes: ['*'], sha256: %s}\n", name, person, api.HashToken(tokenOf(name)))
			clients[name] = s.as(t, name)
		}
	}
	write(t, filepath.Join(s.dir, "tokens.yaml"), string(tokens))
	p := s.start(t)
	s.ready(t)
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the server's log:\n%s", tail(p.said()))
		}
	})
	dave := s.as(t, "dave")

	t.Run("one change at a time in a scope", func(t *testing.T) {
		hung := target.hangNext(false) // so that the change is under way as long as somebody asks
		modes := []engine.Mode{"east", "west"}
		asked := make([]engine.Mode, crowd) // by whom it was carried out
		done := atOnce(t, http.StatusConflict, func(n int) (api.Outcome, error) {
			out, err := clients[fmt.Sprint("p", n)].Set(t.Context(), "torn", api.SetRequest{Mode: modes[n%2], Reason: "drill"})
			if err == nil {
				asked[n] = modes[n%2]
			}
			return out, err
		})
		<-hung
		started := facts[engine.ChangeStarted](s.events(t, "torn"))
		if len(started) != 1 {
			t.Fatalf("%d changes were started, want 1: %+v", len(started), started)
		}
		told := 0
		for _, out := range done {
			for _, e := range out.Events {
				if _, ok := e.Fact.(engine.ChangeStarted); ok {
					told++
				}
			}
		}
		if told != 1 {
			t.Errorf("%d were told that theirs is the change, want 1", told)
		}
		// Who asked for the same mode has it, and pinned it; who asked for the other one was refused.
		for n, mode := range asked {
			if mode != "" && mode != started[0].To {
				t.Errorf("caller %d asked for %s and was told that it was carried out; it is %s", n, mode, started[0].To)
			}
		}
		if len(done) != crowd/2 {
			t.Errorf("%d were told that it was carried out, want the %d who asked for %s", len(done), crowd/2, started[0].To)
		}
	})
	t.Run("one proposal of a transition at a time", func(t *testing.T) {
		done := atOnce(t, http.StatusConflict, func(n int) (api.Outcome, error) {
			return clients[fmt.Sprint("p", n)].Set(t.Context(), "two", api.SetRequest{Mode: "failover", Reason: "drill"})
		})
		if n := count[engine.ChangeProposed](s, t, "two"); len(done) != 1 || n != 1 {
			t.Errorf("%d were told that it was carried out, %d are proposed, want 1", len(done), n)
		}
	})
	proposal := func(scope engine.Scope) api.ApprovalSummary {
		t.Helper()
		list, err := dave.Approvals(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, a := range list {
			if a.Scope == scope {
				return a
			}
		}
		t.Fatalf("nothing waits in %s", scope)
		return api.ApprovalSummary{}
	}
	t.Run("one yes of a person, however many tokens", func(t *testing.T) {
		a := proposal("two")
		done := atOnce(t, http.StatusForbidden, func(n int) (api.Outcome, error) {
			return clients[fmt.Sprint("t", n)].Review(t.Context(), a.ID, api.ReviewRequest{Verdict: api.VerdictYes, Digest: a.Digest, Reason: "agreed"})
		})
		if n := count[engine.ApprovalGranted](s, t, "two"); len(done) != 1 || n != 1 {
			t.Errorf("%d were told that their yes counts, %d count, want 1", len(done), n)
		}
		if refused := count[engine.ApprovalRefused](s, t, "two"); refused != crowd-1 {
			t.Errorf("%d refusals are in the log, want %d", refused, crowd-1)
		}
		if n := count[engine.ChangeStarted](s, t, "two"); n != 0 {
			t.Errorf("one person started %d changes that two have to approve", n)
		}
	})
	t.Run("one answer ends a proposal, whether it is yes or no", func(t *testing.T) {
		if _, err := dave.Set(t.Context(), "one", api.SetRequest{Mode: "failover", Reason: "drill"}); err != nil {
			t.Fatal(err)
		}
		a := proposal("one")
		done := atOnce(t, http.StatusConflict, func(n int) (api.Outcome, error) {
			return clients[fmt.Sprint("p", n)].Review(t.Context(), a.ID, api.ReviewRequest{
				Verdict: []string{api.VerdictYes, api.VerdictNo}[n%2], Digest: a.Digest, Reason: "my answer"})
		})
		yes, no := count[engine.ApprovalGranted](s, t, "one"), count[engine.ProposalDenied](s, t, "one")
		if len(done) != 1 || yes+no != 1 {
			t.Errorf("%d were told that their answer counts; %d yes and %d no do, want 1 together", len(done), yes, no)
		}
		if n := count[engine.ChangeStarted](s, t, "one"); n != yes {
			t.Errorf("%d changes were started after %d yes", n, yes)
		}
	})
}
