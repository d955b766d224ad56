package sim

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"time"

	"github.com/modeshift/modeshift/engine"
	"github.com/modeshift/modeshift/engine/roster"
)

// most is how many instances a scope begins with at most, and silence how long a server takes one that says nothing for there.
const (
	most    = 6
	silence = 20 * time.Second
)

// copyOf is one running copy of a service. It outlives the process, and is not always well.
type copyOf struct {
	scope engine.Scope
	name  string

	mu      sync.Mutex // guards what follows
	session int
	mood    string // refuses, hangs or cut; empty: it is well
	until   time.Time
	gone    bool
	has     engine.Position // applied
	told    engine.Position // the newest it ever was told
	mode    engine.Mode
	changed chan struct{} // closed and replaced when its mood changes
}

// feels is how the instance is now.
func (i *copyOf) feels() (mood string, until time.Time, changed <-chan struct{}, gone bool) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if !time.Now().Before(i.until) {
		i.mood = ""
	}
	return i.mood, i.until, i.changed, i.gone
}

func (i *copyOf) become(change func()) {
	i.mu.Lock()
	defer i.mu.Unlock()
	change()
	close(i.changed)
	i.changed = make(chan struct{})
}

// hire makes instances run.
func (r *run) hire(scope engine.Scope, n int) {
	for range n {
		r.hired++
		i := &copyOf{scope: scope, name: fmt.Sprintf("%s-%d", scope, r.hired), changed: make(chan struct{})}
		r.world.crew = append(r.world.crew, i)
		r.people.Go(func() { r.live(i) })
	}
}

// live is an instance from its start to its end.
func (r *run) live(i *copyOf) {
	for n := 0; ; n++ {
		mood, until, changed, gone := i.feels()
		if gone {
			return
		}
		pause := 50*time.Millisecond + time.Duration(r.world.dice(int(3*time.Second), "reconnects %s %d", i.name, n))
		p := r.current.Load()
		if mood == "cut" || p.ctx.Err() != nil {
			if mood == "cut" {
				pause += time.Until(until)
			}
			select {
			case <-time.After(pause):
			case <-changed:
			case <-r.over:
				return
			}
			continue
		}
		i.mu.Lock()
		hello := engine.Hello{Instance: i.name, Session: fmt.Sprint(i.session), Has: i.told}
		i.mu.Unlock()
		l := line{make(chan struct{}, 1), make(chan struct{})}
		if seat, err := p.roster.Connect(i.scope, hello, "10.0.0.1", l); err == nil {
			r.sit(p, i, seat, l)
		}
		select {
		case <-time.After(pause):
		case <-r.over:
			return
		}
	}
}

// line carries over what a connection hears of its seat.
type line struct{ told, taken chan struct{} }

func (l line) Tell() {
	select {
	case l.told <- struct{}{}:
	default: // it has not looked since: it will see the latest
	}
}

func (l line) Taken() { close(l.taken) }

// sit is an instance while it is connected.
func (r *run) sit(p *process, i *copyOf, seat *roster.Seat, l line) {
	report := func(position engine.Position, outcome engine.Outcome) {
		i.mu.Lock()
		rep := engine.Report{Position: position, Mode: i.mode, Outcome: outcome}
		i.mu.Unlock()
		r.check.reports(i, rep)
		seat.Report(rep)
	}
	i.mu.Lock()
	has := i.has
	i.mu.Unlock()
	if has != (engine.Position{}) {
		report(has, engine.OutcomeDone)
	}
	var told *engine.Told // and not applied yet
	var ready <-chan time.Time
	for n := 0; ; n++ {
		mood, until, changed, gone := i.feels()
		if gone {
			seat.Leave(false)
			return
		}
		if mood == "cut" { // nobody closes anything: the server finds out
			select {
			case <-time.After(silence):
			case <-p.ctx.Done():
				return
			case <-r.over:
				return
			}
			seat.Leave(true)
			return
		}
		select {
		case <-l.told:
			frame := seat.Frame()
			if frame == nil {
				continue
			}
			told = decodeFrame(frame)
			r.check.told(i, told)
			ready = time.After(time.Millisecond + time.Duration(r.world.dice(int(2*time.Second), "applies %s %d %d", i.name, told.Revision, n)))
		case <-ready:
			ready = nil
			switch mood {
			case "hangs":
				ready = time.After(time.Until(until) + time.Duration(1+r.world.dice(int(time.Second), "wakes %s %d", i.name, n)))
			case "refuses":
				report(told.Position(), engine.OutcomeFailed)
				ready = time.After(time.Until(until) + time.Duration(1+r.world.dice(int(time.Second), "wakes %s %d", i.name, n)))
			default:
				i.mu.Lock()
				i.has, i.mode = told.Position(), told.Mode
				i.mu.Unlock()
				report(told.Position(), engine.OutcomeDone)
			}
		case <-changed:
			if told != nil && ready != nil {
				ready = time.After(time.Millisecond + time.Duration(r.world.dice(int(time.Second), "minds %s %d", i.name, n)))
			}
		case <-l.taken:
			return
		case <-p.ctx.Done():
			return
		case <-r.over:
			return
		}
	}
}

