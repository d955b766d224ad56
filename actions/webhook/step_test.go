package webhook_test

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/modeshift/modeshift/actions"
	"github.com/modeshift/modeshift/actions/guard"
	"github.com/modeshift/modeshift/actions/webhook"
	"github.com/modeshift/modeshift/engine"
)

// hostile are texts that mean something to somebody on their way.
var hostile = []string{
	"$(touch /tmp/x)", "`id`", "; rm -rf /", "a\nInjected: yes\r\n\r\nGET / HTTP/1.1", "--flag", "a\x00b", `"}, "admin": true, {"x": "`,
	"../../etc/passwd", "?x=1&y=2#z", "%2e%2e%2f", "{{.scope}}", "\u2028\u202e</script>", "\xff\xfe",
}

// request is one that arrived.
type request struct {
	method string
	url    *url.URL
	header http.Header
	body   string
}

// target is a server that notes what arrives and answers as it is told.
type target struct {
	*httptest.Server
	mu  sync.Mutex
	got []request // guarded by mu
}

func newTarget(t *testing.T, answer http.HandlerFunc) *target {
	t.Helper()
	s := &target{}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		s.mu.Lock()
		s.got = append(s.got, request{r.Method, r.URL, r.Header, string(b)})
		s.mu.Unlock()
		if answer != nil {
			answer(w, r)
		}
	}))
	t.Cleanup(s.Close)
	return s
}

func (s *target) requests() []request {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]request(nil), s.got...)
}

func says(status int, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status); _, _ = io.WriteString(w, body) }
}

func home(t *testing.T) guard.Options {
	t.Helper()
	a, err := guard.ParseAllow([]string{"127.0.0.0/8"})
	if err != nil {
		t.Fatal(err)
	}
	return guard.Options{Allow: a}
}

func kind(t *testing.T) *webhook.Kind {
	t.Helper()
	return webhook.NewKind(webhook.KindOptions{Guard: home(t)})
}

// step is a job of a specification that has no faults.
func step(t *testing.T, k *webhook.Kind, spec string) engine.StepJob {
	t.Helper()
	canonical, traits, problems := k.Check([]byte(spec))
	if len(problems) > 0 {
		t.Fatalf("%s has the faults %q", spec, problems)
	}
	return engine.StepJob{Key: "checkout-17/repoint", Scope: "checkout", Change: "checkout-17", Attempt: 1,
		Step:  engine.Step{Name: "repoint", Kind: "webhook", Spec: string(canonical), Keyed: traits.Keyed},
		Facts: engine.Facts{Scope: "checkout", Change: "checkout-17", Transition: "fail-over", From: "degraded", To: "failover", Reason: "burning"}}
}

// outcome is how the runner reads what Do returns.
func outcome(err error) engine.Outcome {
	switch {
	case err == nil:
		return engine.OutcomeDone
	case actions.Unknown(err):
		return engine.OutcomeUnknown
	}
	return engine.OutcomeFailed
}

func TestAStepIsOneRequestWithItsKeyAndItsFacts(t *testing.T) {
	s := newTarget(t, says(201, `{"state":"moved"}`))
	k := kind(t)
	job := step(t, k, `{"url": "`+s.URL+`/repoint/{{.scope}}?to={{.to}}", "method": "put", "headers": {"X-Reason": "{{.reason}}"},
		"json": {"to": "eu-2", "why": "{{.reason}} in {{.from}}", "n": 1.50, "list": ["{{.change}}", true, null]}}`)
	got, err := k.Do(t.Context(), job)
	if err != nil || got != `201 Created: {"state":"moved"}` {
		t.Errorf("Do = %q, %v", got, err)
	}
	r := s.requests()[0]
	if r.method != "PUT" || r.url.String() != "/repoint/checkout?to=failover" || r.header.Get("X-Reason") != "burning" || r.header.Get("Content-Type") != "application/json" ||
		r.header.Get("Idempotency-Key") != "checkout-17/repoint" || r.body != `{"list":["checkout-17",true,null],"n":1.50,"to":"eu-2","why":"burning in degraded"}` {
		t.Errorf("the request is %+v", r)
	}
}

