package roster_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/modeshift/modeshift/engine"
	"github.com/modeshift/modeshift/engine/roster"
)

// memory is a store that can be full.
type memory struct {
	mu    sync.Mutex // guards what follows
	rows  map[string]roster.Instance
	ranks map[string][]string
	full  bool
	saved []int // how many rows at a time
}

var errFull = errors.New("no space left")

func (m *memory) Instances(context.Context) (list []roster.Instance, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, i := range m.rows {
		list = append(list, i)
	}
	return list, nil
}

func (m *memory) SaveInstances(_ context.Context, list []roster.Instance) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.full {
		return errFull
	}
	m.saved = append(m.saved, len(list))
	for _, i := range list {
		m.rows[string(i.Scope)+"/"+i.Name] = i
	}
	return nil
}

func (m *memory) ForgetInstances(_ context.Context, list []roster.Instance) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.full {
		return errFull
	}
	for _, i := range list {
		delete(m.rows, string(i.Scope)+"/"+i.Name)
	}
	return nil
}

func (m *memory) SaveRanks(_ context.Context, _ engine.Scope, change engine.ChangeID, names []string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.full {
		return errFull
	}
	m.ranks[string(change)] = names
	return nil
}

func (m *memory) Ranks(_ context.Context, _ engine.Scope, change engine.ChangeID) ([]string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.ranks[string(change)], nil
}

var noon = time.Date(2026, 3, 2, 12, 0, 0, 0, time.UTC)

// bench is a roster with a clock of its own, and a scope whose directives the test publishes.
type bench struct {
	t *testing.T
	*roster.Roster
	store *memory
	now   time.Time
	view  engine.View
	ahead []string
}

func newBench(t *testing.T) *bench {
	b := &bench{t: t, store: &memory{rows: map[string]roster.Instance{}, ranks: map[string][]string{}}, now: noon}
	b.view = engine.View{Policy: &engine.Policy{Scope: "shop", Modes: []engine.ModeRule{{Name: "normal"}, {Name: "degraded"}}},
		State: engine.State{Scope: "shop", Version: 2, Mode: "normal", Target: "normal", Directive: engine.Directive{Term: 1, Revision: 1, Mode: "normal"}}}
	b.restart()
	return b
}

func (b *bench) restart() {
	r, err := roster.New(b.t.Context(), b.store, roster.Options{Logger: slog.New(slog.DiscardHandler), Now: func() time.Time { return b.now },
		Term: func() uint64 { return 1 }, OnAhead: func(_ engine.Scope, term uint64, detail string) {
			b.ahead = append(b.ahead, fmt.Sprintf("%d %s", term, detail))
		}})
	if err != nil {
		b.t.Fatal(err)
	}
	b.Roster = r
	b.Follow(b.t.Context(), b.view)
}

// publish tells the next mode, to the first so many of the instances (0: to all).
func (b *bench) publish(mode engine.Mode, first int) {
	before := b.view.State.Directive
	b.view.State.Version += 2
	b.view.State.Target = mode
	b.view.State.Directive = engine.Directive{Term: 1, Revision: before.Revision + 1, Mode: mode}
	b.view.State.Change = &engine.Change{ID: engine.ChangeID(fmt.Sprintf("shop-%d", b.view.State.Version)), To: mode, Published: true}
	if first > 0 {
		b.view.State.Change.Before, b.view.State.Change.Wave, b.view.State.Change.Waved = &before, 1, first
		b.view.State.Change.Plan.Rollout = &engine.RolloutPlan{Waves: []engine.Percent{50, 100}}
	}
	b.Follow(b.t.Context(), b.view)
}

// widen lets the wave reach so many, or with 0 everybody.
func (b *bench) widen(first int) {
	ch := *b.view.State.Change
	ch.Wave++
	ch.Waved = first
	if first == 0 {
		ch.Before = nil
	}
	b.view.State.Version++
	b.view.State.Change = &ch
	b.Follow(b.t.Context(), b.view)
}

func (b *bench) connect(name, session string) *roster.Seat {
	b.t.Helper()
	seat, _ := b.connectBy(name, session)
	return seat
}

// line counts what a connection hears of its seat.
type line struct{ told, taken int }

func (l *line) Tell()  { l.told++ }
func (l *line) Taken() { l.taken++ }

func (b *bench) connectBy(name, session string) (*roster.Seat, *line) {
	b.t.Helper()
	l := &line{}
	seat, err := b.Connect("shop", engine.Hello{Instance: name, Session: session}, "10.0.0.1", l)
	if err != nil {
		b.t.Fatal(err)
	}
	return seat, l
}

// apply lets an instance take what it is told.
func apply(seat *roster.Seat, b *bench, name string) {
	told, _ := b.Told("shop", name)
	seat.Report(engine.Report{Position: told.Position(), Mode: told.Mode, Outcome: engine.OutcomeDone})
}

