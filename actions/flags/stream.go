package flags

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"time"

	"github.com/modeshift/modeshift/engine"
)

// StreamPath is where changes are told. Clients learn of it from the answer with all flags: its address holds what they may
// follow, and they send it back as it is.
const StreamPath = "/ofrep/v1/events"

// The parts of a stream's address.
const (
	queryService  = "service"
	queryInstance = "instance"
	querySince    = "since"  // the content the client got together with the address
	queryTicket   = "ticket" // see tickets
)

// streamURI is the address of the stream that tells a reader when its flags are not the given ones any more.
func (h *OFREP) streamURI(who asker, content string) string {
	q := url.Values{queryService: {string(who.scope)}, querySince: {content}}
	if who.instance != "" {
		q.Set(queryInstance, who.instance)
	}
	if h.tickets != nil {
		q.Set(queryTicket, h.tickets.issue(who))
	}
	return StreamPath + "?" + q.Encode()
}

func (h *OFREP) serveStream(w http.ResponseWriter, r *http.Request) {
	switch r.Method {
	case http.MethodOptions:
		h.preflight(w, r, http.MethodGet)
		return
	case http.MethodGet:
	default:
		w.Header().Set("Allow", "GET, OPTIONS")
		h.fail(w, failure{status: http.StatusMethodNotAllowed, Details: "the event stream is followed by GET"})
		return
	}
	q := r.URL.Query()
	who := asker{scope: engine.Scope(q.Get(queryService)), instance: q.Get(queryInstance), client: r.UserAgent()}
	until, f := h.admitStream(r, q.Get(queryTicket), &who)
	if f == nil {
		_, f = h.find(who.scope, http.StatusNotFound, codeNotFound)
	}
	if f == nil {
		f = h.reserve()
	}
	if f != nil {
		h.fail(w, *f)
		return
	}
	defer h.streams.Add(-1)
	last := r.Header.Get("Last-Event-ID")
	if last == "" {
		last = q.Get(querySince)
	}
	// The address is in nothing that is logged: it holds a ticket.
	if err := h.follow(r.Context(), stream{w, http.NewResponseController(w), h.opts.WriteWait}, who, last, until); err != nil {
		h.log.DebugContext(r.Context(), "a reader of flags does not follow any more", "scope", who.scope, "error", err)
	}
}

// admitStream takes a ticket, or what evaluations take. The zero time: there is no end to it.
func (h *OFREP) admitStream(r *http.Request, ticket string, who *asker) (until time.Time, f *failure) {
	if h.tickets != nil && ticket != "" {
		var ok bool
		if until, ok = h.tickets.admit(ticket, who); !ok {
			return until, &failure{status: http.StatusUnauthorized, Details: "this address of an event stream does not hold any more: evaluate all flags, the answer has a new one"}
		}
		f = h.hold(r, who)
	} else {
		f = h.admit(r, who)
	}
	if f == nil {
		f = h.permit(who, who.scope)
	}
	return until, f
}

// reserve counts the stream in, if there is room.
func (h *OFREP) reserve() *failure {
	select {
	case <-h.stopped:
		return &failure{status: http.StatusServiceUnavailable, after: someSeconds(), Details: "the server is stopping"}
	default:
	}
	if h.streams.Add(1) > int64(h.opts.MaxStreams) {
		h.streams.Add(-1)
		return &failure{status: http.StatusServiceUnavailable, after: someSeconds(), Details: "too many event streams are open; flags can still be fetched"}
	}
	return nil
}

// someSeconds is when to try again: not all at once.
func someSeconds() time.Duration { return time.Duration(2+rand.IntN(9)) * time.Second }

// follow tells a reader of each change of its flags. It only ever looks at what is told now: a reader that was slow, or away,
// hears of the last change and of none before it, and no reader waits for another.
func (h *OFREP) follow(ctx context.Context, s stream, who asker, last string, until time.Time) error {
	header := s.w.Header()
	header.Set("Content-Type", "text/event-stream")
	header.Set("Cache-Control", "no-store")
	header.Set("X-Accel-Buffering", "no") // proxies that buffer would hold events back
	beat := time.NewTicker(h.opts.Heartbeat)
	defer beat.Stop()
	// When the server goes away all its readers come back: not in the same second.
	opening := fmt.Sprintf("retry: %d\n", 200+rand.IntN(800))
	defer h.book.follow(who.scope)()
	for {
		sheet, there := h.book.open(who.scope)
		if !there {
			return errors.New("the service is not declared any more")
		}
		_, content, err := sheet.bulk(sheet.group(who.instance))
		if err != nil {
			return err
		}
		switch {
		case content != last:
			err = s.send(opening + h.change(who, sheet, content))
		case opening != "":
			// Its client now knows the id, though nothing happened: when it reconnects it can say what it has.
			err = s.send(opening + "id: " + content + "\n\n")
		}
		if err != nil {
			return err
		}
		last, opening = content, ""
		for quiet := true; quiet; {
			select {
			case <-sheet.moved:
				quiet = false
			case <-beat.C:
				if !until.IsZero() && !h.tickets.now().Before(until) {
					return errors.New("its ticket has run out")
				}
				if f := h.permit(&who, who.scope); f != nil {
					return errors.New(f.Details)
				}
				if err := s.send(": still here\n\n"); err != nil {
					return err
				}
			case <-ctx.Done():
				return context.Cause(ctx)
			case <-h.stopped:
				return nil
			}
		}
	}
}

// change is the message that has a client fetch its flags.
func (h *OFREP) change(who asker, s *sheet, content string) string {
	data := struct {
		Type     string `json:"type"`
		ETag     string `json:"etag"`
		Modified int64  `json:"lastModified,omitempty"` // Unix seconds
	}{"refetchEvaluation", quoted(content, h.streamURI(who, content)), s.modified()}
	text, _ := encode(data) // strings and a number always encode; its end of line is the first of the two that end an event
	return "id: " + content + "\nevent: message\ndata: " + string(text) + "\n"
}

// stream is the way to one reader.
type stream struct {
	w    http.ResponseWriter
	conn *http.ResponseController
	wait time.Duration
}

// send writes and flushes within the time a reader may block. That deadline takes the place of the server's own, which is
// meant for answers that end.
func (s stream) send(text string) error {
	if err := s.conn.SetWriteDeadline(time.Now().Add(s.wait)); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return err
	}
	if _, err := s.w.Write([]byte(text)); err != nil {
		return err
	}
	return s.conn.Flush()
}
