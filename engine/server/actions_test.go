package server

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/modeshift/modeshift/actions"
	"github.com/modeshift/modeshift/actions/runner"
	"github.com/modeshift/modeshift/engine"
	"github.com/modeshift/modeshift/engine/secret"
	"github.com/modeshift/modeshift/engine/store"
)

func TestTheActionsOfAConfigurationAreReadStrictly(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "modeshift.yaml")
	const rest = "rules: [rules]\nprometheus: [{name: main, url: http://127.0.0.1:9090}]\n"
	put(t, path, rest+`actions:
  concurrency: 4
  webhook: {allow: [10.0.0.0/8, dns.internal], secrets_dir: secrets}
  exec: {programs: {fail-over: /usr/local/bin/fail-over}, env: [PATH], output_limit: 1000, dir: work}
receivers: {approvals: {webhook: {url: https://chat.example.com/hook}}}
`)
	c, err := LoadConfig(path)
	if err != nil {
		t.Fatal(err)
	}
	a := c.Actions
	if a.Concurrency != 4 || a.PerKind != defaultPerKind || a.Webhook.SecretsDir != filepath.Join(dir, "secrets") || a.Exec.Dir != filepath.Join(dir, "work") ||
		a.Exec.Programs["fail-over"] != "/usr/local/bin/fail-over" || c.Receivers.Approvals == nil {
		t.Errorf("read %+v", c)
	}
	for text, want := range map[string]string{
		"actions: {exec: {programs: [/bin/true]}}":               "",
		"actions: {exec: {programs: [true.sh]}}":                 `actions.exec: program true.sh: "true.sh" is not an absolute path`,
		"actions: {exec: {program: [/bin/true]}}":                "modeshift.yaml:3: unknown key program; known here: programs, env, output_limit, dir",
		"actions: {webhook: {allow: [10.0.0.0/99]}}":             "actions.webhook.allow: ",
		"actions: {webhook: {deny: [10.0.0.0/9]}}":               "modeshift.yaml:3: unknown key deny; known here: allow, secrets_dir",
		"actions: {concurrency: 0}":                              "actions.concurrency: 0 is not between 1 and 1000",
		"actions: {per_kind: -1}":                                "actions.per_kind: -1 is not between 1 and 1000",
		"actions: {exec: {output_limit: -1}}":                    "actions.exec: the limit of output is below 0",
		"actions: {exec: {env: [MODESHIFT_KEY]}}":                "actions.exec: ",
		"receivers: {approvals: {}}":                             "receivers.approvals: exactly one of pagerduty, webhook and chat is needed",
		"receivers: {approvals: {webhook: {url: chat.example}}}": "receivers.approvals.webhook.url: ",
	} {
		put(t, path, rest+text+"\n")
		cfg, err := LoadConfig(path)
		if err == nil {
			err = cfg.Validate()
		}
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
	}
}

// pagerDuty is PagerDuty, as far as events go.
type pagerDuty struct {
	mu     sync.Mutex
	events []alert
}

type alert struct {
	Action    string `json:"event_action"`
	Key       string `json:"dedup_key"`
	ClientURL string `json:"client_url"`
	Links     []struct {
		Href string `json:"href"`
	} `json:"links"`
	Payload struct {
		Summary  string `json:"summary"`
		Severity string `json:"severity"`
		Details  struct {
			Notes    map[string]string `json:"annotations"`
			AnswerAt string            `json:"answer_at"`
		} `json:"custom_details"`
	} `json:"payload"`
}

// leads reports whether an alert has a link to url.
func (a alert) leads(url string) bool {
	for _, l := range a.Links {
		if l.Href == url {
			return true
		}
	}
	return false
}

func (p *pagerDuty) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var a alert
	if err := json.NewDecoder(r.Body).Decode(&a); err != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	p.mu.Lock()
	p.events = append(p.events, a)
	p.mu.Unlock()
	w.WriteHeader(http.StatusAccepted)
	_, _ = io.WriteString(w, `{"status":"success"}`) // the client notices when it is cut off
}

// said is what was sent, in order of keys.
func (p *pagerDuty) said() (out []string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, a := range p.events {
		out = append(out, a.Action+" "+a.Key)
	}
	slices.Sort(out)
	return out
}

