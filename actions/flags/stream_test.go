package flags

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/modeshift/modeshift/engine"
	"github.com/modeshift/modeshift/engine/secret"
)

// patience is how long anything may take that happens at once.
const patience = 20 * time.Second

// message is one block of an event stream.
type message struct {
	id, event, data, comment string
	retry                    bool
}

// reader follows an event stream as an EventSource does.
type reader struct {
	t        *testing.T
	status   int
	header   http.Header
	messages chan message // closed when the stream ends
	cancel   context.CancelFunc
}

func follow(t *testing.T, client *http.Client, address string, header http.Header) *reader {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	q, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		t.Fatal(err)
	}
	for name, values := range header {
		q.Header[name] = values
	}
	resp, err := client.Do(q)
	if err != nil {
		t.Fatal(err)
	}
	r := &reader{t: t, status: resp.StatusCode, header: resp.Header, messages: make(chan message, 1000), cancel: cancel}
	go func() {
		defer close(r.messages)
		lines := bufio.NewScanner(resp.Body)
		var m message
		for lines.Scan() {
			name, value, _ := strings.Cut(lines.Text(), ":")
			value = strings.TrimPrefix(value, " ")
			switch {
			case lines.Text() == "":
				r.messages <- m
				m = message{}
			case name == "id":
				m.id = value
			case name == "event":
				m.event = value
			case name == "data":
				m.data = value
			case name == "":
				m.comment = value
			case name == "retry":
				m.retry = true
			}
		}
	}()
	t.Cleanup(func() {
		cancel()
		for range r.messages { // it ends, now that the request is over
		}
		_ = resp.Body.Close() // the request was cancelled
	})
	return r
}

// next is the next message that is not a heartbeat.
func (r *reader) next() message {
	r.t.Helper()
	timer := time.NewTimer(patience)
	defer timer.Stop()
	for {
		select {
		case m, open := <-r.messages:
			if !open {
				r.t.Fatal("the stream ended")
			}
			if m.comment == "" {
				return m
			}
		case <-timer.C:
			r.t.Fatal("no message came")
		}
	}
}

// ends waits for the end of the stream.
func (r *reader) ends() {
	r.t.Helper()
	timer := time.NewTimer(patience)
	defer timer.Stop()
	for {
		select {
		case _, open := <-r.messages:
			if !open {
				return
			}
		case <-timer.C:
			r.t.Fatal("the stream goes on")
		}
	}
}

// bulkAnswer is what a client makes of the answer with all flags.
type bulkAnswer struct {
	tag          string
	EventStreams []struct {
		Type     string `json:"type"`
		Endpoint struct {
			RequestURI string `json:"requestUri"`
		} `json:"endpoint"`
		InactivityDelaySec int `json:"inactivityDelaySec"`
	} `json:"eventStreams"`
}

func fetch(t *testing.T, h http.Handler, body string, header http.Header) bulkAnswer {
	t.Helper()
	w := request{path: Path, body: body, header: header}.do(t, h)
	a := bulkAnswer{tag: w.Header().Get("ETag")}
	if err := json.Unmarshal(w.Body.Bytes(), &a); err != nil || w.Code != 200 || len(a.EventStreams) != 1 || a.EventStreams[0].Type != "sse" {
		t.Fatalf("all flags: %d %s, %v", w.Code, w.Body, err)
	}
	return a
}

func serveFlags(t *testing.T, s Source, opts Options) (*OFREP, string) {
	t.Helper()
	h := Handler(s, opts)
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	t.Cleanup(h.Close)
	return h, server.URL
}

func next(revision engine.Version) func(*engine.View) {
	return func(v *engine.View) {
		v.State.Directive.Revision = revision
		v.State.At = time.Unix(1771622898, 0)
	}
}

