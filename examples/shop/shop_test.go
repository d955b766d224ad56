package shop

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/modeshift/modeshift/actions/modehttp"
	"github.com/modeshift/modeshift/engine"
	"github.com/modeshift/modeshift/engine/secret"
	"github.com/modeshift/modeshift/test/instancetest"
)

// eventually polls until ok or 20 s have passed.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(20 * time.Second); !ok(); <-tick.C {
		if time.Now().After(deadline) {
			t.Fatalf("never happened: %s", what)
		}
	}
}

// modeshift is one as far as instances see it. It says what the test says.
type modeshift struct {
	*httptest.Server
	instances *instancetest.Server
	revision  engine.Version
}

func startModeshift(t *testing.T, mode engine.Mode) *modeshift {
	t.Helper()
	m := &modeshift{instances: instancetest.New(func(r *http.Request) bool { return r.Header.Get("Authorization") == "Bearer of the shop" })}
	m.tell(mode)
	mux := http.NewServeMux()
	mux.Handle(instancetest.Path, m.instances)
	m.Server = httptest.NewServer(mux)
	t.Cleanup(m.stop)
	return m
}

func (m *modeshift) tell(mode engine.Mode) {
	m.revision++
	d := engine.Directive{Term: 1, Revision: m.revision, Mode: mode, Flags: engine.Flags{flagRecommendations: mode == "normal"}}
	m.instances.Tell(func(string) engine.Told { return engine.Told{Scope: "shop", Directive: d} })
}

func (m *modeshift) stop() {
	m.instances.Close()
	m.CloseClientConnections()
	m.Close()
}

// token is what modeshift lets in.
var token = secret.New("of the shop")