func TestWhoeverIsPagedIsAskedOnce(t *testing.T) {
	const scope = "checkout"
	groups := []engine.Group{{Role: "oncall", Count: 1}, {Role: "lead", Count: 1}}
	// The first event opens an incident, of which the second may be told.
	opened := func(s engine.Severity) engine.Fact {
		return engine.IncidentOpened{Incident: engine.Incident{ID: scope + "-1", Kind: engine.IncidentSLO, Subject: "slo/availability/page", Severity: s}, Summary: "it burns"}
	}
	// What the core says of a proposal in the incident that it joins.
	noted := engine.IncidentUpdated{Incident: scope + "-1", Severity: engine.SeverityPage, Note: "it waits for lead:1", Proposal: scope + "-2"}
	proposed := func(in engine.IncidentID) engine.Fact {
		return engine.ChangeProposed{Proposal: engine.Proposal{ID: scope + "-2", Transition: "fail-over", From: "degraded", To: "failover", Gate: engine.Gate{Groups: groups}}, Incident: in}
	}
	braked := engine.ChangeProposed{Proposal: engine.Proposal{ID: scope + "-2", Transition: "shed", From: "normal", To: "degraded", Gate: engine.Gate{Groups: groups[:1]}, Braked: true}}
	withheld := engine.IncidentOpened{Incident: engine.Incident{ID: scope + "-3", Kind: engine.IncidentWithheld, Subject: "shed", Severity: engine.SeverityPage},
		Summary: "it is withheld", Details: engine.Details{Scope: scope, Proposal: scope + "-2"}}
	renewed := func(voided int) engine.Fact {
		return engine.ProposalRenewed{Proposal: scope + "-2", Transition: "fail-over", From: "degraded", To: "failover", Gate: engine.Gate{Groups: groups}, Voided: voided}
	}
	denied := engine.ProposalDenied{Proposal: scope + "-2", Person: "bob", Role: "lead", Asked: groups, Summary: "it was denied"}
	escalated := engine.GateEscalated{Proposal: scope + "-2", Groups: groups[1:], Summary: "nobody answered"}
	const page, own = "trigger modeshift/checkout-1", "trigger modeshift/checkout-2"
	for _, test := range []struct {
		name      string
		facts     []engine.Fact
		page, ask []string // ask nil: there is no receiver for approvals
	}{
		{"a proposal that a page tells of has no page of its own", []engine.Fact{opened(engine.SeverityPage), proposed(scope + "-1"), noted}, []string{page, page}, nil},
		{"a proposal that nothing tells of has one", []engine.Fact{opened(engine.SeverityPage), proposed("")}, []string{page, own}, nil},
		{"a ticket wakes nobody, so its proposal does", []engine.Fact{opened(engine.SeverityTicket), proposed(scope + "-1")}, []string{own}, nil},
		{"what the brake withholds is told by the page of its tier", []engine.Fact{opened(engine.SeverityPage), braked, noted}, []string{page, page}, nil},
		{"or by one of its own", []engine.Fact{engine.ScopeAdded{Mode: "normal"}, braked, withheld}, []string{"trigger modeshift/checkout-3"}, nil},
		{"one that changed before anybody said yes is not told of again", []engine.Fact{opened(engine.SeverityPage), proposed(scope + "-1"), renewed(0)}, []string{page}, nil},
		{"who said yes to something else is told", []engine.Fact{opened(engine.SeverityPage), proposed(scope + "-1"), renewed(1)}, []string{page, own}, nil},
		{"when nobody answers people are woken", []engine.Fact{opened(engine.SeverityPage), proposed(scope + "-1"), escalated}, []string{page, own}, nil},
		{"an answer ends it", []engine.Fact{opened(engine.SeverityPage), proposed(""), denied}, []string{"resolve modeshift/checkout-2", page, own}, nil},
		{"those who approve have a receiver of their own", []engine.Fact{opened(engine.SeverityPage), proposed(scope + "-1"), renewed(0), denied},
			[]string{page}, []string{"resolve modeshift/checkout-2", own, own}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			pages, asks := new(pagerDuty), new(pagerDuty)
			cfg := DefaultConfig()
			cfg.ExternalURL = "https://modeshift.example.com/"
			to := func(p *pagerDuty) *Receiver {
				srv := httptest.NewServer(p)
				t.Cleanup(srv.Close)
				return &Receiver{PagerDuty: &PagerDuty{RoutingKey: secret.New("k"), URL: srv.URL}}
			}
			cfg.Receivers.Page = to(pages)
			if test.ask != nil {
				cfg.Receivers.Approvals = to(asks)
			}
			log, err := store.Open(t.Context(), ":memory:", store.Options{})
			if err != nil {
				t.Fatal(err)
			}
			s := &Server{opts: Options{Config: cfg}, store: log}
			routes, err := s.notifiers()
			if err != nil {
				t.Fatal(err)
			}
			add := store.Append{Stream: scope}
			for i, f := range test.facts {
				add.Events = append(add.Events, engine.Event{Stream: scope, Version: engine.Version(i) + 1, At: time.Unix(int64(i), 0).UTC(), Fact: f})
			}
			if err := log.Append(t.Context(), add); err != nil {
				t.Fatal(err)
			}
			ctx, stop := context.WithCancel(t.Context())
			ended := make(chan error, 1)
			r := runner.New(log, routes, runner.Options{Log: slog.New(slog.DiscardHandler), Poll: 10 * time.Millisecond})
			go func() { ended <- r.Run(ctx) }()
			within(t, "all notices are taken", func() bool {
				c, err := log.JobCounts(t.Context())
				return err == nil && c.Owed+c.Leased == 0
			})
			stop()
			if err := errors.Join(<-ended, log.Close()); err != nil {
				t.Fatal(err)
			}
			if got := pages.said(); !slices.Equal(got, test.page) {
				t.Errorf("pages %q, want %q", got, test.page)
			}
			if got := asks.said(); !slices.Equal(got, test.ask) {
				t.Errorf("asked %q, want %q", got, test.ask)
			}
			for _, a := range append(pages.events, asks.events...) {
				const list = "https://modeshift.example.com/approvals"
				if a.Action == "trigger" && a.Payload.Severity == "critical" && !a.leads(list) && !a.leads(list+"/checkout-2") {
					t.Errorf("nothing to answer at in %+v", a)
				}
				if a.Payload.Summary == noted.Note && (!a.leads(list+"/checkout-2") || a.Payload.Details.AnswerAt != list+"/checkout-2") {
					t.Errorf("the page that tells of the proposal does not lead to it: %+v", a)
				}
				if a.Action == "trigger" && a.Key == "modeshift/checkout-2" {
					const link = "https://modeshift.example.com/approvals/checkout-2"
					if a.ClientURL != link || a.Payload.Details.Notes["answer_at"] != link || a.Payload.Severity != "critical" || !strings.Contains(a.Payload.Summary, "lead:1") {
						t.Errorf("people are asked by %+v", a)
					}
				}
			}
		})
	}
}