func TestAStreamTellsOfAChangeAndNothingElse(t *testing.T) {
	other := shop()
	other.State.Scope = "payments"
	s := newServices(shop(), other)
	h, url := serveFlags(t, s, Options{})
	r := follow(t, http.DefaultClient, url+fetch(t, h, as("pod-1"), nil).EventStreams[0].Endpoint.RequestURI, nil)
	if kind := r.header.Get("Content-Type"); r.status != 200 || kind != "text/event-stream" {
		t.Fatalf("%d, %s", r.status, kind)
	}
	opening := r.next()
	if opening.data != "" || opening.id == "" || !opening.retry {
		t.Errorf("before anything changed: %+v", opening)
	}
	s.change("payments", next(8))
	s.change("checkout", func(v *engine.View) { v.State.Version++ }) // an event that publishes nothing
	s.change("checkout", next(8))
	m := r.next()
	now := fetch(t, h, as("pod-1"), nil).tag
	want := `{"type":"refetchEvaluation","etag":` + strconv.Quote(now) + `,"lastModified":1771622898}`
	if m.event != "message" || m.data != want || m.id == opening.id || !strings.Contains(now, m.id) {
		t.Errorf("got %+v, want the data %s", m, want)
	}
	s.change("checkout", next(9))
	if again := r.next(); again.id == m.id {
		t.Errorf("two changes have the id %s", m.id)
	}
	// What a client that was told sends beside its request is taken.
	q := request{path: Path + "?flagConfigEtag=" + m.id + "&flagConfigLastModified=1771622898", body: as("pod-1"), header: http.Header{"If-None-Match": {now}}}
	if w := q.do(t, h); w.Code != 200 {
		t.Errorf("asking again: %d", w.Code)
	}
}

func TestAChangeThatWasMissedIsToldAtOnce(t *testing.T) {
	s := newServices(shop())
	h, url := serveFlags(t, s, Options{})
	address := url + fetch(t, h, as("pod-1"), nil).EventStreams[0].Endpoint.RequestURI
	before := follow(t, http.DefaultClient, address, nil).next().id
	s.change("checkout", next(8))
	for name, c := range map[string]struct {
		address string
		header  http.Header
		told    bool
	}{
		"between the answer and the stream":         {address, nil, true},
		"while it was away":                         {address, http.Header{"Last-Event-Id": {before}}, true},
		"before it was there, and it does not know": {url + StreamPath + "?service=checkout", nil, true},
		"an id of another server's":                 {address, http.Header{"Last-Event-Id": {"17"}}, true},
		"nothing, it was told":                      {address, http.Header{"Last-Event-Id": {strings.Split(strings.Trim(fetch(t, h, as("pod-1"), nil).tag, `"`), ".")[0]}}, false},
	} {
		t.Run(name, func(t *testing.T) {
			if m := follow(t, http.DefaultClient, c.address, c.header).next(); (m.data != "") != c.told || m.id == "" || m.id == before {
				t.Errorf("the first message is %+v", m)
			}
		})
	}
}

func TestOnlyThoseWhoseTurnItIsAreToldOfAWave(t *testing.T) {
	s := newServices(shop())
	h, url := serveFlags(t, s, Options{})
	s.wave("checkout", ahead, "pod-9")
	member := follow(t, http.DefaultClient, url+fetch(t, h, as("pod-1"), nil).EventStreams[0].Endpoint.RequestURI, nil)
	rest := follow(t, http.DefaultClient, url+fetch(t, h, as("pod-2"), nil).EventStreams[0].Endpoint.RequestURI, nil)
	member.next()
	first := rest.next()
	s.wave("checkout", ahead, "pod-9", "pod-1")
	if m := member.next(); m.data == "" {
		t.Errorf("a member of the wave is told %+v", m)
	}
	s.change("checkout", next(9))
	if m := rest.next(); m.data == "" || m.id == first.id {
		t.Errorf("the rest is told of the wave, or not of what came after it: %+v", m)
	}
	select {
	case m := <-rest.messages:
		t.Errorf("the rest is told once more: %+v", m)
	default:
	}
}

// pipes is a listener whose connections have no buffers: a peer that does not read is felt at once.
type pipes struct {
	conns chan net.Conn
	once  sync.Once
	over  chan struct{}
}

func newPipes() *pipes { return &pipes{conns: make(chan net.Conn), over: make(chan struct{})} }

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.over:
		return nil, net.ErrClosed
	}
}
func (p *pipes) Close() error   { p.once.Do(func() { close(p.over) }); return nil }
func (p *pipes) Addr() net.Addr { return &net.TCPAddr{} }
func (p *pipes) dial(context.Context, string, string) (net.Conn, error) {
	here, there := net.Pipe()
	select {
	case p.conns <- there:
		return here, nil
	case <-p.over:
		return nil, net.ErrClosed
	}
}

