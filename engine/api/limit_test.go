package api_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/modeshift/modeshift/engine"
	"github.com/modeshift/modeshift/engine/api"
	"github.com/modeshift/modeshift/engine/roster"
)

// few are limits of which five requests may be saved up, and then one comes back each second.
var few = api.Limits{Reads: 1, Writes: 1, Urgent: 1, Instances: 1, Anonymous: 1, Streams: 2, AtOnce: 2}

// limited is an API with limits, in a bubble whose time stands still unless it is slept.
type limited struct {
	t       *testing.T
	handler http.Handler
	counted map[string]int
	mu      sync.Mutex // guards counted
}

func newLimited(t *testing.T, loop api.Loop, w *world, limits api.Limits) *limited {
	t.Helper()
	l := &limited{t: t, counted: map[string]int{}}
	table, err := roster.New(t.Context(), forgetful{}, roster.Options{})
	if err != nil {
		t.Fatal(err)
	}
	table.Follow(t.Context(), w.view("checkout"))
	a, err := api.New(api.Options{Loop: loop, Log: w, Tokens: testTokens(t), Roster: table, Limiter: api.NewLimiter(limits, func(reason string) {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.counted[reason]++
	})})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(a.Close)
	l.handler = a.Handler()
	return l
}

// asked is a request: whose, from where, and what.
type asked struct {
	bearer, from, agent, method, path, body string
}

var (
	reading  = asked{method: http.MethodGet, path: "/scopes/checkout"}
	freezing = asked{method: http.MethodPost, path: "/scopes/checkout/freeze", body: `{"reason":"drill"}`}
	setting  = asked{method: http.MethodPost, path: "/scopes/checkout/set", body: `{"mode":"read-only","reason":"drill","directive_only":true}`}
	breaking = asked{method: http.MethodPost, path: "/scopes/checkout/set", body: `{"mode":"degraded","reason":"fire","force":true}`}
	looking  = asked{method: http.MethodGet, path: "/approvals/checkout-1"}
	voting   = asked{method: http.MethodPost, path: "/approvals/checkout-1/review", body: `{"verdict":"yes","digest":"d","reason":"seen"}`}
	telling  = asked{method: http.MethodPost, path: "/instances/exchange?scope=checkout", body: `{"hello":{"instance":"web-1","session":"s"}}`}
)

func (q asked) by(bearer string) asked  { q.bearer = bearer; return q }
func (q asked) at(address string) asked { q.from = address; return q }

func (l *limited) ask(q asked) *httptest.ResponseRecorder {
	r := httptest.NewRequestWithContext(l.t.Context(), q.method, "http://modeshift.test/api/v1"+q.path, strings.NewReader(q.body))
	if q.bearer != "" {
		r.Header.Set("Authorization", "Bearer "+secretOf(q.bearer))
	}
	if q.body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	if q.from != "" {
		r.RemoteAddr = q.from
	}
	r.Header.Set("User-Agent", q.agent)
	w := &duplex{httptest.NewRecorder()}
	l.handler.ServeHTTP(w, r)
	return w.ResponseRecorder
}

// duplex is a recorder to which one may write while one reads, as a connection.
type duplex struct{ *httptest.ResponseRecorder }

func (duplex) EnableFullDuplex() error { return nil }

// flood asks until it is refused, and returns how often it was not.
func (l *limited) flood(q asked) int {
	l.t.Helper()
	for n := range 1000 {
		if l.ask(q).Code == http.StatusTooManyRequests {
			return n
		}
	}
	l.t.Fatalf("%s %s is never refused", q.method, q.path)
	return 0
}

func (l *limited) refused(q asked) bool { return l.ask(q).Code == http.StatusTooManyRequests }

func TestAFloodOfOneKindIsHeldBackAndHoldsNothingElseBack(t *testing.T) {
	everything := map[string]asked{"reading": reading, "freezing": freezing, "setting": setting, "breaking the glass": breaking, "looking": looking, "voting": voting, "telling": telling}
	for flooded, together := range map[string][]string{ // of the kinds that share a limit
		"reading": {"reading"}, "freezing": {"freezing", "setting"}, "setting": {"freezing", "setting"},
		"breaking the glass": {"breaking the glass", "voting"}, "voting": {"breaking the glass", "voting"}, "looking": {"looking"}, "telling": {"telling"},
	} {
		t.Run(flooded, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, "checkout")
				l := newLimited(t, w, w, few)
				if n := l.flood(everything[flooded].by("admin")); n != 5 {
					t.Errorf("it is refused after %d, want 5", n)
				}
				for other, q := range everything {
					if got := l.refused(q.by("admin")); got != slices.Contains(together, other) {
						t.Errorf("%s is refused: %v", other, got)
					}
				}
				if l.refused(everything[flooded].by("operator-all")) {
					t.Error("somebody else is refused")
				}
			})
		})
	}
}