// slot is a kind of step that waits to be let go, and counts.
type slot struct {
	begun chan engine.StepJob
	free  chan struct{}
}

func (*slot) Check([]byte) ([]byte, engine.Traits, []engine.SpecProblem) {
	return []byte("{}"), engine.Traits{}, nil
}
func (*slot) Describe(engine.StepJob) (string, error) { return "nothing", nil }
func (k *slot) Do(ctx context.Context, job engine.StepJob) (string, error) {
	k.begun <- job
	select {
	case <-k.free:
		return "ok", nil
	case <-ctx.Done():
		return "", &actions.Error{Err: context.Cause(ctx), Unknown: true}
	}
}

// slotRules are a service whose only way to degraded has a step of the kind slot.
const slotRules = `version: modeshift/v1
service: shop
modes: [{name: normal}, {name: degraded}]
transitions:
  - name: shed
    from: [normal]
    to: degraded
    when: dwell() > duration("9000h")
    actions: [{name: wait, slot: {}}]
`

func TestOfAHundredRequestsAtOnceOneStartsAChange(t *testing.T) {
	path := filepath.Join(t.TempDir(), "shop.yaml")
	put(t, path, slotRules)
	k := &slot{begun: make(chan engine.StepJob, 1000), free: make(chan struct{})}
	s, stop := runServer(t, testConfig(t, path), map[string]actions.Kind{"slot": k})
	t.Cleanup(func() {
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
	var wg sync.WaitGroup
	var mu sync.Mutex
	started, answers := 0, 0
	for i := range 100 {
		wg.Go(func() {
			events, err := s.loop.Submit(t.Context(), "shop", engine.Actor{Principal: fmt.Sprint("p", i)}, &engine.SetRequested{Mode: "degraded", Reason: "drill"})
			mu.Lock()
			defer mu.Unlock()
			if err == nil || len(events) > 0 {
				answers++
			}
			for _, e := range events {
				if e.Kind() == "ChangeStarted" {
					started++
				}
			}
		})
	}
	wg.Wait()
	<-k.begun
	close(k.free)
	within(t, "the change is done", func() bool {
		v, _ := s.loop.View("shop")
		return v.State.Change == nil && v.State.Mode == "degraded"
	})
	events, err := s.store.Read(t.Context(), "shop", 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	stored := 0
	for _, e := range events {
		if e.Kind() == "ChangeStarted" {
			stored++
		}
	}
	if started != 1 || stored != 1 || answers != 100 || len(k.begun) != 0 {
		t.Errorf("%d requests of %d that were answered started a change, %d are in the log, %d further steps ran", started, answers, stored, len(k.begun))
	}
}

// The limits of the configuration are those that steps keep to.
func TestStepsKeepToTheLimitsOfTheConfiguration(t *testing.T) {
	for name, limit := range map[string]func(*Actions){
		"of a kind": func(a *Actions) { a.PerKind = 1 },
		"of all":    func(a *Actions) { a.Concurrency = 1 },
		"none":      func(*Actions) {},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			for _, scope := range []string{"shop", "cart"} {
				put(t, filepath.Join(dir, scope+".yaml"), strings.Replace(slotRules, "service: shop", "service: "+scope, 1))
			}
			cfg := testConfig(t, dir)
			limit(&cfg.Actions)
			k := &slot{begun: make(chan engine.StepJob, 10), free: make(chan struct{})}
			s, stop := runServer(t, cfg, map[string]actions.Kind{"slot": k})
			for _, scope := range []engine.Scope{"shop", "cart"} {
				if _, err := s.loop.Submit(t.Context(), scope, engine.Actor{Principal: "ann"}, &engine.SetRequested{Mode: "degraded", Reason: "drill"}); err != nil {
					t.Fatal(err)
				}
			}
			<-k.begun
			if name == "none" {
				<-k.begun // both at once
			} else {
				// Both have been asked for, and each is looked for well within this time.
				select {
				case job := <-k.begun:
					t.Errorf("the step of %s began beside the other", job.Scope)
				case <-time.After(500 * time.Millisecond):
				}
			}
			close(k.free)
			within(t, "both are done", func() bool {
				shop, _ := s.loop.View("shop")
				cart, _ := s.loop.View("cart")
				return shop.State.Mode == "degraded" && shop.State.Change == nil && cart.State.Mode == "degraded" && cart.State.Change == nil
			})
			if err := stop(); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestAServerThatStopsLetsAStepEndAndTakesUpWhatDidNot(t *testing.T) {
	dir := t.TempDir()
	put(t, filepath.Join(dir, "shop.yaml"), slotRules)
	for _, ends := range []bool{true, false} {
		t.Run(fmt.Sprintf("it ends in time: %v", ends), func(t *testing.T) {
			t.Parallel()
			cfg := testConfig(t, filepath.Join(dir, "shop.yaml"))
			k := &slot{begun: make(chan engine.StepJob, 10), free: make(chan struct{})}
			s, stop := runServer(t, cfg, map[string]actions.Kind{"slot": k})
			if _, err := s.loop.Submit(t.Context(), "shop", engine.Actor{Principal: "ann"}, &engine.SetRequested{Mode: "degraded", Reason: "drill"}); err != nil {
				t.Fatal(err)
			}
			first := <-k.begun
			if ends {
				time.AfterFunc(100*time.Millisecond, func() { close(k.free) })
			}
			if err := stop(); err != nil {
				t.Errorf("stop: %v", err)
			}
			if !ends {
				close(k.free)
			}
			s, stop = runServer(t, cfg, map[string]actions.Kind{"slot": k})
			within(t, "the change is done after the restart", func() bool {
				v, _ := s.loop.View("shop")
				return v.State.Change == nil && v.State.Mode == "degraded"
			})
			select {
			case again := <-k.begun:
				if ends || again.Key != first.Key || again.Attempt != 1 {
					t.Errorf("it is done again: %+v", again)
				}
			default:
				if !ends {
					t.Error("what was interrupted is not taken up")
				}
			}
			if err := stop(); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestAStepThatWasReportedIsNotDoneAgainWhenOnlyItsJobWasLeftOpen(t *testing.T) {
	path := filepath.Join(t.TempDir(), "shop.yaml")
	put(t, path, slotRules)
	cfg := testConfig(t, path)
	k := &slot{begun: make(chan engine.StepJob, 10), free: make(chan struct{})}
	close(k.free)
	s, stop := runServer(t, cfg, map[string]actions.Kind{"slot": k})
	if _, err := s.loop.Submit(t.Context(), "shop", engine.Actor{Principal: "ann"}, &engine.SetRequested{Mode: "degraded", Reason: "drill"}); err != nil {
		t.Fatal(err)
	}
	job := <-k.begun
	within(t, "the change is done", func() bool { v, _ := s.loop.View("shop"); return v.State.Change == nil })
	v, _ := s.loop.View("shop")
	whole := engine.Job{Effect: engine.Effect{ID: "shop/1", Step: &job}, Begun: true}
	if !s.stale(whole) {
		t.Errorf("a step that was reported counts as wanted in %+v", v.State)
	}
	whole.ID = fmt.Sprintf("shop/%d", v.State.Version+1)
	if s.stale(whole) {
		t.Error("a step that was asked for after what is known counts as told")
	}
	whole.ID = "shop/1"
	whole.Step = &engine.StepJob{Scope: "nowhere"}
	if s.stale(whole) {
		t.Error("a step of an unknown scope counts as told")
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
}
