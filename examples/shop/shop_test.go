package shop

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"
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

// flagServer is a modeshift as far as OFREP is concerned. It answers what the test says.
type flagServer struct {
	*httptest.Server
	mu     sync.Mutex
	code   int
	values map[string]any
	body   string // instead of an evaluation
	asked  map[string]map[string]any
	count  int

	authorization string // of the last request
}

func newFlagServer(t *testing.T, values map[string]any) *flagServer {
	t.Helper()
	f := &flagServer{asked: map[string]map[string]any{}}
	f.set(200, values, "")
	f.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		key := r.URL.Path[strings.LastIndex(r.URL.Path, "/")+1:]
		var body struct {
			Context map[string]any `json:"context"`
		}
		if err := json.NewDecoder(r.Body).Decode(&body); err != nil || r.Method != http.MethodPost {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		f.mu.Lock()
		defer f.mu.Unlock()
		f.asked[key] = body.Context
		f.count++
		f.authorization = r.Header.Get("Authorization")
		w.WriteHeader(f.code)
		if f.body != "" {
			_, _ = io.WriteString(w, f.body) // the client sees what it sees
			return
		}
		_ = json.NewEncoder(w).Encode(map[string]any{"key": key, "value": f.values[key], "reason": "STATIC", "variant": "x"})
	}))
	t.Cleanup(f.Close)
	return f
}

func (f *flagServer) set(code int, values map[string]any, body string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.code, f.values, f.body = code, values, body
}

func (f *flagServer) requests() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.count
}

var (
	normal   = map[string]any{"mode": "normal", "recommendations": true}
	degraded = map[string]any{"mode": "degraded", "recommendations": false}
)

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
	b, f := startBackend(t), newFlagServer(t, normal)
	s := startShop(t, Options{Backend: b.URL(), Modeshift: f.URL, Refresh: 5 * time.Millisecond, Probe: time.Hour})
	eventually(t, "normal is taken", func() bool { return s.Mode() == "normal" })
	if code, body := get(t, s.URL()+"/product/0"); code != 200 || !strings.Contains(body, "You may also like") {
		t.Fatalf("status %d, body %s", code, body)
	}
	f.mu.Lock()
	if got := f.asked[flagRecommendations]; got["service"] != "shop" || got["targetingKey"] != s.Address() {
		t.Errorf("the context says %v", got)
	}
	f.mu.Unlock()

	f.set(200, degraded, "")
	eventually(t, "degraded is taken", func() bool { return s.Mode() == "degraded" })
	before := b.Served()
	if code, body := get(t, s.URL()+"/product/0"); code != 200 || strings.Contains(body, "You may also like") {
		t.Errorf("status %d, body %s", code, body)
	}
	if b.Served() != before {
		t.Error("the backend was called though the flag is false")
	}
	if got := s.Counts(); got.Skipped != 1 || got.Shown != 1 {
		t.Errorf("counts = %+v", got)
	}
	if _, body := get(t, s.URL()+"/metrics"); !strings.Contains(body, `modeshift_instance_mode{mode="degraded"} 1`) || strings.Contains(body, `mode="normal"`) {
		t.Errorf("the metrics do not name the mode taken:\n%s", body)
	}

	f.set(200, normal, "")
	eventually(t, "recommendations are back", func() bool {
		_, body := get(t, s.URL()+"/product/0")
		return strings.Contains(body, "You may also like")
	})
}

func TestTheLastFlagsHoldWhateverBecomesOfModeshift(t *testing.T) {
	for name, c := range map[string]struct {
		code int
		body string
	}{
		"it knows no such flag":         {404, `{"errorCode":"FLAG_NOT_FOUND"}`},
		"it refuses the context":        {400, `{"errorCode":"INVALID_CONTEXT"}`},
		"it refuses the token":          {401, `{}`},
		"it fails":                      {500, `{"errorDetails":"disk full"}`},
		"it answers something else":     {200, `<html>`},
		"its flag has another type":     {200, `{"key":"recommendations","value":"yes"}`},
		"its flag has no value":         {200, `{"key":"recommendations"}`},
		"another program has its place": {204, `nothing`},
	} {
		t.Run(name, func(t *testing.T) {
			b, f := startBackend(t), newFlagServer(t, degraded)
			s := startShop(t, Options{Backend: b.URL(), Modeshift: f.URL, Refresh: 2 * time.Millisecond, Probe: time.Hour})
			eventually(t, "degraded is taken", func() bool { return s.Mode() == "degraded" })
			f.set(c.code, nil, c.body)
			seen := f.requests()
			eventually(t, "it has been asked again", func() bool { return f.requests() > seen+6 })
			if got := s.flags.now(); got != (posture{"degraded", false}) {
				t.Errorf("the shop fell to %+v", got)
			}
		})
	}
	t.Run("it is away", func(t *testing.T) {
		b, f := startBackend(t), newFlagServer(t, degraded)
		s := startShop(t, Options{Backend: b.URL(), Modeshift: f.URL, Refresh: 2 * time.Millisecond, Probe: time.Hour})
		eventually(t, "degraded is taken", func() bool { return s.Mode() == "degraded" })
		f.Close()
		eventually(t, "looks at the flags fail", func() bool {
			_, body := get(t, s.URL()+"/metrics")
			return !strings.Contains(body, "shop_flag_errors_total 0")
		})
		if code, body := get(t, s.URL()+"/product/1"); code != 200 || strings.Contains(body, "You may also like") {
			t.Errorf("status %d, body %s", code, body)
		}
	})
	t.Run("it was never there", func(t *testing.T) {
		b := startBackend(t)
		s := startShop(t, Options{Backend: b.URL(), Probe: time.Hour})
		if code, body := get(t, s.URL()+"/product/1"); code != 200 || !strings.Contains(body, "You may also like") || s.Mode() != "" {
			t.Errorf("status %d, mode %q, body %s", code, s.Mode(), body)
		}
	})
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
	for _, bad := range []string{"-0.1", "1.1", "NaN", "half"} {
		if code := post("/break?share=" + bad); code != 400 || b.Broken() {
			t.Errorf("share=%s answers %d, broken is %v", bad, code, b.Broken())
		}
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
	b, f := startBackend(t), newFlagServer(t, degraded)
	s := startShop(t, Options{Backend: b.URL(), Modeshift: f.URL, Refresh: 5 * time.Millisecond, Probe: 2 * time.Millisecond})
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

func TestStoppingLeavesNoGoroutineBehind(t *testing.T) {
	f := newFlagServer(t, normal)
	run := func() {
		b, err := StartBackend("")
		if err != nil {
			t.Fatal(err)
		}
		s, err := Start(Options{Backend: b.URL(), Modeshift: f.URL, Refresh: time.Millisecond, Probe: time.Millisecond})
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
	run() // what the SDK starts once for the whole process does not count
	f.CloseClientConnections()
	before := runtime.NumGoroutine()
	run()
	deadline := time.Now().Add(10 * time.Second)
	for ; runtime.NumGoroutine() > before && time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		f.CloseClientConnections()
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
