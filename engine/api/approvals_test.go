package api_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/modeshift/modeshift/engine"
	"github.com/modeshift/modeshift/engine/api"
	"github.com/modeshift/modeshift/engine/approval"
	"github.com/modeshift/modeshift/engine/approval/approvaltest"
	"github.com/modeshift/modeshift/engine/secret"
)

// reviewers are the tokens of these tests.
var reviewers = map[string]api.Token{
	"root":       {Principal: "root", Roles: []api.Role{api.RoleAdmin}},
	"bob":        {Principal: "bob", Person: "bob", Roles: []api.Role{"oncall"}, Scopes: []engine.Scope{"checkout"}},
	"bob-phone":  {Principal: "bob-phone", Person: "bob", Roles: []api.Role{"lead"}, Scopes: []engine.Scope{"*"}},
	"carol":      {Principal: "carol", Roles: []api.Role{"lead", "oncall"}, Scopes: []engine.Scope{"*"}},
	"dave":       {Principal: "dave", Roles: []api.Role{"oncall", api.RoleOperator}, Scopes: []engine.Scope{"*"}},
	"dave-too":   {Principal: "dave-too", Person: "dave", Roles: []api.Role{"lead"}, Scopes: []engine.Scope{"*"}},
	"glass":      {Principal: "glass", Roles: []api.Role{api.RoleOperator, "break-glass"}, Scopes: []engine.Scope{"*"}},
	"viewer":     {Principal: "viewer", Roles: []api.Role{api.RoleViewer}, Scopes: []engine.Scope{"*"}},
	"elsewhere":  {Principal: "elsewhere", Roles: []api.Role{"lead"}, Scopes: []engine.Scope{"payments"}},
	"pods":       {Principal: "pods", Roles: []api.Role{api.RoleInstance}, Scopes: []engine.Scope{"*"}},
	"oncall-two": {Principal: "oncall-two", Roles: []api.Role{"oncall"}, Scopes: []engine.Scope{"*"}},
}

