package storetest

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/modeshift/modeshift/engine"
	"github.com/modeshift/modeshift/engine/store"
)

var ctx = context.Background()

func readBack(_ *testing.T, f *fixture) {
	// The scopes are names somebody may give: other scripts, quotes, separators, a wildcard, combining forms.
	for _, scope := range []engine.Scope{"checkout", "kasse-größe", "結帳", "a/b", "a/b/1", "o'brien\"; --", "%", "e\u0301", "é", "🛒", "a\x00b"} {
		events := run(scope, 0, 4)
		large := Event(scope, 5, engine.RequestRefused{})
		large.Reason.Text = "<&>\u2028 ü\x00"
		if scope == "checkout" {
			large.Reason.Text = strings.Repeat(large.Reason.Text, 1<<20/10) // more than 1 MiB
		}
		unknown := Event(scope, 6, engine.Unrecognised{Kind: "CanaryJudged", Raw: json.RawMessage(`{"b":1,"a":[1.0,1e3,"\u00fc"]}`)})
		events = append(events, large, unknown)
		f.append(store.Append{Stream: scope, Events: events})
		f.wantSame(f.read(scope), events)
		tail, err := f.Read(ctx, scope, 2, 2)
		f.must(err)
		f.wantSame(tail, events[2:4])
	}
	f.verify()
}

func empty(t *testing.T, f *fixture) {
	if events := f.read("nobody"); len(events) != 0 {
		t.Errorf("read %d events", len(events))
	}
	last, err := f.Last(ctx)
	f.must(err)
	since, err := f.Since(ctx, 0, 0)
	f.must(err)
	heads, err := f.Heads(ctx)
	f.must(err)
	state, err := f.Load(ctx, "nobody")
	f.must(err)
	states, err := f.LoadAll(ctx)
	f.must(err)
	instant, err := f.Marked(ctx)
	f.must(err)
	if last != 0 || len(since) != 0 || len(heads) != 0 || !reflect.DeepEqual(state, engine.State{}) || len(states) != 0 || !instant.IsZero() {
		t.Errorf("got last %d, %d events, heads %v, state %v, states %v, instant %v", last, len(since), heads, state, states, instant)
	}
	f.wantLeased()
	if r := f.verify(); r.Events != 0 || r.Last != 0 {
		t.Errorf("report %+v", r)
	}
	if err := f.Append(ctx); err != nil {
		t.Errorf("an append of nothing: %v", err)
	}
}

func conflict(t *testing.T, f *fixture) {
	f.append(store.Append{Stream: "a", Events: run("a", 0, 3)})
	for _, after := range []engine.Version{0, 2, 4} {
		f.wantError(f.Append(ctx, store.Append{Stream: "a", After: after, Events: run("a", after, 1)}), store.ErrConflict)
	}
	f.wantError(f.Append(ctx, store.Append{Stream: "b", After: 1, Events: run("b", 1, 1)}), store.ErrConflict)
	if last, err := f.Last(ctx); err != nil || last != 3 {
		t.Errorf("last is %d, %v; want 3", last, err)
	}
	f.append(store.Append{Stream: "a", After: 3, Events: run("a", 3, 1)})
	f.wantSame(f.read("a"), run("a", 0, 4))
}

func twoStreams(_ *testing.T, f *fixture) {
	a, fleet := run("a", 0, 2), run(engine.Fleet, 0, 1)
	f.append(store.Append{Stream: "a", Events: a}, store.Append{Stream: engine.Fleet, Events: fleet})
	// The conflict is in the second, in the first, in the third.
	more := []store.Append{{Stream: "a", After: 2, Events: run("a", 2, 1)}, {Stream: engine.Fleet, After: 1, Events: run(engine.Fleet, 1, 1)}, {Stream: "b", Events: run("b", 0, 1)}}
	for i := range more {
		bad := append([]store.Append(nil), more...)
		bad[i].After++
		bad[i].Events = run(bad[i].Stream, bad[i].After, 1)
		f.wantError(f.Append(ctx, bad...), store.ErrConflict)
		f.wantSame(f.read("a"), a)
		f.wantSame(f.read(engine.Fleet), fleet)
		f.wantSame(f.read("b"), nil)
	}
	f.append(more...)
	f.wantSame(f.read("a"), run("a", 0, 3))
	f.wantSame(f.read("b"), run("b", 0, 1))
	f.verify()
}

