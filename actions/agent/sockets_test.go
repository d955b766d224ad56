package agent

import (
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/modeshift/modeshift/engine"
	"github.com/modeshift/modeshift/engine/secret"
)

// over makes an agent that runs until the test ends, over real sockets.
func over(t *testing.T, url string, change ...func(*Options)) *Agent {
	log := new(syncBuffer)
	opts := Options{Server: url, Scope: "checkout", Instance: "web-1", Token: secret.New(canary), StateDir: t.TempDir(), Logger: slog.New(slog.NewTextHandler(log, nil))}
	for _, c := range change {
		c(&opts)
	}
	a, err := New(opts)
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- a.Run(context.Background()) }()
	t.Cleanup(func() {
		a.Close()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		if strings.Contains(log.String(), canary) || t.Failed() {
			t.Errorf("the log, in which the token must not be:\n%s", log)
		}
	})
	return a
}

// until waits for a condition, and gives up after so long that it cannot come any more.
func until(t *testing.T, what string, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !is(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("never: %s", what)
		}
	}
}

func in(a *Agent, mode engine.Mode) func() bool {
	return func() bool { m, _ := a.Mode(); return m == mode }
}

func TestTheStreamWorksOverHTTP1AndHTTP2(t *testing.T) {
	for name, h2 := range map[string]bool{"HTTP/1.1": false, "HTTP/2": true} {
		t.Run(name, func(t *testing.T) {
			s := newServer(t)
			var major atomic.Int32
			srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				major.Store(int32(r.ProtoMajor))
				s.ServeHTTP(w, r)
			}))
			srv.EnableHTTP2 = h2
			srv.StartTLS()
			t.Cleanup(srv.Close)
			s.tell(directive(1, "normal"))
			a := over(t, srv.URL, func(o *Options) {
				o.TLS = srv.Client().Transport.(*http.Transport).TLSClientConfig.Clone()
				o.TLS.NextProtos = nil
			})
			until(t, "the first mode", in(a, "normal"))
			s.tell(directive(2, "degraded"))
			until(t, "the report", func() bool { return s.lastReport().Mode == "degraded" })
			if (major.Load() == 2) != h2 {
				t.Errorf("HTTP/%d", major.Load())
			}
			s.hangUp()
			until(t, "another connection", func() bool { return a.Status().Connects == 2 })
		})
	}
}

// relay carries bytes between clients and a server until it is told to stop, and then lets the connections stand.
type relay struct {
	net.Listener
	to   string
	dead atomic.Bool
	all  sync.WaitGroup
	mu   sync.Mutex // guards open
	open []net.Conn
}

func newRelay(t *testing.T, to string) *relay {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &relay{Listener: l, to: to}
	r.all.Go(r.accept)
	t.Cleanup(func() {
		_ = l.Close()
		r.mu.Lock()
		for _, c := range r.open {
			_ = c.Close()
		}
		r.mu.Unlock()
		r.all.Wait()
	})
	return r
}

func (r *relay) accept() {
	for {
		from, err := r.Accept()
		if err != nil {
			return
		}
		to, err := net.Dial("tcp", r.to)
		if err != nil {
			_ = from.Close()
			continue
		}
		r.mu.Lock()
		r.open = append(r.open, from, to)
		r.mu.Unlock()
		carry := func(to, from net.Conn) {
			buf := make([]byte, 4096)
			for {
				n, err := from.Read(buf)
				if r.dead.Load() {
					if err != nil {
						return // whose other end is not told
					}
					continue
				}
				if err != nil {
					_ = to.Close()
					return
				}
				_, _ = to.Write(buf[:n])
			}
		}
		r.all.Go(func() { carry(to, from) })
		r.all.Go(func() { carry(from, to) })
	}
}

func TestARelayThatStopsToForwardIsNoticedWithinTwoHeartbeats(t *testing.T) {
	s := newServer(t)
	srv := httptest.NewServer(s)
	t.Cleanup(srv.Close)
	r := newRelay(t, srv.Listener.Addr().String())
	s.tell(directive(1, "normal"))
	a := over(t, "http://"+r.Addr().String())
	until(t, "the first mode", in(a, "normal"))
	r.dead.Store(true)
	began := time.Now()
	until(t, "the loss", func() bool { return a.Status().Via == ViaNone })
	if took := time.Since(began); took > 2*heartbeat+3*time.Second { // to the instant it is held to in a bubble; the rest is for a machine that is busy
		t.Errorf("noticed after %v, want two heartbeats of %v", took, heartbeat)
	}
	r.dead.Store(false)
	s.tell(directive(2, "degraded"))
	until(t, "the next mode", in(a, "degraded"))
}

