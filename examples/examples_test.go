// Package examples_test runs the complete configurations of this folder: the real program on a real Prometheus server with
// hours of samples behind it, and a pager at the other end.
package examples_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/common/model"
	"go.yaml.in/yaml/v3"

	"github.com/modeshift/modeshift/engine/server"
	"github.com/modeshift/modeshift/test/promtest"
	"github.com/modeshift/modeshift/test/receiver"
)

// example is one that runs.
type example struct {
	t     *testing.T
	url   string
	admin string // a token
}

// tokenOf is the token of a principal of an example's list, in the tests.
func tokenOf(principal string) string { return "the token of " + principal }

// knownTokens copies a list of tokens, with tokens that the test knows.
func knownTokens(t *testing.T, list string) string {
	t.Helper()
	text, err := os.ReadFile(list)
	if err != nil {
		t.Fatal(err)
	}
	var tokens []map[string]any
	if err := yaml.Unmarshal(text, &tokens); err != nil {
		t.Fatal(err)
	}
	for _, token := range tokens {
		token["sha256"] = fmt.Sprintf("%x", sha256.Sum256([]byte(tokenOf(token["principal"].(string)))))
	}
	if text, err = yaml.Marshal(tokens); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "tokens.yaml")
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// run starts an example as its configuration file has it, but for what is different on every machine: the addresses of
// Prometheus and of the receivers, the key, the tokens, the port, the data folder; and it looks every second. edit changes
// more, where it is set.
func run(t *testing.T, name, prometheus string, pager *receiver.Receiver, edit func(*server.Config)) *example {
	t.Helper()
	cfg, err := server.LoadConfig(filepath.Join(name, "modeshift.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	key := filepath.Join(t.TempDir(), "pagerduty-key")
	if err := os.WriteFile(key, []byte("0123456789abcdef0123456789abcdef\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg.Listen, cfg.Data = "127.0.0.1:0", t.TempDir()
	if cfg.TokensFile != "" {
		cfg.TokensFile = knownTokens(t, cfg.TokensFile)
	}
	cfg.Prometheus[0].URL = prometheus
	cfg.Receivers.Page.PagerDuty.RoutingKeyFile, cfg.Receivers.Page.PagerDuty.URL = key, pager.URL()
	cfg.Receivers.Ticket.Webhook.URL = pager.TicketURL()
	cfg.Evaluation.Interval = model.Duration(time.Second)
	if edit != nil {
		edit(&cfg)
	}

	log := slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelWarn}))
	s, err := server.New(t.Context(), server.Options{Config: cfg, Logger: log, Version: "test"})
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- s.Run(context.Background()) }()
	t.Cleanup(func() {
		if err := errors.Join(s.Stop(), <-ended); err != nil {
			t.Error(err)
		}
	})
	if cfg.TokensFile != "" {
		return &example{t, s.URL(), tokenOf("ada")}
	}
	token, err := os.ReadFile(filepath.Join(cfg.Data, server.AdminTokenFile))
	if err != nil {
		t.Fatal(err)
	}
	return &example{t, s.URL(), strings.TrimSpace(string(token))}
}

// get reads the API.
func (e *example) get(path string, into any) {
	e.t.Helper()
	if code, text := e.call(http.MethodGet, e.admin, path, nil, into); code != http.StatusOK {
		e.t.Fatalf("GET %s answers %d: %s", path, code, text)
	}
}

// call asks for something with a token.
func (e *example) call(method, token, path string, body, into any) (code int, text string) {
	e.t.Helper()
	var in []byte
	if body != nil {
		var err error
		if in, err = json.Marshal(body); err != nil {
			e.t.Fatal(err)
		}
	}
	req, err := http.NewRequestWithContext(e.t.Context(), method, e.url+path, bytes.NewReader(in))
	if err != nil {
		e.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+token)
	if in != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		e.t.Fatal(err)
	}
	out, err := io.ReadAll(res.Body)
	if err := errors.Join(err, res.Body.Close()); err != nil {
		e.t.Fatal(err)
	}
	if into != nil && res.StatusCode == http.StatusOK {
		if err := json.Unmarshal(out, into); err != nil {
			e.t.Fatalf("%s %s: %v in %s", method, path, err, out)
		}
	}
	return res.StatusCode, string(out)
}

// eventually polls until ok or a minute has passed.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(time.Minute); !ok(); <-tick.C {
		if time.Now().After(deadline) {
			t.Fatalf("never happened: %s", what)
		}
	}
}

func startPager(t *testing.T) *receiver.Receiver {
	t.Helper()
	r, err := receiver.Start("127.0.0.1:0", receiver.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	})
	return r
}

