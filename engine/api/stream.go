package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strconv"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/modeshift/modeshift/engine"
)

type streamInput struct {
	Scope       string `query:"scope" maxLength:"200" doc:"only events of this scope, or of fleet"`
	After       string `query:"after" maxLength:"40" doc:"the position to go on behind; 0: from the beginning of the log; absent: from now on"`
	LastEventID string `header:"Last-Event-ID" maxLength:"40" doc:"the same, as browsers send it when they reconnect; it wins"`
}

func (a *API) registerStream(h huma.API) {
	register(a, h, RoleViewer, huma.Operation{
		OperationID: "stream-events", Method: http.MethodGet, Path: "/events", Summary: "Follow events",
		Description: "Events as they are committed, as server-sent events: the id is the position in the log, the data an Event. " +
			"Whoever was cut off resumes with Last-Event-ID. A comment comes every 15 s while nothing happens.",
		Errors: []int{http.StatusBadRequest, http.StatusGone, http.StatusServiceUnavailable},
		Responses: map[string]*huma.Response{"200": {
			Description: "an endless stream",
			Content:     map[string]*huma.MediaType{"text/event-stream": {Schema: &huma.Schema{Type: huma.TypeString}}},
		}},
	}, a.streamEvents)
}

func (a *API) streamEvents(ctx context.Context, in *streamInput) (*huma.StreamResponse, error) {
	if in.Scope != "" {
		if err := permit(bearerOf(ctx), RoleViewer, engine.Scope(in.Scope)); err != nil {
			return nil, err
		}
		if _, err := a.view(in.Scope); err != nil {
			return nil, err
		}
	}
	position, err := a.resume(ctx, in)
	if err != nil {
		return nil, err
	}
	select {
	case <-a.closed.Done():
		return nil, problem(http.StatusServiceUnavailable, CodeUnavailable, "the server is stopping")
	default:
	}
	closed, err := a.opts.Limiter.open(bearerOf(ctx).Principal)
	if err != nil {
		return nil, err
	}
	select {
	case a.streams <- struct{}{}:
	default:
		closed()
		return nil, problem(http.StatusServiceUnavailable, CodeUnavailable, "too many event streams are open")
	}
	return &huma.StreamResponse{Body: func(hctx huma.Context) {
		defer closed()
		defer func() { <-a.streams }()
		r, w := humago.Unwrap(hctx)
		s := stream{
			w: w, conn: http.NewResponseController(w), wait: a.opts.WriteWait,
			token: bearerOf(ctx), only: engine.Scope(in.Scope), position: position,
		}
		err := a.follow(r.Context(), &s)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			a.opts.Limiter.slow()
		}
		if err != nil {
			a.log.DebugContext(r.Context(), "event stream ended", "position", s.position, "error", err)
		}
	}}, nil
}

// resume finds the position a reader goes on behind.
func (a *API) resume(ctx context.Context, in *streamInput) (int64, error) {
	last, err := a.opts.Log.Last(ctx)
	if err != nil {
		return 0, fmt.Errorf("read the log: %w", err)
	}
	id := in.LastEventID
	if id == "" {
		id = in.After
	}
	if id == "" {
		return last, nil
	}
	position, err := strconv.ParseInt(id, 10, 64)
	switch {
	case err != nil || position < 0:
		return 0, problem(http.StatusBadRequest, CodeInvalid, "an event's id is its position in the log, a whole number; this is not one")
	case position > last:
		return 0, problem(http.StatusGone, CodeGone, fmt.Sprintf(
			"position %d lies ahead of this log, which ends at %d: it was restored, or is another server's. Read the scopes again, and follow without an id", position, last))
	}
	// The log may have been cut below the position; it says so when asked.
	if _, err := a.opts.Log.Since(ctx, position, 1); err != nil {
		return 0, fmt.Errorf("resume behind position %d: %w", position, err)
	}
	return position, nil
}

// stream is one reader's.
type stream struct {
	w        http.ResponseWriter
	conn     *http.ResponseController
	wait     time.Duration
	token    Token
	only     engine.Scope // empty: all the token may see
	position int64        // of the last event sent or passed over
}

// follow sends events until the reader is gone or too slow, or the server stops.
func (a *API) follow(ctx context.Context, s *stream) error {
	h := s.w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Accel-Buffering", "no") // proxies that buffer would hold events back
	if err := s.send([]byte("retry: 1000\n\n")); err != nil {
		return err
	}
	beat := time.NewTicker(a.opts.Heartbeat)
	defer beat.Stop()
	for {
		frames, more, err := a.feed.after(ctx, s.position)
		if err != nil {
			return err
		}
		if len(frames) > 0 {
			if err := s.send(s.take(frames)); err != nil {
				return err
			}
			continue
		}
		if more == nil {
			continue // it had caught up with the log's older part; what is newer comes next
		}
		select {
		case <-more:
		case <-beat.C:
			if err := s.send([]byte(": still here\n\n")); err != nil {
				return err
			}
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-a.closed.Done():
			return nil
		}
	}
}

// take passes over what the reader may not or does not want to see, and returns the rest.
func (s *stream) take(frames []frame) (text []byte) {
	for _, f := range frames {
		s.position = f.position
		if (s.only == "" || s.only == f.stream) && s.token.may(RoleViewer, f.stream) {
			text = append(text, f.text...)
		}
	}
	return text
}

// send writes and flushes within the time a reader may block. That deadline takes the place of the server's own, which is
// meant for answers that end; the one for reading net/http lifts itself once a request has been read.
func (s *stream) send(text []byte) error {
	if len(text) == 0 {
		return nil
	}
	if err := s.conn.SetWriteDeadline(time.Now().Add(s.wait)); err != nil {
		return err
	}
	if _, err := s.w.Write(text); err != nil {
		return err
	}
	return s.conn.Flush()
}
