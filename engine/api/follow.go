package api

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/modeshift/modeshift/engine"
)

// FromNow as a position means: only events that are committed from now on.
const FromNow int64 = -1

// silence is how long a stream may say nothing at all: three of the server's heartbeats.
const silence = 45 * time.Second

// maxMessage is the length of the longest line a stream may have, in bytes: an event with all its evidence.
const maxMessage = 16 << 20

var errSilent = fmt.Errorf("the stream was silent for %s", silence)

// Events follows the events of one scope, or of all where it is empty, behind a position. It ends after yielding an error,
// and otherwise not before ctx does, whose cause it then yields. After an error that is ErrNoServer, going on behind the
// position of the last event yielded misses none.
func (c *Client) Events(ctx context.Context, scope engine.Scope, after int64) iter.Seq2[Stored, error] {
	return func(yield func(Stored, error) bool) {
		// A connection can be gone without anybody noticing, so silence ends it.
		ctx, cancel := context.WithCancelCause(ctx)
		defer cancel(nil)
		dead := time.AfterFunc(silence, func() { cancel(fmt.Errorf("%w: %w", ErrNoServer, errSilent)) })
		defer dead.Stop()

		query := url.Values{}
		if scope != "" {
			query.Set("scope", string(scope))
		}
		if after >= 0 {
			query.Set("after", strconv.FormatInt(after, 10))
		}
		resp, err := c.send(ctx, http.MethodGet, "/events", query, nil, http.Header{"Accept": {"text/event-stream"}})
		if err != nil {
			yield(Stored{}, err)
			return
		}
		defer func() { _ = resp.Body.Close() }() // what was read is already with the caller
		lines := bufio.NewScanner(resp.Body)
		lines.Buffer(nil, maxMessage)
		var m message
		for lines.Scan() {
			dead.Reset(silence)
			event, whole, err := m.line(lines.Bytes())
			if err != nil {
				yield(Stored{}, err)
				return
			}
			if whole && !yield(event, nil) {
				return
			}
		}
		err = lines.Err()
		if err == nil {
			err = io.EOF
		}
		if !errors.Is(err, bufio.ErrTooLong) {
			err = c.lost(ctx, err)
		}
		yield(Stored{}, err)
	}
}

// message gathers the lines of a server-sent event. The server writes no other fields than id, data and retry.
type message struct {
	id, data []byte
}

// line takes the next line, and returns the event when the line ends one.
func (m *message) line(line []byte) (Stored, bool, error) {
	if len(line) > 0 {
		name, value, _ := bytes.Cut(line, []byte(":"))
		value = bytes.TrimPrefix(value, []byte(" "))
		switch string(name) {
		case "id":
			m.id = bytes.Clone(value)
		case "data":
			m.data = append(m.data, value...)
		}
		return Stored{}, false, nil
	}
	if len(m.data) == 0 {
		return Stored{}, false, nil // a heartbeat, or the greeting
	}
	defer func() { m.data = nil }()
	position, err := strconv.ParseInt(string(m.id), 10, 64)
	if err != nil {
		return Stored{}, false, fmt.Errorf("the stream's id %q is not a position", m.id)
	}
	e, err := engine.Decode(m.data)
	if err != nil {
		return Stored{}, false, fmt.Errorf("position %d: %w", position, err)
	}
	return Stored{position, e}, true, nil
}