// gateServer serves the API over a world with a gate.
func gateServer(t testing.TB, w *approvaltest.World) *httptest.Server {
	t.Helper()
	var list []api.Token
	for _, name := range slices.Sorted(maps.Keys(reviewers)) {
		token := reviewers[name]
		token.SHA256 = api.HashToken(secret.New(secretOf(name)))
		list = append(list, token)
	}
	tokens, err := api.NewTokens(list...)
	if err != nil {
		t.Fatal(err)
	}
	desk := approval.New(approval.Options{Loop: w, Log: w, Describe: approvaltest.Describe, Now: w.Now,
		Budget: func(context.Context, engine.Scope) []approval.Budget {
			return []approval.Budget{{SLO: "availability", Remaining: 0.4, Burn: 20, Lasts: 14*time.Hour + 24*time.Minute}, {SLO: "latency", Unknown: "no traffic"}}
		}})
	a, err := api.New(api.Options{Loop: w, Log: w, Tokens: tokens, Desk: desk, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewServer(a.Handler())
	t.Cleanup(func() {
		a.Close()
		s.Close()
	})
	return s
}

func gateClient(t testing.TB, s *httptest.Server, name string) *api.Client {
	t.Helper()
	c, err := api.NewClient(s.URL, secret.New(secretOf(name)), s.Client().Transport)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func yesTo(p engine.Proposal) api.ReviewRequest {
	return api.ReviewRequest{Verdict: api.VerdictYes, Digest: p.Digest, Reason: "the region is lost"}
}

func TestAProposalIsApprovedByEveryGroupAndStarts(t *testing.T) {
	w := approvaltest.New(t)
	s := gateServer(t, w)
	p := w.Propose(t)
	bob, carol := gateClient(t, s, "bob"), gateClient(t, s, "carol")
	list, err := bob.Approvals(t.Context())
	if err != nil || len(list) != 1 || list[0].ID != p.ID || len(list[0].Missing) != 2 || list[0].Left != api.Duration(15*time.Minute) {
		t.Fatalf("%+v, %v", list, err)
	}
	a, err := bob.Approval(t.Context(), p.ID)
	if err != nil || len(a.Steps) != 2 || !a.Destructive || a.Budgets[0].Lasts != api.Duration(14*time.Hour+24*time.Minute) || a.Budgets[1].Unknown == "" {
		t.Fatalf("%+v, %v", a, err)
	}
	r := yesTo(p)
	r.Digest = p.Digest[:8] // a prefix is passed on as it is given
	out, err := bob.Review(t.Context(), p.ID, r)
	if err != nil || !slices.Equal(kinds(out.Events), []string{"ApprovalGranted"}) {
		t.Fatalf("%v, %v", kinds(out.Events), err)
	}
	if by := out.Events[0].Cause.Actor; by != (engine.Actor{Principal: "bob", Person: "bob"}) {
		t.Errorf("the log says %+v", by)
	}
	if out, err = carol.Review(t.Context(), p.ID, yesTo(p)); err != nil || !slices.Contains(kinds(out.Events), "ChangeStarted") {
		t.Fatalf("%v, %v", kinds(out.Events), err)
	}
	if a, err = bob.Approval(t.Context(), p.ID); err != nil || a.Ended == nil || a.Ended.How != approval.Started || a.Ended.State != "under way" || len(a.Votes) != 2 {
		t.Errorf("%+v, %v", a, err)
	}
	if list, err = bob.Approvals(t.Context()); err != nil || len(list) != 0 {
		t.Errorf("%+v, %v", list, err)
	}
}

func TestABlindYesStartsWhatCannotBeSeenAndIsNoStoreForLater(t *testing.T) {
	w := approvaltest.New(t)
	s := gateServer(t, w)
	p := w.Propose(t)
	blind := yesTo(p)
	blind.Blind = true
	bob, carol := gateClient(t, s, "bob"), gateClient(t, s, "carol")
	granted := func(c *api.Client, r api.ReviewRequest) (engine.ApprovalGranted, []string) {
		t.Helper()
		out, err := c.Review(t.Context(), p.ID, r)
		if err != nil {
			t.Fatal(err)
		}
		f, ok := out.Events[0].Fact.(engine.ApprovalGranted)
		if !ok {
			t.Fatalf("%v", kinds(out.Events))
		}
		return f, kinds(out.Events)
	}
	if f, _ := granted(bob, blind); f.Blind || !f.Plain {
		t.Errorf("a blind yes while all can be seen: %+v", f)
	}
	w.Observe(t, engine.Unknown)
	if _, events := granted(carol, yesTo(p)); slices.Contains(events, "ChangeStarted") {
		t.Errorf("it starts unseen, by a blind yes of before: %v", events)
	}
	if a, err := bob.Approval(t.Context(), p.ID); err != nil || !a.Blind || a.BlindBy != "" {
		t.Errorf("%+v, %v", a, err)
	}
	if f, events := granted(bob, blind); !f.Blind || f.Plain || !slices.Contains(events, "ChangeStarted") {
		t.Errorf("a blind yes while it cannot be seen: %+v, %v", f, events)
	}
}

func TestANoEndsAProposal(t *testing.T) {
	w := approvaltest.New(t)
	s := gateServer(t, w)
	p := w.Propose(t)
	out, err := gateClient(t, s, "bob").Review(t.Context(), p.ID, api.ReviewRequest{Verdict: api.VerdictNo, Digest: p.Digest, Reason: "a drill"})
	if err != nil || !slices.Contains(kinds(out.Events), "ProposalDenied") {
		t.Fatalf("%v, %v", kinds(out.Events), err)
	}
	if e := apiError(t, errOf(gateClient(t, s, "carol").Review(t.Context(), p.ID, yesTo(p)))); e.Status() != 409 || e.Code() != api.CodeOver {
		t.Errorf("a yes after the no: %d %s", e.Status(), e.Code())
	}
	v, _ := w.View("checkout")
	if v.State.Change != nil || v.State.Target != "degraded" {
		t.Errorf("something acted: %+v", v.State)
	}
}

func errOf(_ api.Outcome, err error) error { return err }

func TestAReviewThatDoesNotCountIsNeverAnswered2xx(t *testing.T) {
	long := strings.Repeat("x", 2001)
	for name, c := range map[string]struct {
		as     string
		change func(*engine.ChangeID, *api.ReviewRequest)
		status int
		code   string
		log    string // what it leaves there
	}{
		"an admin is in no group":      {"root", nil, 403, api.CodeRole, "ApprovalRefused"},
		"a viewer":                     {"viewer", nil, 403, api.CodeRole, "ApprovalRefused"},
		"a token of another scope":     {"elsewhere", nil, 403, api.CodeForbidden, ""},
		"an instance":                  {"pods", nil, 403, api.CodeForbidden, ""},
		"a token nobody knows":         {"forged", nil, 401, api.CodeUnauthenticated, ""},
		"a stale digest":               {"carol", func(_ *engine.ChangeID, r *api.ReviewRequest) { r.Digest = engine.Digest(strings.Repeat("0", 64)) }, 409, api.CodeDigest, "ApprovalRefused"},
		"seven characters of a digest": {"carol", func(_ *engine.ChangeID, r *api.ReviewRequest) { r.Digest = r.Digest[:7] }, 409, api.CodeDigest, "ApprovalRefused"},
		"no digest":                    {"carol", func(_ *engine.ChangeID, r *api.ReviewRequest) { r.Digest = "" }, 409, api.CodeDigest, "ApprovalRefused"},
		"no reason":                    {"carol", func(_ *engine.ChangeID, r *api.ReviewRequest) { r.Reason = "" }, 422, api.CodeNoReason, "ApprovalRefused"},
		"a blank reason":               {"carol", func(_ *engine.ChangeID, r *api.ReviewRequest) { r.Reason = " \n\t" }, 422, api.CodeNoReason, "ApprovalRefused"},
		"a reason too long":            {"carol", func(_ *engine.ChangeID, r *api.ReviewRequest) { r.Reason = long }, 422, api.CodeInvalid, ""},
		"a digest too long":            {"carol", func(_ *engine.ChangeID, r *api.ReviewRequest) { r.Digest = engine.Digest(long) }, 422, api.CodeInvalid, ""},
		"a verdict that is none":       {"carol", func(_ *engine.ChangeID, r *api.ReviewRequest) { r.Verdict = "perhaps" }, 422, api.CodeInvalid, ""},
		"no such proposal":             {"carol", func(id *engine.ChangeID, _ *api.ReviewRequest) { *id = "checkout-1" }, 404, api.CodeNoProposal, "ApprovalRefused"},
		"no proposal's name":           {"carol", func(id *engine.ChangeID, _ *api.ReviewRequest) { *id = "checkout" }, 404, api.CodeNoProposal, ""},
		"an unknown scope":             {"carol", func(id *engine.ChangeID, _ *api.ReviewRequest) { *id = "nobody-1" }, 404, api.CodeNoProposal, ""},
	} {
		t.Run(name, func(t *testing.T) {
			w := approvaltest.New(t)
			s := gateServer(t, w)
			p := w.Propose(t)
			id, r := p.ID, yesTo(p)
			if c.change != nil {
				c.change(&id, &r)
			}
			before := w.Version()
			e := apiError(t, errOf(gateClient(t, s, c.as).Review(t.Context(), id, r)))
			if e.Status() != c.status || e.Code() != c.code {
				t.Errorf("got %d %s: %s; want %d %s", e.Status(), e.Code(), e, c.status, c.code)
			}
			if got := w.Kinds(before); got != c.log {
				t.Errorf("the log got %q, want %q", got, c.log)
			}
		})
	}
}

func TestASecondTokenOfTheSamePersonIsNoSecondPerson(t *testing.T) {
	w := approvaltest.New(t)
	s := gateServer(t, w)
	p := w.Propose(t)
	if _, err := gateClient(t, s, "bob").Review(t.Context(), p.ID, yesTo(p)); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"bob", "bob-phone"} {
		e := apiError(t, errOf(gateClient(t, s, name).Review(t.Context(), p.ID, yesTo(p))))
		if e.Status() != 403 || e.Code() != api.CodeSamePerson {
			t.Errorf("%s: %d %s", name, e.Status(), e.Code())
		}
	}
	if v, _ := w.View("checkout"); v.State.Change != nil || len(v.State.Proposals[0].Votes) != 1 {
		t.Errorf("%+v", v.State)
	}
}

func TestNobodyApprovesWhatTheyAskedForNotEvenByAnotherToken(t *testing.T) {
	w := approvaltest.New(t)
	s := gateServer(t, w)
	out, err := gateClient(t, s, "dave").Set(t.Context(), "checkout", api.SetRequest{Mode: "failover", Reason: "I want it"})
	if err != nil || !slices.Contains(kinds(out.Events), "ChangeProposed") {
		t.Fatalf("%v, %v", kinds(out.Events), err)
	}
	v, _ := w.View("checkout")
	p := v.State.Proposals[0]
	for _, name := range []string{"dave", "dave-too"} {
		e := apiError(t, errOf(gateClient(t, s, name).Review(t.Context(), p.ID, yesTo(p))))
		if e.Status() != 403 || e.Code() != api.CodeOwnRequest {
			t.Errorf("%s: %d %s", name, e.Status(), e.Code())
		}
	}
	if list, err := gateClient(t, s, "carol").Approvals(t.Context()); err != nil || list[0].Requester != "dave" {
		t.Errorf("%+v, %v", list, err)
	}
}

func TestOfTwoReviewsInTheSameMillisecondEachIsEffectiveOrRefused(t *testing.T) {
	for range 20 {
		w := approvaltest.New(t)
		s := gateServer(t, w)
		p := w.Propose(t)
		before := w.Version()
		errs := make([]error, 4)
		var wg sync.WaitGroup
		for i, name := range []string{"bob", "bob-phone", "oncall-two", "carol"} {
			c := gateClient(t, s, name)
			wg.Go(func() { _, errs[i] = c.Review(context.Background(), p.ID, yesTo(p)) })
		}
		wg.Wait()
		events, err := w.Read(t.Context(), "checkout", before, 0)
		if err != nil {
			t.Fatal(err)
		}
		granted, started := map[string]int{}, 0
		for _, e := range events {
			switch e.Fact.(type) {
			case engine.ApprovalGranted:
				granted[e.Cause.Principal]++
			case engine.ChangeStarted:
				started++
			}
		}
		for i, name := range []string{"bob", "bob-phone", "oncall-two", "carol"} {
			if (errs[i] == nil) != (granted[name] == 1) {
				t.Errorf("%s was answered %v, and the log holds %d of their votes", name, errs[i], granted[name])
			}
		}
		if granted["bob"]+granted["bob-phone"] > 1 {
			t.Error("one person counted twice")
		}
		if started > 1 {
			t.Errorf("%d changes started", started)
		}
	}
}

func TestAReviewAtTheDeadlineCountsOrIsRefusedAndTheAnswerSaysWhich(t *testing.T) {
	for name, c := range map[string]struct {
		at   time.Duration // before the deadline
		want string
	}{
		"a nanosecond before": {1, "ApprovalGranted"},
		"at it":               {0, "ProposalExpired ApprovalRefused"},
		"after it":            {-time.Hour, "ProposalExpired ApprovalRefused"},
	} {
		t.Run(name, func(t *testing.T) {
			w := approvaltest.New(t)
			s := gateServer(t, w)
			p := w.Propose(t)
			w.Advance(p.Until.Sub(w.Now()) - c.at)
			before := w.Version()
			_, err := gateClient(t, s, "bob").Review(t.Context(), p.ID, yesTo(p))
			if got := w.Kinds(before); got != c.want {
				t.Errorf("the log got %s", got)
			}
			if counted := c.want == "ApprovalGranted"; counted != (err == nil) {
				t.Errorf("answered %v", err)
			} else if !counted {
				if e := apiError(t, err); e.Status() != 409 || e.Code() != api.CodeOver {
					t.Errorf("%d %s", e.Status(), e.Code())
				}
			}
		})
	}
}

func TestAReplayedReviewDoesNotCountForTheNextProposal(t *testing.T) {
	w := approvaltest.New(t)
	s := gateServer(t, w)
	first := w.Propose(t)
	captured := yesTo(first)
	if _, err := gateClient(t, s, "bob").Review(t.Context(), first.ID, captured); err != nil {
		t.Fatal(err)
	}
	w.Do(t, engine.Actor{Principal: "carol"}, &engine.CancelRequested{Change: first.ID, Reason: "not now"})
	w.Observe(t, engine.False)
	w.Change(t, func(p *engine.Policy) { p.Transitions[0].Digest = "t1-other" })
	second := w.Propose(t)
	if e := apiError(t, errOf(gateClient(t, s, "bob").Review(t.Context(), first.ID, captured))); e.Status() != 409 || e.Code() != api.CodeOver {
		t.Errorf("to the first again: %d %s", e.Status(), e.Code())
	}
	if e := apiError(t, errOf(gateClient(t, s, "bob").Review(t.Context(), second.ID, captured))); e.Status() != 409 || e.Code() != api.CodeDigest {
		t.Errorf("to the second: %d %s", e.Status(), e.Code())
	}
}

// The rules are the same and so is the mode: the next proposal has the digest of the one before. Which one is meant is said in
// the path, by whoever has the token.
func TestAReviewOfAProposalThatIsOverDoesNotCountForTheNextThatIsJustLikeIt(t *testing.T) {
	w := approvaltest.New(t)
	s := gateServer(t, w)
	first := w.Propose(t)
	w.Do(t, engine.Actor{Principal: "dave"}, &engine.CancelRequested{Change: first.ID, Reason: "over"})
	w.Observe(t, engine.False)
	second := w.Propose(t)
	if second.ID == first.ID || second.Digest != first.Digest {
		t.Fatalf("%+v is not just like %+v", second, first)
	}
	_, err := gateClient(t, s, "bob").Review(t.Context(), first.ID, api.ReviewRequest{Verdict: api.VerdictYes, Digest: first.Digest, Reason: "go"})
	if e := apiError(t, err); e.Status() != 409 || e.Code() != api.CodeOver {
		t.Errorf("it is answered %v", err)
	}
	if v, _ := w.View("checkout"); len(v.State.Proposals) != 1 || len(v.State.Proposals[0].Votes) != 0 {
		t.Errorf("%+v", v.State.Proposals)
	}
}

func TestAReviewThatCannotBeStoredIsAnswered503(t *testing.T) {
	w := approvaltest.New(t)
	s := gateServer(t, w)
	p := w.Propose(t)
	w.Fail(approvaltest.Unavailable("the disk is full"))
	if e := apiError(t, errOf(gateClient(t, s, "bob").Review(t.Context(), p.ID, yesTo(p)))); e.Status() != 503 || e.Code() != api.CodeUnavailable {
		t.Errorf("%d %s", e.Status(), e.Code())
	}
	w.Fail(nil)
	if _, err := gateClient(t, s, "bob").Review(t.Context(), p.ID, yesTo(p)); err != nil {
		t.Errorf("later: %v", err)
	}
}

func TestAReadNeverAnswersAndAForeignPageCannotReview(t *testing.T) {
	w := approvaltest.New(t)
	s := gateServer(t, w)
	p := w.Propose(t)
	before := w.Version()
	send := func(method, path, body string, header map[string]string) int {
		r, err := http.NewRequestWithContext(t.Context(), method, s.URL+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Authorization", "Bearer "+secretOf("carol"))
		r.Header.Set("Content-Type", "application/json")
		for k, v := range header {
			r.Header.Set(k, v)
		}
		resp, err := s.Client().Do(r)
		if err != nil {
			t.Fatal(err)
		}
		if err := resp.Body.Close(); err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode
	}
	review := fmt.Sprintf("/api/v1/approvals/%s/review", p.ID)
	body, err := json.Marshal(yesTo(p))
	if err != nil {
		t.Fatal(err)
	}
	if got := send("GET", review+"?verdict=yes&reason=x&digest="+string(p.Digest), "", nil); got != 405 {
		t.Errorf("GET of a review: %d", got)
	}
	if got := send("POST", review, string(body), map[string]string{"Sec-Fetch-Site": "cross-site"}); got != 403 {
		t.Errorf("from another site: %d", got)
	}
	if got := send("POST", review, string(body), map[string]string{"Origin": "https://evil.example.com"}); got != 403 {
		t.Errorf("from another origin: %d", got)
	}
	if got := send("POST", review, `{"verdict":"yes","digest":"`+strings.Repeat("a", 70_000)+`"}`, nil); got != 413 {
		t.Errorf("oversize: %d", got)
	}
	if w.Version() != before {
		t.Errorf("something was recorded: %s", w.Kinds(before))
	}
}

func TestAScopesProposalsAreSeenByWhoMaySeeTheScope(t *testing.T) {
	w := approvaltest.New(t)
	s := gateServer(t, w)
	p := w.Propose(t)
	for name, c := range map[string]struct{ list, status int }{
		"root": {1, 200}, "bob": {1, 200}, "viewer": {1, 200}, "elsewhere": {0, 403}, "pods": {-1, 403},
	} {
		client := gateClient(t, s, name)
		list, err := client.Approvals(t.Context())
		if c.list < 0 {
			if apiError(t, err).Status() != 403 {
				t.Errorf("%s: %v", name, err)
			}
		} else if err != nil || len(list) != c.list {
			t.Errorf("%s sees %+v, %v", name, list, err)
		}
		_, err = client.Approval(t.Context(), p.ID)
		if c.status == 200 && err != nil || c.status != 200 && apiError(t, err).Status() != c.status {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestAForcedSetNeedsTheRoleOfBreakGlass(t *testing.T) {
	w := approvaltest.New(t)
	s := gateServer(t, w)
	request := api.SetRequest{Mode: "failover", Reason: "everything burns", Force: true}
	e := apiError(t, errOf(gateClient(t, s, "dave").Set(t.Context(), "checkout", request)))
	if e.Status() != 403 || e.Code() != api.CodeRefused || !strings.Contains(e.Error(), "break-glass") {
		t.Errorf("%d %s: %s", e.Status(), e.Code(), e)
	}
	if e := apiError(t, errOf(gateClient(t, s, "root").Set(t.Context(), "checkout", request))); e.Status() != 403 {
		t.Errorf("an admin: %d %s", e.Status(), e)
	}
	out, err := gateClient(t, s, "glass").Set(t.Context(), "checkout", request)
	if err != nil || !slices.Contains(kinds(out.Events), "GlassBroken") || !slices.Contains(kinds(out.Events), "ChangeStarted") {
		t.Errorf("%v, %v", kinds(out.Events), err)
	}
}

func TestAChangeIsCancelledUndoneAndSettledByHand(t *testing.T) {
	w := approvaltest.New(t)
	s := gateServer(t, w)
	dave, glass := gateClient(t, s, "dave"), gateClient(t, s, "glass")
	out, err := glass.Set(t.Context(), "checkout", api.SetRequest{Mode: "failover", Reason: "drill", Force: true})
	if err != nil {
		t.Fatal(err)
	}
	v, _ := w.View("checkout")
	change := v.State.Change.ID
	if e := apiError(t, errOf(dave.Undo(t.Context(), "checkout", change, api.ChangeRequest{Reason: "back"}))); e.Status() != 409 {
		t.Errorf("an undo while it is under way: %d %s", e.Status(), e)
	}
	if e := apiError(t, errOf(dave.Settle(t.Context(), "checkout", change, api.SettleRequest{As: engine.SettledDone, Reason: "looks fine"}))); e.Status() != 409 {
		t.Errorf("settled while it is under way: %d %s", e.Status(), e)
	}
	if e := apiError(t, errOf(dave.Settle(t.Context(), "checkout", change, api.SettleRequest{As: "perhaps", Reason: "x"}))); e.Status() != 422 {
		t.Errorf("settled as nonsense: %d %s", e.Status(), e)
	}
	if e := apiError(t, errOf(gateClient(t, s, "bob").Cancel(t.Context(), "checkout", change, api.ChangeRequest{Reason: "back"}))); e.Status() != 403 {
		t.Errorf("cancelled without the role: %d %s", e.Status(), e)
	}
	if out, err = dave.Cancel(t.Context(), "checkout", change, api.ChangeRequest{Reason: "wrong region"}); err != nil || kinds(out.Events)[0] != "UndoStarted" {
		t.Fatalf("%v, %v", kinds(out.Events), err)
	}
	// Its first step may have happened: nobody knows, and its undo fails for good.
	for range 20 {
		if v, _ = w.View("checkout"); v.State.Change == nil || v.State.Change.Stuck || v.State.Change.Running == nil {
			break
		}
		run := v.State.Change.Running
		w.Do(t, engine.Actor{}, &engine.StepReported{Step: run.Step.Name, Undo: run.Undo, Outcome: engine.OutcomeUnknown, Detail: "no answer"})
	}
	if v.State.Change == nil || !v.State.Change.Stuck {
		t.Fatalf("not stuck: %+v", v.State.Change)
	}
	if out, err = dave.Settle(t.Context(), "checkout", change, api.SettleRequest{As: engine.SettledUndone, Reason: "looked by hand"}); err != nil || !slices.Contains(kinds(out.Events), "ChangeSettled") {
		t.Fatalf("%v, %v", kinds(out.Events), err)
	}
	if v, _ = w.View("checkout"); v.State.Target != "degraded" || v.State.Change != nil {
		t.Errorf("%+v", v.State)
	}
	// The last change that is done: the one into degraded.
	v, _ = w.View("checkout")
	if out, err = dave.Undo(t.Context(), "checkout", v.State.Past[len(v.State.Past)-1].ID, api.ChangeRequest{Reason: "healthy again"}); err != nil || !slices.Contains(kinds(out.Events), "ChangeUndone") {
		t.Fatalf("%v, %v", kinds(out.Events), err)
	}
	if v, _ = w.View("checkout"); v.State.Target != "normal" {
		t.Errorf("%+v", v.State)
	}
}

func TestARoleMayBeAnyWordButNotAnAPIRoleMistyped(t *testing.T) {
	for role, good := range map[api.Role]bool{
		"oncall-payments": true, "payments-lead": true, "break-glass": true, "sre:eu": true, "adm": true, "a": true,
		"vewer": false, "Admin": false, "operators": false, "instnce": false, "": false, "on call": false, "a\nb": false,
		api.Role(strings.Repeat("x", 101)): false, "rôle": false,
	} {
		token := api.Token{SHA256: api.HashToken(secret.New("x")), Principal: "x", Roles: []api.Role{role}, Scopes: []engine.Scope{"*"}}
		if _, err := api.NewTokens(token); (err == nil) != good {
			t.Errorf("%q: %v", role, err)
		}
	}
}