// paged waits for the one page an example is to send.
func paged(t *testing.T, pager *receiver.Receiver) receiver.Alert {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	pages := func(r *receiver.Receiver) (pages []receiver.Alert) {
		for _, a := range r.Alerts() {
			if a.Target == receiver.Pages {
				pages = append(pages, a)
			}
		}
		return pages
	}
	if err := pager.Wait(ctx, func(r *receiver.Receiver) bool { return len(pages(r)) > 0 }); err != nil {
		t.Fatalf("no page came: %v", err)
	}
	all := pages(pager)
	if len(all) != 1 {
		t.Fatalf("want one page, got %+v", all)
	}
	return all[0]
}

func TestCheckoutDegradesAndPagesWhenItsBudgetBurns(t *testing.T) {
	now := time.Now()
	from := now.Add(-2 * time.Hour)
	p := promtest.Start(t, promtest.Options{})
	p.Push(
		promtest.Counter(`http_requests_total{job="checkout",code="200"}`, from, now, 15*time.Second, 0, 960),
		promtest.Counter(`http_requests_total{job="checkout",code="503"}`, from, now, 15*time.Second, 0, 40), // 4 %: a burn rate of 40
	)
	pager := startPager(t)
	checkout := run(t, "checkout", p.URL, pager, nil)
	page := paged(t, pager)
	if page.Source != "checkout" || page.Severity != "critical" {
		t.Errorf("the page says %+v", page)
	}
	var scope struct {
		Mode      string         `json:"mode"`
		Directive map[string]any `json:"directive"`
	}
	checkout.get("/api/v1/scopes/checkout", &scope)
	if flags, _ := scope.Directive["flags"].(map[string]any); scope.Mode != "degraded" || flags["payment_gateway"] != "backup" || flags["writes"] != true {
		t.Errorf("the API says %+v", scope)
	}
}

// dns is what the example's step calls, and counts.
type dns struct {
	*httptest.Server
	mu    sync.Mutex
	calls []string // key: target
}

func startDNS(t *testing.T) *dns {
	d := &dns{}
	d.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var body struct{ Service, To, Because string }
		if err := json.NewDecoder(r.Body).Decode(&body); err != nil || r.URL.Path != "/repoint" || body.Service != "checkout" || body.Because == "" {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		d.mu.Lock()
		defer d.mu.Unlock()
		d.calls = append(d.calls, r.Header.Get("Idempotency-Key")+": "+body.To)
	}))
	t.Cleanup(d.Close)
	return d
}

func (d *dns) told() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.calls)
}