// servePipes serves a handler on pipes until the test ends.
func servePipes(t *testing.T, h *OFREP) *pipes {
	t.Helper()
	listener := newPipes()
	server := &http.Server{Handler: h, ReadHeaderTimeout: patience}
	done := make(chan error, 1)
	go func() { done <- server.Serve(listener) }()
	t.Cleanup(func() {
		h.Close()
		if err := server.Close(); err != nil {
			t.Error(err)
		}
		if err := <-done; !errors.Is(err, http.ErrServerClosed) {
			t.Error(err)
		}
	})
	return listener
}

func TestAReaderThatDoesNotReadHoldsUpNobodyAndIsCutOff(t *testing.T) {
	s := newServices(shop())
	h := Handler(s, Options{WriteWait: 2 * time.Second})
	listener := servePipes(t, h)
	client := &http.Client{Transport: &http.Transport{DialContext: listener.dial}}
	slow, err := listener.dial(t.Context(), "", "")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := fmt.Fprintf(slow, "GET %s?service=checkout HTTP/1.1\r\nHost: x\r\n\r\n", StreamPath); err != nil {
		t.Fatal(err)
	}
	quick := follow(t, client, "http://x"+StreamPath+"?service=checkout", nil)
	last := quick.next()
	for i := range 50 {
		s.change("checkout", next(engine.Version(8+i)))
		if m := quick.next(); m.data == "" || m.id == last.id {
			t.Fatalf("change %d: %+v after %+v", i, m, last)
		} else {
			last = m
		}
	}
	eventually(t, "the end of the reader that does not read", func() bool { return h.Streams() == 1 })
	if err := slow.Close(); err != nil {
		t.Error(err)
	}
}

func TestAReaderThatWasSlowFindsTheNewestAndNothingBeforeIt(t *testing.T) {
	s := newServices(shop())
	h := Handler(s, Options{WriteWait: patience})
	listener := servePipes(t, h)
	conn, err := listener.dial(t.Context(), "", "")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	if _, err := fmt.Fprintf(conn, "GET %s?service=checkout HTTP/1.1\r\nHost: x\r\n\r\n", StreamPath); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the stream", func() bool { return h.Streams() == 1 })
	for i := range 1000 { // while it is stuck in its first message
		s.change("checkout", next(engine.Version(8+i)))
	}
	want := strings.Split(strings.Trim(fetch(t, h, `{"context":{"service":"checkout"}}`, nil).tag, `"`), ".")[0]
	if err := conn.SetReadDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(conn)
	ids := 0
	for lines.Scan() {
		if id, found := strings.CutPrefix(lines.Text(), "id: "); found {
			ids++
			if id == want {
				break
			}
		}
	}
	if err := lines.Err(); err != nil || ids > 3 {
		t.Errorf("%d messages to the newest, %v", ids, err)
	}
}

func TestStreamsAreBoundedAndAPlaceThatIsFreeIsTaken(t *testing.T) {
	h, url := serveFlags(t, newServices(shop()), Options{MaxStreams: 2})
	address := url + StreamPath + "?service=checkout"
	first := follow(t, http.DefaultClient, address, nil)
	first.next()
	follow(t, http.DefaultClient, address, nil).next()
	refused := follow(t, http.DefaultClient, address, nil)
	if after, err := strconv.Atoi(refused.header.Get("Retry-After")); refused.status != 503 || err != nil || after < 1 || after > 10 {
		t.Errorf("one too many: %d, retry after %q", refused.status, refused.header.Get("Retry-After"))
	}
	first.cancel()
	first.ends()
	eventually(t, "a free place", func() bool { return h.Streams() == 1 })
	follow(t, http.DefaultClient, address, nil).next()
}

func TestStreamsEndWhenTheServerDoesAndNoneIsOpenedAnyMore(t *testing.T) {
	h, url := serveFlags(t, newServices(shop()), Options{})
	address := url + StreamPath + "?service=checkout"
	r := follow(t, http.DefaultClient, address, nil)
	r.next()
	h.Close()
	r.ends()
	if late := follow(t, http.DefaultClient, address, nil); late.status != 503 || late.header.Get("Retry-After") == "" {
		t.Errorf("after the end: %d", late.status)
	}
	if w := (request{path: Path, body: inCheckout}).do(t, h); w.Code != 200 {
		t.Errorf("evaluation ended too: %d", w.Code)
	}
}