func TestTheKeyGoesIntoTheHeaderThatTheTargetKnows(t *testing.T) {
	s := newTarget(t, nil)
	k := kind(t)
	job := step(t, k, `{"url": "`+s.URL+`", "idempotency_header": "x-request-id", "done": {"url": "`+s.URL+`/done"}}`)
	for _, attempt := range []int{1, 2} {
		job.Attempt = attempt
		if _, err := k.Do(t.Context(), job); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := k.Done(t.Context(), job); err != nil {
		t.Fatal(err)
	}
	r := s.requests()
	for _, sent := range r[:2] {
		if sent.header.Get("X-Request-Id") != "checkout-17/repoint" || len(sent.header["X-Request-Id"]) != 1 || sent.header["Idempotency-Key"] != nil {
			t.Errorf("the headers are %v", sent.header)
		}
	}
	if r[2].header["X-Request-Id"] != nil {
		t.Errorf("who only asks brings a key: %v", r[2].header)
	}
	if said, err := k.Describe(job); err != nil || !strings.Contains(said, "X-Request-Id: checkout-17/repoint\n") || strings.Contains(said, "Idempotency-Key") {
		t.Errorf("described as %s, %v", said, err)
	}
}

func TestAnUndoSendsTheUndo(t *testing.T) {
	s := newTarget(t, nil)
	k := kind(t)
	job := step(t, k, `{"url": "`+s.URL+`/do"}`)
	job.Undo, job.Key, job.Step.UndoSpec = true, "checkout-17/repoint/undo", `{"url":"`+s.URL+`/undo"}`
	if _, err := k.Do(t.Context(), job); err != nil {
		t.Fatal(err)
	}
	if r := s.requests(); len(r) != 1 || r[0].url.Path != "/undo" || r[0].header.Get("Idempotency-Key") != "checkout-17/repoint/undo" {
		t.Errorf("the requests are %+v", r)
	}
}

func TestARetryRepeatsTheRequestByteForByte(t *testing.T) {
	s := newTarget(t, says(500, ""))
	k := kind(t)
	for _, spec := range []string{`"json": {"a": "{{.reason}}"}`, `"form": {"a": "{{.reason}}"}`, `"json": {"a": 1}, "cloudevents": true`} {
		job := step(t, k, `{"url": "`+s.URL+`", `+spec+`}`)
		for job.Attempt = 1; job.Attempt <= 2; job.Attempt++ {
			if _, err := k.Do(t.Context(), job); err == nil {
				t.Error("a 500 is taken for done")
			}
		}
		r := s.requests()
		a, b := r[len(r)-2], r[len(r)-1]
		if a.body == "" || a.body != b.body || !reflect.DeepEqual(a.header, b.header) {
			t.Errorf("the attempts differ: %+v, %+v", a, b)
		}
	}
}

func TestFactsArriveAsDataWhateverTheyHold(t *testing.T) {
	s := newTarget(t, nil)
	k := kind(t)
	job := step(t, k, `{"url": "`+s.URL+`/a/{{.reason}}x/b?q={{.reason}}&z=1", "json": {"r": "{{.reason}}", "fixed": 1}}`)
	form := step(t, k, `{"url": "`+s.URL+`/", "form": {"r": "{{.reason}}", "fixed": "1"}}`)
	for _, text := range hostile {
		before := len(s.requests())
		job.Facts.Reason, form.Facts.Reason = text, text
		if _, err := k.Do(t.Context(), job); strings.HasPrefix(text, "../") {
			if err == nil || !strings.Contains(err.Error(), "segment") || outcome(err) != engine.OutcomeFailed || len(s.requests()) != before {
				t.Errorf("%q in a path gives %v", text, err)
			}
		} else if err != nil {
			t.Errorf("%q: %v", text, err)
		} else {
			r := s.requests()[before]
			var doc map[string]any
			if err := json.Unmarshal([]byte(r.body), &doc); err != nil || len(doc) != 2 || doc["r"] != strings.ToValidUTF8(text, "\ufffd\ufffd") && doc["r"] != text {
				t.Errorf("%q arrives in JSON as %s", text, r.body)
			}
			if r.url.Path != "/a/"+text+"x/b" || r.url.Query().Get("q") != text || len(r.url.Query()) != 2 || r.header.Get("Injected") != "" {
				t.Errorf("%q arrives in the URL as %s", text, r.url)
			}
		}
		before = len(s.requests())
		if _, err := k.Do(t.Context(), form); err != nil {
			t.Errorf("%q: %v", text, err)
			continue
		}
		if v, err := url.ParseQuery(s.requests()[before].body); err != nil || len(v) != 2 || v.Get("r") != text {
			t.Errorf("%q arrives in a form as %q", text, s.requests()[before].body)
		}
	}
}

func TestAFactThatWouldBeginAnotherHeaderIsRefused(t *testing.T) {
	s := newTarget(t, nil)
	k := kind(t)
	job := step(t, k, `{"url": "`+s.URL+`", "headers": {"X-Reason": "{{.reason}}"}}`)
	for _, text := range []string{"a\nInjected: yes", "a\r\n\r\nGET / HTTP/1.1", "a\x00b", "a\x7f"} {
		job.Facts.Reason = text
		if _, err := k.Do(t.Context(), job); outcome(err) != engine.OutcomeFailed || !actions.Final(err) || !strings.Contains(err.Error(), "control character") {
			t.Errorf("%q gives %v", text, err)
		}
	}
	if n := len(s.requests()); n != 0 {
		t.Errorf("%d requests were sent", n)
	}
}

func TestTheAnswerSaysWhatCameOfAStep(t *testing.T) {
	for _, c := range []struct {
		status  int
		body    string
		expect  string // of the specification
		want    engine.Outcome
		final   bool
		message string
	}{
		{200, "", "", engine.OutcomeDone, false, ""},
		{299, "", "", engine.OutcomeDone, false, ""},
		{204, "", `{"status": [200, 204]}`, engine.OutcomeDone, false, ""},
		{404, "", `{"status": ["2xx", 404]}`, engine.OutcomeDone, false, ""},
		{202, "", `{"status": 200}`, engine.OutcomeUnknown, false, "answered 202 Accepted"},
		{400, "no such zone", "", engine.OutcomeFailed, true, "answered 400 Bad Request: no such zone"},
		{404, "", "", engine.OutcomeFailed, true, "404"},
		{408, "", "", engine.OutcomeFailed, false, "408"},
		{429, "", "", engine.OutcomeFailed, false, "429"},
		{301, "", "", engine.OutcomeFailed, true, "301"},
		{302, "", "", engine.OutcomeUnknown, false, "302"},
		{307, "", "", engine.OutcomeFailed, false, "307"},
		{500, "", "", engine.OutcomeUnknown, false, "answered 500"},
		{503, "", "", engine.OutcomeUnknown, false, "503"},
		{501, "", "", engine.OutcomeFailed, true, "501"},
		{500, "", `{"status": 500}`, engine.OutcomeDone, false, ""},
		{200, `{"ok":true}`, `{"cel": "json.ok"}`, engine.OutcomeDone, false, ""},
		{200, `{"ok":false}`, `{"cel": "json.ok"}`, engine.OutcomeFailed, false, "json.ok is false"},
		{200, `{}`, `{"cel": "json.ok"}`, engine.OutcomeUnknown, false, "no such key: ok"},
		{200, `{"ok":"yes"}`, `{"cel": "json.ok"}`, engine.OutcomeUnknown, false, "neither true nor false, but string"},
		{200, `<html>garbage`, `{"cel": "json.ok"}`, engine.OutcomeUnknown, false, "not JSON"},
		{200, `<html>garbage`, `{"cel": "status == 200 && body.contains('garbage')"}`, engine.OutcomeDone, false, ""},
		{200, `[1, 2.5]`, `{"cel": "json.size() == 2 && json[0] == 1 && headers['x-seen'] == 'a, b'"}`, engine.OutcomeDone, false, ""},
		{200, `[` + strings.Repeat("1,", 999) + `1]`, `{"cel": "json.all(a, json.all(b, a == b))"}`, engine.OutcomeUnknown, false, "cost limit"},
	} {
		s := newTarget(t, func(w http.ResponseWriter, r *http.Request) {
			w.Header()["X-Seen"] = []string{"a", "b"}
			w.Header().Set("Retry-After", "7")
			w.Header().Set("Location", "/elsewhere")
			says(c.status, c.body)(w, r)
		})
		spec := `{"url": "` + s.URL + `"}`
		if c.expect != "" {
			spec = `{"url": "` + s.URL + `", "expect": ` + c.expect + `}`
		}
		k := kind(t)
		_, err := k.Do(t.Context(), step(t, k, spec))
		if outcome(err) != c.want || actions.Final(err) != c.final || c.message != "" && !strings.Contains(err.Error(), c.message) {
			t.Errorf("%d %s with %s: %v", c.status, c.body, c.expect, err)
		}
		if c.status == 429 && actions.RetryAfter(err) != 7*time.Second {
			t.Errorf("the target asks for 7 s, and %s is told", actions.RetryAfter(err))
		}
		if n := len(s.requests()); n != 1 {
			t.Errorf("%d was asked for %d times", c.status, n)
		}
	}
}

func TestAFailedQuestionHasNotHappened(t *testing.T) {
	s := newTarget(t, says(500, ""))
	k := kind(t)
	if _, err := k.Do(t.Context(), step(t, k, `{"url": "`+s.URL+`", "method": "GET"}`)); outcome(err) != engine.OutcomeFailed {
		t.Errorf("a GET that fails gives %v", err)
	}
}

func TestWhatWasNeverSentHasNotHappened(t *testing.T) {
	k := kind(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	gone := l.Addr().String()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	plain := newTarget(t, nil)
	for to, final := range map[string]bool{
		"http://" + gone: false, "http://name.invalid/": false, strings.Replace(plain.URL, "http:", "https:", 1): false,
		"http://169.254.169.254/latest/meta-data": true, "http://10.0.0.1/": true,
	} {
		_, err := k.Do(t.Context(), step(t, k, `{"url": "`+to+`", "timeout": "5s"}`))
		if outcome(err) != engine.OutcomeFailed || actions.Final(err) != final {
			t.Errorf("%s gives %v", to, err)
		}
	}
	if n := len(plain.requests()); n != 0 {
		t.Errorf("%d requests arrived", n)
	}
}

// dropping is a server that reads a request and then does as it is told with the connection.
func dropping(t *testing.T, then func(net.Conn)) (string, *atomic.Int64) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var n atomic.Int64
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return // closed
			}
			wg.Go(func() {
				defer func() { _ = c.Close() }()
				buf := make([]byte, 4096)
				if size, err := c.Read(buf); err == nil && size > 0 {
					n.Add(1)
					then(c)
				}
			})
		}
	})
	t.Cleanup(func() { _ = l.Close(); wg.Wait() })
	return "http://" + l.Addr().String(), &n
}

