package api_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/modeshift/modeshift/engine"
	"github.com/modeshift/modeshift/engine/api"
)

func kinds(events []api.Event) (list []string) {
	for _, e := range events {
		list = append(list, e.Kind())
	}
	return list
}

func TestASetGoesThroughTheCoreAndCanBeReadBack(t *testing.T) {
	w := newWorld(t, "checkout", "payments")
	c := serve(t, w, nil).client(t, "operator-checkout")
	ctx := t.Context()

	out, err := c.Set(ctx, "checkout", api.SetRequest{Mode: "degraded", Reason: "drill <1>", For: api.Duration(30 * time.Minute)})
	if err != nil {
		t.Fatal(err)
	}
	if got, want := kinds(out.Events), []string{"ModePinned", "ChangeStarted", "DirectivePublished"}; !slices.Equal(got[:min(3, len(got))], want) {
		t.Errorf("events %q, want %q first", got, want)
	}
	if by := out.Events[0].Cause.Actor; by != (engine.Actor{Principal: "bob-laptop", Person: "bob"}) {
		t.Errorf("the log says %+v did it", by)
	}
	if got := out.Events[0].Reason.Text; got != "drill <1>" {
		t.Errorf("the log gives the reason %q", got)
	}

	s, err := c.Scope(ctx, "checkout")
	if err != nil {
		t.Fatal(err)
	}
	if s.Target != "degraded" || s.Directive == nil || s.Directive.Flags["recommendations"] != false || s.Owner != "team-checkout" {
		t.Errorf("the scope is %+v", s)
	}
	if s.Pin == nil || s.Pin.Mode != "degraded" || s.Pin.Reason != "drill <1>" || s.Pin.Until.Sub(s.Since) != 30*time.Minute {
		t.Errorf("the pin is %+v", s.Pin)
	}
	if _, err := c.Unpin(ctx, "checkout", "drill over"); err != nil {
		t.Fatal(err)
	}
	if s, err = c.Scope(ctx, "checkout"); err != nil || s.Pin != nil {
		t.Errorf("after unpin: %+v, %v", s.Pin, err)
	}
	if list, err := c.Scopes(ctx); err != nil || len(list) != 1 || list[0].Scope != "checkout" || list[0].Target != "degraded" {
		t.Errorf("an operator of checkout sees %+v, %v", list, err)
	}
}

func TestAFleetFreezeShowsInEveryScope(t *testing.T) {
	w := newWorld(t, "checkout", "payments")
	c := serve(t, w, nil).client(t, "operator-all")
	ctx := t.Context()
	if _, err := c.Freeze(ctx, engine.Fleet, "Black Friday", 24*time.Hour); err != nil {
		t.Fatal(err)
	}
	list, err := c.Scopes(ctx)
	if err != nil || len(list) != 2 || !list[0].Frozen || !list[1].Frozen {
		t.Errorf("scopes: %+v, %v", list, err)
	}
	s, err := c.Scope(ctx, "payments")
	if err != nil || s.Freeze != nil || s.FleetFreeze == nil || s.FleetFreeze.Reason != "Black Friday" || s.FleetFreeze.By.Principal != "carol" {
		t.Errorf("payments: %+v, %v", s, err)
	}
	if status, err := c.Status(ctx); err != nil || status.Freeze == nil {
		t.Errorf("status: %+v, %v", status, err)
	}
	if _, err := c.Unfreeze(ctx, engine.Fleet, "over"); err != nil {
		t.Fatal(err)
	}
	if s, err = c.Scope(ctx, "payments"); err != nil || s.FleetFreeze != nil {
		t.Errorf("released: %+v, %v", s.FleetFreeze, err)
	}
}