func TestAStreamSaysThatItIsStillThere(t *testing.T) {
	_, url := serveFlags(t, newServices(shop()), Options{Heartbeat: time.Millisecond})
	r := follow(t, http.DefaultClient, url+StreamPath+"?service=checkout", nil)
	r.next()
	for range 3 {
		select {
		case m := <-r.messages:
			if m.comment == "" {
				t.Errorf("got %+v, want a comment", m)
			}
		case <-time.After(patience):
			t.Fatal("nothing came")
		}
	}
}

func TestWhatIsNoStreamIsRefused(t *testing.T) {
	h := Handler(newServices(shop()), Options{})
	for name, c := range map[string]struct {
		method, query string
		status        int
	}{
		"a POST":             {"POST", "?service=checkout", 405},
		"no service":         {"GET", "", 400},
		"an unknown service": {"GET", "?service=chekout", 404},
		"the fleet":          {"GET", "?service=fleet", 404},
	} {
		if w := (request{method: c.method, path: StreamPath + c.query}).do(t, h); w.Code != c.status || !strings.Contains(w.Body.String(), "errorDetails") {
			t.Errorf("%s: %d %s, want %d", name, w.Code, w.Body, c.status)
		}
	}
}

// revocable is a guard whose tokens may be taken back.
type revocable struct {
	mu sync.Mutex
	guard
}

func (g *revocable) Reader(credential string) (string, int, string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.guard.Reader(credential)
}

func (g *revocable) May(reader string, scope engine.Scope) (int, string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.guard.May(reader, scope)
}

const canary = "a-token-nobody-may-see"