func TestWhatWasSentAndNotAnsweredIsUnknownAndSentOnce(t *testing.T) {
	over := make(chan struct{})
	defer close(over)
	for name, then := range map[string]func(net.Conn){
		"drop":          func(net.Conn) {},
		"reset":         func(c net.Conn) { _ = c.(*net.TCPConn).SetLinger(0) },
		"garbage":       func(c net.Conn) { _, _ = io.WriteString(c, "SSH-2.0-OpenSSH\r\n\r\n") },
		"hang":          func(net.Conn) { <-over },
		"half a header": func(c net.Conn) { _, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Le") },
		"header bomb": func(c net.Conn) {
			_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nX: "+strings.Repeat("x", 1<<20))
		},
	} {
		to, n := dropping(t, then)
		k := kind(t)
		_, err := k.Do(t.Context(), step(t, k, `{"url": "`+to+`/secret-path", "json": {}, "timeout": "300ms"}`))
		if outcome(err) != engine.OutcomeUnknown || strings.Contains(fmt.Sprint(err), "secret-path") {
			t.Errorf("%s gives %v", name, err)
		}
		if name == "hang" && !strings.Contains(fmt.Sprint(err), "no answer within 300ms") {
			t.Errorf("%s gives %v", name, err)
		}
		if n.Load() != 1 {
			t.Errorf("%s: %d requests arrived", name, n.Load())
		}
	}
}

func TestAStatusCountsThoughItsBodyBreaksOff(t *testing.T) {
	to, _ := dropping(t, func(c net.Conn) { _, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{\"ok\":") })
	k := kind(t)
	if got, err := k.Do(t.Context(), step(t, k, `{"url": "`+to+`"}`)); err != nil || got != `200 OK: {"ok":` {
		t.Errorf("it gives %q, %v", got, err)
	}
	if _, err := k.Do(t.Context(), step(t, k, `{"url": "`+to+`", "expect": {"cel": "json.ok"}}`)); outcome(err) != engine.OutcomeUnknown {
		t.Errorf("an answer that cannot be judged gives %v", err)
	}
}

func TestAStoppedServerLeavesOpenWhatItHadSent(t *testing.T) {
	arrived := make(chan struct{})
	over := make(chan struct{})
	defer close(over)
	to, _ := dropping(t, func(net.Conn) { close(arrived); <-over })
	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-arrived; cancel() }()
	k := kind(t)
	if _, err := k.Do(ctx, step(t, k, `{"url": "`+to+`"}`)); outcome(err) != engine.OutcomeUnknown {
		t.Errorf("it gives %v", err)
	}
	if _, err := k.Do(ctx, step(t, k, `{"url": "`+to+`"}`)); outcome(err) != engine.OutcomeFailed {
		t.Errorf("what was stopped before it began gives %v", err)
	}
}

