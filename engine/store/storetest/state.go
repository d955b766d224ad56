package storetest

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/modeshift/modeshift/engine"
	"github.com/modeshift/modeshift/engine/store"
)

// live is a stream with something of everything a state holds.
func live(stream engine.Scope) []engine.Event {
	facts := []engine.Fact{
		engine.ScopeAdded{Mode: "normal"},
		engine.ConditionTurned{Clock: engine.Clock{Condition: "shed.when", Truth: engine.True, Since: epoch, Sum: time.Minute}},
		engine.ChangeStarted{Change: "a-3", Transition: "shed", From: "normal", To: "degraded"},
		engine.DirectivePublished{Change: "a-3", Directive: engine.Directive{Term: 1, Revision: 1, Mode: "degraded", Flags: engine.Flags{"recommendations": false, "limit": 2.5}}},
		engine.IncidentOpened{Incident: engine.Incident{ID: "a-5", Kind: engine.IncidentSLO, Subject: "slo/x/page", Severity: engine.SeverityPage, Opened: epoch}, Summary: "burns"},
		engine.ChangeDone{Change: "a-3"},
		engine.ModePinned{Mode: "degraded", Until: epoch.Add(time.Hour)},
		engine.Unrecognised{Kind: "CanaryJudged", Raw: json.RawMessage(`{}`)},
	}
	var events []engine.Event
	for i, fact := range facts {
		events = append(events, Event(stream, engine.Version(i+1), fact))
	}
	return events
}

func encoded(t testing.TB, state engine.State) string {
	t.Helper()
	b, err := json.Marshal(state)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func load(t *testing.T, f *fixture) {
	want := map[engine.Scope]string{}
	at := map[engine.Scope][]engine.State{}
	for _, scope := range []engine.Scope{"a", "b", "c"} {
		events := live(scope)
		f.append(store.Append{Stream: scope, Events: events})
		state := engine.State{}
		at[scope] = append(at[scope], state)
		for _, e := range events {
			state = engine.Apply(state, e)
			at[scope] = append(at[scope], state)
		}
		want[scope] = encoded(t, state)
	}
	check := func() {
		t.Helper()
		all, err := f.LoadAll(ctx)
		f.must(err)
		if len(all) != len(want) {
			t.Errorf("loaded %d states, want %d", len(all), len(want))
		}
		for scope := range want {
			one, err := f.Load(ctx, scope)
			f.must(err)
			if got := encoded(t, one); got != want[scope] {
				t.Errorf("Load gave\n%s\nwant\n%s", got, want[scope])
			}
			if got := encoded(t, all[scope]); got != want[scope] {
				t.Errorf("LoadAll gave\n%s\nwant\n%s", got, want[scope])
			}
		}
	}
	check()
	f.must(f.Snapshot(ctx))
	f.must(f.Snapshot(ctx, at["a"][4], at["b"][0]))
	check()
	f.must(f.Snapshot(ctx, at["a"][8], at["b"][1], at["c"][8]))
	check()
	f.must(f.Snapshot(ctx, at["a"][2])) // an older one in its place is as good
	check()
	if r := f.verify(); len(r.Stale) != 0 {
		t.Errorf("good snapshots of %v are called stale", r.Stale)
	}
}

func aheadSnapshot(t *testing.T, f *fixture) {
	events := live("a")
	f.append(store.Append{Stream: "a", Events: events[:3]})
	state := engine.State{}
	for _, e := range events[:4] {
		state = engine.Apply(state, e)
	}
	f.wantError(f.Snapshot(ctx, state), store.ErrInvalid)
	got, err := f.Load(ctx, "a")
	f.must(err)
	if got.Version != 3 {
		t.Errorf("loaded version %d", got.Version)
	}
}

func marks(t *testing.T, f *fixture) {
	for _, want := range []time.Time{epoch, epoch.Add(time.Nanosecond), epoch.In(time.FixedZone("CEST", 7200)).Add(15 * time.Second)} {
		f.must(f.Mark(ctx, want))
		got, err := f.Marked(ctx)
		f.must(err)
		if !got.Equal(want) || got.Location() != time.UTC {
			t.Errorf("got %v, want %v in UTC", got, want)
		}
	}
	now, err := f.Now(ctx)
	f.must(err)
	if !now.Equal(f.clock.Now()) || now.Location() != time.UTC {
		t.Errorf("now is %v, the clock says %v", now, f.clock.Now())
	}
}

// checkpoint makes a checkpoint of the present heads at a version of the fleet's stream.
func checkpoint(f *fixture, version engine.Version) engine.Event {
	f.t.Helper()
	heads, err := f.Heads(ctx)
	f.must(err)
	return Event(engine.Fleet, version, engine.CheckpointMade{Heads: heads})
}

func verifies(t *testing.T, f *fixture) {
	f.append(store.Append{Stream: "a", Events: live("a")})
	f.append(store.Append{Stream: engine.Fleet, Events: []engine.Event{checkpoint(f, 1)}})
	f.append(store.Append{Stream: "b", Events: live("b")})
	f.owe("c", 0, "i", "j")
	late := checkpoint(f, 2)
	f.append(store.Append{Stream: "a", After: 8, Events: run("a", 8, 3)}) // the streams go on before a checkpoint is stored
	f.append(store.Append{Stream: engine.Fleet, After: 1, Events: []engine.Event{late}})
	r := f.verify()
	heads, err := f.Heads(ctx)
	f.must(err)
	if r.Streams != 4 || r.Events != 8+1+8+2+3+1 || r.Checkpoints != 2 || r.Jobs != 4 || r.Last != 23 {
		t.Errorf("report %+v", r)
	}
	for i, h := range heads {
		if r.Heads[i] != h {
			t.Errorf("the report's head is %+v, the log's %+v", r.Heads[i], h)
		}
	}
}

func badCheckpoint(t *testing.T, f *fixture) {
	// A checkpoint is only checked where it stands, so one log shows one bad one.
	f.append(store.Append{Stream: "a", Events: run("a", 0, 2)})
	good := checkpoint(f, 1)
	f.append(store.Append{Stream: engine.Fleet, Events: []engine.Event{good}})
	f.verify()
	head := good.Fact.(engine.CheckpointMade).Heads[0]
	head.Version++ // as if the stream had been at version 3 once
	f.append(store.Append{Stream: engine.Fleet, After: 1, Events: []engine.Event{Event(engine.Fleet, 2, engine.CheckpointMade{Heads: []engine.Head{head}})}})
	r, err := f.Verify(ctx)
	fault, ok := errors.AsType[*store.Fault](err)
	if !ok || fault.Position != 4 || fault.Stream != engine.Fleet || fault.Version != 2 || !strings.Contains(fault.What, "cut or rolled back") {
		t.Fatalf("verify says %v", err)
	}
	if r.Last != 3 {
		t.Errorf("the report goes up to position %d", r.Last)
	}
}
