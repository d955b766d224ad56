package store_test

import (
	"fmt"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/modeshift/modeshift/engine"
	"github.com/modeshift/modeshift/engine/store"
	"github.com/modeshift/modeshift/engine/store/storetest"
)

var sayStart sync.Once

// BenchmarkStart opens a log of a million events over a thousand streams and loads the state of each, as a server does
// when it starts. The snapshots were taken ten events ago. The file is in the system's cache.
func BenchmarkStart(b *testing.B) {
	const streams, each, behind = 1000, 1000, 10
	path := filepath.Join(b.TempDir(), "log.db")
	s := open(b, path)
	names := make([]engine.Scope, streams)
	states := make([]engine.State, streams)
	for i := range names {
		names[i] = engine.Scope(fmt.Sprintf("service-%04d", i))
	}
	// It is the store's own way in, a thousand streams to an append. The last events stand one a stream and commit, as ticks
	// leave them; those before them, which a start does not read, ten, to be done sooner.
	begin := time.Now()
	for v := engine.Version(0); v < each; {
		n := engine.Version(10)
		if v >= each-2*behind {
			n = 1
		}
		tick := make([]store.Append, streams)
		for i, name := range names {
			tick[i] = store.Append{Stream: name, After: v}
			for k := range n {
				e := lived(name, v+k+1)
				tick[i].Events = append(tick[i].Events, e)
				if v < each-behind {
					states[i] = engine.Apply(states[i], e)
				}
			}
		}
		must(b, s.Append(ctx, tick...))
		if v += n; v == each-behind {
			must(b, s.Snapshot(ctx, states...))
		}
	}
	b.ReportMetric(time.Since(begin).Seconds(), "build-s")
	must(b, s.Close())

	var took []time.Duration
	for range 3 {
		start := time.Now()
		s = open(b, path)
		all, err := s.LoadAll(ctx)
		took = append(took, time.Since(start))
		must(b, err)
		if len(all) != streams || all[names[7]].Version != each {
			b.Fatalf("loaded %d states, one at version %d", len(all), all[names[7]].Version)
		}
		must(b, s.Close())
	}
	slices.Sort(took)
	median := took[len(took)/2].Seconds() * 1e3
	b.ReportMetric(median, "start-ms")
	sayStart.Do(func() { fmt.Printf("\nBENCH start_1m_events_ms %.1f ms\n", median) })
}

// lived is an event out of a life of changes, pins and pages.
func lived(stream engine.Scope, version engine.Version) engine.Event {
	change := engine.ChangeID(fmt.Sprintf("%s-%d", stream, version))
	if version == 1 {
		return storetest.Event(stream, version, engine.ScopeAdded{Mode: "normal"})
	}
	switch version % 5 {
	case 2:
		return storetest.Event(stream, version, engine.ChangeStarted{Change: change, Transition: "shed", From: "normal", To: "degraded", Severity: engine.SeverityTicket})
	case 3:
		return storetest.Event(stream, version, engine.DirectivePublished{Change: change, Directive: engine.Directive{Term: 1, Revision: version, Mode: "degraded", Flags: engine.Flags{"recommendations": false}}})
	case 4:
		return storetest.Event(stream, version, engine.ChangeDone{Change: change})
	case 0:
		return storetest.Event(stream, version, engine.ModePinned{Mode: "normal", Until: time.Unix(int64(version), 0).UTC()})
	default:
		return storetest.Event(stream, version, engine.ModeUnpinned{})
	}
}