func TestTheEvidenceIsShownWithItsCondition(t *testing.T) {
	w := newWorld(t, "checkout")
	w.decide(t, "checkout", engine.Actor{}, &engine.Observed{Instant: noon.Add(time.Minute), Prev: noon.Add(45 * time.Second),
		Conditions: []engine.Observation{{Asked: true, Truth: engine.True, Readings: []engine.Reading{
			{Signal: `sli("p99")`, Value: 1.5, Sample: noon, Query: "histogram_quantile(0.99, x)", Source: "eu"}}}}})
	w.decide(t, "checkout", engine.Actor{}, &engine.Observed{Instant: noon.Add(75 * time.Second), Prev: noon.Add(time.Minute),
		Conditions: []engine.Observation{{Asked: true, Truth: engine.True, Readings: []engine.Reading{
			{Signal: `sli("p99")`, Value: 1.25, Sample: noon, Query: "histogram_quantile(0.99, x)", Source: "eu"}}}}})
	s, err := serve(t, w, nil).client(t, "viewer-checkout").Scope(t.Context(), "checkout")
	if err != nil {
		t.Fatal(err)
	}
	if len(s.Conditions) != 1 || s.Conditions[0].Truth != engine.True || len(s.Conditions[0].Readings) != 1 || s.Conditions[0].Readings[0].Value != 1.25 {
		t.Errorf("conditions: %+v", s.Conditions)
	}
	if got := s.Transitions[0]; got.Condition != "shed.when" || got.For != api.Duration(time.Minute) || got.Held != api.Duration(15*time.Second) {
		t.Errorf("transition: %+v", got)
	}
	if !s.Observed.Equal(noon.Add(75 * time.Second)) {
		t.Errorf("observed at %s", s.Observed)
	}
}

func TestARequestTheCoreRefusesSaysWhyAndHowToMendIt(t *testing.T) {
	w := newWorld(t, "checkout")
	w.decide(t, "checkout", engine.Actor{}, &engine.SetRequested{Mode: "read-only", Reason: "x", DirectiveOnly: true})
	c := serve(t, w, nil).client(t, "admin")
	ctx := t.Context()
	set := func(r api.SetRequest) error { _, err := c.Set(ctx, "checkout", r); return err }
	unpinned := func() error { _, err := c.Unfreeze(ctx, "checkout", "over"); return err }
	for name, c := range map[string]struct {
		err    error
		status int
		code   string
		says   string
	}{
		"no such mode":     {set(api.SetRequest{Mode: "degradd", Reason: "x"}), 422, api.CodeRefused, "it has normal, degraded, read-only"},
		"a blank reason":   {set(api.SetRequest{Mode: "normal", Reason: " "}), 422, api.CodeRefused, "say why"},
		"too long a pin":   {set(api.SetRequest{Mode: "normal", Reason: "x", For: api.Duration(25 * time.Hour)}), 422, api.CodeRefused, "at most 24h"},
		"no transition":    {set(api.SetRequest{Mode: "normal", Reason: "x"}), 409, api.CodeRefused, "--directive-only"},
		"several ways":     {set(api.SetRequest{Mode: "degraded", Reason: "x"}), 409, api.CodeRefused, "--via shed-too"},
		"nothing frozen":   {unpinned(), 409, api.CodeRefused, "not frozen"},
		"no reason at all": {set(api.SetRequest{Mode: "normal"}), 422, api.CodeInvalid, "reason"},
	} {
		t.Run(name, func(t *testing.T) {
			e := apiError(t, c.err)
			if e.Status() != c.status || e.Code() != c.code || !strings.Contains(e.Error(), c.says) {
				t.Errorf("got %d %s: %s; want %d %s: …%s…", e.Status(), e.Code(), e, c.status, c.code, c.says)
			}
		})
	}
}

func TestWhatTheLoopCannotDoHasAStatusOfItsOwn(t *testing.T) {
	for name, c := range map[string]struct {
		err    error
		status int
		code   string
	}{
		"not stored":          {coded{api.CodeUnavailable, "the log cannot be written"}, 503, api.CodeUnavailable},
		"a faster writer":     {coded{api.CodeConflict, "another writer"}, 409, api.CodeConflict},
		"no rules":            {coded{api.CodeNoRules, "no rules are in force"}, 409, api.CodeNoRules},
		"an unknown scope":    {coded{api.CodeUnknownScope, "no scope"}, 404, api.CodeUnknownScope},
		"a code nobody knows": {coded{"odd", "odd"}, 500, api.CodeInternal},
		"any other error":     {errors.New("odd"), 500, api.CodeInternal},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, "checkout")
			s := serve(t, w, nil)
			w.fail(c.err)
			_, err := s.client(t, "admin").Set(t.Context(), "checkout", api.SetRequest{Mode: "degraded", Reason: "x"})
			e := apiError(t, err)
			if e.Status() != c.status || e.Code() != c.code || !strings.Contains(e.Error(), c.err.Error()) {
				t.Errorf("got %d %s: %s", e.Status(), e.Code(), e)
			}
			resp, _ := s.do(t, "POST", "/api/v1/scopes/checkout/set", `{"mode":"degraded","reason":"x"}`, as("admin"))
			if got := resp.Header.Get("Retry-After"); (got != "") != (c.status == 503) {
				t.Errorf("Retry-After: %q with %d", got, c.status)
			}
			if got := resp.Header.Get("Content-Type"); got != "application/problem+json" {
				t.Errorf("content type %q", got)
			}
		})
	}
}

