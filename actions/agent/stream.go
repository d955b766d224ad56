package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"mime"
	"net/http"
	"sync"
	"time"

	"github.com/modeshift/modeshift/engine"
)

// stream holds one connection until it ends, and says why it did. The first event has to come within the patience.
func (a *Agent) stream(ctx context.Context, patience time.Duration, said *speaker) (err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	body, lines := io.Pipe()
	// The transport reads from the pipe until that has an end; closing the connection is not enough for it.
	defer func() { _ = body.Close() }()  // nothing to say: a pipe
	defer func() { _ = lines.Close() }() // likewise
	stop := context.AfterFunc(ctx, func() { _ = body.CloseWithError(context.Cause(ctx)) })
	defer stop()

	request, err := a.request(ctx, "stream", "text/event-stream", "application/x-ndjson", body)
	if err != nil {
		return err
	}
	welcomed := make(chan pace, 1)
	var writer sync.WaitGroup
	defer writer.Wait()
	defer cancel(errStopped) // before the wait
	writer.Go(func() { a.talk(ctx, lines, welcomed) })
	silence := time.AfterFunc(patience, func() { cancel(errNoWelcome) })
	defer func() { silence.Stop() }()

	resp, err := a.client.Do(request)
	if err != nil {
		if cause := context.Cause(ctx); cause != nil {
			return cause // which the transport tells in words of its own
		}
		return err
	}
	defer func() { _ = resp.Body.Close() }() // only read from
	if resp.StatusCode != http.StatusOK {
		return a.refusal(resp)
	}
	if kind, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type")); kind != "text/event-stream" {
		return &garbageError{fmt.Errorf("the answer is no event stream but %q", clip(kind, 100))}
	}
	from := newEvents(resp.Body)
	heartbeat := time.Duration(0) // 0: no welcome yet
	var p pace
	for {
		e, err := from.next()
		switch {
		case err != nil && context.Cause(ctx) != nil:
			return context.Cause(ctx)
		case errors.Is(err, io.EOF):
			return errStopped
		case errors.Is(err, errTooLarge):
			return &garbageError{err}
		case err != nil:
			return err
		}
		if heartbeat == 0 {
			if p, err = a.greeted(ctx, e); err != nil {
				return err
			}
			heartbeat = p.heartbeat
			a.heartbeat = heartbeat
			silence.Stop()
			silence = time.AfterFunc(2*heartbeat, func() { cancel(errSilent) })
			welcomed <- p
			said.connected(a, ViaStream)
			a.log.Info("connected to the server", "heartbeat", heartbeat)
		} else {
			silence.Reset(2 * heartbeat)
			if err := a.heard(ctx, e); err != nil {
				return err
			}
		}
	}
}

// greeted takes the first event, which has to be a welcome from a server that leads.
func (a *Agent) greeted(ctx context.Context, e event) (pace, error) {
	if e.kind != "welcome" {
		return pace{}, &garbageError{fmt.Errorf("a stream begins with %q and no welcome", clip(e.kind, 100))}
	}
	var w engine.Welcome
	if err := decode(e.data, &w); err != nil {
		return pace{}, err
	}
	var verdict error
	if err := a.call(ctx, func() { verdict = a.loop.welcome(w) }); err != nil {
		return pace{}, err
	}
	heartbeat := heartbeatOf(w)
	return pace{heartbeat, min(max(0, time.Duration(w.SpreadMS)*time.Millisecond), heartbeat/2)}, verdict
}

// pace is how often a server wants to hear from an instance, and how far it wants reports to be spread.
type pace struct{ heartbeat, spread time.Duration }

// heard takes every other event. Kinds that are not known are signs of life, as beats are: a newer server may send more.
func (a *Agent) heard(ctx context.Context, e event) error {
	if e.kind != "directive" {
		return a.call(ctx, func() { a.loop.beat() })
	}
	t, err := decodeTold(e.data)
	if err != nil {
		return err
	}
	return a.call(ctx, func() { a.loop.tell(t, true) })
}

// talk is the sending half: a hello, and after the welcome reports and beats, until ctx ends. When nobody takes its lines any
// more it ends too, and says nothing: why, the other half hears.
func (a *Agent) talk(ctx context.Context, to io.Writer, welcomed <-chan pace) {
	lines := json.NewEncoder(to) // one write a line
	if lines.Encode(engine.Uplink{Hello: a.hello.Load()}) != nil {
		return
	}
	var p pace
	select {
	case <-ctx.Done():
		return
	case p = <-welcomed:
	}
	heartbeat := p.heartbeat
	for {
		report, changed := a.report.get()
		if report != nil && p.spread > 0 {
			pause := time.NewTimer(rand.N(p.spread))
			select {
			case <-ctx.Done():
				pause.Stop()
				return
			case <-pause.C:
			}
			report, changed = a.report.get() // what it has come to meanwhile
		}
		if report != nil && lines.Encode(engine.Uplink{Report: report}) != nil {
			return
		}
		for beating := true; beating; {
			// A little early, by a random part: the server counts to two heartbeats, and instances that came together part.
			beat := time.NewTimer(heartbeat*4/5 + rand.N(heartbeat/5+1))
			select {
			case <-ctx.Done():
				beat.Stop()
				return
			case <-changed:
				beat.Stop()
				beating = false
			case <-beat.C:
				if lines.Encode(engine.Uplink{Beat: true}) != nil {
					return
				}
			}
		}
	}
}