func decodeFrame(frame []byte) *engine.Told {
	_, data, found := bytes.Cut(frame, []byte("data: "))
	var told engine.Told
	if err := json.Unmarshal(data, &told); !found || err != nil {
		panic(fmt.Sprintf("a frame that is no directive: %q", frame))
	}
	return &told
}

// mind changes how an instance feels, or what becomes of it.
func (r *run) mind(th thing) {
	var crew []*copyOf
	for _, i := range r.world.crew {
		if _, _, _, gone := i.feels(); !gone && i.scope == th.scope {
			crew = append(crew, i)
		}
	}
	switch th.what {
	case "joins":
		r.hire(th.scope, 1)
		return
	case "all leave":
		for _, i := range crew {
			i.become(func() { i.gone = true })
		}
		return
	}
	if len(crew) == 0 {
		return
	}
	i := crew[th.n%len(crew)]
	switch th.what {
	case "leaves":
		i.become(func() { i.gone = true })
	case "replaced":
		i.become(func() { i.gone = true })
		r.hire(th.scope, 1)
	default:
		i.become(func() { i.mood, i.until = th.what, time.Now().Add(th.span) })
	}
}

// soothe ends all that ails the instances.
func (w *world) soothe() {
	for _, i := range w.crew {
		i.become(func() { i.until = time.Time{} })
	}
}

// newRoster makes the table of instances of a life of the process.
func (r *run) newRoster(p *process) error {
	var err error
	p.roster, err = roster.New(p.ctx, p.log, roster.Options{
		Logger: slog.New(slog.NewTextHandler(io.Discard, nil)), Now: r.world.now, Term: func() uint64 { return 1 },
		OnNews: func(scope engine.Scope) {
			ctx, cancel := context.WithTimeout(p.ctx, 20*time.Second)
			defer cancel()
			_, _ = p.loop.Submit(ctx, scope, engine.Actor{}, &engine.InstancesReported{}) // the next tick sees it too
		},
	})
	return err
}

// follow keeps the table of instances up with the log.
func (r *run) follow(p *process) {
	for n := 1; ; n++ {
		select {
		case <-p.moved:
			if p.ctx.Err() != nil {
				return // both are ready, and which of them is taken must not matter
			}
			// The loop goes on at the instant at which it has stored something: what is seen of it just then is up to chance.
			time.Sleep(time.Microsecond + time.Duration(r.world.dice(int(time.Millisecond), "follows %d %d", n, p.log.process)))
			for _, m := range r.scopes {
				if v, ok := p.loop.View(m.scope); ok {
					p.roster.Follow(p.ctx, v)
				}
			}
		case <-p.ctx.Done():
			return
		}
	}
}

func (u *unlucky) SaveInstances(ctx context.Context, list []roster.Instance) error {
	return u.edge("instances", fmt.Sprint(len(list)), func() error { return u.SQLite.SaveInstances(ctx, list) })
}

func (u *unlucky) SaveRanks(ctx context.Context, scope engine.Scope, change engine.ChangeID, names []string) error {
	return u.edge("ranks", string(change), func() error { return u.SQLite.SaveRanks(ctx, scope, change, names) })
}

// crewCheck is what the checks know of the instances of a scope.
type crewCheck struct {
	positions map[engine.Position]map[string]bool // told a directive, by name
	reported  map[engine.Position]map[string]bool // said that they have it
	newest    map[string]engine.Position          // told, by name
}