func (b *bench) summary() engine.Instances { return b.Summary(b.view.State, b.now) }

func (b *bench) standing(name string) roster.Standing {
	for _, r := range b.Rows("shop", b.now) {
		if r.Name == name {
			return r.Standing
		}
	}
	return ""
}

func TestTheSlowReaderIsToldTheLatestOnly(t *testing.T) {
	b := newBench(t)
	seat, line := b.connectBy("web-1", "s")
	for _, mode := range []engine.Mode{"degraded", "normal", "degraded"} {
		b.publish(mode, 0)
	}
	if line.told != 4 { // when it came, and of each
		t.Errorf("it was told to look %d times", line.told)
	}
	if frame := string(seat.Frame()); !strings.Contains(frame, "id: 1-4") || strings.Count(frame, "data:") != 1 {
		t.Errorf("it is told %q", frame)
	}
	if frame := seat.Frame(); frame != nil {
		t.Errorf("it is told again: %q", frame)
	}
}

func TestWhoIsGoneIsForgottenAndWhoFellSilentMayStillRun(t *testing.T) {
	b := newBench(t)
	closed, silent, stays := b.connect("closed", "1"), b.connect("silent", "2"), b.connect("stays", "3")
	for name, seat := range map[string]*roster.Seat{"closed": closed, "silent": silent, "stays": stays} {
		apply(seat, b, name)
	}
	if in := b.summary(); in.Known != 3 || in.Applied != 3 || in.Behind != 0 {
		t.Fatalf("%+v", in)
	}
	closed.Leave(false)
	silent.Leave(true)
	if in := b.summary(); in.Known != 3 || in.Told != 3 {
		t.Errorf("within the grace time both count: %+v", in)
	}
	b.now = b.now.Add(engine.DefaultGrace)
	if in := b.summary(); in.Known != 1 || in.Told != 1 || in.Behind != 0 {
		t.Errorf("after it a change does not wait for them, and what they had was right: %+v", in)
	}
	b.publish("degraded", 0)
	apply(stays, b, "stays")
	b.now = b.now.Add(engine.DefaultGrace)
	if in := b.summary(); in.Known != 2 || in.Told != 1 || in.Applied != 1 || in.Behind != 1 {
		t.Errorf("the silent one has the wrong mode now: %+v", in)
	}
	if got := b.standing("closed"); got != roster.Gone {
		t.Errorf("the closed one is %q", got)
	}
	if got := b.standing("silent"); got != roster.Missing {
		t.Errorf("the silent one is %q", got)
	}
	b.now = b.now.Add(roster.DefaultForget)
	ctx, stop := context.WithCancel(t.Context())
	ran := make(chan error)
	go func() { ran <- b.Run(ctx) }()
	for b.standing("silent") != "" {
		time.Sleep(10 * time.Millisecond)
	}
	stop()
	if err := <-ran; err != nil {
		t.Error(err)
	}
	if _, kept := b.store.rows["shop/silent"]; kept || b.standing("closed") != "" {
		t.Error("it is kept")
	}
}

func TestAnInstanceIsBehindSinceItFirstWas(t *testing.T) {
	b := newBench(t)
	seat := b.connect("web-1", "s")
	apply(seat, b, "web-1")
	b.publish("degraded", 0)
	first := b.now
	b.now = b.now.Add(20 * time.Second)
	b.publish("normal", 0) // another directive gives it no time again
	b.now = b.now.Add(10*time.Second - time.Nanosecond)
	if in := b.summary(); in.Behind != 0 {
		t.Errorf("a nanosecond early: %+v", in)
	}
	b.now = b.now.Add(time.Nanosecond)
	if in := b.summary(); in.Behind != 1 || !in.Since.Equal(first) {
		t.Errorf("%+v", in)
	}
	seat.Report(engine.Report{Position: engine.Position{Term: 1, Revision: 2}, Mode: "degraded", Outcome: engine.OutcomeDone})
	if in := b.summary(); in.Behind != 1 || in.Applied != 0 {
		t.Errorf("an older directive's acknowledgement counts: %+v", in)
	}
	apply(seat, b, "web-1")
	if in := b.summary(); in.Behind != 0 || in.Applied != 1 {
		t.Errorf("%+v", in)
	}
}

