package agent

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/modeshift/modeshift/engine"
	"github.com/modeshift/modeshift/engine/secret"
)

const (
	canary    = "canary-Zq7mW2xT" // the token, which must not be seen anywhere
	heartbeat = time.Second
)

// server speaks the protocol, complains of every request that does not keep to it, and has as much bad luck as it is told.
type server struct {
	t        testing.TB
	full     bool       // duplex; false in tests that begin with a server that is not
	mu       sync.Mutex // guards what follows
	term     uint64
	spread   time.Duration // of reports
	told     *engine.Told
	hellos   []engine.Hello
	reports  []engine.Report
	beats    int
	requests []string                                          // paths, in order
	instead  func(w http.ResponseWriter, r *http.Request) bool // answers in place of the server when it returns true
	changed  chan struct{}                                     // closed when told has changed
	cut      chan struct{}                                     // closed to end all streams
	mute     bool                                              // send nothing more, and answer nothing
}

func newServer(t testing.TB) *server {
	return &server{t: t, full: true, term: 1, changed: make(chan struct{}), cut: make(chan struct{})}
}

// tell publishes a directive.
func (s *server) tell(t engine.Told) {
	s.with(func() { s.told = &t; close(s.changed); s.changed = make(chan struct{}) })
}

func (s *server) with(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f()
}

// hangUp ends all streams, as a server does that stops.
func (s *server) hangUp() { s.with(func() { close(s.cut); s.cut = make(chan struct{}) }) }

func (s *server) lastReport() (last engine.Report) {
	s.with(func() {
		if n := len(s.reports); n > 0 {
			last = s.reports[n-1]
		}
	})
	return last
}

func (s *server) lastHello() (last engine.Hello) {
	s.with(func() {
		if n := len(s.hellos); n > 0 {
			last = s.hellos[n-1]
		}
	})
	return last
}

// asked returns the paths of all requests so far.
func (s *server) asked() (paths []string) {
	s.with(func() { paths = slices.Clone(s.requests) })
	return paths
}

func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var instead func(http.ResponseWriter, *http.Request) bool
	s.with(func() { s.requests = append(s.requests, r.URL.Path); instead = s.instead })
	// Without it net/http reads the request to its end before it answers, and this one has none.
	if s.full {
		if err := http.NewResponseController(w).EnableFullDuplex(); err != nil && r.ProtoMajor == 1 {
			s.t.Error(err)
		}
	}
	if instead != nil && instead(w, r) {
		return
	}
	if r.Method != http.MethodPost || r.URL.Query().Get("scope") != "checkout" || r.Header.Get("Authorization") != "Bearer "+canary {
		s.t.Errorf("%s %s with Authorization %q", r.Method, r.URL, r.Header.Get("Authorization"))
	}
	switch r.URL.Path {
	case "/api/v1/instances/stream":
		s.stream(w, r)
	case "/api/v1/instances/exchange":
		s.exchange(w, r)
	default:
		s.t.Errorf("there is nothing at %s", r.URL.Path)
	}
}

func (s *server) stream(w http.ResponseWriter, r *http.Request) {
	if r.Header.Get("Content-Type") != "application/x-ndjson" || r.Header.Get("Accept") != "text/event-stream" {
		s.t.Errorf("headers of the stream: %v", r.Header)
	}
	control := http.NewResponseController(w)
	lines := bufio.NewScanner(r.Body)
	read := func() (u engine.Uplink, ok bool) {
		if !lines.Scan() {
			return u, false
		}
		d := json.NewDecoder(strings.NewReader(lines.Text()))
		d.DisallowUnknownFields()
		if err := d.Decode(&u); err != nil {
			s.t.Errorf("the line %q: %v", lines.Text(), err)
		}
		return u, true
	}
	first, ok := read()
	if !ok {
		return
	}
	if first.Hello == nil || first.Report != nil || first.Beat {
		s.t.Errorf("the first line is %q", lines.Text())
		return
	}
	var changed, cut chan struct{}
	var told *engine.Told
	var term uint64
	var spread time.Duration
	s.with(func() {
		s.hellos = append(s.hellos, *first.Hello)
		changed, cut, told, term, spread = s.changed, s.cut, s.told, s.term, s.spread
	})
	gone := make(chan struct{})
	var reader sync.WaitGroup
	defer reader.Wait()
	reader.Go(func() {
		defer close(gone)
		for {
			u, ok := read()
			if !ok {
				return
			}
			if u.Hello != nil || (u.Report != nil) == u.Beat {
				s.t.Errorf("the line %q", lines.Text())
			}
			s.with(func() {
				if u.Beat {
					s.beats++
				} else if u.Report != nil {
					s.reports = append(s.reports, *u.Report)
				}
			})
		}
	})
	defer func() { _ = control.SetReadDeadline(time.Now()) }() // ends the reader
	w.Header().Set("Content-Type", "text/event-stream")
	send := func(kind, id string, v any) bool {
		muted := false
		s.with(func() { muted = s.mute })
		if muted {
			return true
		}
		data, err := json.Marshal(v)
		if err != nil {
			s.t.Error(err)
		}
		if id != "" {
			id = "id: " + id + "\n"
		}
		if _, err := fmt.Fprintf(w, "event: %s\n%sdata: %s\n\n", kind, id, data); err != nil {
			return false
		}
		return control.Flush() == nil
	}
	if !send("welcome", "", engine.Welcome{Server: "s1", Term: term, HeartbeatMS: heartbeat.Milliseconds(), SpreadMS: spread.Milliseconds()}) {
		return
	}
	beat := time.NewTicker(heartbeat)
	defer beat.Stop()
	for {
		if told != nil && !send("directive", fmt.Sprintf("%d-%d", told.Term, told.Revision), told) {
			return
		}
		select {
		case <-r.Context().Done():
			return
		case <-gone:
			return
		case <-cut:
			return
		case <-changed:
			s.with(func() { told, changed = s.told, s.changed })
		case <-beat.C:
			told = nil
			if !send("beat", "", struct{}{}) {
				return
			}
		}
	}
}