// holder is a proxy that passes an answer on when it is complete, as some do to scan or to compress it.
func holder(to string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_ = http.NewResponseController(w).EnableFullDuplex()
		out, err := http.NewRequestWithContext(r.Context(), r.Method, to+r.URL.RequestURI(), r.Body)
		if err != nil {
			return
		}
		out.Header = r.Header.Clone()
		resp, err := http.DefaultTransport.RoundTrip(out)
		if err != nil {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		defer func() { _ = resp.Body.Close() }()
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			return
		}
		w.WriteHeader(resp.StatusCode)
		_, _ = w.Write(body)
	})
}

func TestThroughARealProxyThatHoldsAnswersBackTheModeArrivesByPolling(t *testing.T) {
	s := newServer(t)
	srv := httptest.NewServer(s)
	t.Cleanup(srv.Close)
	proxy := httptest.NewServer(holder(srv.URL))
	t.Cleanup(proxy.Close)
	t.Cleanup(http.DefaultTransport.(*http.Transport).CloseIdleConnections)
	s.tell(directive(1, "normal"))
	a := over(t, proxy.URL, func(o *Options) { o.Patience = 200 * time.Millisecond })
	until(t, "the first mode", in(a, "normal"))
	s.tell(directive(2, "degraded"))
	until(t, "the report", func() bool { return s.lastReport().Mode == "degraded" })
	if got := a.Status().Via; got != ViaPoll {
		t.Errorf("via %q", got)
	}
}

func TestCloseLeavesNoGoroutineBehind(t *testing.T) {
	s := newServer(t)
	srv := httptest.NewServer(s)
	defer srv.Close()
	s.tell(directive(1, "normal"))
	before := runtime.NumGoroutine()
	for range 10 {
		a, err := New(Options{Server: srv.URL, Scope: "checkout", Instance: "web-1", Token: secret.New(canary), StateDir: t.TempDir(), Logger: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		ended := make(chan error, 1)
		go func() { ended <- a.Run(context.Background()) }()
		if err := a.Wait(t.Context()); err != nil {
			t.Fatal(err)
		}
		a.Close()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
	srv.CloseClientConnections()
	until(t, "the goroutines of connections to end", func() bool { return runtime.NumGoroutine() <= before })
}

func FuzzNothingThatAServerSendsBreaksAnAgent(f *testing.F) {
	for _, seed := range []string{
		"event: welcome\ndata: {\"term\":1,\"heartbeat_ms\":1000}\n\nevent: directive\nid: 1-1\ndata: {\"scope\":\"checkout\",\"term\":1,\"revision\":1,\"mode\":\"normal\"}\n\n",
		": comment\r\nevent:beat\r\ndata:{}\r\n\r\n", "data\n\n", "data: a\ndata: b\n\n", "\n\n\n", "event: x", "data: {\"flags\":{\"a\":[[[[", "\xff\x00: \n",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, stream []byte) {
		from := newEvents(strings.NewReader(string(stream)))
		total := 0
		for {
			e, err := from.next()
			if err != nil {
				break
			}
			total += len(e.data)
			if d, err := decodeTold(e.data); err == nil {
				if d.Mode == "" || d.Revision == 0 || d.Scope == "" {
					t.Errorf("accepted %+v", d)
				}
				r := record{Scope: d.Scope, Told: d}
				data, err := r.encode()
				if err != nil {
					t.Fatalf("what was accepted cannot be kept: %v", err)
				}
				back, err := decodeRecord(data, d.Scope)
				if err != nil || !alike(back.Told, d) {
					t.Errorf("kept %+v, read back %+v, %v", d, back.Told, err)
				}
			}
		}
		if total > len(stream) {
			t.Errorf("%d bytes of data in %d bytes", total, len(stream))
		}
	})
}

func FuzzNoFileBreaksAStart(f *testing.F) {
	good, err := (&record{Scope: "checkout", Term: 3, Told: new(directive(7, "degraded", leased)), Heard: time.Unix(0, 0)}).encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add(good[:40])
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, data []byte) {
		if r, err := decodeRecord(data, "checkout"); err == nil && r.Scope != "checkout" {
			t.Errorf("accepted %+v", r)
		}
	})
}