func (c *check) crewOf(scope engine.Scope) *crewCheck {
	k := c.crews[scope]
	if k == nil {
		k = &crewCheck{map[engine.Position]map[string]bool{}, map[engine.Position]map[string]bool{}, map[string]engine.Position{}}
		c.crews[scope] = k
	}
	return k
}

// told is told of a directive that reaches an instance: it is stored, never an older one than before, and while it goes by waves no more
// than the wave are told it.
func (c *check) told(i *copyOf, t *engine.Told) {
	c.mu.Lock()
	defer c.mu.Unlock()
	k := c.crewOf(i.scope)
	i.mu.Lock()
	before := i.told
	i.told = t.Position()
	i.mu.Unlock()
	if t.Position().Compare(before) < 0 {
		c.breaks("%s was told %+v after %+v", i.name, t.Position(), before)
	}
	s := c.streams[i.scope]
	if s == nil || t.Position().Compare(s.state.Directive.Position()) > 0 {
		c.breaks("%s was told %+v, which is not stored", i.name, t.Position())
		return
	}
	if k.positions[t.Position()] == nil {
		k.positions[t.Position()] = map[string]bool{}
	}
	k.positions[t.Position()][i.name] = true
	// In a wave: the newest directive, while others are meant to have the one before.
	if ch := s.state.Change; ch != nil && ch.Before != nil && t.Position() == s.state.Directive.Position() {
		if n := len(k.positions[t.Position()]); n > ch.Waved {
			c.breaks("%d instances were told %+v in a wave of %d", n, t.Position(), ch.Waved)
		}
	}
}

// reports is told of what an instance says, before it says so.
func (c *check) reports(i *copyOf, rep engine.Report) {
	c.mu.Lock()
	defer c.mu.Unlock()
	k := c.crewOf(i.scope)
	if rep.Outcome == engine.OutcomeDone {
		if k.reported[rep.Position] == nil {
			k.reported[rep.Position] = map[string]bool{}
		}
		k.reported[rep.Position][i.name] = true
	}
}

// rolls judges the events of a roll-out.
func (c *check) rolls(s *stream, before engine.State, e engine.Event, where string) {
	switch f := e.Fact.(type) {
	case engine.WavePublished:
		if f.Wave == 1 {
			return
		}
		c.waved(s, before, e, where)
	case engine.RolloutDone:
		if e.Reason.Code != engine.CodeInstances {
			c.waved(s, before, e, where)
		}
	case engine.DirectiveApplied:
		if n := len(c.crewOf(e.Stream).reported[before.Directive.Position()]); n < f.Acked {
			c.breaks("%s: %d are said to have it, and %d do", where, f.Acked, n)
		}
	case engine.StepStarted:
		if ch := before.Change; !f.Undo && ch != nil && f.Change == ch.ID && ch.Instances > 0 && !ch.Plan.PublishLast && !ch.Rolled {
			c.breaks("%s: %s began before the instances had the mode", where, f.Step.Name)
		}
	}
}

// waved demands that a wave was applied, has lasted, and was verified before what follows it.
func (c *check) waved(s *stream, before engine.State, e engine.Event, where string) {
	ch := before.Change
	if ch.Applied == nil {
		c.breaks("%s: the wave before was not applied", where)
		return
	}
	if lasted := e.At.Sub(ch.Applied.At); lasted < ch.Plan.Rollout.Pause {
		c.breaks("%s: the wave before lasted %v", where, lasted)
	}
	if name := ch.Plan.Rollout.Verify; name != "" {
		c.needs(s, e, name, engine.True, where)
	}
}

// agree demands, once all is calm, that every instance has what is meant for it.
func (r *run) agree() {
	for _, i := range r.world.crew {
		i.mu.Lock()
		has, gone := i.has, i.gone
		i.mu.Unlock()
		v, ok := r.proc.loop.View(i.scope)
		if gone || !ok || v.State.Retired {
			continue
		}
		if has != v.State.Directive.Position() {
			r.check.fault("in the end %s has %+v, and %+v is published", i.name, has, v.State.Directive.Position())
		}
		if d, open := v.State.Incident(engine.IncidentDivergence, string(i.scope)); open {
			r.check.fault("in the end people are told that %s diverges since %s", i.scope, d.Opened)
		}
	}
}