func TestTheCheckSaysWhetherAStepHasHappened(t *testing.T) {
	for _, c := range []struct {
		status int
		body   string
		want   bool
		open   bool
	}{
		{200, `{"to":"eu-2"}`, true, false}, {200, `{"to":"eu-1"}`, false, false}, {404, "", false, false}, {410, "", false, false}, {204, "", false, false},
		{200, `garbage`, false, true}, {401, "", false, true}, {429, "", false, true}, {500, "", false, true}, {302, "", false, true},
	} {
		s := newTarget(t, says(c.status, c.body))
		k := kind(t)
		job := step(t, k, `{"url": "`+s.URL+`/repoint", "keyed": false, "done": {"url": "`+s.URL+`/records/{{.scope}}", "expect": {"status": 200, "cel": "json.to == 'eu-2'"}}}`)
		got, err := k.Done(t.Context(), job)
		if got != c.want || (err != nil) != c.open {
			t.Errorf("%d %s: %v, %v", c.status, c.body, got, err)
		}
		if r := s.requests()[0]; r.method != "GET" || r.url.Path != "/records/checkout" || r.header.Get("Idempotency-Key") != "" {
			t.Errorf("the question is %+v", r)
		}
	}
	k := kind(t)
	if _, err := k.Done(t.Context(), step(t, k, `{"url": "http://x.example"}`)); !errors.Is(err, webhook.ErrNoCheck) {
		t.Errorf("a step without a check says %v", err)
	}
}

