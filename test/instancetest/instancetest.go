// Package instancetest is a modeshift as the instances of a service see it, for tests of what follows one: it tells each of them
// what the test says, and keeps what they report. It judges nothing, remembers nothing, and speaks the stream alone.
package instancetest

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"sync"
	"time"

	"github.com/modeshift/modeshift/engine"
)

// Path is where instances follow.
const Path = "POST /api/v1/instances/stream"

// beat is how often an instance hears that the server is there.
const beat = 500 * time.Millisecond

// Server tells instances what a test says. It is an http.Handler for Path.
type Server struct {
	admit func(*http.Request) bool

	mu      sync.Mutex // guards what follows
	tell    func(instance string) engine.Told
	reports map[string]engine.Report
	changed chan struct{} // closed when tell may answer otherwise
	closed  bool
}

// New returns a server that lets everybody in whom admit does; nil: everybody.
func New(admit func(*http.Request) bool) *Server {
	return &Server{admit: admit, reports: map[string]engine.Report{}, changed: make(chan struct{})}
}

// Tell says what each instance is told from now on. The function is called with the server's lock held, and must not call it.
func (s *Server) Tell(what func(instance string) engine.Told) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tell = what
	s.wake()
}

// Reports is what each instance said last.
func (s *Server) Reports() map[string]engine.Report {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.reports)
}

// Close ends all streams, and lets no further ones begin.
func (s *Server) Close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	s.wake()
}

func (s *Server) wake() {
	close(s.changed)
	s.changed = make(chan struct{})
}

// now is what an instance is to be told; nil: nothing yet.
func (s *Server) now(instance string) (told *engine.Told, changed <-chan struct{}, closed bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.tell != nil {
		t := s.tell(instance)
		told = &t
	}
	return told, s.changed, s.closed
}

func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if s.admit != nil && !s.admit(r) {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	conn := http.NewResponseController(w)
	lines := json.NewDecoder(r.Body)
	var first engine.Uplink
	if err := conn.EnableFullDuplex(); err != nil || lines.Decode(&first) != nil || first.Hello == nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	name := first.Hello.Instance
	var reader sync.WaitGroup
	over := make(chan struct{})
	reader.Go(func() {
		defer close(over)
		for {
			var m engine.Uplink
			if lines.Decode(&m) != nil {
				return
			}
			if m.Report != nil {
				s.mu.Lock()
				s.reports[name] = *m.Report
				s.mu.Unlock()
			}
		}
	})
	defer reader.Wait()
	defer func() { _ = conn.SetReadDeadline(time.Now()) }() // lets the reader go

	w.Header().Set("Content-Type", "text/event-stream")
	send := func(event string, data any) bool {
		text, err := json.Marshal(data)
		if err == nil {
			_, err = fmt.Fprintf(w, "event: %s\ndata: %s\n\n", event, text)
		}
		return err == nil && conn.Flush() == nil
	}
	sent := engine.Position{}
	tick := time.NewTicker(beat)
	defer tick.Stop()
	for alive := send("welcome", engine.Welcome{Server: "test", Term: 1, HeartbeatMS: beat.Milliseconds()}); alive; {
		told, changed, closed := s.now(name)
		if closed {
			return
		}
		if told != nil && told.Position() != sent {
			sent = told.Position()
			alive = send("directive", told)
			continue
		}
		select {
		case <-changed:
		case <-tick.C:
			alive = send("beat", struct{}{})
		case <-over:
			return
		case <-r.Context().Done():
			return
		}
	}
}
