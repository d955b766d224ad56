// Package receiver is the other end of modeshift's notices, for tests and the demo: a server that takes pages as PagerDuty's
// Events API v2 does (POST /v2/enqueue), tickets as a webhook endpoint would (POST /tickets), and messages as a chat's (POST /chat).
//
// It holds every request against the published contract and answers a violation as the real API does, so that a test that
// passes here has a reason to pass there. It keeps an alert for each deduplication key: a trigger for an open alert is added
// to it and notifies nobody, a trigger after its resolve opens a new alert, a resolve of none does nothing. Faults can be
// scripted for the next requests: refusals, silence, garbage, a connection that breaks after the event was taken.
//
// A Receiver is an http.Handler; Start puts one behind a listener of its own. It reads the time with time.Now, so inside a
// testing/synctest bubble its times are the bubble's.
package receiver

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/modeshift/modeshift/engine/secret"
)

// Target tells the endpoints apart.
type Target string

// The endpoints.
const (
	Pages   Target = "page"   // POST /v2/enqueue
	Tickets Target = "ticket" // POST /tickets
	Chats   Target = "chat"   // POST /chat
)

// What an event did to its alert or ticket.
const (
	Opened   = "opened"           // there was none open under this key
	Noted    = "noted"            // added to the open one; nobody is notified again
	Resolved = "resolved"         // closed the open one
	Nothing  = "nothing to close" // a resolve or note for none
	Repeated = "repeated"         // the id was seen before; nothing was done
)

// Options say what the receiver asks of requests beyond the contract. The zero value asks nothing more.
type Options struct {
	OnEvent     func(Event)     // called for each event taken, one at a time, in order
	RoutingKeys []secret.Secret // the keys taken; none: every one of 32 characters
	PerMinute   int             // more pages than this in 60 seconds are answered 429, as PagerDuty does; 0: no limit
	Token       secret.Secret   // the bearer token tickets have to bring
	Signing     secret.Secret   // the secret tickets have to be signed with
}

// Event is a page or ticket event that was taken.
type Event struct {
	At       time.Time
	Target   Target
	Action   string // trigger, acknowledge, resolve; open, update, resolve
	Key      string // dedup_key
	ID       string // of a ticket's notice
	Severity string
	Source   string // or the ticket's scope
	Summary  string
	Links    []string // of a page, their addresses
	Effect   string   // Opened, Noted, Resolved, Nothing, Repeated
	Body     []byte
}

// Request is one that arrived, taken or not.
type Request struct {
	At     time.Time
	Target Target
	Fault  Kind // the fault it met; empty: none
	Status int  // of the answer; 0: none was given
	Why    string
	Header http.Header
	Body   []byte
}

// Alert is an alert, or a ticket, from its opening to its end.
type Alert struct {
	Target   Target
	Key      string
	Severity string
	Source   string
	Summary  string
	Opened   time.Time
	Notes    []time.Time // triggers or updates while it was open
	Links    []string    // that people were given, at its opening and since
	Resolved time.Time   // zero: still open
}

// Receiver takes pages and tickets. It is safe for concurrent use.
type Receiver struct {
	opts Options
	mux  *http.ServeMux

	mu       sync.Mutex // guards all below
	faults   map[Target][]Fault
	requests []Request
	events   []Event
	alerts   []Alert
	open     map[[2]string]int // target and key to the place in alerts
	ids      map[string][]byte // of tickets, to their bodies
	sent     []time.Time       // pages taken, for PerMinute
	changed  chan struct{}     // closed when something arrived
	made     int               // keys made for triggers without one

	delivery sync.Mutex // held while OnEvent runs, so that events come in order
	closing  context.Context
	stop     context.CancelFunc
	server   *http.Server
	url      string
	served   chan struct{}
}

// New returns a receiver to be served by somebody else. Close ends what hangs in it.
func New(opts Options) *Receiver {
	r := &Receiver{
		opts: opts, mux: http.NewServeMux(),
		faults: map[Target][]Fault{}, open: map[[2]string]int{}, ids: map[string][]byte{}, changed: make(chan struct{}),
	}
	r.closing, r.stop = context.WithCancel(context.Background())
	r.mux.HandleFunc("POST /v2/enqueue", r.take(Pages, r.page))
	r.mux.HandleFunc("POST /tickets", r.take(Tickets, r.ticket))
	r.mux.HandleFunc("POST /chat", r.take(Chats, r.chat))
	return r
}

