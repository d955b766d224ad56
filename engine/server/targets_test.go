package server

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/modeshift/modeshift/actions"
	"github.com/modeshift/modeshift/engine"
	"github.com/modeshift/modeshift/engine/api"
	"github.com/modeshift/modeshift/engine/approval"
	"github.com/modeshift/modeshift/engine/secret"
)

// instances is a Prometheus that knows of some instances.
type instances struct {
	mu    sync.Mutex // guards what follows
	names []string
	dark  bool
	asked func() // told of each question for the instances
}

func (p *instances) set(names ...string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.names, p.dark = names, false
}

func (p *instances) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	asked := p.asked
	p.mu.Unlock()
	if asked != nil && strings.HasPrefix(r.FormValue("query"), "app{") {
		asked()
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	result := []any{}
	switch q := r.FormValue("query"); {
	case p.dark:
		http.Error(w, "dark", http.StatusServiceUnavailable)
		return
	case q == `app{version="bad"}`:
		for _, n := range p.names {
			result = append(result, map[string]any{"metric": map[string]string{"instance": n}, "value": []any{0, "1"}})
		}
	case strings.HasPrefix(q, "count(up)"), q == "vector(1)":
		result = append(result, map[string]any{"metric": map[string]string{}, "value": []any{0, "1"}})
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(map[string]any{"status": "success", "data": map[string]any{"resultType": "vector", "result": result}})
}

// actor is a kind of step that notes what it acts on.
type actor struct {
	mu  sync.Mutex // guards did
	did []string
}

func (*actor) Check([]byte) ([]byte, engine.Traits, []engine.SpecProblem) {
	return []byte("{}"), engine.Traits{Destructive: true, Keyed: true, Targets: true}, nil
}

func (*actor) Describe(job engine.StepJob) (string, error) {
	return "act on " + strings.Join(job.Targets, " "), nil
}

func (k *actor) Do(_ context.Context, job engine.StepJob) (string, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.did = append(k.did, fmt.Sprint(job.Key, " ", job.Targets))
	if strings.Contains(strings.Join(job.Targets, ""), "broken") && !job.Undo {
		return "", &actions.Error{Err: fmt.Errorf("no answer"), Unknown: true}
	}
	return "ok", nil
}

func (k *actor) acted() []string {
	k.mu.Lock()
	defer k.mu.Unlock()
	return slices.Clone(k.did)
}

const targetRules = `version: modeshift/v1
service: checkout
modes: [{name: normal}, {name: contained}]
transitions:
  - name: contain
    from: [normal]
    to: contained
    when: dwell() > duration("9000h")
    approval: {groups: [{role: oncall, count: 1}], within: 15m}
    actions:
      - name: isolate
        targets: {query: 'app{version="bad"}', max: 2}
        actor: {}
        undo: {actor: {}}
`

// More instances than were approved are asked about again, across a restart; what is done is done to those that are there then, and
// undone where it was done.
func TestMoreTargetsThanWereApprovedAskAgainAcrossARestart(t *testing.T) {
	dir := t.TempDir()
	found := &instances{}
	found.set("a", "b")
	prometheus := httptest.NewServer(found)
	defer prometheus.Close()
	rules, tokens := filepath.Join(dir, "rules.yaml"), filepath.Join(dir, "tokens.yaml")
	put(t, rules, targetRules)
	list := ""
	for name, role := range map[string]string{"dave": "operator", "bob": "oncall"} {
		list += "- {sha256: " + api.HashToken(secret.New("token-"+name)) + ", principal: " + name + ", roles: [" + role + "], scopes: ['*']}\n"
	}
	put(t, tokens, list)
	cfg := testConfig(t, rules)
	cfg.Prometheus[0].URL, cfg.TokensFile = prometheus.URL, tokens
	kind := &actor{}
	kinds := map[string]actions.Kind{"actor": kind}
	s, stop := runServer(t, cfg, kinds)
	defer func() {
		if err := stop(); err != nil {
			t.Error(err)
		}
	}()
	as := func(name string) *api.Client {
		c, err := api.NewClient(s.URL(), secret.New("token-"+name), nil)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	seen := func(id engine.ChangeID) api.Approval {
		t.Helper()
		a, err := as("bob").Approval(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	yes := func(id engine.ChangeID, digest engine.Digest) error {
		_, err := as("bob").Review(t.Context(), id, api.ReviewRequest{Verdict: api.VerdictYes, Digest: digest, Reason: "looked"})
		return err
	}
	selector := `the values of instance in app{version="bad"}`

	dry, err := as("dave").Set(t.Context(), "checkout", api.SetRequest{Mode: "contained", Reason: "bad build", DryRun: true})
	want := &api.StepTargets{Selector: selector, Max: 2, Found: 2, Names: []string{"a", "b"}}
	if err != nil || len(dry.Would) != 1 || !reflect.DeepEqual(dry.Would[0].Targets, want) || dry.Would[0].Do != "act on a b" {
		t.Fatalf("a dry run says %+v, %v", dry.Would, err)
	}
	if _, err := as("dave").Set(t.Context(), "checkout", api.SetRequest{Mode: "contained", Reason: "bad build"}); err != nil {
		t.Fatal(err)
	}
	waiting, err := as("bob").Approvals(t.Context())
	if err != nil || len(waiting) != 1 {
		t.Fatalf("%+v, %v", waiting, err)
	}
	id := waiting[0].ID
	a := seen(id)
	if !reflect.DeepEqual(a.Steps[0].Targets, want) || a.Change != "" {
		t.Errorf("the approver sees %+v", a.Steps[0])
	}
	found.set("a", "b", "c") // after bob has looked
	if err := yes(id, a.Digest); err != nil {
		t.Fatal(err)
	}
	within(t, "people are asked again", func() bool { w, _ := as("bob").Approvals(t.Context()); return len(w) == 1 && w[0].Change != "" })
	b := seen(id)
	if st := b.Steps[0]; b.Digest == a.Digest || !st.Held || st.Targets.Max != 3 || st.Targets.Found != 3 || b.Voided != 1 || b.Ended != nil || len(b.Missing) != 1 {
		t.Errorf("then they see %+v %+v", b, st.Targets)
	}
	if err := yes(id, a.Digest); err == nil || !strings.Contains(err.Error(), "another one now") {
		t.Errorf("a second click on what was shown first: %v", err)
	}

	if err := stop(); err != nil {
		t.Fatal(err)
	}
	s, stop = runServer(t, cfg, kinds)
	if after := seen(id); after.Digest != b.Digest || after.Change != b.Change || !after.Steps[0].Held {
		t.Errorf("after a restart it is %+v", after)
	}
	if did := kind.acted(); len(did) > 0 {
		t.Fatalf("nobody said yes, and it did %v", did)
	}
	found.set("a", "c") // fewer are within what is approved
	if err := yes(id, b.Digest); err != nil {
		t.Fatal(err)
	}
	change := b.Change
	mode := func(want engine.Mode) {
		t.Helper()
		within(t, "it is "+string(want), func() bool { v, _ := s.loop.View("checkout"); return v.State.Change == nil && v.State.Mode == want })
	}
	mode("contained")
	found.set("d", "e", "f", "g")
	if _, err := as("dave").Undo(t.Context(), "checkout", change, api.ChangeRequest{Reason: "mended"}); err != nil {
		t.Fatal(err)
	}
	mode("normal")
	if got, want := kind.acted(), []string{string(change) + "/isolate [a c]", string(change) + "/isolate/undo [a c]"}; !slices.Equal(got, want) {
		t.Errorf("it did %v, want %v", got, want)
	}
	if end := seen(id); end.Ended == nil || end.Ended.How != approval.Started || end.Ended.Change != change {
		t.Errorf("in the end the proposal is %+v", end.Ended)
	}
	x, err := as("bob").Explain(t.Context(), "checkout", change)
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(x)
	if err != nil || !strings.Contains(string(text), "isolate is held: it found 3 targets, and people said yes to 2") || !strings.Contains(string(text), "isolate acts on 2: a, c") {
		t.Errorf("explain says %s, %v", text, err)
	}
	if x.Replay.Difference != nil || x.Replay.NotKept > 0 {
		t.Errorf("the replay gives %+v", x.Replay)
	}
}

// A source that does not answer has not said that there is nothing: the step fails, and the change is undone.
func TestTargetsThatCannotBeFoundFailTheStep(t *testing.T) {
	found := &instances{dark: true}
	prometheus := httptest.NewServer(found)
	defer prometheus.Close()
	rules := filepath.Join(t.TempDir(), "rules.yaml")
	put(t, rules, targetRules)
	cfg := testConfig(t, rules)
	cfg.Prometheus[0].URL = prometheus.URL
	kind := &actor{}
	s, stop := runServer(t, cfg, map[string]actions.Kind{"actor": kind})
	defer func() {
		if err := stop(); err != nil {
			t.Error(err)
		}
	}()
	force := &engine.SetRequested{Mode: "contained", Reason: "bad build", Force: true, Roles: []string{engine.RoleBreakGlass}}
	if _, err := s.loop.Submit(t.Context(), "checkout", engine.Actor{Principal: "root"}, force); err != nil {
		t.Fatal(err)
	}
	within(t, "it is undone", func() bool {
		v, _ := s.loop.View("checkout")
		_, told := v.State.Incident(engine.IncidentChange, "contain")
		return v.State.Change == nil && v.State.Mode == "normal" && told
	})
	if did := kind.acted(); len(did) > 0 {
		t.Errorf("it did %v", did)
	}
}

// selecting is a slot that acts on what its step finds.
type selecting struct{ *slot }

func (selecting) Check([]byte) ([]byte, engine.Traits, []engine.SpecProblem) {
	return []byte("{}"), engine.Traits{Targets: true}, nil
}

// The two jobs of one attempt are told apart: that targets were found and stored is no reason to find them again.
func TestAJobThatFoundTargetsIsOverOnceTheStepRuns(t *testing.T) {
	found := &instances{}
	found.set("a")
	prometheus := httptest.NewServer(found)
	defer prometheus.Close()
	rules := filepath.Join(t.TempDir(), "rules.yaml")
	put(t, rules, `version: modeshift/v1
service: checkout
modes: [{name: normal}, {name: degraded}]
transitions:
  - name: shed
    from: [normal]
    to: degraded
    when: dwell() > duration("9000h")
    actions:
      - {name: drain, targets: {query: 'app{version="bad"}', max: 2}, selecting: {}}
`)
	cfg := testConfig(t, rules)
	cfg.Prometheus[0].URL = prometheus.URL
	k := &slot{begun: make(chan engine.StepJob, 10), free: make(chan struct{})}
	s, stop := runServer(t, cfg, map[string]actions.Kind{"selecting": selecting{k}})
	defer func() {
		close(k.free)
		if err := stop(); err != nil {
			t.Error(err)
		}
	}()
	if _, err := s.loop.Submit(t.Context(), "checkout", engine.Actor{Principal: "ann"}, &engine.SetRequested{Mode: "degraded", Reason: "drill"}); err != nil {
		t.Fatal(err)
	}
	running := <-k.begun
	finding := running
	finding.Find, finding.Targets = true, nil
	job := func(step engine.StepJob) engine.Job {
		return engine.Job{Effect: engine.Effect{ID: "checkout/1", Step: &step}}
	}
	if !slices.Equal(running.Targets, []string{"a"}) || s.stale(job(running)) || !s.stale(job(finding)) {
		t.Errorf("it runs on %v; stale: it %v, what found that %v", running.Targets, s.stale(job(running)), s.stale(job(finding)))
	}
}

// Killed while targets are found it finds them again; killed after that it acts on those that it had found, whatever there is by
// then: under one key there is one request.
func TestAKillWhileTargetsAreFoundOrActedOnChangesNoRequest(t *testing.T) {
	for phase, want := range map[string]string{
		"while they are found":        `{"hosts":["late"]}`,
		"before the step happens":     `{"hosts":["a","b"]}`,
		"after the step has happened": `{"hosts":["a","b"]}`,
	} {
		t.Run(phase, func(t *testing.T) {
			t.Parallel()
			found := &instances{}
			found.set("a", "b")
			prometheus := httptest.NewServer(found)
			defer prometheus.Close()
			th := theatreOf(t, prometheus.URL, func(url string) string {
				return `version: modeshift/v1
service: shop
modes: [{name: normal}, {name: degraded}]
transitions:
  - name: shed
    from: [normal]
    to: degraded
    when: dwell() > duration("9000h")
    actions:
      - name: drain
        targets: {query: 'app{version="bad"}', max: 2}
        attempts: 2
        webhook: {url: '` + url + `', json: {hosts: "{{.targets}}"}}
        undo: {webhook: {url: '` + url + `', json: {hosts: "{{.targets}}"}}}
`
			})
			killed := make(chan struct{})
			var once sync.Once
			kill := func() {
				once.Do(func() {
					found.set("late")
					th.kill()
					close(killed)
				})
			}
			switch phase {
			case "while they are found":
				found.mu.Lock()
				found.asked = kill
				found.mu.Unlock()
			case "before the step happens":
				th.target.before = func(string, int) int {
					select {
					case <-killed:
						return 0
					default:
						kill()
						return http.StatusServiceUnavailable // to nobody
					}
				}
			default:
				th.target.after = func(string, int) { kill() }
			}
			th.set(false, killed)
			th.start()
			if mode := th.settled(); mode != "degraded" {
				t.Errorf("it settled in %s", mode)
			}
			change := ""
			th.target.mu.Lock()
			for key, bodies := range th.target.bodies {
				change, _, _ = strings.Cut(key, "/")
				for _, body := range bodies {
					if body != want {
						t.Errorf("it was told %s, want %s", body, want)
					}
				}
			}
			if len(th.target.order) != 1 {
				t.Errorf("it happened as %q", th.target.order)
			}
			th.target.mu.Unlock()
			if _, err := th.client.Undo(t.Context(), "shop", engine.ChangeID(change), api.ChangeRequest{Reason: "drill"}); err != nil {
				t.Fatal(err)
			}
			if mode := th.settled(); mode != "normal" {
				t.Errorf("after the undo it is in %s", mode)
			}
			th.target.mu.Lock()
			defer th.target.mu.Unlock()
			if undo := th.target.bodies[change+"/drain/undo"]; len(undo) == 0 || undo[0] != want {
				t.Errorf("the undo was told %s, want %s", undo, want)
			}
		})
	}
}
