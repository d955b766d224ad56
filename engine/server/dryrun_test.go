package server

import (
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/modeshift/modeshift/engine"
	"github.com/modeshift/modeshift/engine/api"
	"github.com/modeshift/modeshift/engine/secret"
)

// unwindRules are a service whose way back takes back what the way in did, and then does something of its own.
const unwindRules = `version: modeshift/v1
service: checkout
slis:
  - {name: up, query: vector(1)}
modes:
  - name: normal
  - name: degraded
transitions:
  - name: shed
    from: [normal]
    to: degraded
    when: sli("up") > 2.0
    actions:
      - name: limit
        webhook: {url: "TARGET/limit", json: {rate: low, for: "{{.transition}} of {{.change}} to {{.to}}"}}
        undo: {webhook: {url: "TARGET/limit", json: {rate: high, for: "{{.transition}} of {{.change}} to {{.to}}"}}}
  - name: recover
    from: [degraded]
    to: normal
    when: sli("up") > 3.0
    undo: entry
    actions:
      - name: announce
        webhook: {url: "TARGET/announce", json: {news: good}}
        undo: {webhook: {url: "TARGET/announce", json: {news: bad}}}
`

// What is said is compared with what the target is told afterwards, to the letter.
func TestADryRunSaysAllThatWouldBeDoneAndDoesNothing(t *testing.T) {
	var mu sync.Mutex
	var told []string
	hold, free := make(chan struct{}, 1), make(chan struct{})
	target := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body) // half a body is not what was said
		mu.Lock()
		told = append(told, r.URL.Path+" "+string(body))
		mu.Unlock()
		if strings.HasPrefix(r.URL.Path, "/announce") && strings.Contains(string(body), "good") {
			hold <- struct{}{}
			<-free
		}
	}))
	defer target.Close()
	rules := strings.ReplaceAll(unwindRules, "TARGET", target.URL)
	path := filepath.Join(t.TempDir(), "rules.yaml")
	put(t, path, rules)
	cfg := testConfig(t, path)
	cfg.Actions.Webhook.Allow = []string{"127.0.0.1"}
	s, stop := runServer(t, cfg, nil)
	defer func() {
		if err := stop(); err != nil {
			t.Error(err)
		}
	}()
	token, err := os.ReadFile(filepath.Join(cfg.Data, "admin-token"))
	if err != nil {
		t.Fatal(err)
	}
	c, err := api.NewClient(s.URL(), secret.New(strings.TrimSpace(string(token))), nil)
	if err != nil {
		t.Fatal(err)
	}
	settled := func(mode engine.Mode) func() bool {
		return func() bool {
			v, _ := s.loop.View("checkout")
			return v.State.Change == nil && v.State.Mode == mode
		}
	}
	// dry asks for something that is not done, and returns what would be, as the target would be told it.
	dry := func(what string, f func() (api.Outcome, error)) (said []string) {
		t.Helper()
		before, _ := s.loop.View("checkout")
		mu.Lock()
		calls := len(told)
		mu.Unlock()
		out, err := f()
		if err != nil || !out.DryRun {
			t.Fatalf("a dry run of %s: %+v, %v", what, out, err)
		}
		for _, w := range out.Would {
			post, body, _ := strings.Cut(w.Do, "\n")
			_, body, _ = strings.Cut(body, "\n\n")
			said = append(said, strings.TrimPrefix(post, "POST "+target.URL)+" "+firstLine(body))
			if (w.Undoes == "") != (w.Undo != "") {
				t.Errorf("%s: %+v", what, w)
			}
		}
		after, _ := s.loop.View("checkout")
		mu.Lock()
		defer mu.Unlock()
		if after.State.Version != before.State.Version || len(told) != calls {
			t.Errorf("a dry run of %s did something", what)
		}
		return said
	}
	// next is what the target was told since the last time.
	seen := 0
	next := func() []string {
		mu.Lock()
		defer mu.Unlock()
		out := slices.Clone(told[seen:])
		seen = len(told)
		return out
	}
	same := func(what string, said, done []string) {
		t.Helper()
		if len(said) == 0 || !slices.Equal(said, done) {
			t.Errorf("%s: it said\n%q\nand did\n%q", what, said, done)
		}
	}
	set := func(mode engine.Mode, dry bool) func() (api.Outcome, error) {
		return func() (api.Outcome, error) {
			return c.Set(t.Context(), "checkout", api.SetRequest{Mode: mode, Reason: "drill", DryRun: dry})
		}
	}
	must := func(f func() (api.Outcome, error)) {
		t.Helper()
		if _, err := f(); err != nil {
			t.Fatal(err)
		}
	}

	said := dry("set", set("degraded", true))
	must(set("degraded", false))
	within(t, "degraded", settled("degraded"))
	same("set", said, next())

	v, _ := s.loop.View("checkout")
	last := v.State.Past[len(v.State.Past)-1].ID
	undo := func(dry bool) func() (api.Outcome, error) {
		return func() (api.Outcome, error) {
			return c.Undo(t.Context(), "checkout", last, api.ChangeRequest{Reason: "drill", DryRun: dry})
		}
	}
	said = dry("undo", undo(true))
	must(undo(false))
	within(t, "normal", settled("normal"))
	same("undo", said, next())

	must(set("degraded", false))
	within(t, "degraded", settled("degraded"))
	next()
	said = dry("set with undo: entry", set("normal", true))
	must(set("normal", false))
	<-hold
	same("set with undo: entry", said, next())

	// The step under way is taken back too, once it turns out to be done.
	v, _ = s.loop.View("checkout")
	cancel := func(dry bool) func() (api.Outcome, error) {
		return func() (api.Outcome, error) {
			return c.Cancel(t.Context(), "checkout", v.State.Change.ID, api.ChangeRequest{Reason: "drill", DryRun: dry})
		}
	}
	said = dry("cancel", cancel(true))
	if pin := dry("set to the mode under way", set("normal", true)); len(pin) != 0 {
		t.Errorf("what only pins would do %q", pin)
	}
	must(cancel(false))
	close(free)
	within(t, "degraded again", settled("degraded"))
	same("cancel", said, next())
}