func TestATicketOpensOneStreamAndNothingElse(t *testing.T) {
	other := shop()
	other.State.Scope = "payments"
	var log bytes.Buffer
	opts := Options{Guard: guard{canary: "checkout", "another": "payments"}, TicketKey: secret.New("some key of a test"),
		Logger: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))}
	s := newServices(shop(), other)
	h := Handler(s, opts)
	bearer := http.Header{"Authorization": {"Bearer " + canary}}
	uri := fetch(t, h, as("pod-1"), bearer).EventStreams[0].Endpoint.RequestURI
	if strings.Contains(uri, canary) {
		t.Fatalf("the address holds the token: %s", uri)
	}
	parsed, err := url.Parse(uri)
	if err != nil {
		t.Fatal(err)
	}
	ticket := parsed.Query().Get("ticket")

	// open tries an address, and says what came of it.
	open := func(address string, header http.Header) int {
		ctx, cancel := context.WithCancel(t.Context())
		cancel() // a stream that opens ends at once
		r := httptest.NewRequestWithContext(ctx, http.MethodGet, address, nil)
		for name, values := range header {
			r.Header[name] = values
		}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		return w.Code
	}
	with := func(change func(url.Values)) string {
		q := parsed.Query()
		change(q)
		return StreamPath + "?" + q.Encode()
	}
	if got := open(uri, nil); got != 200 {
		t.Fatalf("as it was given: %d", got)
	}
	if got := open(StreamPath+"?service=checkout", bearer); got != 200 {
		t.Errorf("with the token in a header: %d", got)
	}
	for name, address := range map[string]string{
		"no ticket":                    with(func(q url.Values) { q.Del("ticket") }),
		"for another service":          with(func(q url.Values) { q.Set("service", "payments") }),
		"for another instance":         with(func(q url.Values) { q.Set("instance", "pod-2") }),
		"for no instance":              with(func(q url.Values) { q.Del("instance") }),
		"cut short":                    with(func(q url.Values) { q.Set("ticket", ticket[:len(ticket)-1]) }),
		"longer":                       with(func(q url.Values) { q.Set("ticket", ticket+"A") }),
		"by another reader":            with(func(q url.Values) { q.Set("ticket", strings.Replace(ticket, "checkout", "payments", 1)) }),
		"nonsense":                     with(func(q url.Values) { q.Set("ticket", "..") }),
		"the token in its place":       with(func(q url.Values) { q.Set("ticket", canary) }),
		"a service moved into a name":  with(func(q url.Values) { q.Set("service", "checkoutpod"); q.Set("instance", "-1") }),
		"the ticket's last but at one": with(func(q url.Values) { q.Set("ticket", ticket[:len(ticket)-2]+"A"+ticket[len(ticket)-1:]) }),
	} {
		if got := open(address, nil); got != 401 && got != 403 {
			t.Errorf("%s: %d", name, got)
		}
	}
	for i := range ticket { // a character of it is another
		for _, c := range []byte{'A', 'B', '_', '.'} {
			if ticket[i] == c {
				continue
			}
			forged := ticket[:i] + string(c) + ticket[i+1:]
			if got := open(with(func(q url.Values) { q.Set("ticket", forged) }), nil); got == 200 {
				t.Errorf("%q is as good as %q", forged, ticket)
			}
		}
	}
	for name, q := range map[string]request{
		"as a bearer's token":     {path: Path, body: as("pod-1"), header: http.Header{"Authorization": {"Bearer " + ticket}}},
		"as a key":                {path: Path, body: as("pod-1"), header: http.Header{"X-Api-Key": {ticket}}},
		"in the address":          {path: Path + "?ticket=" + url.QueryEscape(ticket), body: as("pod-1")},
		"in the address, one":     {path: Path + "/mode?ticket=" + url.QueryEscape(ticket), body: as("pod-1")},
		"as its reader's name":    {path: Path, body: as("pod-1"), header: http.Header{"Authorization": {"Bearer reader-checkout"}}},
		"in the address, and all": {path: Path + "?" + parsed.RawQuery, body: as("pod-1")},
	} {
		if w := q.do(t, h); w.Code != 401 {
			t.Errorf("the ticket %s evaluates flags: %d %s", name, w.Code, w.Body)
		}
	}
	if strings.Contains(log.String(), ticket[len(ticket)-20:]) || strings.Contains(log.String(), canary) {
		t.Errorf("the log holds a credential:\n%s", &log)
	}

	// Time. The tag changes with the ticket: a client that gets a 304 keeps the address it has.
	now := time.Now()
	h.tickets.now = func() time.Time { return now }
	first := fetch(t, h, as("pod-1"), bearer)
	slots := map[string]bool{}
	for range 48 { // a day in half hours
		now = now.Add(30 * time.Minute)
		a := fetch(t, h, as("pod-1"), bearer)
		if (a.tag == first.tag) != (a.EventStreams[0] == first.EventStreams[0]) {
			t.Errorf("the tag is %s for the address %s, and was %s for %s", a.tag, a.EventStreams[0].Endpoint, first.tag, first.EventStreams[0].Endpoint)
		}
		slots[a.tag] = true
	}
	if len(slots) != 2 && len(slots) != 3 {
		t.Errorf("%d tickets within a day", len(slots))
	}
	if got := open(first.EventStreams[0].Endpoint.RequestURI, nil); got != 401 {
		t.Errorf("a day later: %d", got)
	}
	now = now.Add(-13 * time.Hour)
	if got := open(first.EventStreams[0].Endpoint.RequestURI, nil); got != 200 {
		t.Errorf("eleven hours later: %d", got)
	}

	// Another server with the same key takes it, one with another key does not.
	if again := Handler(s, opts); fetch(t, again, as("pod-1"), bearer).tag != fetch(t, Handler(s, opts), as("pod-1"), bearer).tag {
		t.Error("a restart changes the tag")
	}
	opts.TicketKey = secret.New("another key")
	h = Handler(s, opts)
	if got := open(uri, nil); got != 401 {
		t.Errorf("where another key signs: %d", got)
	}
}

func FuzzNoOtherTextIsATicket(f *testing.F) {
	tickets := newTickets("some key")
	who := asker{reader: "reader", scope: "checkout", instance: "pod-1"}
	good := tickets.issue(who)
	for _, seed := range []string{"", ".", "..", "reader..", good, good + ".", "x." + good, strings.ToUpper(good)} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		claimed := asker{scope: who.scope, instance: who.instance}
		if _, ok := tickets.admit(text, &claimed); ok != (text == good) || !ok && claimed.reader != "" {
			t.Errorf("%q is taken: %v, for %q", text, ok, claimed.reader)
		}
	})
}

func TestAStreamWhoseReaderMayNotReadAnyMoreEnds(t *testing.T) {
	g := &revocable{guard: guard{"x": "checkout"}}
	h, url := serveFlags(t, newServices(shop()), Options{Guard: g, Heartbeat: 5 * time.Millisecond})
	bearer := http.Header{"Authorization": {"Bearer x"}}
	r := follow(t, http.DefaultClient, url+fetch(t, h, as("pod-1"), bearer).EventStreams[0].Endpoint.RequestURI, nil)
	r.next()
	g.mu.Lock()
	delete(g.guard, "x")
	g.mu.Unlock()
	r.ends()
}