func TestTraitsSayWhetherAStepMayBeSentAgain(t *testing.T) {
	for spec, want := range map[string]engine.Traits{
		`{"url": "http://x.example"}`:                                                           {Keyed: true},
		`{"url": "http://x.example", "keyed": false}`:                                           {},
		`{"url": "http://x.example", "method": "delete"}`:                                       {Destructive: true, Keyed: true},
		`{"url": "http://x.example", "keyed": false, "done": {"url": "http://x.example/done"}}`: {Keyed: true},
	} {
		if _, got, problems := kind(t).Check([]byte(spec)); got != want || len(problems) > 0 {
			t.Errorf("%s: %+v, %q", spec, got, problems)
		}
	}
}

func TestAStepCanBeAnEvent(t *testing.T) {
	s := newTarget(t, nil)
	k := webhook.NewKind(webhook.KindOptions{Guard: home(t), Source: "https://modeshift.example"})
	do := func(rest string, change func(*engine.StepJob)) request {
		t.Helper()
		job := step(t, k, `{"url": "`+s.URL+`", `+rest+`}`)
		if change != nil {
			change(&job)
		}
		if _, err := k.Do(t.Context(), job); err != nil {
			t.Fatal(err)
		}
		r := s.requests()
		return r[len(r)-1]
	}
	r := do(`"cloudevents": true, "json": {"to": "{{.to}}"}`, nil)
	want := `{"data":{"to":"failover"},"datacontenttype":"application/json","id":"checkout-17/repoint","source":"https://modeshift.example","specversion":"1.0","subject":"checkout","type":"io.modeshift.change.step.v1"}`
	if r.body != want || r.header.Get("Content-Type") != "application/cloudevents+json; charset=utf-8" {
		t.Errorf("the event is %s, %s", r.header.Get("Content-Type"), r.body)
	}
	r = do(`"cloudevents": {"mode": "binary", "type": "io.example.moved", "source": "/dns"}, "form": {"a": "b"}`, func(j *engine.StepJob) { j.Scope = "caffè \"1%" })
	if r.body != "a=b" || r.header.Get("Content-Type") != "application/x-www-form-urlencoded" || r.header.Get("Ce-Id") != "checkout-17/repoint" || r.header.Get("Ce-Specversion") != "1.0" ||
		r.header.Get("Ce-Type") != "io.example.moved" || r.header.Get("Ce-Source") != "/dns" || r.header.Get("Ce-Subject") != "caff%C3%A8%20%221%25" {
		t.Errorf("the event is %v, %s", r.header, r.body)
	}
	r = do(`"cloudevents": true`, func(j *engine.StepJob) { j.Undo, j.Step.UndoSpec = true, j.Step.Spec })
	if !strings.Contains(r.body, `"type":"io.modeshift.change.undo.v1"`) || !strings.Contains(r.body, `"data":{"scope":"checkout","change":"checkout-17",`) {
		t.Errorf("the event of an undo is %s", r.body)
	}
}