func (s *server) exchange(w http.ResponseWriter, r *http.Request) {
	var body struct {
		Hello  *engine.Hello  `json:"hello"`
		Report *engine.Report `json:"report"`
	}
	d := json.NewDecoder(r.Body)
	d.DisallowUnknownFields()
	if err := d.Decode(&body); err != nil || body.Hello == nil {
		s.t.Errorf("an exchange without a hello: %v", err)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hellos = append(s.hellos, *body.Hello)
	if body.Report != nil {
		s.reports = append(s.reports, *body.Report)
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(map[string]any{
		"welcome": engine.Welcome{Server: "s1", Term: s.term, HeartbeatMS: heartbeat.Milliseconds()}, "directive": s.told, "poll_ms": 1000,
	})
}

// network connects clients with one server without sockets, so that a bubble's clock stands still while bytes move.
type network struct {
	mu   sync.Mutex // guards what follows
	down bool
	wire func(net.Conn) net.Conn // what lies between; nil: nothing
	open []net.Conn
	in   chan net.Conn
	done chan struct{}
}

func (n *network) Accept() (net.Conn, error) {
	select {
	case c := <-n.in:
		return c, nil
	case <-n.done:
		return nil, net.ErrClosed
	}
}
func (n *network) Close() error   { return nil }
func (n *network) Addr() net.Addr { return &net.TCPAddr{} }

func (n *network) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.down {
		return nil, errors.New("connection refused")
	}
	client, srv := net.Pipe()
	n.open = append(n.open, client, srv)
	if n.wire != nil {
		client = n.wire(client)
	}
	select {
	case n.in <- srv:
		return client, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// cut takes the server away, or brings it back.
func (n *network) cut(down bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.down = down
	if down {
		for _, c := range n.open {
			_ = c.Close()
		}
		n.open = nil
	}
}

// world is a server, the network to it, and what agents log.
type world struct {
	*server
	net *network
	dir string
	log syncBuffer
}

type syncBuffer struct {
	mu   sync.Mutex
	text strings.Builder
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

// newWorld has to be called in a bubble.
func newWorld(t *testing.T) *world {
	w := &world{server: newServer(t), net: &network{in: make(chan net.Conn), done: make(chan struct{})}, dir: t.TempDir()}
	srv := &http.Server{Handler: w.server, ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)}
	var serving sync.WaitGroup
	serving.Go(func() { _ = srv.Serve(w.net) })
	t.Cleanup(func() {
		close(w.net.done)
		_ = srv.Close()
		serving.Wait()
		w.net.cut(true)
		if strings.Contains(w.log.String(), canary) {
			t.Errorf("the token is in the log:\n%s", w.log.String())
		}
		if t.Failed() {
			t.Logf("the log:\n%s", w.log.String())
		}
	})
	return w
}

// agent makes one that is not running yet.
func (w *world) agent(change ...func(*Options)) *Agent {
	opts := Options{
		Server: "http://modeshift.test", Scope: "checkout", Instance: "web-1", Version: "v1.2.3", Token: secret.New(canary), StateDir: w.dir,
		HTTPClient: &http.Client{Transport: &http.Transport{DialContext: w.net.dial}},
		Logger:     slog.New(slog.NewTextHandler(&w.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
	}
	for _, c := range change {
		c(&opts)
	}
	a, err := New(opts)
	if err != nil {
		w.t.Fatal(err)
	}
	return a
}

// start makes one and runs it until the test ends.
func (w *world) start(change ...func(*Options)) *Agent {
	a := w.agent(change...)
	w.run(a)
	return a
}

func (w *world) run(a *Agent) {
	ended := make(chan error, 1)
	go func() { ended <- a.Run(context.Background()) }()
	w.t.(*testing.T).Cleanup(func() {
		a.Close()
		if err := <-ended; err != nil {
			w.t.Errorf("Run: %v", err)
		}
	})
}

// directive is one of term 1.
func directive(revision engine.Version, mode engine.Mode, change ...func(*engine.Told)) engine.Told {
	t := engine.Told{Scope: "checkout", Directive: engine.Directive{Term: 1, Revision: revision, Mode: mode}}
	for _, c := range change {
		c(&t)
	}
	return t
}

// pass lets time go by in a bubble, until nothing is left to be done in it.
func pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// holds fails the test unless the agent is in a mode that came from there.
func holds(t *testing.T, a *Agent, mode engine.Mode, origin engine.Origin) {
	t.Helper()
	if s := a.Current(); s.Mode != mode || s.Origin != origin {
		t.Errorf("in %q from %q, want %q from %q", s.Mode, s.Origin, mode, origin)
	}
}

// reported fails the test unless the server heard this last.
func (s *server) reported(t *testing.T, want engine.Report) {
	t.Helper()
	if got := s.lastReport(); got != want {
		t.Errorf("reported %+v\nwant     %+v", got, want)
	}
}

func pathsOf(requests []string) string {
	short := make([]string, len(requests))
	for i, r := range requests {
		short[i] = r[strings.LastIndex(r, "/")+1:]
	}
	return strings.Join(slices.Compact(short), " ")
}

var _ io.Writer = (*syncBuffer)(nil)