func TestAWaveIsTheFirstByRankHoweverTheyCome(t *testing.T) {
	var names []string
	for i := range 20 {
		names = append(names, fmt.Sprintf("web-%d", i))
	}
	var want []string
	for range 5 {
		rand.Shuffle(len(names), func(i, j int) { names[i], names[j] = names[j], names[i] })
		b := newBench(t)
		seats := map[string]*roster.Seat{}
		for _, name := range names {
			seats[name] = b.connect(name, name)
			apply(seats[name], b, name)
		}
		b.publish("degraded", 5)
		wave := b.Wave("shop")
		if len(wave) != 5 || want != nil && !slices.Equal(wave, want) {
			t.Fatalf("the wave is %v, and was %v before", wave, want)
		}
		want = wave
		if again := b.Wave("shop"); &again[0] != &wave[0] {
			t.Error("it is another slice though nothing changed")
		}
		in := b.summary()
		if in.Told != 5 || in.Applied != 0 || in.Wave != 1 || in.Known != 20 {
			t.Errorf("%+v", in)
		}
		// Whoever comes now waits, wherever its name would rank; and the order survives a restart.
		for i := range 200 {
			apply(b.connect(fmt.Sprintf("late-%d", i), "s"), b, fmt.Sprintf("late-%d", i))
		}
		b.restart()
		b.Follow(t.Context(), b.view)
		if now := b.Wave("shop"); !slices.Equal(now, want) {
			t.Errorf("after a restart the wave is %v", now)
		}
		b.widen(10)
		if now := b.Wave("shop"); len(now) != 10 || slices.ContainsFunc(want, func(n string) bool { return !slices.Contains(now, n) }) {
			t.Errorf("the next wave is %v", now)
		}
		b.widen(0)
		if now := b.Wave("shop"); now != nil {
			t.Errorf("in the last wave %v are told something else", now)
		}
		if told, _ := b.Told("shop", "late-7"); told.Mode != "degraded" {
			t.Errorf("the last wave is everybody, but %+v", told)
		}
	}
}

func TestANameIsTakenOnceAndItsOwnProcessComesBack(t *testing.T) {
	b := newBench(t)
	first, line := b.connectBy("web-1", "a")
	_, err := b.Connect("shop", engine.Hello{Instance: "web-1", Session: "b"}, "10.0.0.2", line)
	var coded interface{ Code() string }
	if !errors.As(err, &coded) || coded.Code() != "in_use" || !strings.Contains(err.Error(), "10.0.0.1") {
		t.Fatalf("a second process is let in: %v", err)
	}
	again := b.connect("web-1", "a")
	if line.taken != 1 {
		t.Error("the first seat was not taken over")
	}
	first.Report(engine.Report{Outcome: engine.OutcomeFailed, Position: engine.Position{Term: 1, Revision: 1}})
	first.Leave(false)
	if got := b.standing("web-1"); got != roster.Waiting {
		t.Errorf("what the old connection says counts: %s", got)
	}
	again.Leave(false)
	other := b.connect("web-1", "b")
	if b.Instances("shop")[0].Session != "b" || other == nil {
		t.Error("another process may not have the name of one that is gone")
	}
	for scope, name := range map[engine.Scope]string{"nobody": "unknown_scope", engine.Fleet: "unknown_scope"} {
		if _, err := b.Connect(scope, engine.Hello{Instance: "x", Session: "y"}, "", line); !errors.As(err, &coded) || coded.Code() != name {
			t.Errorf("%s: %v", scope, err)
		}
	}
	b.Close()
	if _, err := b.Connect("shop", engine.Hello{Instance: "x", Session: "y"}, "", line); !errors.As(err, &coded) || coded.Code() != "unavailable" {
		t.Errorf("closed: %v", err)
	}
}

func TestOfAThousandInstancesWithOneNameOneIsLetIn(t *testing.T) {
	b := newBench(t)
	first := b.connect("web", "0")
	for i := 1; i < 1000; i++ {
		_, err := b.Connect("shop", engine.Hello{Instance: "web", Session: fmt.Sprint(i)}, "10.0.0.2", &line{})
		if err == nil || !strings.Contains(err.Error(), `"web" of shop is connected already, from 10.0.0.1`) {
			t.Fatalf("the %dth is let in: %v", i, err)
		}
	}
	apply(first, b, "web")
	if in := b.summary(); in.Known != 1 || in.Applied != 1 || b.Refused()["in_use"] != 999 {
		t.Errorf("%+v, refused %v", in, b.Refused())
	}
}

func TestWhoKnowsOfALaterLeaderIsHeard(t *testing.T) {
	b := newBench(t)
	for _, c := range []struct {
		hello engine.Hello
		want  string
	}{
		{engine.Hello{Term: 1, Has: engine.Position{Term: 1, Revision: 1}}, ""},
		{engine.Hello{Term: 1, Has: engine.Position{Term: 1, Revision: 9}}, "1 i1 has revision 9 of shop in term 1, and this log ends at revision 1"},
		{engine.Hello{Term: 4}, "4 i2 has heard of term 4"},
		{engine.Hello{Term: 1, Has: engine.Position{Term: 5, Revision: 1}}, "5 i3 has heard of term 5"},
		{engine.Hello{}, ""},
	} {
		c.hello.Instance, c.hello.Session = fmt.Sprintf("i%d", len(b.Instances("shop"))), "s"
		b.ahead = nil
		if _, err := b.Connect("shop", c.hello, "", &line{}); err != nil {
			t.Fatal(err)
		}
		if got := strings.Join(b.ahead, "; "); got != c.want {
			t.Errorf("%+v: %q, want %q", c.hello, got, c.want)
		}
	}
}

