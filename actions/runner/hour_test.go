package runner_test

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/prometheus/common/config"

	"github.com/modeshift/modeshift/actions"
	"github.com/modeshift/modeshift/actions/pagerduty"
	"github.com/modeshift/modeshift/actions/runner"
	"github.com/modeshift/modeshift/actions/webhook"
	"github.com/modeshift/modeshift/engine"
	"github.com/modeshift/modeshift/engine/secret"
	"github.com/modeshift/modeshift/test/receiver"
)

var seeds = flag.Int("seeds", 3, "how many hours of faults to live through")

const routingKey = "c4naryc4naryc4naryc4naryc4nary00"

// world is a receiver and the notifiers that reach it, over HTTP without sockets.
type world struct {
	*receiver.Receiver
	routes map[engine.Severity]actions.Notifier
}

func newWorld(t *testing.T, opts receiver.Options) world {
	t.Helper()
	net := newPipes()
	w := world{Receiver: receiver.New(opts)}
	w.Serve(net)
	client := net.client()
	t.Cleanup(func() {
		client.CloseIdleConnections()
		if err := w.Close(); err != nil {
			t.Error(err)
		}
	})
	pd, err := pagerduty.New(pagerduty.Options{Endpoint: "http://pager.example", RoutingKey: secret.New(routingKey), Client: client, ExternalURL: "https://modeshift.example"})
	if err != nil {
		t.Fatal(err)
	}
	wh, err := webhook.New(webhook.Options{URL: "http://tickets.example/tickets", SigningSecret: opts.Signing, Client: client})
	if err != nil {
		t.Fatal(err)
	}
	w.routes = map[engine.Severity]actions.Notifier{engine.SeverityPage: pd, engine.SeverityTicket: wh}
	return w
}

// weather is a long sequence of faults, more than half of the requests meeting one.
func weather(rng *rand.Rand, n int) []receiver.Fault {
	out := make([]receiver.Fault, n)
	for i := range out {
		switch p := rng.Float64(); {
		case p < 0.05:
			out[i] = receiver.Fault{Kind: receiver.Status, Status: 429, RetryAfter: fmt.Sprint(1 + rng.IntN(15))}
		case p < 0.15:
			out[i] = receiver.Fault{Kind: receiver.Status, Status: 500 + rng.IntN(5)}
		case p < 0.25:
			out[i] = receiver.Fault{Kind: receiver.Hang}
		case p < 0.35:
			// For the ticket webhook any 2xx takes the notice, so what does not take it has to be something else.
			out[i] = receiver.Fault{Kind: receiver.Garbage}
		case p < 0.45:
			out[i] = receiver.Fault{Kind: receiver.Lost}
		case p < 0.55:
			out[i] = receiver.Fault{Kind: receiver.Drop}
		}
	}
	return out
}

func TestAnHourOfFaultsLosesNoNoticeAndKeepsTheirOrderAndRate(t *testing.T) {
	for seed := range *seeds {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { hour(t, uint64(seed)) })
		})
	}
}

