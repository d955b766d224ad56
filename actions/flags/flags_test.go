package flags

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/modeshift/modeshift/engine"
)

// shop is a service with three modes, in degraded.
func shop() engine.View {
	return engine.View{
		Policy: &engine.Policy{Scope: "checkout", Modes: []engine.ModeRule{
			{Name: "normal"},
			{Name: "degraded", Flags: engine.Flags{"recommendations": false, "payment_gateway": "backup", "retries": 2.0, "limits": map[string]any{"cart": 10.0}}},
			{Name: "read-only", Flags: engine.Flags{"writes": false, "a/b c": true}},
		}},
		State: engine.State{Scope: "checkout", Target: "degraded", Directive: engine.Directive{Term: 1, Revision: 7, Mode: "degraded",
			Flags: engine.Flags{"recommendations": false, "payment_gateway": "backup", "retries": 2.0, "limits": map[string]any{"cart": 10.0}}}},
	}
}

// services is a source that may be changed while it serves.
type services struct {
	mu      sync.Mutex
	views   map[engine.Scope]engine.View
	ahead   map[engine.Scope]map[string]engine.Directive // of a wave's instances, by name
	changed chan struct{}
}

func newServices(views ...engine.View) *services {
	s := &services{views: map[engine.Scope]engine.View{}, ahead: map[engine.Scope]map[string]engine.Directive{}, changed: make(chan struct{})}
	for _, v := range views {
		s.views[v.State.Scope] = v
	}
	return s
}

func (s *services) View(scope engine.Scope) (engine.View, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	v, ok := s.views[scope]
	return v, ok
}

func (s *services) Told(scope engine.Scope, instance string) engine.Told {
	s.mu.Lock()
	defer s.mu.Unlock()
	d, there := s.ahead[scope][instance]
	if !there {
		d = s.views[scope].State.Directive
	}
	return engine.Told{Scope: scope, Directive: d}
}

func (s *services) Wave(scope engine.Scope) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Collect(maps.Keys(s.ahead[scope]))
}

func (s *services) Changed() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.changed
}

func (s *services) change(scope engine.Scope, change func(*engine.View)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	v := s.views[scope]
	change(&v)
	s.views[scope] = v
	close(s.changed)
	s.changed = make(chan struct{})
}

// wave tells some instances a directive of their own; none ends it.
func (s *services) wave(scope engine.Scope, d engine.Directive, names ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ahead[scope] = map[string]engine.Directive{}
	for _, name := range names {
		s.ahead[scope][name] = d
	}
	close(s.changed)
	s.changed = make(chan struct{})
}

const inCheckout = `{"context":{"targetingKey":"pod-1","service":"checkout"}}`

type request struct {
	method, path, body string
	header             http.Header
}

