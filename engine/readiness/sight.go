package readiness

import (
	"fmt"
	"maps"
	"slices"

	"github.com/modeshift/modeshift/engine"
)

const askSources = "name a Prometheus (--prometheus URL), or a server that runs these rules (--server URL)"

// sighting is what is known of a need: from a source that was asked for it, and else from the server, if that runs the same rules.
func (s *Subject) sighting(n Need) Sighting {
	unasked := Sighting{Signal: n.Signal, Seen: CannotTell, Why: s.NoServer}
	if s.Telemetry != nil {
		found := find(s.Telemetry, n.Signal)
		if found != nil && found.Seen != CannotTell {
			return *found
		}
		if found != nil {
			unasked.Why = found.Why
		}
	}
	if s.Facts == nil {
		return unasked
	}
	digests := map[string]engine.Digest{}
	for _, c := range s.Policy.Conditions {
		digests[c.Name] = c.Digest
	}
	switch found := find(&s.Facts.Telemetry, n.Signal); {
	case slices.ContainsFunc(n.Conditions, func(c string) bool { return s.Facts.Conditions[c] != digests[c] }):
		unasked.Why = "the server does not run this file yet"
	case found != nil:
		return *found
	case s.Facts.Telemetry.Why != "":
		unasked.Why = s.Facts.Telemetry.Why
	}
	return unasked
}

func find(t *Telemetry, signal string) *Sighting {
	if i := slices.IndexFunc(t.Signals, func(o Sighting) bool { return o.Signal == signal }); i >= 0 {
		return &t.Signals[i]
	}
	return nil
}

func (s *Subject) signals() Row {
	var out items
	reasons := map[string][]string{} // why it cannot be told, to the signals
	for _, n := range s.Needs {
		switch found := s.sighting(n); found.Seen {
		case Yes:
			out.add(Yes, "%s", n.Signal)
		case No:
			out.add(No, "%s: %s", n.Signal, found.Why)
		default:
			reasons[found.Why] = append(reasons[found.Why], n.Signal)
		}
	}
	for _, why := range slices.Sorted(maps.Keys(reasons)) {
		if signals := reasons[why]; len(signals) == 1 {
			out.add(CannotTell, "%s: %s", signals[0], why)
		} else {
			out.add(CannotTell, "%d signals: %s", len(signals), why)
		}
	}
	mend := "mend the query or what is scraped: modeshift rules check FILE --prometheus URL says where"
	if out.answer == CannotTell {
		mend = askSources
	}
	row := out.row("transitions rest on no source", mend)
	if out.answer == Yes && len(s.Needs) > 0 {
		row.Why = fmt.Sprintf("%d of %d seen", len(s.Needs), len(s.Needs))
	}
	return row
}

func (s *Subject) traffic() Row {
	var out items
	least := 1.0 // the smallest share
	for _, n := range s.Needs {
		if !n.Counted {
			continue
		}
		found := s.sighting(n)
		switch t := found.Traffic; {
		case t == nil && found.Seen == CannotTell:
			out.add(CannotTell, "%s: %s", n.Signal, found.Why)
		case t == nil: // nothing in it is counted
		case t.Why != "":
			out.add(CannotTell, "%s: %s", n.Signal, t.Why)
		case t.Share <= 0:
			out.add(No, "%s: never the %.4g events in %s it takes to be known, in the last day", n.Signal, t.Least, t.Window)
		default:
			out.add(Yes, "%s", n.Signal)
			least = min(least, t.Share)
		}
	}
	if out.answer == CannotTell && len(out.said[CannotTell]) > 1 {
		return cannotTell(askSources, "%d signals were not counted", len(out.said[CannotTell]))
	}
	if out.answer == Yes {
		return yes("enough to be known for %.3g %% of the last day, or more", 100*least)
	}
	mend := "lower min_events, take longer windows, or say no_traffic: good where silence is good"
	if out.answer == CannotTell {
		mend = askSources
	}
	return out.row("no signal depends on traffic", mend)
}

func (s *Subject) metrics() Row {
	answer := CannotTell
	if s.Telemetry != nil {
		answer = s.Telemetry.Bears
	}
	if s.Facts != nil && (answer == "" || answer == CannotTell) {
		answer = s.Facts.Telemetry.Bears
	}
	switch answer {
	case Yes:
		return yes("the mode is in the metrics of the service")
	case No:
		if s.above() > 0 {
			return yes("none of its own: it stands above %d", s.above())
		}
		return no("let instances export modeshift_instance_mode (modemetrics, modeshift agent): graphs then show the mode", "no metric tells the mode")
	}
	why := "a source does not answer"
	if s.Facts == nil {
		why = s.NoServer
	}
	return cannotTell(askSources, "%s", why)
}