func TestAStreamEndsWhenItsTicketRunsOut(t *testing.T) {
	h, url := serveFlags(t, newServices(shop()), Options{Guard: guard{"x": "checkout"}, Heartbeat: 5 * time.Millisecond})
	var mu sync.Mutex
	now := time.Now()
	h.tickets.now = func() time.Time { mu.Lock(); defer mu.Unlock(); return now }
	r := follow(t, http.DefaultClient, url+fetch(t, h, as("pod-1"), http.Header{"X-Api-Key": {"x"}}).EventStreams[0].Endpoint.RequestURI, nil)
	r.next()
	mu.Lock()
	now = now.Add(25 * time.Hour)
	mu.Unlock()
	r.ends()
}

func TestPagesOfListedOriginsMayFollow(t *testing.T) {
	h, url := serveFlags(t, newServices(shop()), Options{Origins: []string{"https://shop.example.com"}})
	for origin, want := range map[string]string{"https://shop.example.com": "https://shop.example.com", "https://evil.example.com": ""} {
		r := follow(t, http.DefaultClient, url+StreamPath+"?service=checkout", http.Header{"Origin": {origin}})
		if got := r.header.Get("Access-Control-Allow-Origin"); r.status != 200 || got != want {
			t.Errorf("%s: %d, allowed %q", origin, r.status, got)
		}
		before := request{method: "OPTIONS", path: StreamPath, header: http.Header{"Origin": {origin}}}.do(t, h)
		if got := before.Header().Get("Access-Control-Allow-Headers"); before.Code != 204 || strings.Contains(got, "Last-Event-ID") != (want != "") {
			t.Errorf("%s asks before: %d, headers %q", origin, before.Code, got)
		}
	}
}

func TestAClientThatAsksTooOftenIsHeldBackAndNobodyElse(t *testing.T) {
	refused := 0
	h := Handler(newServices(shop()), Options{Guard: guard{"x": "checkout", "y": "payments"}, Rate: 1, Limited: func() { refused++ }})
	ask := func(token, address string) *httptest.ResponseRecorder {
		r := httptest.NewRequest(http.MethodPost, Path, strings.NewReader(inCheckout))
		r.Header.Set("X-API-Key", token)
		r.RemoteAddr = address
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		return w
	}
	for i := range 10 {
		if w := ask("x", "10.0.0.1:1000"); w.Code != 200 {
			t.Fatalf("request %d: %d", i+1, w.Code)
		}
	}
	w := ask("x", "10.0.0.1:1001") // another connection is no other client
	if w.Code != 429 || w.Header().Get("Retry-After") != "1" || !strings.HasPrefix(w.Body.String(), `{"errorDetails":"too many requests`) {
		t.Errorf("one too many: %d, after %q, %s", w.Code, w.Header().Get("Retry-After"), w.Body)
	}
	if w := ask("x", "10.0.0.2:1000"); w.Code != 200 {
		t.Errorf("the same token on another machine: %d", w.Code)
	}
	if w := ask("y", "10.0.0.1:1000"); w.Code != 403 {
		t.Errorf("another token on the same machine: %d", w.Code)
	}
	if refused != 1 {
		t.Errorf("%d refusals were told of", refused)
	}
}

func TestWhatClientsMakeUpTakesNoMemory(t *testing.T) {
	h := Handler(newServices(shop()), Options{Rate: 1e6})
	for i := range 100_000 {
		who := asker{}
		r := &http.Request{RemoteAddr: "127.0.0.1:" + strconv.Itoa(i), Header: http.Header{"User-Agent": {fmt.Sprint("client ", i)}}}
		if f := h.admit(r, &who); f != nil {
			t.Fatal(f.Details)
		}
		_, _ = h.find(engine.Scope(fmt.Sprint("scope ", i)), 404, codeNotFound)
		s, _ := h.find("checkout", 404, codeNotFound)
		s.group(fmt.Sprint("instance ", i))
	}
	if len(h.book.sheets) != 1 || h.limit.Len() != 1 {
		t.Errorf("%d scopes and %d clients are remembered", len(h.book.sheets), h.limit.Len())
	}
}

// eventually waits for a condition that nothing announces.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !holds(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%s did not come within %s", what, patience)
		}
	}
}