func TestHistoryIsPagedFromTheNewestToTheOldestWithoutHoles(t *testing.T) {
	w := newWorld(t, "checkout", "payments")
	w.freezes(t, "payments", 3)
	w.freezes(t, "checkout", 7)
	total := w.states["checkout"].Version
	c := serve(t, w, nil).client(t, "viewer-checkout")
	for _, limit := range []int{1, 2, 3, int(total) - 1, int(total), int(total) + 1, 0} {
		var versions []engine.Version
		var before engine.Version
		for {
			page, err := c.History(t.Context(), "checkout", before, limit)
			if err != nil {
				t.Fatal(err)
			}
			for _, e := range page.Events {
				if e.Stream != "checkout" {
					t.Errorf("an event of %s", e.Stream)
				}
				versions = append(versions, e.Version)
			}
			if before = page.Before; before == 0 {
				break
			}
		}
		var want []engine.Version
		for v := total; v > 0; v-- {
			want = append(want, v)
		}
		if !slices.Equal(versions, want) {
			t.Errorf("limit %d: versions %v, want %v", limit, versions, want)
		}
	}
	w.cut = int64(len(w.log)) - 2 // all but the last two are archived
	page, err := c.History(t.Context(), "checkout", 0, 100)
	if err != nil || len(page.Events) != 2 || page.Before != 0 {
		t.Errorf("of an archived log: %d events, next %d, %v", len(page.Events), page.Before, err)
	}
	if _, err := c.History(t.Context(), "nobody", 0, 0); apiError(t, err).Status() != 403 {
		t.Errorf("a scope that is not the token's: %v", err)
	}
}

func TestStatusSaysWhatIsWrong(t *testing.T) {
	w := newWorld(t, "checkout", "payments")
	w.problems["checkout"] = "checkout.yaml:3:5: unknown key"
	w.problems["payments"] = "payments.yaml:1:1: empty"
	checks := []api.Check{{Name: "log", OK: true}, {Name: "evaluation", Detail: "the last was 2m ago"}}
	s := serve(t, w, func(o *api.Options) {
		o.Checks = func() []api.Check { return checks }
		o.Sources = func() []engine.Sight {
			return []engine.Sight{{Source: "eu", Asked: true, Blind: true, Detail: "connection refused"}}
		}
		o.RulesProblems = func() []api.RulesProblem { return []api.RulesProblem{{Problem: "new.yaml:1:1: no service"}} }
		o.Jobs = jobs{Owed: 2, Failed: 1}
	})
	got, err := s.client(t, "viewer-checkout").Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if got.Ready || got.Version != "1.2.3" || !slices.Equal(got.Checks, checks) || got.Position != int64(len(w.log)) || got.Scopes != 1 {
		t.Errorf("status: %+v", got)
	}
	if len(got.Sources) != 1 || !got.Sources[0].Blind || got.Sources[0].Source != "eu" {
		t.Errorf("sources: %+v", got.Sources)
	}
	want := []api.RulesProblem{{Scope: "checkout", Problem: "checkout.yaml:3:5: unknown key"}, {Problem: "new.yaml:1:1: no service"}}
	if !slices.Equal(got.RulesProblems, want) {
		t.Errorf("problems: %+v, want %+v", got.RulesProblems, want)
	}
	if got.Jobs == nil || *got.Jobs != (api.JobCounts{Owed: 2, Failed: 1}) {
		t.Errorf("jobs: %+v", got.Jobs)
	}
}

type jobs api.JobCounts

func (j jobs) JobCounts(context.Context) (api.JobCounts, error) { return api.JobCounts(j), nil }

