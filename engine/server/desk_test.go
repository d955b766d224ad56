package server

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/modeshift/modeshift/engine"
	"github.com/modeshift/modeshift/engine/api"
	"github.com/modeshift/modeshift/engine/approval"
	"github.com/modeshift/modeshift/engine/secret"
	"github.com/modeshift/modeshift/rules/prom"
)

const gatedRules = `version: modeshift/v1
service: checkout
slos:
  - name: availability
    objective: 99.9
    sli: {events: {error_query: "sum(rate(errors_total[{{.window}}]))", total_query: "sum(rate(requests_total[{{.window}}]))"}}
    alerting: {name: Availability, page_alert: {}, ticket_alert: {}}
slis:
  - {name: up, query: vector(1)}
modes:
  - name: normal
  - name: failover
    beside: true
transitions:
  - name: fail-over
    from: [normal]
    to: failover
    when: sli("up") > 2.0
    approval:
      groups: [{role: oncall, count: 1}, {role: lead, count: 1}]
      within: 15m
    actions:
      - name: repoint
        webhook: {url: "http://127.0.0.1:1/repoint", json: {to: eu-2}}
        destructive: true
        undo: {webhook: {url: "http://127.0.0.1:1/repoint", json: {to: eu-1}}}
`

// A vote outlives the server that took it; the page and the API of the next one show the same proposal under the same digest,
// and one yes by each way carries it out.
func TestAProposalIsAnsweredByPageAndAPIAcrossARestart(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	cfg := testConfig(t, write("rules.yaml", gatedRules))
	var tokens strings.Builder
	for name, role := range map[string]string{"dave": "operator", "bob": "oncall", "carol": "lead"} {
		tokens.WriteString("- {sha256: " + api.HashToken(secret.New("token-"+name)) + ", principal: " + name + ", roles: [" + role + "], scopes: ['*']}\n")
	}
	cfg.TokensFile = write("tokens.yaml", tokens.String())
	client := func(s *Server, name string) *api.Client {
		c, err := api.NewClient(s.URL(), secret.New("token-"+name), nil)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}

	s, stop := runServer(t, cfg, nil)
	// A dry run of it shows both ways of the step, and asks nobody.
	dry, err := client(s, "dave").Set(t.Context(), "checkout", api.SetRequest{Mode: "failover", Reason: "the region is down", DryRun: true})
	if err != nil || !dry.DryRun || len(dry.Would) != 1 || !strings.Contains(dry.Would[0].Do, "eu-2") || !strings.Contains(dry.Would[0].Undo, "eu-1") {
		t.Fatalf("%+v, %v", dry, err)
	}
	if list, err := client(s, "bob").Approvals(t.Context()); err != nil || len(list) != 0 {
		t.Fatalf("after a dry run %+v waits, %v", list, err)
	}
	if _, err := client(s, "dave").Set(t.Context(), "checkout", api.SetRequest{Mode: "failover", Reason: "the region is down"}); err != nil {
		t.Fatal(err)
	}
	list, err := client(s, "bob").Approvals(t.Context())
	if err != nil || len(list) != 1 {
		t.Fatalf("%+v, %v", list, err)
	}
	p := list[0]
	if _, err := client(s, "bob").Review(t.Context(), p.ID, api.ReviewRequest{Verdict: api.VerdictYes, Digest: p.Digest, Reason: "it is"}); err != nil {
		t.Fatal(err)
	}
	if err := stop(); err != nil {
		t.Fatal(err)
	}

	s, stop = runServer(t, cfg, nil)
	defer func() {
		if err := stop(); err != nil {
			t.Error(err)
		}
	}()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	browser := &http.Client{Jar: jar}
	page := func(method, path string, form url.Values) string {
		t.Helper()
		r, err := http.NewRequestWithContext(t.Context(), method, s.URL()+path, strings.NewReader(form.Encode()))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		resp, err := browser.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		if err := resp.Body.Close(); err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	text := page("POST", "/approvals/sign-in", url.Values{"token": {"token-carol"}, "id": {string(p.ID)}})
	if !strings.Contains(text, "POST http://127.0.0.1:1/repoint") || !strings.Contains(text, "<strong>bob</strong> said yes") {
		t.Fatalf("the page does not show what would be done, or the vote before the restart:\n%s", text)
	}
	form := url.Values{"verdict": {"yes"}, "reason": {"agreed"}}
	for _, m := range regexp.MustCompile(`<input type="hidden" name="(form|digest)" value="([^"]*)">`).FindAllStringSubmatch(text, -1) {
		form.Set(m[1], m[2])
	}
	if engine.Digest(form.Get("digest")) != p.Digest {
		t.Errorf("another digest after the restart: %s, was %s", form.Get("digest"), p.Digest)
	}
	if text = page("POST", "/approvals/"+string(p.ID), form); !strings.Contains(text, "Approved, and started") {
		t.Errorf("after the last yes:\n%s", text)
	}
	var a api.Approval
	within(t, "the budget is spoken of", func() bool {
		a, err = client(s, "bob").Approval(t.Context(), p.ID)
		return err != nil || len(a.Budgets) == 1
	})
	if len(a.Budgets) != 1 || a.Budgets[0].SLO != "availability" || a.Budgets[0].Unknown == "" { // nobody answers for Prometheus here
		t.Errorf("budgets: %+v", a.Budgets)
	}
	if err != nil || a.Ended == nil || a.Ended.How != approval.Started || a.Ended.Change == "" {
		t.Errorf("%+v, %v", a, err)
	}
}

// A graceful stop meets reviews under way. Whoever is answered 2xx finds their answer in the log of the next server, and nobody
// else does: an answer that did not come leaves it open.
func TestAReviewDuringAStopIsInTheLogIfItWasAnswered2xx(t *testing.T) {
	const voters = 40
	dir := t.TempDir()
	put(t, filepath.Join(dir, "rules.yaml"), gatedRules) // nobody is a lead: it goes on waiting
	tokens := "- {sha256: " + api.HashToken(secret.New("token-dave")) + ", principal: dave, roles: [operator], scopes: ['*']}\n"
	for i := range voters {
		tokens += fmt.Sprintf("- {sha256: %s, principal: bob-%d, roles: [oncall], scopes: ['*']}\n", api.HashToken(secret.New(fmt.Sprint("token-", i))), i)
	}
	put(t, filepath.Join(dir, "tokens.yaml"), tokens)
	cfg := testConfig(t, filepath.Join(dir, "rules.yaml"))
	cfg.TokensFile = filepath.Join(dir, "tokens.yaml")
	client := func(s *Server, token string) *api.Client {
		c, err := api.NewClient(s.URL(), secret.New(token), nil)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	s, stop := runServer(t, cfg, nil)
	if _, err := client(s, "token-dave").Set(t.Context(), "checkout", api.SetRequest{Mode: "failover", Reason: "drill"}); err != nil {
		t.Fatal(err)
	}
	list, err := client(s, "token-0").Approvals(t.Context())
	if err != nil || len(list) != 1 {
		t.Fatalf("%+v, %v", list, err)
	}
	p := list[0]

	var mu sync.Mutex
	yes, refused := map[string]bool{}, map[string]bool{} // by person: answered 2xx; answered otherwise
	counted := make(chan struct{}, voters)
	var wg sync.WaitGroup
	for i := range voters {
		c := client(s, fmt.Sprint("token-", i))
		wg.Go(func() {
			time.Sleep(time.Duration(i) * time.Millisecond / 2) // so that the stop comes between them, wherever that is
			_, err := c.Review(t.Context(), p.ID, api.ReviewRequest{Verdict: api.VerdictYes, Digest: p.Digest, Reason: "it is"})
			var said *api.Error
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err == nil:
				yes[fmt.Sprint("bob-", i)] = true
				counted <- struct{}{}
			case errors.As(err, &said):
				refused[fmt.Sprint("bob-", i)] = true
			}
		})
	}
	<-counted // some are in, and others under way
	if err := stop(); err != nil {
		t.Error(err)
	}
	wg.Wait()

	s, stop = runServer(t, cfg, nil)
	defer func() {
		if err := stop(); err != nil {
			t.Error(err)
		}
	}()
	events, err := s.store.Read(t.Context(), "checkout", 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	stored := map[string]bool{}
	for _, e := range events {
		if g, ok := e.Fact.(engine.ApprovalGranted); ok {
			stored[g.Person] = true
		}
	}
	a, err := client(s, "token-0").Approval(t.Context(), p.ID)
	if err != nil {
		t.Fatal(err)
	}
	if len(a.Votes) != len(stored) {
		t.Errorf("%d votes count, %d are in the log", len(a.Votes), len(stored))
	}
	for i := range voters {
		switch who := fmt.Sprint("bob-", i); {
		case yes[who] && !stored[who]:
			t.Errorf("%s was answered 2xx, and the answer is not in the log", who)
		case refused[who] && stored[who]:
			t.Errorf("%s was refused, and the answer counts", who)
		}
	}
	t.Logf("%d were answered 2xx, %d refused, %d heard nothing; %d are in the log", len(yes), len(refused), voters-len(yes)-len(refused), len(stored))
}

func TestABudgetIsShownAsFarAsItIsKnown(t *testing.T) {
	for name, c := range map[string]struct {
		in   prom.Budget
		want approval.Budget
	}{
		"known":          {prom.Budget{SLO: "a", Remaining: 0.5, RemainingKnown: true, Burn: 10, BurnKnown: true, Lasts: 36 * time.Hour}, approval.Budget{SLO: "a", Remaining: 0.5, Burn: 10, Lasts: 36 * time.Hour}},
		"nothing burns":  {prom.Budget{SLO: "a", Remaining: 0.5, RemainingKnown: true, BurnKnown: true, Lasts: prom.Forever}, approval.Budget{SLO: "a", Remaining: 0.5}},
		"only the burn":  {prom.Budget{SLO: "a", Burn: 14.4, BurnKnown: true, Unknown: engine.WhyTimeout, Detail: "no answer"}, approval.Budget{SLO: "a", Burn: 14.4, Unknown: "timeout: no answer; it burns 14.4 times as fast as it may"}},
		"only the rest":  {prom.Budget{SLO: "a", Remaining: 0.25, RemainingKnown: true, Unknown: engine.WhyNoTraffic}, approval.Budget{SLO: "a", Remaining: 0.25, Unknown: "no traffic; 25.0 % of it is left"}},
		"nothing at all": {prom.Budget{SLO: "a", Unknown: engine.WhyFailed, Detail: "refused"}, approval.Budget{SLO: "a", Unknown: "failed: refused"}},
	} {
		if got := budgetShown(c.in); got != c.want {
			t.Errorf("%s: %+v, want %+v", name, got, c.want)
		}
	}
}