// The rule asks for ten minutes in degraded mode, which no test waits for: a person asks for the move, and its gate and its
// steps are the same.
func TestCheckoutFailsOverWhenTwoPeopleSayYesAndGoesBackWhenAsked(t *testing.T) {
	now := time.Now()
	from := now.Add(-2 * time.Hour)
	p := promtest.Start(t, promtest.Options{})
	// A month in which nothing failed, by instances that are gone: of its budget something is left.
	p.Push(promtest.Counter(`http_requests_total{job="checkout",code="200",instance="of last month"}`, now.Add(-30*24*time.Hour), from, 10*time.Minute, 0, 40_000))
	p.Push(
		promtest.Counter(`http_requests_total{job="checkout",code="200"}`, from, now, 15*time.Second, 0, 960),
		promtest.Counter(`http_requests_total{job="checkout",code="503"}`, from, now, 15*time.Second, 0, 40),
		promtest.Counter(`http_request_duration_seconds_bucket{job="checkout",le="0.1"}`, from, now, 15*time.Second, 0, 1000),
		promtest.Counter(`http_request_duration_seconds_bucket{job="checkout",le="+Inf"}`, from, now, 15*time.Second, 0, 1000),
	)
	target := startDNS(t)
	rules := t.TempDir()
	text, err := os.ReadFile("checkout/rules/checkout.yaml")
	if err != nil {
		t.Fatal(err)
	}
	text = bytes.ReplaceAll(text, []byte("https://dns.internal.example.com"), []byte(target.URL))
	if err := os.WriteFile(filepath.Join(rules, "checkout.yaml"), text, 0o600); err != nil {
		t.Fatal(err)
	}
	checkout := run(t, "checkout", p.URL, startPager(t), func(c *server.Config) {
		c.Rules, c.Actions.Webhook.Allow = []string{rules}, []string{"127.0.0.1"}
	})
	mode := func() string {
		var s struct{ Mode string }
		checkout.get("/api/v1/scopes/checkout", &s)
		return s.Mode
	}
	eventually(t, "it degrades", func() bool { return mode() == "degraded" })
	if code, text := checkout.call(http.MethodPost, tokenOf("olga"), "/api/v1/scopes/checkout/set",
		map[string]any{"mode": "failover", "reason": "the region is lost"}, nil); code != http.StatusOK {
		t.Fatalf("set answers %d: %s", code, text)
	}
	var list struct {
		Approvals []struct{ ID, Digest string }
	}
	checkout.get("/api/v1/approvals", &list)
	if len(list.Approvals) != 1 {
		t.Fatalf("want one proposal, got %+v", list)
	}
	id, digest := list.Approvals[0].ID, list.Approvals[0].Digest
	// Two hours at 4 % of errors have spent a ninth of the month's budget; at forty times the pace the rest lasts 16 hours. While the
	// ledger still reads the month what was spent is a share of the part that it knows.
	var shown struct {
		Budgets []struct {
			SLO, Lasts, Unknown string
			Remaining, Burn     float64
		}
	}
	eventually(t, "the whole budget is known", func() bool {
		checkout.get("/api/v1/approvals/"+id, &shown)
		return len(shown.Budgets) == 1 && shown.Budgets[0].Unknown == "" && shown.Budgets[0].Remaining > 0.85
	})
	b := shown.Budgets[0]
	lasts, err := model.ParseDuration(b.Lasts)
	if err != nil || b.SLO != "availability" || b.Remaining > 0.92 || b.Burn < 38 || b.Burn > 42 ||
		math.Abs(time.Duration(lasts).Hours()-b.Remaining*720/b.Burn) > 0.2 {
		t.Errorf("the approver is shown %+v, %v", b, err)
	}
	say := func(who, verdict, digest string) int {
		t.Helper()
		code, text := checkout.call(http.MethodPost, tokenOf(who), "/api/v1/approvals/"+id+"/review",
			map[string]any{"verdict": verdict, "digest": digest, "reason": "checked with the provider"}, nil)
		t.Logf("%s of %s: %d %s", verdict, who, code, text)
		return code
	}
	for who, digest := range map[string]string{"olga": digest, "ada": digest, "checkout": digest, "carol": "0123456789abcdef"} {
		if code := say(who, "yes", digest); code/100 != 4 {
			t.Errorf("the yes of %s with digest %.8s answers %d", who, digest, code)
		}
	}
	if code := say("carol", "yes", digest); code != http.StatusOK {
		t.Errorf("the yes of the one on call answers %d", code)
	}
	if got := target.told(); len(got) > 0 || mode() != "degraded" {
		t.Fatalf("one yes of two was enough: %q, mode %s", got, mode())
	}
	if code := say("li", "yes", digest); code != http.StatusOK {
		t.Errorf("the yes of the lead answers %d", code)
	}
	eventually(t, "it fails over", func() bool { return mode() == "failover" })
	var h struct {
		Events []struct {
			Kind string
			Fact struct{ Change string }
		}
	}
	// Facts of other kinds have other shapes: only the newest, which ended the change, is read.
	checkout.get("/api/v1/scopes/checkout/history?limit=1", &h)
	if len(h.Events) != 1 || h.Events[0].Kind != "ChangeDone" {
		t.Fatalf("the history says %+v", h)
	}
	change := h.Events[0].Fact.Change
	if got, want := target.told(), []string{change + "/repoint: eu-2"}; !slices.Equal(got, want) {
		t.Errorf("the target was told %q, want %q", got, want)
	}
	if code, text := checkout.call(http.MethodPost, tokenOf("olga"), "/api/v1/scopes/checkout/changes/"+change+"/undo",
		map[string]any{"reason": "the region is back"}, nil); code != http.StatusOK {
		t.Fatalf("undo answers %d: %s", code, text)
	}
	eventually(t, "it is undone", func() bool { return mode() == "degraded" })
	if got, want := target.told(), []string{change + "/repoint: eu-2", change + "/repoint/undo: eu-1"}; !slices.Equal(got, want) {
		t.Errorf("the target was told %q, want %q", got, want)
	}
}

