// Package notice renders what a notice says, in the terms that the targets share: a key, a line of text that fits, readings
// that a person can follow, where to answer. Each kind of target puts these into a document of its own.
package notice

import (
	"crypto/sha256"
	"encoding/hex"
	"math"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/modeshift/modeshift/engine"
)

// maxKey is the length a deduplication key may have, in bytes. Source: PagerDuty, Events API v2, dedup_key; other targets
// allow as much.
const maxKey = 255

// LogIncident is the incident "the log cannot be written". Its deduplication key is modeshift/log in every installation.
// No event can open it, for the identity of those that an event opens ends in a version.
const LogIncident engine.IncidentID = "log"

// Key is the deduplication key of an incident, modeshift/log's identity/incident: the same for all its notices, another for
// every other incident, at most 255 bytes.
//
// An incident is known by stream-version, which a new log counts anew, and which another server's log has too. The identity
// of the log tells those apart: a page under the key of an alert that is open already would wake nobody. Without one the key
// is modeshift/incident.
//
// A stream's name may be long. A key that does not fit keeps its beginning, for people, and ends in a tilde and the SHA-256
// of the whole. No short key can be equal to a shortened one: a tilde is in neither identities nor the names of scopes.
func Key(log string, id engine.IncidentID) string {
	key := "modeshift/" + string(id)
	if log != "" && id != LogIncident {
		key = "modeshift/" + log + "/" + string(id)
	}
	if len(key) <= maxKey {
		return key
	}
	sum := sha256.Sum256([]byte(key))
	tail := "~" + hex.EncodeToString(sum[:])
	return key[:boundary(key, maxKey-len(tail))] + tail
}

// AnswerAt is where whoever gets a notice can say yes or no: the page of the proposal it tells of. Every page leads to the
// list of those that wait at least: one that is opened and the proposal that follows from the same trouble are two notices, and
// people look at the first. Empty where there is nothing to answer, or approvals, the address of that list, is not known.
func AnswerAt(approvals string, n *engine.Notice) string {
	switch {
	case approvals == "" || n.Action == engine.NoticeResolve:
		return ""
	case n.Details.Proposal != "":
		return strings.TrimRight(approvals, "/") + "/" + url.PathEscape(string(n.Details.Proposal))
	case n.Severity == engine.SeverityPage:
		return approvals
	}
	return ""
}

// Line is text as one line of at most max bytes: control characters become spaces, what is too long is cut at a rune's
// boundary and ends in an ellipsis. Counting bytes keeps a limit in characters too.
func Line(text string, max int) string {
	text = strings.TrimSpace(strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(text, "\uFFFD")))
	return Cut(text, max)
}

// Cut is text of at most max bytes: what is too long is cut at a rune's boundary and ends in an ellipsis.
func Cut(text string, max int) string {
	const ellipsis = "…"
	text = strings.ToValidUTF8(text, "\uFFFD")
	if len(text) <= max {
		return text
	}
	return text[:boundary(text, max-len(ellipsis))] + ellipsis
}

// boundary is the largest index up to n at which s may be cut without breaking a rune.
func boundary(s string, n int) int {
	n = max(n, 0)
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return n
}

// Reading is a reading as a person reads it: a value, or why there is none.
type Reading struct {
	Signal  string     `json:"signal"`
	Value   any        `json:"value,omitempty"`   // a number or a word; absent when unknown
	Unknown string     `json:"unknown,omitempty"` // why there is no value
	Detail  string     `json:"detail,omitempty"`  // the source's words
	Sample  *time.Time `json:"sample,omitempty"`  // of the sample behind the value
	Query   string     `json:"query,omitempty"`
	Source  string     `json:"source,omitempty"`
}

// Evidence renders the readings an event was decided on. It never gives what cannot be written as JSON: a value that is not
// finite becomes a word, for a page must not be lost over one.
func Evidence(readings []engine.Reading) []Reading {
	var out []Reading
	for _, r := range readings {
		e := Reading{Signal: r.Signal, Unknown: string(r.Why), Detail: r.Detail, Query: r.Query, Source: r.Source}
		switch {
		case r.Why != "":
		case r.Text != "":
			e.Value = r.Text
		case math.IsNaN(r.Value) || math.IsInf(r.Value, 0):
			e.Value = strconv.FormatFloat(r.Value, 'g', -1, 64)
		default:
			e.Value = r.Value
		}
		if !r.Sample.IsZero() {
			at := r.Sample.UTC()
			e.Sample = &at
		}
		out = append(out, e)
	}
	return out
}