func hour(t *testing.T, seed uint64) {
	rng := rand.New(rand.NewPCG(seed, 7))
	jitter := rand.New(rand.NewPCG(seed, 8))
	w := newWorld(t, receiver.Options{Signing: secret.New("signing")})
	w.Script(receiver.Pages, weather(rng, 20000)...)
	// A garbage 202 takes a ticket: its receiver has nothing else to say. It would be lost to a test that asks whether the
	// ticket was opened, so the ticket endpoint has no such weather.
	for _, f := range weather(rng, 20000) {
		if f.Kind == receiver.Garbage {
			f = receiver.Fault{Kind: receiver.Status, Status: 503}
		}
		w.Script(receiver.Tickets, f)
	}
	jobs := newJobs()
	var jitterMu sync.Mutex
	r := runner.New(jobs, w.routes, quiet(runner.Options{
		Settled: func(err error) bool { return errors.Is(err, errSettled) },
		Rand: func() float64 {
			jitterMu.Lock()
			defer jitterMu.Unlock()
			return jitter.Float64()
		},
	}))
	running(t, r)

	// Incidents open all the hour, each gets a note or not, and ends up to 20 minutes later; at minute 10 comes a storm.
	type step struct {
		at  time.Duration
		job engine.Job
	}
	var steps []step
	var incidents []string
	incident := func(at time.Duration, severity engine.Severity) {
		name := fmt.Sprintf("%s-%d", severity, len(incidents)+1)
		incidents = append(incidents, name)
		n := 1
		add := func(action engine.NoticeAction, later time.Duration) {
			at += later
			steps = append(steps, step{at, notice(severity, name, n, action)})
			n++
		}
		add(engine.NoticeTrigger, 0)
		if rng.IntN(3) == 0 {
			add(engine.NoticeUpdate, time.Duration(rng.Int64N(int64(5*time.Minute))))
		}
		add(engine.NoticeResolve, time.Duration(rng.Int64N(int64(20*time.Minute))))
	}
	for range 200 {
		incident(time.Duration(rng.Int64N(int64(time.Hour))), engine.SeverityPage)
		incident(time.Duration(rng.Int64N(int64(time.Hour))), engine.SeverityTicket)
	}
	for range 300 {
		incident(10*time.Minute, engine.SeverityPage)
	}
	began := time.Now()
	for minute := range 90 {
		until := time.Duration(minute+1) * time.Minute
		for _, s := range steps {
			if s.at >= until-time.Minute && s.at < until {
				jobs.add(s.job)
			}
		}
		if minute%7 == 3 { // the disk is full for a minute, now and then
			jobs.set(func(m *memJobs) { m.unwritten = errDisk })
		}
		if minute%11 == 5 { // or takes what it is told and does not say so
			jobs.set(func(m *memJobs) { m.lost = errSettled })
		}
		after(time.Minute)
		jobs.set(func(m *memJobs) { m.unwritten, m.lost = nil, nil })
		if minute == 59 {
			w.Clear(receiver.Pages)
			w.Clear(receiver.Tickets)
		}
	}
	after(30 * time.Minute)

	if jobs.owed() != 0 || len(jobs.failed) != 0 || len(r.Problems()) != 0 {
		t.Errorf("an hour after the faults %d jobs are owed, %d failed: %v", jobs.owed(), len(jobs.failed), r.Problems())
	}
	// None lost, order kept: exactly one alert an incident, which a resolve that overtook its trigger or a trigger sent
	// after its resolve would have made none or two; and it is closed.
	alerts := map[string]int{}
	for _, a := range w.Alerts() {
		alerts[a.Key]++
		if a.Resolved.IsZero() {
			t.Errorf("%s was never closed", a.Key)
		}
	}
	for _, name := range incidents {
		if n := alerts["modeshift/"+name]; n != 1 {
			t.Errorf("incident %s was opened %d times", name, n)
		}
	}
	if len(alerts) != len(incidents) {
		t.Errorf("%d incidents made %d alerts", len(incidents), len(alerts))
	}
	// Every fault was met, and every repetition is the same byte for byte.
	met := map[receiver.Kind]int{}
	bodies := map[string]string{}
	var arrivals []time.Time
	for _, q := range w.Requests() {
		met[q.Fault]++
		if q.Target == receiver.Pages {
			arrivals = append(arrivals, q.At)
		}
		var d struct {
			ID      string // of a ticket's notice
			Key     string `json:"dedup_key"`
			Action  string `json:"event_action"`
			Payload struct {
				Details struct{ Event string } `json:"custom_details"`
			}
		}
		if err := json.Unmarshal(q.Body, &d); err != nil {
			t.Fatalf("a request is no JSON: %s", q.Body)
		}
		// The event tells an update from its trigger, which have the same action.
		id := strings.Join([]string{string(q.Target), d.ID, d.Key, d.Action, d.Payload.Details.Event}, " ")
		if b, seen := bodies[id]; seen && b != string(q.Body) {
			t.Errorf("two requests of %s differ:\n%s\n%s", id, b, q.Body)
		}
		bodies[id] = string(q.Body)
	}
	for _, kind := range []receiver.Kind{"", receiver.Status, receiver.Hang, receiver.Garbage, receiver.Lost, receiver.Drop} {
		if met[kind] < 20 {
			t.Errorf("fault %q was met %d times", kind, met[kind])
		}
	}
	for i := 0; i+120 < len(arrivals); i++ {
		if d := arrivals[i+120].Sub(arrivals[i]); d < time.Minute {
			t.Errorf("121 pages arrived within %v, %v in", d, arrivals[i].Sub(began))
			break
		}
	}
	t.Logf("%d incidents, %d requests to PagerDuty, faults met: %v", len(incidents), len(arrivals), met)
}

// errSettled is what a store says that has taken an outcome in memory only.
var errSettled = errors.New("remembered, not written")

func TestARetryThroughTheRunnerRepeatsTheRequestByteForByte(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, receiver.Options{Signing: secret.New("signing")})
		for _, target := range []receiver.Target{receiver.Pages, receiver.Tickets} {
			w.Script(target, receiver.Fault{Kind: receiver.Status, Status: 500}, receiver.Fault{Kind: receiver.Lost})
		}
		jobs := newJobs()
		running(t, runner.New(jobs, w.routes, quiet(runner.Options{})))
		jobs.add(page("a-1", 1, engine.NoticeTrigger), notice(engine.SeverityTicket, "b-1", 1, engine.NoticeTrigger))
		after(time.Minute)
		bodies := map[receiver.Target][]string{}
		for _, q := range w.Requests() {
			bodies[q.Target] = append(bodies[q.Target], string(q.Body))
		}
		for target, b := range bodies {
			if len(b) != 3 || b[0] == "" || b[0] != b[1] || b[1] != b[2] {
				t.Errorf("requests of a %s are %q", target, b)
			}
		}
		if len(bodies) != 2 || len(w.Alerts()) != 2 {
			t.Errorf("%d targets were reached, %d alerts opened", len(bodies), len(w.Alerts()))
		}
	})
}

