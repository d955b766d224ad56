package prom

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	v1 "github.com/prometheus/client_golang/api/prometheus/v1"
	"github.com/prometheus/common/model"

	"github.com/modeshift/modeshift/engine"
)

// answer is what came back for one query: a value, or why there is none.
type answer struct {
	value  model.Value
	why    engine.Why
	detail string // at most maxDetail bytes

	samples int64         // that the source read; 0 when it does not say
	took    time.Duration // from sending the request to having read the answer
	sent    string        // the query that was sent, which may have stood for many
	among   int           // how many queries it stood for
	remedy  remedy        // where why is set: what may help if the query stood for many
}

// remedy is what to do about a failed request that stood for many queries.
type remedy int

const (
	none    remedy = iota // nothing: it would be the same for each of them
	apart                 // ask again in parts: it may be the fault of a few, or of their number
	smaller               // ask for less at the next tick: the server could not cope
)

// answerOf judges what the API client returned. A warning makes the whole answer unknown, whatever its value: it says that
// data is missing, and a ratio of incomplete counts is wrong in either direction. An info is no warning.
func answerOf(value model.Value, warnings v1.Warnings, err error) answer {
	if err != nil {
		why, detail, remedy := explain(err)
		return answer{why: why, detail: clip(detail), remedy: remedy}
	}
	partial := answer{why: engine.WhyPartial, detail: clip(strings.Join(warnings, "; ")), remedy: apart}
	matter := false
	for _, w := range warnings {
		switch {
		case strings.HasPrefix(w, "PromQL info:"): // Prometheus 2.48 to 2.54 send infos among the warnings
		case strings.HasPrefix(w, "PromQL warning:"): // about some of the data
			matter = true
		default: // about the source
			matter, partial.remedy = true, none
		}
	}
	if matter {
		return partial
	}
	return answer{value: value}
}

// explain turns an error into a reason and the server's own words, if it had any, and says what may help.
func explain(err error) (engine.Why, string, remedy) {
	if errors.Is(err, context.DeadlineExceeded) {
		return engine.WhyTimeout, "no answer in time", smaller
	}
	var timeout interface{ Timeout() bool } // a dial or TLS handshake with a deadline of its own
	if errors.As(err, &timeout) && timeout.Timeout() {
		return engine.WhyTimeout, err.Error(), smaller
	}
	if errors.Is(err, errTooLong) {
		return engine.WhyFailed, err.Error(), apart
	}
	var e *v1.Error
	if !errors.As(err, &e) {
		return engine.WhyFailed, err.Error(), none
	}
	// The client reads Prometheus's error message for the codes 400 and 422 only; for a 503, Prometheus's answer to a
	// query that took too long among others, the message is in the body still.
	kind, text := e.Type, e.Msg
	var body struct {
		ErrorType v1.ErrorType `json:"errorType"`
		Error     string       `json:"error"`
	}
	switch {
	case json.Unmarshal([]byte(e.Detail), &body) == nil && body.Error != "":
		kind, text = body.ErrorType, body.Error
	case strings.TrimSpace(e.Detail) != "":
		text += ": " + strings.Join(strings.Fields(e.Detail), " ")
	}
	switch kind {
	case v1.ErrTimeout:
		return engine.WhyTimeout, text, smaller
	case v1.ErrExec, v1.ErrBadData:
		return engine.WhyFailed, string(kind) + ": " + text, apart
	default:
		return engine.WhyFailed, string(kind) + ": " + text, smaller
	}
}

// number reads one number out of an answer, which may be not finite. An empty vector is absent; more than one series is
// invalid, because which of them is meant is a guess.
func (a answer) number() (float64, engine.Why, string) {
	if a.why != "" {
		return 0, a.why, a.detail
	}
	switch v := a.value.(type) {
	case *model.Scalar:
		return float64(v.Value), "", ""
	case model.Vector:
		switch {
		case len(v) == 0:
			return 0, engine.WhyAbsent, "no such series, or no sample in its range"
		case len(v) > 1:
			return 0, engine.WhyInvalid, clip(fmt.Sprintf("%d series where one was expected, such as %s and %s: the query has to aggregate",
				len(v), clipTo(v[0].Metric.String(), 150), clipTo(v[1].Metric.String(), 150)))
		case v[0].Histogram != nil:
			return 0, engine.WhyInvalid, "a native histogram where a number was expected"
		}
		return float64(v[0].Value), "", ""
	case nil:
		return 0, engine.WhyInvalid, "an answer without a value"
	default:
		return 0, engine.WhyInvalid, fmt.Sprintf("a %s where one number was expected", v.Type())
	}
}

// maxDetail is how much of a source's words a reading keeps; readings go into the log.
const maxDetail = 500

func clip(s string) string { return clipTo(s, maxDetail) }

// clipTo cuts s to at most n bytes, at the start of a character, and says by an ellipsis that it did.
func clipTo(s string, n int) string {
	s = strings.ToValidUTF8(s, "�")
	if len(s) <= n {
		return s
	}
	n -= len("…")
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n] + "…"
}