func firstLine(text string) string {
	line, _, _ := strings.Cut(text, "\n")
	return line
}

func TestAnApproverIsShownWhatIsTakenBackFirstAsTheTargetWillBeToldIt(t *testing.T) {
	var mu sync.Mutex
	var told []string
	target := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body) // half a body is not what was shown
		mu.Lock()
		defer mu.Unlock()
		told = append(told, string(body))
	}))
	defer target.Close()
	dir := t.TempDir()
	rules := strings.ReplaceAll(unwindRules, "TARGET", target.URL)
	put(t, filepath.Join(dir, "rules.yaml"), strings.Replace(rules, "undo: entry", "undo: entry\n    approval: {groups: [{role: lead, count: 1}], within: 15m}", 1))
	put(t, filepath.Join(dir, "tokens.yaml"), "- {sha256: "+api.HashToken(secret.New("token-dave"))+", principal: dave, roles: [operator], scopes: ['*']}\n"+
		"- {sha256: "+api.HashToken(secret.New("token-carol"))+", principal: carol, roles: [lead], scopes: ['*']}\n")
	cfg := testConfig(t, filepath.Join(dir, "rules.yaml"))
	cfg.TokensFile = filepath.Join(dir, "tokens.yaml")
	cfg.Actions.Webhook.Allow = []string{"127.0.0.1"}
	s, stop := runServer(t, cfg, nil)
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
	move := func(mode engine.Mode) {
		t.Helper()
		if _, err := as("dave").Set(t.Context(), "checkout", api.SetRequest{Mode: mode, Reason: "drill"}); err != nil {
			t.Fatal(err)
		}
	}
	in := func(mode engine.Mode) func() bool {
		return func() bool {
			v, _ := s.loop.View("checkout")
			return v.State.Change == nil && v.State.Mode == mode
		}
	}
	move("degraded")
	within(t, "degraded", in("degraded"))
	dry, err := as("dave").Set(t.Context(), "checkout", api.SetRequest{Mode: "normal", Reason: "drill", DryRun: true})
	if err != nil || len(dry.Would) != 2 || dry.Would[0].Undoes == "" || dry.Would[1].Undo == "" {
		t.Fatalf("a dry run of what has to be approved says %+v, %v", dry.Would, err)
	}
	move("normal")
	list, err := as("carol").Approvals(t.Context())
	if err != nil || len(list) != 1 {
		t.Fatalf("%+v, %v", list, err)
	}
	p, err := as("carol").Approval(t.Context(), list[0].ID)
	if err != nil || len(p.First) != 1 || len(p.Steps) != 1 {
		t.Fatalf("%+v, %v", p, err)
	}
	if p.First[0].Does != dry.Would[0].Do {
		t.Errorf("an approver is shown\n%s\nand a dry run says\n%s", p.First[0].Does, dry.Would[0].Do)
	}
	if _, err := as("carol").Review(t.Context(), p.ID, api.ReviewRequest{Verdict: api.VerdictYes, Digest: p.Digest, Reason: "it is"}); err != nil {
		t.Fatal(err)
	}
	within(t, "normal", in("normal"))
	mu.Lock()
	defer mu.Unlock()
	if len(told) != 3 || !strings.Contains(p.First[0].Does, told[1]) {
		t.Errorf("an approver was shown\n%s\nand the target was told %q", p.First[0].Does, told)
	}
}
