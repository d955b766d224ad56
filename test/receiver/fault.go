package receiver

import (
	"encoding/json"
	"io"
	"mime"
	"net/http"
	"strconv"
	"time"
)

// Kind is a way of going wrong.
type Kind string

// The faults.
const (
	Status  Kind = "status"  // answers Fault.Status, with Retry-After and Body when given; the event is not taken
	Hang    Kind = "hang"    // says nothing until the client gives up or Close is called
	Garbage Kind = "garbage" // answers 202 with what is no JSON; the event is not taken
	Drop    Kind = "drop"    // breaks the connection before anything is done
	Lost    Kind = "lost"    // takes the event, then breaks the connection without an answer
)

// Fault is what a request meets instead of being served.
type Fault struct {
	Kind       Kind
	Status     int    // for Status
	RetryAfter string // for Status: the header's value, seconds or a date
	Body       string // for Status and Garbage; empty: something likely
}

// Script makes the next requests to an endpoint meet faults, one each, after those scripted before. The zero Fault is no
// fault.
func (r *Receiver) Script(t Target, faults ...Fault) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.faults[t] = append(r.faults[t], faults...)
}

// Scripted returns how many faults are still to come.
func (r *Receiver) Scripted(t Target) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.faults[t])
}

// Clear forgets the faults still to come.
func (r *Receiver) Clear(t Target) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.faults, t)
}

func (r *Receiver) nextFault(t Target) Fault {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.faults[t]) == 0 {
		return Fault{}
	}
	f := r.faults[t][0]
	r.faults[t] = r.faults[t][1:]
	return f
}

// reply is an answer to be given, with why, for Requests.
type reply struct {
	status int
	after  string // Retry-After
	body   any    // written as JSON; a string as it is
	why    string
}

// maxRequest is the size of a request above which it is refused, in bytes. Source: PagerDuty, Events API v2: 512 KB.
const maxRequest = 512 << 10

// take makes a handler that reads a request, meets it with the next fault or serves it, and files it.
func (r *Receiver) take(t Target, serve func(*http.Request, []byte) reply) http.HandlerFunc {
	return func(w http.ResponseWriter, req *http.Request) {
		q := Request{At: time.Now(), Target: t, Header: req.Header.Clone()}
		body, err := io.ReadAll(io.LimitReader(req.Body, maxRequest+1))
		q.Body = body
		f := r.nextFault(t)
		q.Fault = f.Kind
		var a reply
		switch {
		case err != nil:
			q.Why = "the body broke off: " + err.Error()
			r.arrived(q)
			panic(http.ErrAbortHandler)
		case f.Kind == Status:
			a = reply{status: f.Status, after: f.RetryAfter, body: f.Body, why: "scripted"}
			if f.Body == "" {
				a.body = map[string]string{"status": http.StatusText(f.Status), "message": "scripted"}
			}
		case f.Kind == Garbage:
			a = reply{status: http.StatusAccepted, body: "<html>welcome</html>", why: "scripted"}
			if f.Body != "" {
				a.body = f.Body
			}
		case f.Kind == Hang:
			r.arrived(q)
			select {
			case <-req.Context().Done():
			case <-r.closing.Done():
			}
			panic(http.ErrAbortHandler)
		case f.Kind == Drop:
			r.arrived(q)
			panic(http.ErrAbortHandler)
		case len(body) > maxRequest:
			a = reply{status: http.StatusRequestEntityTooLarge, body: "", why: "more than 512 KB"}
		default:
			a = r.checkType(req)
			if a.status == 0 {
				a = serve(req, body)
			}
			if f.Kind == Lost {
				r.arrived(q)
				panic(http.ErrAbortHandler)
			}
		}
		q.Status, q.Why = a.status, a.why
		r.arrived(q)
		a.write(w)
	}
}

func (r *Receiver) checkType(req *http.Request) reply {
	if t, _, err := mime.ParseMediaType(req.Header.Get("Content-Type")); err != nil || t != "application/json" {
		return invalid("Content-Type must be application/json")
	}
	return reply{}
}

func (a reply) write(w http.ResponseWriter) {
	if a.after != "" {
		w.Header().Set("Retry-After", a.after)
	}
	// A client that has gone does not hear the answer, and that is its affair: hence no look at what writing returns.
	if text, ok := a.body.(string); ok {
		w.Header().Set("Content-Type", "text/html")
		w.Header().Set("Content-Length", strconv.Itoa(len(text)))
		w.WriteHeader(a.status)
		_, _ = io.WriteString(w, text)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(a.status)
	_ = json.NewEncoder(w).Encode(a.body)
}