// Which instances are taken out is found when the step begins: one more than were approved is asked about, and the same ones are
// put back.
func TestCheckoutTakesOutInstancesThatPanicAndAsksAgainWhenTheyAreMore(t *testing.T) {
	now := time.Now()
	from := now.Add(-10 * time.Minute)
	p := promtest.Start(t, promtest.Options{})
	panics := func(instances ...string) {
		for _, i := range instances {
			p.Push(promtest.Counter(`panics_total{job="checkout",instance="`+i+`"}`, from, now.Add(time.Minute), 15*time.Second, 0, 1))
		}
	}
	panics("10.0.0.1:80", "10.0.0.2:80", "10.0.0.3:80")
	p.Push(promtest.Counter(`panics_total{job="checkout",instance="10.0.0.9:80"}`, from, now.Add(time.Minute), 15*time.Second, 7, 0)) // long ago
	// The others bear the load.
	for _, le := range []string{"0.1", "+Inf"} {
		p.Push(promtest.Counter(`http_request_duration_seconds_bucket{job="checkout",le="`+le+`"}`, from, now.Add(time.Minute), 15*time.Second, 0, 1000))
	}
	type told struct {
		path      string
		instances []string
	}
	var mu sync.Mutex // guards calls
	var calls []told
	balancer := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var body struct{ Instances []string }
		if err := json.NewDecoder(r.Body).Decode(&body); err != nil {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		mu.Lock()
		defer mu.Unlock()
		calls = append(calls, told{r.URL.Path, body.Instances})
	}))
	defer balancer.Close()
	rules := t.TempDir()
	text, err := os.ReadFile("checkout/rules/checkout.yaml")
	if err != nil {
		t.Fatal(err)
	}
	text = bytes.ReplaceAll(text, []byte("https://balancer.internal.example.com"), []byte(balancer.URL))
	if err := os.WriteFile(filepath.Join(rules, "checkout.yaml"), text, 0o600); err != nil {
		t.Fatal(err)
	}
	checkout := run(t, "checkout", p.URL, startPager(t), func(c *server.Config) {
		c.Rules, c.Actions.Webhook.Allow = []string{rules}, []string{"127.0.0.1"}
	})
	if code, text := checkout.call(http.MethodPost, tokenOf("olga"), "/api/v1/scopes/checkout/set",
		map[string]any{"mode": "contained", "reason": "three instances panic"}, nil); code != http.StatusOK {
		t.Fatalf("set answers %d: %s", code, text)
	}
	type proposal struct{ ID, Digest, Change string }
	waiting := func() (list []proposal) {
		var answer struct{ Approvals []proposal }
		checkout.get("/api/v1/approvals", &answer)
		return answer.Approvals
	}
	yes := func(p proposal) {
		t.Helper()
		if code, text := checkout.call(http.MethodPost, tokenOf("carol"), "/api/v1/approvals/"+p.ID+"/review",
			map[string]any{"verdict": "yes", "digest": p.Digest, "reason": "seen"}, nil); code != http.StatusOK {
			t.Fatalf("the yes answers %d: %s", code, text)
		}
	}
	first := waiting()
	if len(first) != 1 || first[0].Change != "" {
		t.Fatalf("%+v waits", first)
	}
	panics("10.0.0.4:80")
	yes(first[0])
	var again []proposal
	eventually(t, "people are asked again", func() bool { again = waiting(); return len(again) == 1 && again[0].Change != "" })
	mu.Lock()
	if len(calls) > 0 || again[0].Digest == first[0].Digest {
		t.Errorf("%v was done, and %+v is asked", calls, again)
	}
	mu.Unlock()
	yes(again[0])
	mode := func() (string, string) {
		var s struct {
			Mode   string
			Change *struct{ ID string }
		}
		checkout.get("/api/v1/scopes/checkout", &s)
		if s.Change != nil {
			return s.Mode, s.Change.ID
		}
		return s.Mode, ""
	}
	eventually(t, "they are taken out", func() bool { m, c := mode(); return m == "contained" && c == "" })
	if code, text := checkout.call(http.MethodPost, tokenOf("olga"), "/api/v1/scopes/checkout/changes/"+again[0].Change+"/undo",
		map[string]any{"reason": "mended"}, nil); code != http.StatusOK {
		t.Fatalf("undo answers %d: %s", code, text)
	}
	eventually(t, "they are put back", func() bool { m, c := mode(); return m == "normal" && c == "" })
	four := []string{"10.0.0.1:80", "10.0.0.2:80", "10.0.0.3:80", "10.0.0.4:80"}
	mu.Lock()
	defer mu.Unlock()
	if want := []told{{"/take-out", four}, {"/put-back", four}}; fmt.Sprint(calls) != fmt.Sprint(want) {
		t.Errorf("the balancer was told %v, want %v", calls, want)
	}
}

func TestASlothFilePagesAsItIs(t *testing.T) {
	now := time.Now()
	from := now.Add(-2 * time.Hour)
	p := promtest.Start(t, promtest.Options{})
	p.Push(
		promtest.Counter(`http_request_duration_seconds_count{job="search",code="200"}`, from, now, 15*time.Second, 0, 960),
		promtest.Counter(`http_request_duration_seconds_count{job="search",code="429"}`, from, now, 15*time.Second, 0, 40),
	)
	pager := startPager(t)
	sloth := run(t, "sloth", p.URL, pager, nil)
	page := paged(t, pager)
	if page.Source != "search" || !strings.Contains(page.Summary, "requests-availability") {
		t.Errorf("the page says %+v", page)
	}
	var scope struct {
		Mode      string `json:"mode"`
		Incidents []struct {
			Subject string `json:"subject"`
		} `json:"incidents"`
	}
	sloth.get("/api/v1/scopes/search", &scope)
	if scope.Mode != "" || len(scope.Incidents) == 0 || scope.Incidents[0].Subject != "slo/requests-availability/page" {
		t.Errorf("a Sloth file has SLOs and no modes; the API says %+v", scope)
	}
}