func hmacOf(key, text string) string {
	mac := hmac.New(sha256.New, []byte(key))
	_, _ = io.WriteString(mac, text) // a hash takes whatever it is given
	return hex.EncodeToString(mac.Sum(nil))
}

// vault is a folder with two secrets.
func vault(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range map[string]string{"token": canary + `-"token/+`, "signing": canary + "-signing"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestSecretsReachTheTargetAndNobodyElse(t *testing.T) {
	dir := vault(t)
	k := webhook.NewKind(webhook.KindOptions{Guard: home(t), SecretsDir: dir})
	for _, status := range []int{200, 400, 500, 302} {
		// A target that repeats all it was sent, in more than one form.
		s := newTarget(t, func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(status)
			b, err := json.Marshal(map[string]any{"h": r.Header, "q": url.QueryEscape(r.Header.Get("Authorization"))})
			if err != nil {
				t.Error(err)
			}
			_, _ = w.Write(b)
			_, _ = io.WriteString(w, r.Header.Get("Authorization"))
		})
		spec := `{"url": "` + s.URL + `", "json": {"a": 1}, "bearer_file": "token", "signature": {"secret_file": "` + dir + `/signing", "header": "X-Signature"},
			"done": {"url": "` + s.URL + `/done", "expect": {"cel": "json.nope == 1"}}}`
		job := step(t, k, spec)
		answer, err := k.Do(t.Context(), job)
		_, doneErr := k.Done(t.Context(), job)
		described, describeErr := k.Describe(job)
		if describeErr != nil {
			t.Fatal(describeErr)
		}
		shown := fmt.Sprintf("%s %v %+v %v %s %s", answer, err, err, doneErr, described, job.Step.Spec)
		if strings.Contains(shown, canary) {
			t.Errorf("%d: a secret is shown: %s", status, shown)
		}
		if !strings.Contains(described, "Authorization: Bearer <secret>") || !strings.Contains(described, "X-Signature: <secret>") {
			t.Errorf("what is described hides that there are secrets:\n%s", described)
		}
		r := s.requests()
		if r[0].header.Get("Authorization") != "Bearer "+canary+`-"token/+` || r[1].header.Get("Authorization") != r[0].header.Get("Authorization") {
			t.Errorf("the token does not arrive: %v, %v", r[0].header, r[1].header)
		}
		var at int64
		var mac string
		if _, err := fmt.Sscanf(r[0].header.Get("X-Signature"), "t=%d,v1=%s", &at, &mac); err != nil || len(mac) != 64 || time.Since(time.Unix(at, 0)).Abs() > time.Minute {
			t.Errorf("the signature is %q", r[0].header.Get("X-Signature"))
		}
		if want := hmacOf(canary+"-signing", fmt.Sprintf("%d.%s", at, r[0].body)); mac != want {
			t.Errorf("the signature is %s, want %s", mac, want)
		}
	}
}

func TestACheckElsewhereDoesNotGetTheToken(t *testing.T) {
	a, b := newTarget(t, nil), newTarget(t, nil)
	k := webhook.NewKind(webhook.KindOptions{Guard: home(t), SecretsDir: vault(t)})
	if _, err := k.Done(t.Context(), step(t, k, `{"url": "`+a.URL+`", "bearer_file": "token", "done": {"url": "`+b.URL+`"}}`)); err != nil {
		t.Fatal(err)
	}
	if h := b.requests()[0].header; h.Get("Authorization") != "" {
		t.Errorf("the token went elsewhere: %v", h)
	}
}

func TestARuleFileCannotSendFilesOfTheServer(t *testing.T) {
	s := newTarget(t, nil)
	dir := vault(t)
	outside := filepath.Join(t.TempDir(), "admin-token")
	if err := os.WriteFile(outside, []byte(canary), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(outside, filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "empty"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	k := webhook.NewKind(webhook.KindOptions{Guard: home(t), SecretsDir: dir})
	for _, name := range []string{outside, "../x", "a/../../x", "/etc/passwd", dir} {
		_, _, problems := k.Check([]byte(`{"url": "` + s.URL + `", "bearer_file": "` + name + `"}`))
		if name == dir { // the folder itself: found out when it is read
			continue
		}
		if len(problems) != 1 || !reflect.DeepEqual(problems[0].Path, []string{"bearer_file"}) {
			t.Errorf("%s gives %q", name, problems)
		}
	}
	for _, name := range []string{"link", "empty", "missing", dir} {
		_, err := k.Do(t.Context(), step(t, k, `{"url": "`+s.URL+`", "bearer_file": "`+name+`"}`))
		if outcome(err) != engine.OutcomeFailed || actions.Final(err) {
			t.Errorf("%s gives %v", name, err)
		}
	}
	if n := len(s.requests()); n != 0 {
		t.Errorf("%d requests were sent", n)
	}
	if _, _, problems := kind(t).Check([]byte(`{"url": "` + s.URL + `", "signature": {"secret_file": "x"}}`)); len(problems) != 1 || !reflect.DeepEqual(problems[0].Path, []string{"signature", "secret_file"}) {
		t.Errorf("without a folder it gives %q", problems)
	}
}

func TestWhatIsDescribedIsWhatIsSent(t *testing.T) {
	k := webhook.NewKind(webhook.KindOptions{SecretsDir: vault(t)})
	job := step(t, k, `{"url": "https://dns.internal/repoint/{{.scope}}", "json": {"why": "{{.reason}}"}, "bearer_file": "token", "expect": {"status": [200, "4xx"], "cel": "json.ok"},
		"done": {"url": "https://dns.internal/records"}, "timeout": "5s"}`)
	job.Facts.Reason = "\x1b[2Jcleared"
	got, err := k.Describe(job)
	want := `POST https://dns.internal/repoint/checkout
Authorization: Bearer <secret>
Content-Type: application/json
Idempotency-Key: checkout-17/repoint
User-Agent: modeshift

{"why":"\u001b[2Jcleared"}

it has happened when the answer is 200, 4xx and json.ok within 5s
whether it happened already is asked by
GET https://dns.internal/records
Authorization: Bearer <secret>
User-Agent: modeshift

it happened already when the answer is 2xx`
	if err != nil || got != want {
		t.Errorf("described as\n%s\n%v, want\n%s", got, err, want)
	}
	job = step(t, k, `{"url": "https://dns.internal", "body": "{{.reason}}"}`)
	job.Facts.Reason = "\x1b[2Jcleared"
	if got, err := k.Describe(job); err != nil || strings.Contains(got, "\x1b") || !strings.Contains(got, `"\x1b[2Jcleared"`) {
		t.Errorf("described as %q, %v", got, err)
	}
}

func TestEveryFaultOfAStepComesAtOnce(t *testing.T) {
	_, _, problems := kind(t).Check([]byte(`{"ulr": "x", "method": "PSOT", "headers": {"Authorization": "x", "X-A": "{{.scpoe}}", "x b": "1", "Idempotency-Key": "1"},
		"json": {"a": ["{{.x"], "{{.scope}}": 1}, "form": {"a": 1}, "expect": {"status": [99, "2x"], "cel": "json.ok && statu == 1"}, "cloudevents": {"mode": "binry"},
		"bearer_file": "t", "done": {"expect": {"cel": "1 + 1"}}, "timeout": "11m", "keyed": "yes", "signature": {}}`))
	got := map[string]string{}
	for _, p := range problems {
		got[strings.Join(p.Path, ".")] += p.Message + " | " + p.Hint + "\n"
	}
	for path, want := range map[string]string{
		"ulr": "did you mean url?", "": "url is missing", "method": "did you mean POST?", "headers.Authorization": "use bearer_file", "headers.X-A": "did you mean scope?",
		"headers.x b": "cannot be the name", "headers": "is set to the key already", "json.a.0": "template", "json.{{.scope}}": "fixed", "form": "one of json, form and body",
		"expect.status.0": "is not a status", "expect.status.1": `"2x" is not a status`, "expect.cel": "column 12: undeclared reference to 'statu'", "cloudevents.mode": "did you mean binary?",
		"bearer_file": "no folder", "done": "url is missing", "done.expect.cel": "has to be true or false", "timeout": "at most 10m0s", "keyed": "true or false", "signature": "secret_file is missing",
	} {
		if !strings.Contains(got[path], want) {
			t.Errorf("%s: %q, want %q", path, got[path], want)
		}
		delete(got, path)
	}
	if len(got) > 0 {
		t.Errorf("there are faults too many: %q", got)
	}
}

func TestASpecificationThatContradictsItselfIsRefused(t *testing.T) {
	for spec, path := range map[string]string{
		`{"url": "http://x.example", "method": "GET", "json": {}}`:                                                         "json",
		`{"url": "http://x.example", "cloudevents": true, "body": "x"}`:                                                    "cloudevents",
		`{"url": "http://x.example", "cloudevents": true, "method": "GET"}`:                                                "cloudevents",
		`{"url": "http://x.example", "cloudevents": true, "headers": {"Content-Type": "x/y"}}`:                             "headers",
		`{"url": "http://x.example", "cloudevents": true, "headers": {"ce-id": "x"}}`:                                      "headers",
		`{"url": "http://x.example", "headers": {"X-a": "1", "x-A": "2"}}`:                                                 "headers.x-A",
		`{"url": "http://x.example", "headers": {"Content-Type": "application/json"}, "body": "{\"a\": \"{{.reason}}\"}"}`: "body",
		`{"url": "http://x.example", "idempotency_header": "Host"}`:                                                        "idempotency_header",
		`{"url": "http://x.example", "expect": {"status": []}}`:                                                            "expect.status",
		`{"url": "http://user:pw@x.example"}`:                                                                              "url",
	} {
		canonical, _, problems := kind(t).Check([]byte(spec))
		if len(problems) != 1 || strings.Join(problems[0].Path, ".") != path || problems[0].Hint == "" || canonical != nil {
			t.Errorf("%s gives %q, %s", spec, problems, canonical)
		}
	}
}

func TestAKindForFormsOnlyCarriesNothingOut(t *testing.T) {
	s := newTarget(t, nil)
	k := webhook.NewKind(webhook.KindOptions{FormOnly: true, Guard: home(t)})
	job := step(t, k, `{"url": "`+s.URL+`", "bearer_file": "/somewhere/token", "done": {"url": "`+s.URL+`"}}`)
	if _, err := k.Do(t.Context(), job); outcome(err) != engine.OutcomeFailed {
		t.Errorf("Do gives %v", err)
	}
	if _, err := k.Done(t.Context(), job); err == nil {
		t.Error("Done gives an answer")
	}
	if n := len(s.requests()); n != 0 {
		t.Errorf("%d requests were sent", n)
	}
}

func TestRedirectsAreNotFollowedWhateverTheGuardSays(t *testing.T) {
	s := newTarget(t, func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "/again", http.StatusTemporaryRedirect)
	})
	opts := home(t)
	opts.MaxRedirects = 5
	k := webhook.NewKind(webhook.KindOptions{Guard: opts})
	if _, err := k.Do(t.Context(), step(t, k, `{"url": "`+s.URL+`", "json": {}}`)); outcome(err) != engine.OutcomeFailed {
		t.Errorf("it gives %v", err)
	}
	if n := len(s.requests()); n != 1 {
		t.Errorf("%d requests were sent", n)
	}
}