// Start serves a receiver on an address, such as "127.0.0.1:0".
func Start(address string, opts Options) (*Receiver, error) {
	l, err := net.Listen("tcp", address)
	if err != nil {
		return nil, fmt.Errorf("receiver: %w", err)
	}
	r := New(opts)
	r.Serve(l)
	r.url = "http://" + l.Addr().String()
	return r, nil
}

// Serve serves the receiver on a listener until Close, which closes the listener too.
func (r *Receiver) Serve(l net.Listener) {
	r.server = &http.Server{Handler: r, ReadHeaderTimeout: 10 * time.Second}
	r.served = make(chan struct{})
	go func() {
		defer close(r.served)
		_ = r.server.Serve(l) // it ends by Close, and says so
	}()
}

// URL is where Start serves: the endpoint of pages.
func (r *Receiver) URL() string { return r.url }

// TicketURL is the endpoint of tickets.
func (r *Receiver) TicketURL() string { return r.url + "/tickets" }

// ChatURL is the endpoint of messages.
func (r *Receiver) ChatURL() string { return r.url + "/chat" }

// ServeHTTP takes a request.
func (r *Receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) { r.mux.ServeHTTP(w, req) }

// Close lets go of what hangs and ends the server, if there is one.
func (r *Receiver) Close() error {
	r.stop()
	if r.server == nil {
		return nil
	}
	err := r.server.Close()
	<-r.served
	if err != nil {
		return fmt.Errorf("receiver: %w", err)
	}
	return nil
}

// Events returns what was taken so far, in order.
func (r *Receiver) Events() []Event {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.events)
}

// Requests returns what arrived so far, in order.
func (r *Receiver) Requests() []Request {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.requests)
}

// Alerts returns the alerts and tickets so far, by their opening.
func (r *Receiver) Alerts() []Alert {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := slices.Clone(r.alerts)
	for i := range out {
		out[i].Notes, out[i].Links = slices.Clone(out[i].Notes), slices.Clone(out[i].Links)
	}
	return out
}

// Wait returns nil once done holds; it is asked again after each request. It returns the cause of ctx when that ends first.
func (r *Receiver) Wait(ctx context.Context, done func(*Receiver) bool) error {
	for {
		r.mu.Lock()
		changed := r.changed
		r.mu.Unlock()
		if done(r) {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// record files an event and says what it did.
func (r *Receiver) record(e Event) Event {
	r.delivery.Lock()
	defer r.delivery.Unlock()
	r.mu.Lock()
	e.At = time.Now()
	at, open := r.open[[2]string{string(e.Target), e.Key}]
	switch e.Action {
	case "trigger", "open":
		if open {
			r.alerts[at].Notes = append(r.alerts[at].Notes, e.At)
			r.alerts[at].Links = append(r.alerts[at].Links, e.Links...)
			e.Effect = Noted
			break
		}
		e.Effect = Opened
		r.open[[2]string{string(e.Target), e.Key}] = len(r.alerts)
		r.alerts = append(r.alerts, Alert{Target: e.Target, Key: e.Key, Severity: e.Severity, Source: e.Source, Summary: e.Summary, Opened: e.At, Links: slices.Clone(e.Links)})
	case "resolve":
		e.Effect = Nothing
		if open {
			e.Effect = Resolved
			r.alerts[at].Resolved = e.At
			delete(r.open, [2]string{string(e.Target), e.Key})
		}
	default: // acknowledge, update
		e.Effect = Nothing
		if open {
			e.Effect = Noted
			r.alerts[at].Notes = append(r.alerts[at].Notes, e.At)
		}
	}
	r.mu.Unlock()
	r.note(e)
	return e
}

// note keeps an event and hands it on. The caller holds r.delivery.
func (r *Receiver) note(e Event) {
	r.mu.Lock()
	if e.At.IsZero() {
		e.At = time.Now()
	}
	r.events = append(r.events, e)
	r.mu.Unlock()
	if r.opts.OnEvent != nil {
		r.opts.OnEvent(e)
	}
}

// arrived files a request and wakes those who wait.
func (r *Receiver) arrived(q Request) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.requests = append(r.requests, q)
	close(r.changed)
	r.changed = make(chan struct{})
}

// makeKey makes a key for a trigger that brought none, as the real API does.
func (r *Receiver) makeKey(given string) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	if given == "" {
		r.made++
	}
	return cmp.Or(given, fmt.Sprintf("%032x", r.made))
}
