package prom

import (
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/common/model"

	"github.com/modeshift/modeshift/engine"
	"github.com/modeshift/modeshift/rules"
)

// lookedBack is how far back a series has to have existed once for its absence now to mean that nothing was counted.
const lookedBack = 30 * 24 * time.Hour

// proofReach is what a proof is taken to read: it is asked for while there are no such series now, and then most have none at all.
const proofReach = time.Hour

// proofKept is for how long it stays proved that series exist. Asking costs most when it says yes.
const proofKept = 24 * time.Hour

// proofsOf are the queries for whether the series that count an SLO's errors were ever there, where the total does not show
// it. They are asked only while there are no such series now, so that those that never were cost nothing.
func proofsOf(slo *rules.SLO, to query) []wanted {
	var out []wanted
	for _, selector := range slo.Absence.Unproved {
		out = append(out, wanted{to.ask(fmt.Sprintf("count(last_over_time(%s[%s]))", selector, model.Duration(lookedBack))), proofReach})
	}
	return out
}

// absent says what it means that the errors of an SLO are absent while its total is a number: nothing, that is no errors, or
// why it cannot be told.
func absent(slo *rules.SLO, v view, total float64, proofs []wanted) (engine.Why, string) {
	if total == 0 { // no events, so no errors
		return "", ""
	}
	if !slo.Absence.Zero {
		return engine.WhyAbsent, "error_query gives nothing though there are events: a part of it has no series; give that part a value, such as (… or vector(0))"
	}
	var never []string
	for i, w := range proofs {
		if v.proved.still(w.query, v.at) {
			continue
		}
		switch n, why, detail := v.answer(w.query).number(); {
		case why == engine.WhyAbsent || why == "" && n == 0:
			never = append(never, slo.Absence.Unproved[i])
		case why != "":
			return why, detail
		}
	}
	if len(never) > 0 {
		return engine.WhyAbsent, clip(fmt.Sprintf("no such series: %s was never there in the last %s; if it really counts the errors and never had to, write (… or vector(0))",
			strings.Join(never, " and "), model.Duration(lookedBack)))
	}
	return "", ""
}

// doubts are the queries that what was asked so far leaves open, for the instants it was asked for.
func (t *tick) doubts(wants []want) []wanted {
	var out []wanted
	for _, w := range wants {
		for _, p := range w.probe.parts {
			if p.doubts == nil {
				continue
			}
			for _, q := range p.doubts(view{t, w.at}) {
				if q.at = w.at.UnixMilli(); !t.proved.still(q.query, w.at) {
					out = append(out, q)
				}
			}
		}
	}
	return out
}

// proved remembers which series were seen to exist, and when. The instant of its queries is not set.
type proved struct {
	mu sync.Mutex // guards at
	at map[query]time.Time
}

// still reports whether the series of q were seen not long before at.
func (p *proved) still(q query, at time.Time) bool {
	q.at = 0
	p.mu.Lock()
	defer p.mu.Unlock()
	seen, ok := p.at[q]
	return ok && at.Sub(seen).Abs() < proofKept
}

// learn takes over what was found out. What was not there is asked for again, for as long as it matters.
func (p *proved) learn(t *tick, asked []wanted) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, w := range asked {
		if n, why, _ := t.answers[w.query].number(); why == "" && n > 0 {
			q := w.query
			q.at = 0
			p.at[q] = time.UnixMilli(w.at).UTC()
		}
	}
}