func TestWhatIsNoOperationIsAProblemToo(t *testing.T) {
	w := newWorld(t, "checkout")
	s := serve(t, w, nil)
	set := "/api/v1/scopes/checkout/set"
	yaml := as("admin")
	yaml.Set("Content-Type", "application/yaml")
	cross := as("admin")
	cross.Set("Sec-Fetch-Site", "cross-site")
	cross.Set("Origin", "https://evil.example.com")
	for name, c := range map[string]struct {
		method, path, body string
		header             http.Header
		status             int
		code               string
	}{
		"no such path":                  {"GET", "/api/v1/nothing", "", as("admin"), 404, api.CodeNotFound},
		"another method":                {"GET", set, "", as("admin"), 405, api.CodeMethod},
		"another method, the other way": {"DELETE", "/api/v1/scopes", "", as("admin"), 405, api.CodeMethod},
		"a page of another origin":      {"POST", set, `{"mode":"degraded","reason":"x"}`, cross, 403, api.CodeCrossOrigin},
		"an unknown member":             {"POST", set, `{"mode":"degraded","reason":"x","fro":"1h"}`, as("admin"), 422, api.CodeInvalid},
		"a duration that is none":       {"POST", set, `{"mode":"degraded","reason":"x","for":"1 hour"}`, as("admin"), 422, api.CodeInvalid},
		"a duration that is a number":   {"POST", set, `{"mode":"degraded","reason":"x","for":3600}`, as("admin"), 422, api.CodeInvalid},
		"an empty duration":             {"POST", set, `{"mode":"degraded","reason":"x","for":""}`, as("admin"), 422, api.CodeInvalid},
		"a duration too large":          {"POST", set, `{"mode":"degraded","reason":"x","for":"99999999y"}`, as("admin"), 422, api.CodeInvalid},
		"broken JSON":                   {"POST", set, `{"mode":`, as("admin"), 400, api.CodeInvalid},
		"no body":                       {"POST", set, ``, as("admin"), 400, api.CodeInvalid},
		"a body too large":              {"POST", set, `{"mode":"degraded","reason":"` + strings.Repeat("x", 70_000) + `"}`, as("admin"), 413, api.CodeInvalid},
		"a body that is no JSON":        {"POST", set, `mode: degraded`, yaml, 415, api.CodeInvalid},
		"an unknown parameter":          {"GET", "/api/v1/scopes/checkout/history?after=3", "", as("admin"), 422, api.CodeInvalid},
		"a limit too large":             {"GET", "/api/v1/scopes/checkout/history?limit=1001", "", as("admin"), 422, api.CodeInvalid},
	} {
		t.Run(name, func(t *testing.T) {
			resp, text := s.do(t, c.method, c.path, c.body, c.header)
			if resp.StatusCode != c.status || resp.Header.Get("Content-Type") != "application/problem+json" {
				t.Errorf("got %d %s %s, want a problem %d", resp.StatusCode, resp.Header.Get("Content-Type"), text, c.status)
			}
			var p api.Problem
			if err := json.Unmarshal([]byte(text), &p); err != nil || p.Type != "urn:modeshift:problem:"+c.code || p.Status != c.status {
				t.Errorf("%s, %v: not of type %s", text, err, c.code)
			}
			if c.status == 405 && resp.Header.Get("Allow") == "" {
				t.Error("405 without Allow")
			}
		})
	}
	if v, _ := w.View("checkout"); v.State.Target != "normal" || v.State.Pin != nil {
		t.Errorf("something came through: the scope is %+v", v.State)
	}
}

func FuzzNoSetBodyBreaksTheServer(f *testing.F) {
	for _, seed := range []string{
		`{"mode":"degraded","reason":"x","for":"1h","via":"shed","directive_only":true}`, `{"mode":"degraded","reason":"x","for":"0"}`,
		`{}`, `null`, `[]`, `{"mode":1}`, "\x00", `{"mode":"\ud800","reason":"x"}`, `{"mode":"degraded","reason":"x","for":"1000000000000000000y"}`,
	} {
		f.Add(seed)
	}
	w := newWorld(f, "checkout")
	s := serve(f, w, nil)
	f.Fuzz(func(t *testing.T, body string) {
		before, _ := w.View("checkout")
		resp, text := s.do(t, "POST", "/api/v1/scopes/checkout/set", body, as("admin"))
		after, _ := w.View("checkout")
		switch resp.StatusCode {
		case 200:
			if after.State.Version == before.State.Version {
				t.Errorf("%q was answered 200 and is not in the log", body)
			}
		case 400, 409, 413, 422:
			if after.State.Target != before.State.Target {
				t.Errorf("%q was refused and moved the scope", body)
			}
		default:
			t.Errorf("%q: %d %s", body, resp.StatusCode, text)
		}
	})
}