func TestATableThatCannotBeWrittenIsWrittenLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.store.full = true
		seat := b.connect("web-1", "s")
		b.publish("degraded", 1)
		ctx, stop := context.WithCancel(t.Context())
		ran := make(chan error)
		go func() { ran <- b.Run(ctx) }()
		time.Sleep(3 * roster.Save) // virtual; a try or two that fail
		if told, _ := b.Told("shop", "web-1"); told.Mode != "normal" {
			t.Fatal("a wave is told whose order would be another one after a restart")
		}
		b.store.mu.Lock()
		b.store.full = false
		b.store.mu.Unlock()
		time.Sleep(3 * roster.Save)
		if told, _ := b.Told("shop", "web-1"); told.Mode != "degraded" {
			t.Fatalf("its order can be kept now, and it is told %q", told.Mode)
		}
		apply(seat, b, "web-1")
		time.Sleep(3 * roster.Save)
		b.store.mu.Lock()
		row, kept := b.store.rows["shop/web-1"]
		b.store.mu.Unlock()
		if !kept || row.Report.Mode != "degraded" {
			t.Errorf("what it said is not kept: %+v", row)
		}
		stop()
		if err := <-ran; err != nil {
			t.Error(err)
		}
	})
}

func TestALargeTableIsWrittenInPiecesWhileNothingMoreUrgentIsUnderWay(t *testing.T) {
	const size = 1234
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		ctx, stop := context.WithCancel(t.Context())
		ran := make(chan error)
		go func() { ran <- b.Run(ctx) }()
		saved := func() (rows int, pieces []int) {
			b.store.mu.Lock()
			defer b.store.mu.Unlock()
			return len(b.store.rows), slices.Clone(b.store.saved)
		}
		time.Sleep(roster.Save + roster.Save/2) // between two looks at the table, and the first directive is no reason to wait any more
		var seats []*roster.Seat
		for n := range size {
			seats = append(seats, b.connect(fmt.Sprintf("web-%04d", n), "s"))
		}
		time.Sleep(roster.Save)
		if rows, pieces := saved(); rows != size || len(pieces) < 3 || slices.Max(pieces) > 500 {
			t.Errorf("%d of %d rows are written, in %v", rows, size, pieces)
		}
		// Directives one after another put the table off, but not for ever.
		_, before := saved()
		for n := range 3 {
			apply(seats[n], b, fmt.Sprintf("web-%04d", n)) // whoever says something has a row to be written
			b.publish(engine.Mode([]string{"degraded", "normal"}[n%2]), 0)
			time.Sleep(roster.Save)
			if _, now := saved(); len(now) != len(before) {
				t.Errorf("the table is written while directive %d goes out", n)
			}
		}
		b.publish("degraded", 0)
		time.Sleep(roster.Save)
		if _, now := saved(); len(now) == len(before) {
			t.Error("the table is not written at all")
		}
		// At the end all of it is.
		for n, seat := range seats {
			apply(seat, b, fmt.Sprintf("web-%04d", n))
		}
		stop()
		if err := <-ran; err != nil {
			t.Error(err)
		}
		for name, row := range b.store.rows {
			if row.Report.Outcome != engine.OutcomeDone {
				t.Fatalf("what %s said last is lost", name)
			}
		}
	})
}

func TestWhoPollsCountsAsConnectedUntilItShouldHaveComeBack(t *testing.T) {
	b := newBench(t)
	hello := engine.Hello{Instance: "web-1", Session: "s"}
	told, any, err := b.Exchange("shop", hello, nil, "", time.Minute)
	if err != nil || !any || told.Mode != "normal" {
		t.Fatal(told, any, err)
	}
	if _, _, err = b.Exchange("shop", hello, &engine.Report{Position: told.Position(), Mode: "normal", Outcome: engine.OutcomeDone}, "", time.Minute); err != nil {
		t.Fatal(err)
	}
	if in := b.summary(); in.Applied != 1 || in.Known != 1 {
		t.Errorf("%+v", in)
	}
	b.now = b.now.Add(time.Minute + time.Second)
	ctx, stop := context.WithCancel(t.Context())
	ran := make(chan error)
	go func() { ran <- b.Run(ctx) }()
	for b.standing("web-1") != roster.Missing {
		time.Sleep(10 * time.Millisecond)
	}
	stop()
	if err := <-ran; err != nil {
		t.Error(err)
	}
}