func TestWhoeverIsHeldBackIsToldWhenToComeAgainAndNotAMomentTooLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, "checkout")
		l := newLimited(t, w, w, api.Limits{Writes: 0.25})
		for _, q := range []asked{freezing.by("admin"), setting.by("operator-all")} { // counted before and after the body is read
			l.flood(q)
			answer := l.ask(q)
			var p api.Problem
			if err := json.Unmarshal(answer.Body.Bytes(), &p); err != nil || answer.Header().Get("Retry-After") != "4" || p.Type != "urn:modeshift:problem:too_many" ||
				answer.Header().Get("Content-Type") != "application/problem+json" || !strings.Contains(p.Detail, `of requests of the kind "write" it may send 0.25 a second; come again in 4s`) {
				t.Fatalf("after %q: %s %v", answer.Header().Get("Retry-After"), answer.Body, err)
			}
			time.Sleep(4*time.Second - time.Millisecond)
			if !l.refused(q) {
				t.Error("a moment too early it goes through")
			}
			time.Sleep(time.Millisecond)
			if l.refused(q) {
				t.Error("when it was told to come it is refused")
			}
			if !l.refused(q) {
				t.Error("and the next one goes through")
			}
		}
		if got := l.counted; len(got) != 1 || got["write"] != 8 {
			t.Errorf("counted: %v", got)
		}
	})
}

func TestStrangersAreHeldBackByTheirAddressAndNobodyWithATokenForThem(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, "checkout")
		l := newLimited(t, w, w, few)
		for name, q := range map[string]asked{
			"without a token": reading.at("192.0.2.1:1000"), "with one nobody knows": reading.by("nobody").at("192.0.2.2:1000"),
			"instances": telling.at("192.0.2.3:1000"), "the description": {method: http.MethodGet, path: "/openapi.json", from: "192.0.2.4:1000"},
			"what is not there": {method: http.MethodGet, path: "/nothing", from: "192.0.2.5:1000"},
		} {
			if n := l.flood(q); n != 5 {
				t.Errorf("%s: refused after %d, want 5", name, n)
			}
		}
		if !l.refused(reading.at("192.0.2.1:2000")) {
			t.Error("another connection is taken for another client")
		}
		if l.refused(reading.at("192.0.2.9:1000")) || l.refused(reading.by("admin").at("192.0.2.1:1000")) {
			t.Error("another address, or a known token at the same one, is refused")
		}
		l.flood(reading.at("[2001:db8::1]:1000"))
		if !l.refused(reading.at("[2001:db8::ffff:1]:1000")) {
			t.Error("another address of the same network is taken for another client")
		}
		if l.refused(reading.at("[2001:db8:0:1::1]:1000")) {
			t.Error("another network is refused")
		}
	})
}

// To Alertmanager 429 is final: it would drop what it has to say.
func TestAnAlertmanagerThatAsksTooOftenIsToldToTryAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, "checkout")
		l := newLimited(t, w, w, few)
		q := freezing.by("admin")
		l.flood(q)
		q.agent = "Alertmanager/0.31.0"
		if answer := l.ask(q); answer.Code != http.StatusServiceUnavailable || answer.Header().Get("Retry-After") != "1" {
			t.Errorf("answered %d, after %q", answer.Code, answer.Header().Get("Retry-After"))
		}
	})
}

func TestWithoutLimitsNobodyIsHeldBack(t *testing.T) {
	w := newWorld(t, "checkout")
	l := newLimited(t, w, w, api.Limits{})
	for range 500 {
		if l.refused(reading.by("admin")) || l.refused(reading) || l.refused(breaking.by("admin")) {
			t.Fatal("somebody is held back")
		}
	}
}

// busyLoop does not answer what asks for a freeze before it is released.
type busyLoop struct {
	*world
	held    sync.WaitGroup
	release chan struct{}
}

func (b *busyLoop) Submit(ctx context.Context, scope engine.Scope, by engine.Actor, what engine.Happening) ([]engine.Event, error) {
	if _, is := what.(*engine.FreezeRequested); is {
		<-b.release
	}
	return b.world.Submit(ctx, scope, by, what)
}