func TestAStormOfPagesMeetsNo429FromATargetThatEnforcesItsRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, receiver.Options{PerMinute: 120})
		jobs := newJobs()
		running(t, runner.New(jobs, w.routes, quiet(runner.Options{})))
		for i := range 500 {
			jobs.add(page(fmt.Sprintf("a-%d", i), 1, engine.NoticeTrigger))
		}
		after(10 * time.Minute)
		for _, q := range w.Requests() {
			if q.Status != 202 {
				t.Fatalf("a page was answered %d: %s", q.Status, q.Why)
			}
		}
		if len(w.Alerts()) != 500 {
			t.Errorf("%d of 500 alerts were opened", len(w.Alerts()))
		}
	})
}

func TestNoSecretShowsInLogsMetricsErrorsOrProblems(t *testing.T) {
	const token, signing = "c4nary-token-0123456789", "c4nary-signing-0123456789"
	log := new(buffer)
	reg := prometheus.NewRegistry()
	// Over real sockets: the token is put in by prometheus/common's own transport.
	w, err := receiver.Start("127.0.0.1:0", receiver.Options{Token: secret.New(token), Signing: secret.New(signing)})
	if err != nil {
		t.Fatal(err)
	}
	pd, err := pagerduty.New(pagerduty.Options{Endpoint: w.URL(), RoutingKey: secret.New(routingKey)})
	if err != nil {
		t.Fatal(err)
	}
	url := w.TicketURL() + "?secret=c4nary-in-the-url"
	wh, err := webhook.New(webhook.Options{URL: url, SigningSecret: secret.New(signing),
		HTTP: config.HTTPClientConfig{Authorization: &config.Authorization{Type: "Bearer", Credentials: token}}})
	if err != nil {
		t.Fatal(err)
	}
	// Answers that say back what the target was sent, and what it knows of us; then none at all.
	echo := fmt.Sprintf(`{"status":"%s","message":"no %s","errors":["%s"]}`, routingKey, routingKey, routingKey)
	for _, status := range []int{500, 429, 202, 400} {
		w.Script(receiver.Pages, receiver.Fault{Kind: receiver.Status, Status: status, Body: echo})
	}
	echo = fmt.Sprintf("Bearer %s, %s, signed with %s, at %s", token, token, signing, url)
	for _, status := range []int{500, 429, 503, 400} {
		w.Script(receiver.Tickets, receiver.Fault{Kind: receiver.Status, Status: status, Body: echo})
	}
	jobs := newJobs()
	r := runner.New(jobs, map[engine.Severity]actions.Notifier{engine.SeverityPage: pd, engine.SeverityTicket: wh},
		runner.Options{Log: log.logger(), Registerer: reg, Poll: time.Millisecond, BackoffBase: time.Millisecond, BackoffCap: time.Millisecond})
	stop := run(t, r)
	jobs.add(page("a-1", 1, engine.NoticeTrigger), notice(engine.SeverityTicket, "b-1", 1, engine.NoticeTrigger))
	until(t, func() bool {
		jobs.mu.Lock()
		defer jobs.mu.Unlock()
		return len(jobs.failed) == 2
	})
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	jobs.add(page("a-2", 1, engine.NoticeTrigger), notice(engine.SeverityTicket, "b-2", 1, engine.NoticeTrigger))
	until(t, func() bool { return len(r.Problems()) == 4 })
	stop()

	shown := []string{log.String(), fmt.Sprintf("%+v", r.Problems()), fmt.Sprint(jobs.failed)}
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	shown = append(shown, fmt.Sprint(families))
	for _, s := range shown {
		if i := strings.Index(s, "c4nary"); i >= 0 {
			t.Errorf("a secret shows in …%s…", s[max(0, i-200):min(len(s), i+60)])
		}
	}
	if !strings.Contains(log.String(), "level=WARN") || !strings.Contains(log.String(), "level=ERROR") {
		t.Errorf("nothing was logged: %s", log)
	}
	if n := testutil.CollectAndCount(reg, "modeshift_notifications_total"); n != 12 {
		t.Errorf("%d series, want 4 for each of 3 routes", n)
	}
}

// run runs a runner outside a bubble.
func run(t *testing.T, r *runner.Runner) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	answer := make(chan error, 1)
	go func() { answer <- r.Run(ctx) }()
	return func() {
		cancel()
		if err := <-answer; err != nil {
			t.Errorf("Run = %v", err)
		}
	}
}

// until waits for a condition, a minute at most.
func until(t *testing.T, holds func() bool) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	limit := time.After(time.Minute)
	for !holds() {
		select {
		case <-tick.C:
		case <-limit:
			t.Fatal("it does not come about")
		}
	}
}