func assertion(_ *testing.T, f *fixture) {
	f.append(store.Append{Stream: "a", Events: run("a", 0, 1)})
	f.append(store.Append{Stream: "a", After: 1}, store.Append{Stream: "b", Events: run("b", 0, 1)})
	f.wantError(f.Append(ctx, store.Append{Stream: "a", After: 0}, store.Append{Stream: "b", After: 1, Events: run("b", 1, 1)}), store.ErrConflict)
	f.wantSame(f.read("b"), run("b", 0, 1))
}

func oneWins(t *testing.T, f *fixture) {
	const writers, versions = 8, 25
	var wg sync.WaitGroup
	won := make([][]engine.Version, writers)
	for w := range writers {
		wg.Go(func() {
			for v := engine.Version(0); v < versions; {
				e := Event("a", v+1, engine.ModePinned{Mode: engine.Mode(fmt.Sprint(w)), Until: epoch})
				switch err := f.Append(ctx, store.Append{Stream: "a", After: v, Events: []engine.Event{e}}); {
				case err == nil:
					won[w] = append(won[w], v+1)
				case !errors.Is(err, store.ErrConflict):
					t.Errorf("writer %d: %v", w, err)
					return
				}
				state, err := f.Load(ctx, "a")
				if err != nil {
					t.Errorf("writer %d: %v", w, err)
					return
				}
				v = state.Version
			}
		})
	}
	wg.Wait()
	events := f.read("a")
	total := 0
	for w, versions := range won {
		total += len(versions)
		for _, v := range versions {
			if int(v) > len(events) || events[v-1].Fact.(engine.ModePinned).Mode != engine.Mode(fmt.Sprint(w)) {
				t.Errorf("writer %d was told that version %d is its own, and it is not", w, v)
			}
		}
	}
	if total != versions || len(events) != versions {
		t.Errorf("%d appends won and %d events are stored, want %d of each", total, len(events), versions)
	}
}

func invalid(t *testing.T, f *fixture) {
	f.append(store.Append{Stream: "a", Events: run("a", 0, 2)})
	early := Event("a", 3, engine.ModeUnpinned{})
	early.At = epoch.Add(2*time.Second - time.Nanosecond)
	same := Event("a", 3, engine.ModeUnpinned{})
	same.At = epoch.Add(2 * time.Second)
	backwards := run("a", 2, 2)
	backwards[1].At = backwards[0].At.Add(-time.Nanosecond)
	for name, a := range map[string]store.Append{
		"a hole":                   {Stream: "a", After: 2, Events: run("a", 3, 1)},
		"another stream":           {Stream: "a", After: 2, Events: run("b", 2, 1)},
		"no name":                  {Stream: "", Events: run("", 0, 1)},
		"earlier than the stored":  {Stream: "a", After: 2, Events: []engine.Event{early}},
		"earlier than its brother": {Stream: "a", After: 2, Events: backwards},
		"no fact":                  {Stream: "a", After: 2, Events: []engine.Event{Event("a", 3, nil)}},
	} {
		if err := f.Append(ctx, a); !errors.Is(err, store.ErrInvalid) {
			t.Errorf("%s: got error %v", name, err)
		}
	}
	twice := store.Append{Stream: "a", After: 2, Events: run("a", 2, 1)}
	f.wantError(f.Append(ctx, twice, twice), store.ErrInvalid)
	f.append(store.Append{Stream: "a", After: 2, Events: []engine.Event{same}})
	f.verify()
}

func noHoles(t *testing.T, f *fixture) {
	const writers, each = 6, 40
	var wg sync.WaitGroup
	for w := range writers {
		stream := engine.Scope(fmt.Sprintf("s%d", w))
		wg.Go(func() {
			for v := range engine.Version(each) {
				if err := f.Append(ctx, store.Append{Stream: stream, After: v, Events: run(stream, v, 1)}); err != nil {
					t.Errorf("append to %s: %v", stream, err)
					return
				}
			}
		})
	}
	// A reader follows all the while, as an event stream does: it goes on from the last position it saw.
	seen := map[engine.Scope]engine.Version{}
	var last int64
	for total := 0; total < writers*each && !t.Failed(); {
		events, err := f.Since(ctx, last, 7)
		f.must(err)
		for _, e := range events {
			if e.Position != last+1 {
				t.Fatalf("position %d follows %d", e.Position, last)
			}
			if e.Event.Version != seen[e.Event.Stream]+1 {
				t.Fatalf("%s/%d follows version %d", e.Event.Stream, e.Event.Version, seen[e.Event.Stream])
			}
			last, seen[e.Event.Stream] = e.Position, e.Event.Version
			total++
		}
	}
	wg.Wait()
	f.verify()
}