func TestWhatIsTooMuchAtOnceWaitsAMomentAndIsThen503AndWhatIsUrgentIsNot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, "checkout")
		b := &busyLoop{world: w, release: make(chan struct{})}
		l := newLimited(t, b, w, api.Limits{AtOnce: 2})
		freeze := func(into *int) { b.held.Go(func() { *into = l.ask(freezing.by("admin")).Code }) }
		var first, second, third int
		freeze(&first)
		freeze(&second)
		synctest.Wait()
		began := time.Now()
		answer := l.ask(freezing.by("operator-all"))
		if answer.Code != http.StatusServiceUnavailable || answer.Header().Get("Retry-After") != "5" || time.Since(began) != time.Second {
			t.Errorf("answered %d after %v, to come again after %q", answer.Code, time.Since(began), answer.Header().Get("Retry-After"))
		}
		for name, q := range map[string]asked{"reading": reading, "breaking the glass": breaking, "voting": voting, "telling": telling} {
			if answer := l.ask(q.by("admin")); answer.Code == http.StatusServiceUnavailable {
				t.Errorf("%s is answered %s", name, answer.Body)
			}
		}
		freeze(&third) // waits, and is not too late
		time.Sleep(time.Second - time.Millisecond)
		close(b.release)
		b.held.Wait()
		if first != http.StatusOK || second != http.StatusOK || third != http.StatusOK {
			t.Errorf("those that were taken are answered %d, %d and %d", first, second, third)
		}
		if l.counted[api.LimitedOverload] != 1 {
			t.Errorf("counted: %v", l.counted)
		}
	})
}

func TestAPrincipalHasSoManyStreamsOpenAndNoMore(t *testing.T) {
	w := newWorld(t, "checkout")
	counted := make(chan string, 10)
	s := serve(t, w, func(o *api.Options) {
		o.Limiter = api.NewLimiter(api.Limits{Streams: 2}, func(reason string) { counted <- reason })
	})
	follow := func(bearer string) (int, string, func()) {
		t.Helper()
		ctx, cancel := context.WithCancel(t.Context())
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, s.URL+"/api/v1/events", nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header = as(bearer)
		resp, err := s.Client().Do(r)
		if err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, resp.Header.Get("Retry-After"), func() {
			cancel()
			_ = resp.Body.Close() // it has no end of its own
		}
	}
	_, _, end := follow("viewer-all")
	status, _, endOther := follow("viewer-all")
	defer endOther()
	if status != http.StatusOK {
		t.Fatalf("the second is answered %d", status)
	}
	status, after, endThird := follow("viewer-all")
	endThird()
	if status != http.StatusTooManyRequests || after != "10" || <-counted != "streams" {
		t.Errorf("the third is answered %d, after %q", status, after)
	}
	status, _, endAdmin := follow("admin")
	endAdmin()
	if status != http.StatusOK {
		t.Errorf("somebody else is answered %d", status)
	}
	end()
	for deadline := time.Now().Add(patience); ; time.Sleep(5 * time.Millisecond) { // the server hears of it in its own time
		status, _, endFourth := follow("viewer-all")
		endFourth()
		if status == http.StatusOK {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("the place of a stream that ended is not free again")
		}
	}
}

func TestABodyThatIsTooLongIsRefusedWithTheLimitInWords(t *testing.T) {
	s := serve(t, newWorld(t, "checkout"), nil)
	for _, c := range []struct{ size, status int }{{64<<10 - 1, http.StatusUnprocessableEntity}, {64<<10 + 1, http.StatusRequestEntityTooLarge}} {
		body := `{"reason":"` + strings.Repeat("x", c.size-len(`{"reason":""}`)) + `"}`
		resp, text := s.do(t, http.MethodPost, "/api/v1/scopes/checkout/freeze", body, as("admin"))
		if resp.StatusCode != c.status || c.status == http.StatusRequestEntityTooLarge && !strings.Contains(text, "65536 bytes") {
			t.Errorf("%d bytes: %d %s", c.size, resp.StatusCode, text)
		}
	}
	w := newWorld(t, "checkout")
	l := newLimited(t, w, w, api.Limits{})
	q := telling.by("instance-checkout")
	q.body = fmt.Sprintf(`{"hello":{"instance":"web-1","session":"%s"}}`, strings.Repeat("x", 16<<10))
	if answer := l.ask(q); answer.Code != http.StatusRequestEntityTooLarge || !strings.Contains(answer.Body.String(), "16384 bytes") {
		t.Errorf("an instance is answered %d %s", answer.Code, answer.Body)
	}
}