func (q request) do(t testing.TB, h http.Handler) *httptest.ResponseRecorder {
	t.Helper()
	if q.method == "" {
		q.method = http.MethodPost
	}
	r := httptest.NewRequest(q.method, q.path, strings.NewReader(q.body))
	r.Header.Set("Content-Type", "application/json")
	for name, values := range q.header {
		r.Header[name] = values
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func TestASingleFlagIsAnsweredAsTheProtocolHasIt(t *testing.T) {
	alerts := engine.View{Policy: &engine.Policy{Scope: "alerts"}, State: engine.State{Scope: "alerts", Version: 1}}
	retired := shop()
	retired.State.Scope, retired.State.Retired, retired.Policy = "old", true, nil
	h := Handler(newServices(shop(), alerts, retired), Options{})
	meta := `"metadata":{"revision":7,"scope":"checkout","term":1}`
	for name, c := range map[string]struct {
		key, body string
		status    int
		want      string
	}{
		"the mode": {"mode", inCheckout, 200, `{"key":"mode","value":"degraded","reason":"STATIC","variant":"degraded",` + meta + `}`},
		"a flag of the present mode, even when it is false": {"recommendations", inCheckout, 200,
			`{"key":"recommendations","value":false,"reason":"STATIC","variant":"degraded",` + meta + `}`},
		"a flag that is an object":                                      {"limits", inCheckout, 200, `{"key":"limits","value":{"cart":10},"reason":"STATIC","variant":"degraded",` + meta + `}`},
		"a flag of another mode has no value: the code's default holds": {"writes", inCheckout, 200, `{"key":"writes","reason":"DISABLED",` + meta + `}`},
		"a key with a slash and a space":                                {"a%2Fb%20c", inCheckout, 200, `{"key":"a/b c","reason":"DISABLED",` + meta + `}`},
		"a flag no mode declares": {"wrties", inCheckout, 404,
			`{"key":"wrties","errorCode":"FLAG_NOT_FOUND","errorDetails":"service \"checkout\" has no flag \"wrties\""}`},
		"an unknown service": {"mode", `{"context":{"service":"chekout"}}`, 404,
			`{"key":"mode","errorCode":"FLAG_NOT_FOUND","errorDetails":"there is no service \"chekout\""}`},
		"the fleet is no service": {"mode", `{"context":{"service":"fleet"}}`, 404,
			`{"key":"mode","errorCode":"FLAG_NOT_FOUND","errorDetails":"there is no service \"fleet\""}`},
		"a service without modes": {"mode", `{"context":{"service":"alerts"}}`, 404,
			`{"key":"mode","errorCode":"FLAG_NOT_FOUND","errorDetails":"service \"alerts\" has no flag \"mode\""}`},
		"a retired service keeps its last directive": {"mode", `{"context":{"service":"old"}}`, 200,
			`{"key":"mode","value":"degraded","reason":"STATIC","variant":"degraded","metadata":{"revision":7,"scope":"old","term":1}}`},
		"no service": {"mode", `{"context":{"targetingKey":"pod-1"}}`, 400,
			`{"key":"mode","errorCode":"INVALID_CONTEXT","errorDetails":"the context has to say which service asks: \"service\": \"NAME\", as its rule file has it"}`},
		"a service that is no text": {"mode", `{"context":{"service":42}}`, 400,
			`{"key":"mode","errorCode":"INVALID_CONTEXT","errorDetails":"the context has to say which service asks: \"service\": \"NAME\", as its rule file has it"}`},
		"no body at all": {"mode", ``, 400,
			`{"key":"mode","errorCode":"INVALID_CONTEXT","errorDetails":"the context has to say which service asks: \"service\": \"NAME\", as its rule file has it"}`},
		"broken JSON": {"mode", `{"context":`, 400,
			`{"key":"mode","errorCode":"PARSE_ERROR","errorDetails":"the body is not a JSON object with a context: unexpected end of JSON input"}`},
	} {
		t.Run(name, func(t *testing.T) {
			w := request{path: Path + "/" + c.key, body: c.body}.do(t, h)
			if got := strings.TrimSpace(w.Body.String()); w.Code != c.status || got != c.want {
				t.Errorf("got %d %s\nwant %d %s", w.Code, got, c.status, c.want)
			}
			if kind := w.Header().Get("Content-Type"); kind != "application/json; charset=utf-8" {
				t.Errorf("content type %q", kind)
			}
		})
	}
}

func TestBulkEvaluationHasEveryFlagOfEveryModeInOneOrder(t *testing.T) {
	w := request{path: Path, body: inCheckout}.do(t, Handler(newServices(shop()), Options{}))
	want := `{"flags":[` +
		`{"key":"mode","value":"degraded","reason":"STATIC","variant":"degraded","metadata":{"revision":7,"scope":"checkout","term":1}},` +
		`{"key":"a/b c","reason":"DISABLED"},` +
		`{"key":"limits","value":{"cart":10},"reason":"STATIC","variant":"degraded"},` +
		`{"key":"payment_gateway","value":"backup","reason":"STATIC","variant":"degraded"},` +
		`{"key":"recommendations","value":false,"reason":"STATIC","variant":"degraded"},` +
		`{"key":"retries","value":2,"reason":"STATIC","variant":"degraded"},` +
		`{"key":"writes","reason":"DISABLED"}],` +
		`"metadata":{"revision":7,"scope":"checkout","term":1},` +
		`"eventStreams":[{"type":"sse","endpoint":{"requestUri":"/ofrep/v1/events?instance=pod-1&service=checkout&since=TAG"},"inactivityDelaySec":120}]}`
	content, _, _ := strings.Cut(strings.Trim(w.Header().Get("ETag"), `"`), ".")
	want = strings.Replace(want, "TAG", content, 1)
	if got := strings.TrimSpace(w.Body.String()); w.Code != 200 || got != want {
		t.Errorf("got %d %s\nwant 200 %s", w.Code, got, want)
	}
}

func TestBulkEvaluationKnowsNo404(t *testing.T) {
	h := Handler(newServices(shop()), Options{})
	for body, want := range map[string]string{
		`{"context":{"service":"nobody"}}`: `{"errorCode":"INVALID_CONTEXT","errorDetails":"there is no service \"nobody\""}`,
		`{}`:                               `{"errorCode":"INVALID_CONTEXT","errorDetails":"the context has to say which service asks: \"service\": \"NAME\", as its rule file has it"}`,
		`[]`:                               `{"errorCode":"PARSE_ERROR"`,
	} {
		w := request{path: Path, body: body}.do(t, h)
		if w.Code != http.StatusBadRequest || !strings.HasPrefix(w.Body.String(), want) {
			t.Errorf("%s: got %d %s, want 400 %s", body, w.Code, w.Body, want)
		}
	}
}

func TestTheTagChangesWithTheAnswerAndWithNothingElse(t *testing.T) {
	s := newServices(shop())
	tag := func(h http.Handler) string {
		return request{path: Path, body: inCheckout}.do(t, h).Header().Get("ETag")
	}
	first := tag(Handler(s, Options{}))
	if !strings.HasPrefix(first, `"`) || !strings.HasSuffix(first, `"`) {
		t.Fatalf("%s is not a strong tag", first)
	}
	if again := tag(Handler(newServices(shop()), Options{})); again != first {
		t.Errorf("another server with the same directive has tag %s, not %s", again, first)
	}
	s.change("checkout", func(v *engine.View) { v.State.Version++ })
	if got := tag(Handler(s, Options{})); got != first {
		t.Errorf("an event that publishes nothing changed the tag")
	}
	seen := map[string]string{first: "the beginning"}
	for _, c := range []struct {
		what   string
		change func(*engine.View)
	}{
		{"another revision", func(v *engine.View) { v.State.Directive.Revision++ }},
		{"another term", func(v *engine.View) { v.State.Directive.Term++ }},
		{"another mode", func(v *engine.View) { v.State.Directive.Mode = "read-only" }},
		{"another flag declared", func(v *engine.View) {
			p := *v.Policy
			p.Modes = append(p.Modes[:2:2], engine.ModeRule{Name: "read-only", Flags: engine.Flags{"writes": false, "new": 1.0}})
			v.Policy = &p
		}},
	} {
		s.change("checkout", c.change)
		got := tag(Handler(s, Options{}))
		if before, twice := seen[got]; twice {
			t.Errorf("%s has the tag of %s", c.what, before)
		}
		seen[got] = c.what
	}
}

func TestIfNoneMatchIsHonouredInAllItsForms(t *testing.T) {
	s := newServices(shop())
	var fetched []string
	h := Handler(s, Options{Fetched: func(f Fetch) {
		fetched = append(fetched, fmt.Sprintf("%s/%d/%s/%s", f.Scope, f.Revision, f.Instance, f.Via))
	}})
	tag := request{path: Path, body: inCheckout}.do(t, h).Header().Get("ETag")
	for name, c := range map[string]struct {
		header []string
		status int
	}{
		"the tag":                {[]string{tag}, 304},
		"a weak tag":             {[]string{"W/" + tag}, 304},
		"a list":                 {[]string{`"other", ` + tag}, 304},
		"two headers":            {[]string{`"other"`, tag}, 304},
		"anything":               {[]string{"*"}, 304},
		"another tag":            {[]string{`"other"`}, 200},
		"the tag without quotes": {[]string{strings.Trim(tag, `"`)}, 200},
		"empty":                  {[]string{""}, 200},
	} {
		t.Run(name, func(t *testing.T) {
			w := request{path: Path, body: inCheckout, header: http.Header{"If-None-Match": c.header}}.do(t, h)
			if w.Code != c.status {
				t.Errorf("got %d, want %d", w.Code, c.status)
			}
			if c.status == 304 && w.Body.Len() > 0 {
				t.Errorf("a 304 has the body %s", w.Body)
			}
			if w.Header().Get("ETag") != tag {
				t.Errorf("tag %s, want %s", w.Header().Get("ETag"), tag)
			}
		})
	}
	if len(fetched) != 9 || fetched[8] != "checkout/7/pod-1/ofrep" {
		t.Errorf("readers heard of: %q", fetched)
	}
}

func TestWhatIsNoEvaluationIsRefused(t *testing.T) {
	h := Handler(newServices(shop()), Options{})
	for name, c := range map[string]struct {
		q      request
		status int
	}{
		"a GET":                        {request{method: "GET", path: Path}, 405},
		"a path beside it":             {request{path: "/ofrep/v1/evaluate/flagsandmore", body: inCheckout}, 404},
		"a path below a flag":          {request{path: Path + "/mode/x", body: inCheckout}, 404},
		"a form":                       {request{path: Path, body: inCheckout, header: http.Header{"Content-Type": {"application/x-www-form-urlencoded"}}}, 415},
		"a broken content type":        {request{path: Path, body: inCheckout, header: http.Header{"Content-Type": {";;"}}}, 415},
		"a body of one byte too many":  {request{path: Path, body: padded(maxBody + 1)}, 413},
		"a body of the longest length": {request{path: Path, body: padded(maxBody)}, 200},
		"another JSON type":            {request{path: Path, body: inCheckout, header: http.Header{"Content-Type": {"application/vnd.x+json; charset=utf-8"}}}, 200},
		"no content type":              {request{path: Path, body: inCheckout, header: http.Header{"Content-Type": nil}}, 200},
	} {
		t.Run(name, func(t *testing.T) {
			if w := c.q.do(t, h); w.Code != c.status {
				t.Errorf("got %d %s, want %d", w.Code, w.Body, c.status)
			}
		})
	}
}

// padded is a valid request of n bytes.
func padded(n int) string {
	const head, tail = `{"context":{"service":"checkout","pad":"`, `"}}`
	return head + strings.Repeat("x", n-len(head)-len(tail)) + tail
}

// guard lets readers of some tokens in, each to one scope.
type guard map[string]engine.Scope

func (g guard) Reader(credential string) (string, int, string) {
	switch {
	case credential == "":
		return "", http.StatusUnauthorized, "a token is needed"
	case g[credential] == "":
		return "", http.StatusUnauthorized, "nobody knows this token"
	}
	return "reader-" + string(g[credential]), 0, ""
}

func (g guard) May(reader string, scope engine.Scope) (int, string) {
	if reader != "reader-"+string(scope) || !slices.Contains(slices.Collect(maps.Values(g)), scope) {
		return http.StatusForbidden, "not yours"
	}
	return 0, ""
}

func TestAuthorizationComesBeforeTheBodyAndBeforeWhatExists(t *testing.T) {
	h := Handler(newServices(shop()), Options{Guard: guard{"x": "checkout"}})
	w := request{path: Path, body: "{"}.do(t, h)
	if w.Code != 401 || w.Header().Get("WWW-Authenticate") == "" || strings.TrimSpace(w.Body.String()) != `{"errorDetails":"a token is needed"}` {
		t.Errorf("without a token: %d %s", w.Code, w.Body)
	}
	for name, header := range map[string]http.Header{"a bearer's token": {"Authorization": {"Bearer x"}}, "a key": {"X-Api-Key": {"x"}}} {
		for _, service := range []string{"payments", "nobody"} { // of which neither exists, and nothing tells so
			w = request{path: Path + "/mode", body: `{"context":{"service":"` + service + `"}}`, header: header}.do(t, h)
			if w.Code != 403 || strings.TrimSpace(w.Body.String()) != `{"errorDetails":"not yours"}` {
				t.Errorf("%s: %s: %d %s", name, service, w.Code, w.Body)
			}
		}
		if w = (request{path: Path + "/mode", body: inCheckout, header: header}).do(t, h); w.Code != 200 {
			t.Errorf("%s: its own service: %d %s", name, w.Code, w.Body)
		}
	}
}

func TestOnlyListedOriginsMayRead(t *testing.T) {
	views := newServices(shop())
	for name, c := range map[string]struct {
		origins []string
		origin  string
		allowed bool
	}{
		"a listed origin":         {[]string{"https://shop.example.com"}, "https://shop.example.com", true},
		"another origin":          {[]string{"https://shop.example.com"}, "https://evil.example.com", false},
		"a prefix of one":         {[]string{"https://shop.example.com"}, "https://shop.example.co", false},
		"all origins":             {[]string{"*"}, "https://any.example.com", true},
		"none without the option": {nil, "https://shop.example.com", false},
	} {
		t.Run(name, func(t *testing.T) {
			h := Handler(views, Options{Origins: c.origins})
			header := http.Header{"Origin": {c.origin}, "Access-Control-Request-Method": {"POST"}}
			before := request{method: "OPTIONS", path: Path, header: header}.do(t, h)
			after := request{path: Path, body: inCheckout, header: http.Header{"Origin": {c.origin}}}.do(t, h)
			for what, w := range map[string]*httptest.ResponseRecorder{"preflight": before, "answer": after} {
				if got := w.Header().Get("Access-Control-Allow-Origin"); (got == c.origin) != c.allowed || (!c.allowed && got != "") {
					t.Errorf("%s: allowed origin %q", what, got)
				}
			}
			if c.allowed {
				if got := after.Header().Get("Access-Control-Expose-Headers"); !strings.Contains(got, "ETag") {
					t.Errorf("exposed: %q", got)
				}
				if got := before.Header().Get("Access-Control-Allow-Headers"); !strings.Contains(got, "If-None-Match") || !strings.Contains(got, "Authorization") {
					t.Errorf("allowed headers: %q", got)
				}
			}
		})
	}
}

func FuzzNoBodyBreaksTheHandler(f *testing.F) {
	for _, seed := range []string{inCheckout, "", "{", "null", `{"context":null}`, `{"context":{"service":null}}`, "\xff", `{"context":{"service":"\u0000"}}`} {
		f.Add(seed)
	}
	h := Handler(newServices(shop()), Options{})
	f.Fuzz(func(t *testing.T, body string) {
		for _, path := range []string{Path, Path + "/mode"} {
			w := request{path: path, body: body}.do(t, h)
			switch w.Code {
			case 200, 400, 404, 413:
			default:
				t.Errorf("%s: status %d", path, w.Code)
			}
			var any map[string]any
			if err := json.Unmarshal(w.Body.Bytes(), &any); err != nil {
				t.Errorf("%s: the answer is not JSON: %v", path, err)
			}
		}
	})
}

func BenchmarkBulk(b *testing.B) {
	h := Handler(newServices(shop()), Options{})
	tag := request{path: Path, body: inCheckout}.do(b, h).Header().Get("ETag")
	for name, header := range map[string]http.Header{"whole": {}, "unchanged": {"If-None-Match": {tag}}} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			body := []byte(inCheckout)
			for b.Loop() {
				r := httptest.NewRequest(http.MethodPost, Path, io.NopCloser(bytes.NewReader(body)))
				r.Header = header
				h.ServeHTTP(httptest.NewRecorder(), r)
			}
		})
	}
}