func tenThousand(t *testing.T, f *fixture) {
	const streams, each, batch = 10, 1000, 100
	for v := engine.Version(0); v < each; v += batch {
		var all []store.Append
		for i := range streams {
			s := engine.Scope(fmt.Sprintf("s%d", i))
			all = append(all, store.Append{Stream: s, After: v, Events: run(s, v, batch)})
		}
		f.append(all...)
	}
	f.wantSame(f.read("s7"), run("s7", 0, each))
	var position int64
	pages, total := 0, 0
	for {
		events, err := f.Since(ctx, position, 999)
		f.must(err)
		if len(events) == 0 {
			break
		}
		pages++
		total += len(events)
		position = events[len(events)-1].Position
	}
	last, err := f.Last(ctx)
	f.must(err)
	if total != streams*each || pages != 11 || last != position {
		t.Errorf("read %d events in %d pages up to %d, last is %d", total, pages, position, last)
	}
	if r := f.verify(); r.Events != streams*each || r.Streams != streams {
		t.Errorf("report %+v", r)
	}
}

func heads(t *testing.T, f *fixture) {
	want := map[engine.Scope]engine.Head{}
	for i, scope := range []engine.Scope{"b", "a", "aa", "結帳"} {
		events := run(scope, 0, i+1)
		f.append(store.Append{Stream: scope, Events: events})
		first := sha256.Sum256(append(make([]byte, 32), scope...))
		hash := first[:]
		for _, e := range events {
			body, err := e.Encode()
			f.must(err)
			sum := sha256.Sum256(append(hash, body...))
			hash = sum[:]
		}
		want[scope] = engine.Head{Stream: scope, Version: engine.Version(i + 1), Hash: hex.EncodeToString(hash)}
	}
	got, err := f.Heads(ctx)
	f.must(err)
	if len(got) != len(want) {
		t.Fatalf("got heads %v", got)
	}
	for i, h := range got {
		if h != want[h.Stream] {
			t.Errorf("head %+v, want %+v", h, want[h.Stream])
		}
		if i > 0 && got[i-1].Stream >= h.Stream {
			t.Errorf("head of %s comes after %s", h.Stream, got[i-1].Stream)
		}
	}
}

func cancelled(t *testing.T, f *fixture) {
	f.append(store.Append{Stream: "a", Events: run("a", 0, 1)})
	ids := f.owe("jobs", 0, "i")
	why := errors.New("the caller went away")
	gone, cancel := context.WithCancelCause(ctx)
	cancel(why)
	f.wantError(f.Append(gone, store.Append{Stream: "a", After: 1, Events: run("a", 1, 1)}), why)
	f.wantError(f.Mark(gone, epoch), why)
	f.wantSame(f.read("a"), run("a", 0, 1))
	if _, err := f.Read(gone, "a", 0, 0); err == nil {
		t.Error("a read went on")
	}
	f.wantLeased(ids[0])
	f.wantError(f.Done(gone, ids[0]), why)
	f.wantLeased() // the job stays leased
	f.must(f.Done(ctx, ids[0]))
	f.append(store.Append{Stream: "a", After: 1, Events: run("a", 1, 1)})
}

func closed(_ *testing.T, f *fixture) {
	f.must(f.Close())
	f.wantError(f.Append(ctx, store.Append{Stream: "a", Events: run("a", 0, 1)}), store.ErrClosed)
	_, err := f.Last(ctx)
	f.wantError(err, store.ErrClosed)
	f.must(f.Close()) // once more changes nothing
	f.start()
	f.wantSame(f.read("a"), nil)
}

func survive(_ *testing.T, f *fixture) {
	for v := range engine.Version(3) {
		f.append(store.Append{Stream: "a", After: v, Events: run("a", v, 1)})
		f.must(f.Mark(ctx, epoch.Add(time.Duration(v)*time.Second)))
		f.reopen()
	}
	f.wantSame(f.read("a"), run("a", 0, 3))
	instant, err := f.Marked(ctx)
	f.must(err)
	if !instant.Equal(epoch.Add(2 * time.Second)) {
		f.t.Errorf("marked %v", instant)
	}
	f.verify()
}