func startBackend(t *testing.T) *Backend {
	t.Helper()
	b, err := StartBackend("")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.Stop(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return b
}

func startShop(t *testing.T, o Options) *Shop {
	t.Helper()
	s, err := Start(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Stop(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return s
}

func get(t *testing.T, url string) (code int, body string) {
	t.Helper()
	res, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(res.Body)
	if err := errors.Join(err, res.Body.Close()); err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(b)
}

func TestAProductPageShowsRecommendationsUnlessTheFlagIsFalse(t *testing.T) {
	b, m := startBackend(t), startModeshift(t, "normal")
	s := startShop(t, Options{Name: "shop-01", Backend: b.URL(), Modeshift: m.URL, Token: token, Probe: time.Hour})
	eventually(t, "normal is taken", func() bool { return s.Mode() == "normal" })
	if code, body := get(t, s.URL()+"/product/0"); code != 200 || !strings.Contains(body, "You may also like") {
		t.Fatalf("status %d, body %s", code, body)
	}
	m.tell("degraded")
	eventually(t, "degraded is taken, and reported", func() bool {
		r := m.instances.Reports()["shop-01"]
		return s.Mode() == "degraded" && r.Mode == "degraded" && r.Outcome == engine.OutcomeDone
	})
	before := b.Served()
	res, err := http.Get(s.URL() + "/product/0")
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(res.Body)
	if err := errors.Join(err, res.Body.Close()); err != nil {
		t.Fatal(err)
	}
	if got := res.Header.Get(modehttp.Header); res.StatusCode != 200 || strings.Contains(string(body), "You may also like") || got != "degraded" {
		t.Errorf("status %d, mode %q, body %s", res.StatusCode, got, body)
	}
	if b.Served() != before {
		t.Error("the backend was called though the flag is false")
	}
	if got := s.Counts(); got.Skipped != 1 || got.Shown != 1 {
		t.Errorf("counts = %+v", got)
	}
	_, metrics := get(t, s.URL()+"/metrics")
	for _, want := range []string{`modeshift_instance_mode{mode="degraded",scope="shop"} 1`, `modeshift_instance_mode{mode="normal",scope="shop"} 0`} {
		if !strings.Contains(metrics, want) {
			t.Errorf("the metrics lack %s:\n%s", want, metrics)
		}
	}
	m.tell("normal")
	eventually(t, "recommendations are back", func() bool {
		_, body := get(t, s.URL()+"/product/0")
		return strings.Contains(body, "You may also like")
	})
	var took []string
	for _, m := range s.Taken() {
		took = append(took, m.Mode)
	}
	if got := strings.Join(took, " "); got != "normal degraded normal" {
		t.Errorf("it says that it took %s", got)
	}
}

func TestAnInstanceRefusesItsModeOnRequestAndSaysWhyUntilItGivesIn(t *testing.T) {
	b, m := startBackend(t), startModeshift(t, "normal")
	s := startShop(t, Options{Name: "shop-01", Backend: b.URL(), Modeshift: m.URL, Token: token, Probe: time.Hour})
	eventually(t, "normal is taken", func() bool { return s.Mode() == "normal" })
	if code, _ := send(t, s.URL()+"/refuse", "", ""); code != 200 {
		t.Fatalf("refuse answers %d", code)
	}
	m.tell("degraded")
	eventually(t, "the refusal is reported", func() bool {
		r := m.instances.Reports()["shop-01"]
		return r.Outcome == engine.OutcomeFailed && r.Revision == 2 && r.Mode == "normal" && strings.Contains(r.Error, "asked to refuse")
	})
	if s.Mode() != "normal" {
		t.Errorf("it refuses, and is in mode %s", s.Mode())
	}
	if code, body := get(t, s.URL()+"/product/0"); code != 200 || !strings.Contains(body, "You may also like") {
		t.Errorf("status %d, body %s", code, body)
	}
	if code, _ := send(t, s.URL()+"/give-in", "", ""); code != 200 {
		t.Fatalf("give-in answers %d", code)
	}
	eventually(t, "it takes what it refused", func() bool {
		return s.Mode() == "degraded" && m.instances.Reports()["shop-01"].Outcome == engine.OutcomeDone
	})
}

func TestTheLastModeHoldsWhateverBecomesOfModeshift(t *testing.T) {
	b, m, dir := startBackend(t), startModeshift(t, "degraded"), t.TempDir()
	o := Options{Name: "shop-01", Backend: b.URL(), Modeshift: m.URL, Token: token, StateDir: dir, Probe: time.Hour}
	s := startShop(t, o)
	eventually(t, "degraded is taken", func() bool { return s.Mode() == "degraded" })
	without := func(s *Shop) {
		t.Helper()
		if code, body := get(t, s.URL()+"/product/1"); code != 200 || strings.Contains(body, "You may also like") || s.Mode() != "degraded" {
			t.Errorf("status %d, mode %s, body %s", code, s.Mode(), body)
		}
	}
	m.tell("a mode that the shop does not know")
	eventually(t, "it says that it does not know the mode", func() bool { return m.instances.Reports()["shop-01"].Outcome == engine.OutcomeFailed })
	without(s)
	m.tell("degraded")
	eventually(t, "it has what it is told again", func() bool { return m.instances.Reports()["shop-01"].Outcome == engine.OutcomeDone })
	m.stop()
	eventually(t, "it notices", func() bool { return s.follower.Status().LinkError != "" })
	without(s)
	if err := s.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	again := startShop(t, o)
	eventually(t, "it begins with what is on disk", func() bool { return again.Mode() == "degraded" })
	without(again)

	t.Run("it was never there", func(t *testing.T) {
		s := startShop(t, Options{Backend: b.URL(), Probe: time.Hour})
		if code, body := get(t, s.URL()+"/product/1"); code != 200 || !strings.Contains(body, "You may also like") || s.Mode() != "" {
			t.Errorf("status %d, mode %q, body %s", code, s.Mode(), body)
		}
	})
}

func TestAnInstanceFollowsOneModeshift(t *testing.T) {
	b, m := startBackend(t), startModeshift(t, "normal")
	s := startShop(t, Options{Backend: b.URL(), Modeshift: m.URL, Token: token, Probe: time.Hour})
	if err := s.Follow(m.URL, token); err == nil {
		t.Error("a second one was taken")
	}
	if _, err := Start(Options{Backend: b.URL(), Modeshift: "nowhere"}); err == nil || !strings.Contains(err.Error(), "follow the mode") {
		t.Errorf("want an error about the address, got %v", err)
	}
}

func TestABrokenBackendFailsItsShareOfProductPagesAndNothingElse(t *testing.T) {
	b := startBackend(t)
	s := startShop(t, Options{Backend: b.URL(), Probe: time.Hour})
	eventually(t, "the first probe is over", func() bool {
		_, body := get(t, s.URL()+"/metrics")
		return strings.Contains(body, `shop_dependency_probes_total{dependency="recommendations",result="success"} 1`)
	})
	b.Break(0.25)
	failed := 0
	for range 20 {
		if code, _ := get(t, s.URL()+"/product/3"); code == 500 {
			failed++
		}
	}
	if failed != 5 {
		t.Errorf("%d of 20 pages failed, want 5", failed)
	}
	if code, _ := get(t, s.URL()+"/"); code != 200 {
		t.Errorf("the home page needs no recommendations, and answers %d", code)
	}
	if code, _ := get(t, s.URL()+"/product/99"); code != 404 {
		t.Errorf("a product that is not there answers %d", code)
	}
	_, body := get(t, s.URL()+"/metrics")
	for _, want := range []string{`http_requests_total{code="500"} 5`, `http_requests_total{code="404"} 1`, `shop_recommendations_total{result="failed"} 5`, "http_request_duration_seconds_count 22"} {
		if !strings.Contains(body, want) {
			t.Errorf("the metrics lack %s:\n%s", want, body)
		}
	}
	b.Mend()
	for range 20 {
		if code, _ := get(t, s.URL()+"/product/3"); code != 200 {
			t.Fatalf("a mended backend answers %d", code)
		}
	}
}

func TestABadDeployFailsItsShareOfAllPagesInWhateverMode(t *testing.T) {
	b, m := startBackend(t), startModeshift(t, "degraded")
	s := startShop(t, Options{Name: "shop-01", Backend: b.URL(), Modeshift: m.URL, Token: token, Probe: time.Hour})
	eventually(t, "degraded is taken", func() bool { return s.Mode() == "degraded" })
	failed := func() (n int) {
		t.Helper()
		for i := range 20 {
			if code, _ := get(t, s.URL()+[]string{"/", "/product/3"}[i%2]); code == 500 {
				n++
			}
		}
		return n
	}
	if code, _ := send(t, s.URL()+"/break?share=2", "", ""); code != 400 || failed() != 0 {
		t.Errorf("a share of two answers %d, and breaks something", code)
	}
	if code, _ := send(t, s.URL()+"/break?share=0.25", "", ""); code != 200 {
		t.Errorf("break answers %d", code)
	}
	if n := failed(); n != 5 {
		t.Errorf("%d of 20 pages failed, want 5", n)
	}
	if code, _ := send(t, s.URL()+"/mend", "", ""); code != 200 || failed() != 0 {
		t.Errorf("mend answers %d, and pages fail", code)
	}
	_, body := get(t, s.URL()+"/metrics")
	if want := `http_requests_total{code="500"} 5`; !strings.Contains(body, want) {
		t.Errorf("the metrics lack %s:\n%s", want, body)
	}
}

func TestTheBackendIsBrokenAndMendedOverHTTP(t *testing.T) {
	b := startBackend(t)
	post := func(path string) int {
		res, err := http.Post(b.URL()+path, "", nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := res.Body.Close(); err != nil {
			t.Fatal(err)
		}
		return res.StatusCode
	}
	for _, bad := range []string{"share=-0.1", "share=1.1", "share=NaN", "share=half", "only=probes"} {
		if code := post("/break?" + bad); code != 400 || b.Broken() {
			t.Errorf("%s answers %d, broken is %v", bad, code, b.Broken())
		}
	}
	if code := post("/break?only=pages"); code != 200 || !b.Broken() {
		t.Errorf("break answers %d", code)
	}
	if code, _ := get(t, b.URL()+"/recommendations?product=lamp"); code != 500 {
		t.Errorf("broken for pages, it answers one with %d", code)
	}
	if code, _ := get(t, b.URL()+"/recommendations?product="+ProbeProduct); code != 200 {
		t.Errorf("broken for pages alone, it answers a probe with %d", code)
	}
	if code := post("/break"); code != 200 || !b.Broken() {
		t.Errorf("break answers %d", code)
	}
	if code, _ := get(t, b.URL()+"/recommendations?product=lamp"); code != 500 {
		t.Errorf("broken, it answers %d", code)
	}
	if code := post("/mend"); code != 200 || b.Broken() {
		t.Errorf("mend answers %d", code)
	}
	if code, body := get(t, b.URL()+"/recommendations?product=lamp"); code != 200 || strings.Contains(body, "lamp") {
		t.Errorf("mended, it answers %d %s", code, body)
	}
}

func TestProbesTellABrokenBackendWhileNoPageCallsIt(t *testing.T) {
	b, m := startBackend(t), startModeshift(t, "degraded")
	s := startShop(t, Options{Backend: b.URL(), Modeshift: m.URL, Token: token, Probe: 2 * time.Millisecond})
	eventually(t, "degraded is taken", func() bool { return s.Mode() == "degraded" })
	b.Break(1)
	eventually(t, "a probe has failed", func() bool {
		_, body := get(t, s.URL()+"/metrics")
		return !strings.Contains(body, `shop_dependency_probes_total{dependency="recommendations",result="failure"} 0`)
	})
	if n := b.Served(); n != 0 {
		t.Errorf("probes counted as %d pages", n)
	}
}

func TestTheLoadCountsWhatVisitorsGotAndStops(t *testing.T) {
	b := startBackend(t)
	one, two := startShop(t, Options{Backend: b.URL(), Probe: time.Hour}), startShop(t, Options{Backend: b.URL(), Probe: time.Hour})
	l := NewLoad(one.URL(), two.URL())
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	began := time.Now()
	go func() { defer close(done); l.Run(ctx, 500) }()
	eventually(t, "a hundred answers", func() bool { return l.Visits().Answers >= 100 })
	if d := time.Since(began); d < 150*time.Millisecond {
		t.Errorf("100 answers at 500/s took only %s: the rate is not bounded", d)
	}
	if v := l.Visits(); v.Errors != 0 {
		t.Errorf("nothing is broken, and %d of %d failed", v.Errors, v.Answers)
	}
	b.Break(1)
	eventually(t, "errors are counted", func() bool { return l.Visits().Errors > 10 })
	cancel()
	<-done
	for _, s := range []*Shop{one, two} {
		if c := s.Counts(); c.Shown == 0 || c.Failed == 0 {
			t.Errorf("an instance was left out: %+v", c)
		}
	}
	after := l.Visits()
	if err := one.Stop(t.Context()); err != nil {
		t.Error(err)
	}
	if l.Visits() != after {
		t.Error("it went on after the end")
	}
}

func TestEveryInstanceGetsItsShareOfVisitsToProducts(t *testing.T) {
	b := startBackend(t)
	var shops []*Shop
	var urls []string
	for range 4 { // a divisor of the visits that go to products
		s := startShop(t, Options{Backend: b.URL(), Probe: time.Hour})
		shops, urls = append(shops, s), append(urls, s.URL())
	}
	l := NewLoad(urls...)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); l.Run(ctx, 500) }()
	eventually(t, "each has shown products", func() bool {
		return !slices.ContainsFunc(shops, func(s *Shop) bool { return s.Counts().Shown < 6 })
	})
	cancel()
	<-done
	_, metrics := get(t, shops[0].URL()+"/metrics")
	if pages, n := shops[0].Counts().Shown, l.Visits().Answers/4; pages < n/2 || pages > n {
		t.Errorf("%d of about %d visits were to products:\n%s", pages, n, metrics)
	}
}

func TestStoppingLeavesNoGoroutineBehind(t *testing.T) {
	m := startModeshift(t, "normal")
	run := func() {
		b, err := StartBackend("")
		if err != nil {
			t.Fatal(err)
		}
		s, err := Start(Options{Backend: b.URL(), Modeshift: m.URL, Token: token, Probe: time.Millisecond})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		l := NewLoad(s.URL())
		done := make(chan struct{})
		go func() { defer close(done); l.Run(ctx, 500) }()
		eventually(t, "it runs", func() bool { return l.Visits().Answers > 5 && s.Mode() == "normal" })
		cancel()
		<-done
		for range 2 { // the second does nothing
			if err := errors.Join(s.Stop(t.Context()), b.Stop(t.Context())); err != nil {
				t.Fatal(err)
			}
		}
	}
	run() // what a library starts once for the whole process does not count
	m.CloseClientConnections()
	before := runtime.NumGoroutine()
	run()
	deadline := time.Now().Add(10 * time.Second)
	for ; runtime.NumGoroutine() > before && time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		m.CloseClientConnections()
	}
	if n := runtime.NumGoroutine(); n > before {
		buf := make([]byte, 1<<16)
		t.Fatalf("%d goroutines, %d before:\n%s", n, before, buf[:runtime.Stack(buf, true)])
	}
}

func TestAShopThatCannotStartSaysWhyAndLeavesNothing(t *testing.T) {
	b := startBackend(t)
	if _, err := Start(Options{Backend: "nowhere"}); err == nil || !strings.Contains(err.Error(), "recommendations") {
		t.Errorf("want an error about the backend's URL, got %v", err)
	}
	if _, err := Start(Options{Backend: b.URL(), Listen: b.Address()}); err == nil || !strings.Contains(err.Error(), "address already in use") {
		t.Errorf("want an error about the port, got %v", err)
	}
	if _, err := StartBackend(b.Address()); err == nil {
		t.Error("two backends on one port")
	}
}
