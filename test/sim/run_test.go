package sim

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/modeshift/modeshift/actions/runner"
	"github.com/modeshift/modeshift/engine"
	"github.com/modeshift/modeshift/engine/loop"
	"github.com/modeshift/modeshift/engine/roster"
	"github.com/modeshift/modeshift/engine/store"
)

const (
	// An odd length, and an odd time to start in: so that nothing the supervisor does falls on an instant of the loop's. Where many live,
	// enough happens in less.
	storyLength = 90*time.Minute + 1_234_567*time.Nanosecond
	shorter     = 10 * time.Minute // for each scope above two
	startup     = 7_654_321 * time.Nanosecond
	settleIn    = 75 * time.Minute // once faults have stopped
)

// settings are how a story is run.
type settings struct {
	seed     uint64
	story    []thing
	length   time.Duration // of the story
	scopes   []member
	brake    engine.BrakeRule
	file     string // a folder for the log; empty: in memory
	mutation string
}

// outcome is what came of a story.
type outcome struct {
	broken []string
	trace  string // all that happened, to be compared
	calls  []string
	events []engine.Event
	hours  float64
}

// prepare draws a seed's rules and story.
func prepare(seed uint64) settings {
	out := settings{seed: seed, scopes: drawScopes(seed), brake: drawBrake(chance(seed, "brake"))}
	out.length = storyLength - time.Duration(len(out.scopes)-2)*shorter
	out.story = drawStory(seed, out.scopes, out.length)
	return out
}

// play runs a story in virtual time.
func play(t *testing.T, s settings) outcome {
	var out outcome
	synctest.Test(t, func(t *testing.T) {
		r := &run{settings: s, t: t, check: newCheck(s.scopes, s.brake), rules: map[engine.Scope]int{}, seen: map[engine.Scope]engine.Digest{}, calls: make(chan func(), 1), over: make(chan struct{})}
		r.world = newWorld(s.seed, s.scopes, r.check)
		r.play()
		out = r.outcome()
	})
	return out
}

// run is a story under way. Its goroutine is the supervisor, who starts the process anew whenever it died.
type run struct {
	settings
	t      *testing.T
	world  *world
	check  *check
	store  *store.SQLite
	proc   *process
	number int                            // of processes so far
	rules  map[engine.Scope]int           // the variants in force
	seen   map[engine.Scope]engine.Digest // of some earlier proposal
	calls  chan func()
	people sync.WaitGroup

	hired   int                     // instances so far
	current atomic.Pointer[process] // that instances find
	over    chan struct{}           // closed at the end of the story: the instances end
}

// process is one life of the program.
type process struct {
	log    *unlucky
	loop   *loop.Loop
	roster *roster.Roster
	moved  chan struct{} // some scope has
	cancel context.CancelFunc
	ctx    context.Context
	wg     sync.WaitGroup
	died   chan struct{}
	down   time.Duration // how long until the supervisor starts it again
}

func (r *run) play() {
	r.open()
	r.start()
	for _, m := range r.scopes {
		r.hire(m.scope, m.instances)
	}
	for _, th := range r.story {
		r.until(th.at)
		time.Sleep(1009 * time.Nanosecond) // what is overdue after a restart does not happen all at once
		r.happen(th)
		synctest.Wait()
	}
	r.until(r.length)
	r.settle()
	r.release()
	r.agree()
	close(r.over)
	r.stop()
	r.people.Wait()
	r.finish()
}

// until waits for an instant of the story, and starts the process again when it dies meanwhile.
func (r *run) until(at time.Duration) {
	for {
		left := time.Until(r.world.began.Add(at))
		if left <= 0 {
			return
		}
		t := time.NewTimer(left)
		select {
		case <-t.C:
			return
		case <-r.proc.died:
			t.Stop()
			r.restart(r.proc.down)
		}
	}
}

func (r *run) open() {
	path := ":memory:"
	if r.file != "" {
		path = filepath.Join(r.file, "log.db")
	}
	var err error
	if r.store, err = store.Open(context.Background(), path, store.Options{Now: r.world.now}); err != nil {
		r.t.Fatal(err)
	}
}

// start begins a life of the process; it tries until it can read its log.
func (r *run) start() {
	for {
		r.number++
		p := &process{died: make(chan struct{}), down: time.Second, moved: make(chan struct{}, 1)}
		var once sync.Once
		p.log = &unlucky{SQLite: r.store, w: r.world, process: r.number, mutation: r.mutation, throws: map[string]int{},
			died: func() { once.Do(func() { close(p.died) }) }}
		p.ctx, p.cancel = context.WithCancel(context.Background())
		if r.proc != nil { // what ails the disk outlives the process
			p.log.faults = r.proc.log.faults
		}
		if err := r.newRoster(p); err != nil {
			r.t.Fatal(err) // it is read without faults
		}
		var jobs *runner.Runner
		p.loop = loop.New(p.log, loop.Options{
			Interval: interval, BlindAfter: blindAfter, Checkpoint: 20 * time.Minute, Brake: r.braking(), Now: r.world.now, Logger: slog.New(slog.NewTextHandler(io.Discard, nil)),
			Instances: p.roster.Summary, Members: p.roster.Members,
			OnCommit: func([]engine.Event) {
				jobs.Wake()
				select {
				case p.moved <- struct{}{}:
				default:
				}
			},
			OnTick: func(t loop.TickReport) { r.judged(p.loop, t) },
		})
		jobs = newRunner(r.world, p)
		r.proc = p
		if r.number == 1 { // without faults: what follows begins with a server that runs
			if err := p.loop.Start(p.ctx, r.inForce()); err != nil {
				r.t.Fatal(err)
			}
		} else if err := p.loop.Start(p.ctx, r.inForce()); err != nil {
			p.cancel()
			p.log.kill()
			r.check.died()
			time.Sleep(time.Second)
			r.reopen()
			continue
		}
		for _, m := range r.scopes {
			if v, ok := p.loop.View(m.scope); ok {
				p.roster.Follow(p.ctx, v)
			}
		}
		p.wg.Go(func() { r.follow(p) })
		p.wg.Go(func() { _ = p.roster.Run(p.ctx) })
		r.current.Store(p)
		p.wg.Go(func() {
			if err := p.loop.Run(p.ctx); err != nil {
				r.check.fault("the loop ended: %v", err)
			}
		})
		// That outcomes could not be stored when the process died is what the next one is for.
		p.wg.Go(func() { _ = jobs.Run(p.ctx) })
		time.Sleep(startup)
		return
	}
}

// braking is the brake as a loop with a fault would have it.
func (r *run) braking() engine.BrakeRule {
	b := r.brake
	if r.mutation == "a brake that lets one more through" && b.Within > 0 {
		b.Max = max(b.Max, int(b.Share*float64(len(r.scopes)))) + 1
	}
	return b
}

// judged tells the checks what was judged of a tick, and what nobody did.
func (r *run) judged(l *loop.Loop, t loop.TickReport) {
	r.check.sights(t.Instant, t.Sources)
	for _, m := range r.scopes {
		v, ok := l.View(m.scope)
		r.check.judged(m.scope, t.Instant, r.world.now(), ok && v.Observed != nil && v.Observed.Instant.Equal(t.Instant))
	}
}

// inForce are the rules as the files are now.
func (r *run) inForce() loop.Rules {
	rules := loop.Rules{Whole: true}
	byScope := map[engine.Scope]engine.Policy{}
	r.check.mu.Lock()
	for _, m := range r.scopes {
		p := m.rules[r.rules[m.scope]]
		r.check.policies[p.Digest], r.check.declared[m.scope] = &p, &p
		rules.Digest += p.Digest[:8]
		byScope[p.Scope] = p
		rules.Policies = append(rules.Policies, mutated(p, r.mutation))
	}
	r.check.mu.Unlock()
	rules.Evaluate = func(ctx context.Context, t loop.Tick) loop.Answer {
		return r.world.evaluate(ctx, t, byScope, r.mutation)
	}
	return rules
}

// stop ends the process in good order.
func (r *run) stop() {
	r.proc.cancel()
	r.proc.wg.Wait()
}

// restart begins a new life of the process some time after its death.
func (r *run) restart(after time.Duration) {
	r.proc.log.kill()
	r.proc.cancel()
	r.proc.wg.Wait()
	r.check.died()
	time.Sleep(after)
	r.reopen()
	r.start()
}

// reopen gives the next process the log as the last one left it.
func (r *run) reopen() {
	if r.file == "" { // a log in memory outlives its process here; what the process knew does not
		if err := r.store.Release(context.Background()); err != nil {
			r.t.Fatal(err)
		}
		return
	}
	if err := r.store.Close(); err != nil {
		r.t.Fatal(err)
	}
	r.open()
}

// happen makes a thing happen.
func (r *run) happen(th thing) {
	w := r.world
	forSome := func(until *time.Time) {
		w.mu.Lock()
		defer w.mu.Unlock()
		*until = time.Now().Add(th.span)
	}
	switch th.kind {
	case "truth":
		w.set(th.scope, th.what)
	case "wave":
		w.swing(th.scope, th.what, th.span, th.n)
	case "storm":
		w.mu.Lock()
		w.storm = storm{time.Now(), time.Now().Add(th.span), th.what == "lie"}
		w.mu.Unlock()
	case "blind":
		forSome(&w.blind)
	case "hang":
		forSome(&w.hangs)
	case "pager":
		forSome(&w.deaf)
	case "target":
		forSome(&w.moody)
		w.mu.Lock()
		w.mood = th.what
		w.mu.Unlock()
	case "jump":
		w.turn(th.span, w.clock.rate)
	case "rate":
		w.turn(0, th.n)
	case "log":
		l := r.proc.log
		l.mu.Lock()
		l.faults.until, l.faults.what, l.faults.chance = time.Now().Add(th.span), th.what, th.n
		l.mu.Unlock()
	case "crash":
		r.restart(th.span)
	case "die":
		l := r.proc.log
		l.mu.Lock()
		l.fatal, l.left = th.what, th.n
		l.mu.Unlock()
		r.proc.down = th.span
	case "rules":
		r.rules[th.scope] = th.n
		rules := r.inForce()
		p := r.proc
		r.people.Go(func() { _ = p.loop.Replace(p.ctx, rules) }) // what is not stored of it follows from the next input
	case "review":
		r.review(th)
	case "instance":
		r.mind(th)
	default:
		r.ask(th)
	}
}

// submit sends a request as the API would, and holds the answer against the log.
func (r *run) submit(p *process, scope engine.Scope, by engine.Actor, what engine.Happening) {
	ctx, cancel := context.WithTimeout(p.ctx, 20*time.Second)
	defer cancel()
	events, err := p.loop.Submit(ctx, scope, by, what)
	var refused *loop.Error
	if err == nil || errors.As(err, &refused) && refused.Code() == "refused" {
		r.check.answered(events)
	}
}

// review has somebody answer a proposal: with what they looked at, or wrongly.
func (r *run) review(th thing) {
	v, ok := r.proc.loop.View(th.scope)
	if !ok {
		return
	}
	who := people[th.who]
	given := &engine.ReviewGiven{Yes: th.yes, Roles: who.roles, Reason: "looked at it", Digest: r.seen[th.scope]}
	if n := len(v.State.Proposals); n > 0 {
		p := v.State.Proposals[th.n%n]
		given.Proposal, given.Digest = p.ID, p.Digest[:12]
		if th.what != "stale" || r.seen[th.scope] == "" {
			r.seen[th.scope] = p.Digest
		} else {
			given.Digest = r.seen[th.scope]
		}
	} else if n := len(v.State.Resting); n > 0 { // late
		given.Proposal, given.Digest = v.State.Resting[th.n%n].ID, v.State.Resting[th.n%n].Digest
	}
	switch th.what {
	case "wrong":
		given.Digest = "0123456789ab"
	case "short":
		given.Digest = given.Digest[:min(4, len(given.Digest))]
	case "blind":
		given.Blind = true
	case "mute":
		given.Reason = " "
	}
	r.check.says(th.scope, said{who: who, proposal: given.Proposal, digest: given.Digest, yes: given.Yes, blind: given.Blind})
	if n := len(v.State.Proposals); n > 0 && r.mutation == "a forgotten digest" {
		given.Digest = v.State.Proposals[th.n%n].Digest
	}
	p := r.proc
	r.people.Go(func() {
		sent := *given
		r.submit(p, th.scope, who.Actor, &sent)
		if th.twice {
			again := *given
			r.submit(p, th.scope, who.Actor, &again)
		}
	})
}

// ask has somebody ask for something.
func (r *run) ask(th thing) {
	who := people[th.who]
	var what engine.Happening
	v, _ := r.proc.loop.View(th.scope)
	var last engine.ChangeID
	if n := len(v.State.Past); n > 0 {
		last = v.State.Past[n-1].ID
	}
	current := last
	if v.State.Change != nil {
		current = v.State.Change.ID
	}
	switch th.kind {
	case "set", "directive", "force", "bypass":
		what = &engine.SetRequested{
			Mode: engine.Mode(th.what), Reason: "drill", For: th.span, Roles: who.roles,
			DirectiveOnly: th.kind == "directive" || th.kind == "bypass", Force: th.kind == "force" || th.kind == "bypass",
		}
	case "unpin":
		what = &engine.UnpinRequested{Reason: "over"}
	case "freeze":
		what = &engine.FreezeRequested{Reason: "holiday", For: th.span}
	case "unfreeze":
		what = &engine.UnfreezeRequested{Reason: "over"}
	case "cancel":
		if n := len(v.State.Proposals); n > 0 && v.State.Change == nil {
			current = v.State.Proposals[0].ID
		}
		what = &engine.CancelRequested{Change: current, Reason: "not now"}
	case "undo":
		what = &engine.UndoRequested{Change: last, Reason: "back"}
	case "settle":
		what = &engine.SettleRequested{Change: current, As: engine.SettledAs(th.what), Reason: "looked"}
	default:
		r.t.Fatalf("nobody knows how %q happens", th.kind)
	}
	p := r.proc
	r.people.Go(func() { r.submit(p, th.scope, who.Actor, what) })
}

// settle ends all faults and waits for the end of everything that is under way. What is stuck a person settles, after having
// been paged.
func (r *run) settle() {
	w := r.world
	w.turn(0, 100)
	w.mu.Lock()
	w.blind, w.hangs, w.moody, w.deaf, w.calm = time.Time{}, time.Time{}, time.Time{}, time.Time{}, true
	w.storm = storm{}
	for scope := range w.truths {
		for name := range w.waves[scope] {
			w.truths[scope][name] = "false"
		}
		clear(w.waves[scope])
		for name := range w.truths[scope] {
			w.truths[scope][name] = "false"
			if strings.HasSuffix(name, ".verify") || strings.HasSuffix(name, ".rollout") {
				w.truths[scope][name] = "true"
			}
		}
	}
	w.mu.Unlock()
	w.soothe()
	r.proc.log.mu.Lock()
	r.proc.log.fatal = ""
	r.proc.log.faults.until = time.Time{}
	r.proc.log.mu.Unlock()
	quiet := 0
	begin := time.Since(w.began)
	end := begin + settleIn
	for _, th := range r.story {
		if th.kind == "jump" && th.span < 0 {
			end -= th.span // as long as the clock is behind the log, no deadline runs
		}
	}
	for at := begin + time.Minute; at < end; at += time.Minute {
		r.until(at)
		synctest.Wait()
		if r.quiet() {
			if quiet++; quiet == 3 { // and it stays so
				return
			}
			continue
		}
		quiet = 0
	}
	for _, m := range r.scopes {
		v, _ := r.proc.loop.View(m.scope)
		b, err := json.Marshal(v.State)
		if err != nil {
			r.t.Fatal(err)
		}
		r.check.fault("%s does not settle: %s", m.scope, b)
	}
	counts, err := r.store.JobCounts(context.Background())
	r.check.fault("nothing settles: jobs %+v %v", counts, err)
}

// quiet reports whether nothing is under way. It settles what is stuck.
func (r *run) quiet() bool {
	quiet := true
	for _, m := range r.scopes {
		v, ok := r.proc.loop.View(m.scope)
		if !ok {
			return false
		}
		if v.RulesProblem != "" {
			r.check.fault("%s is not evaluated any more: %s", m.scope, v.RulesProblem)
		}
		if c := v.State.Change; c != nil {
			quiet = false
			subject := c.Transition
			if subject == "" {
				subject = string(c.ID)
			}
			// A wave none of whose instances is left proves nothing any more: a person gives it up.
			if h := c.Stopped; h != nil && h.Reason.Code == engine.CodeInstances && r.emptied(c, m.scope) {
				if _, told := v.State.Incident(engine.IncidentChange, subject); !told {
					r.check.fault("%s is held and nobody was paged", c.ID)
				}
				r.ask(thing{kind: "cancel", scope: m.scope, who: 1})
				synctest.Wait()
			}
			if c.Stuck {
				if _, told := v.State.Incident(engine.IncidentChange, subject); !told {
					r.check.fault("%s is stuck and nobody was paged", c.ID)
				}
				r.ask(thing{kind: "settle", scope: m.scope, who: 1, what: []string{"done", "undone"}[r.world.dice(2, "settle %s", c.ID)]})
				synctest.Wait()
			}
		}
		_, diverges := v.State.Incident(engine.IncidentDivergence, string(m.scope)) // of one that fell silent, until it is forgotten
		quiet = quiet && len(v.State.Proposals) == 0 && !diverges
	}
	counts, err := r.store.JobCounts(context.Background())
	return quiet && err == nil && counts.Owed+counts.Leased == 0
}

// emptied reports whether no instance of the wave under way is left.
func (r *run) emptied(c *engine.Change, scope engine.Scope) bool {
	in := r.proc.roster.Summary(engine.State{Scope: scope, Change: c, Directive: engine.Directive{Revision: 1}}, r.world.now())
	return c.Before != nil && in.Known > 0 && in.Told == 0
}

// finish holds the log against the account of it, after the process has ended.
func (r *run) finish() {
	ctx := context.Background()
	report, err := r.store.Verify(ctx)
	if err != nil {
		r.check.fault("the log does not verify: %v", err)
	} else if len(report.Stale) > 0 {
		r.check.fault("the snapshots of %v are not what the events give", report.Stale)
	}
	for name, s := range r.check.streams {
		want, err := json.Marshal(s.state)
		if err != nil {
			r.t.Fatal(err)
		}
		folded, err := r.store.Load(ctx, name)
		if err != nil {
			r.check.fault("%s cannot be read: %v", name, err)
			continue
		}
		got, err := json.Marshal(folded)
		if err != nil {
			r.t.Fatal(err)
		}
		live := []byte("null")
		if v, ok := r.proc.loop.View(name); ok {
			if live, err = json.Marshal(v.State); err != nil {
				r.t.Fatal(err)
			}
		}
		if string(got) != string(want) || folded.Version > 0 && string(live) != string(want) {
			r.check.fault("%s: the log gives\n%s\nwhat was stored\n%s\nand the loop shows\n%s", name, got, want, live)
		}
	}
	jobs, err := r.store.Jobs(ctx, store.JobFilter{})
	if err != nil {
		r.check.fault("the jobs cannot be read: %v", err)
	}
	for _, j := range jobs {
		if j.State != store.JobDone {
			r.check.fault("job %s is %s in the end: %s", j.ID, j.State, j.Problem)
		} else if j.Notice != nil && !r.world.taken[j.ID] {
			r.check.fault("the pager never had %s: %s %s", j.ID, j.Notice.Action, j.Notice.Summary)
		}
	}
	for _, e := range r.check.log {
		if f, opens := e.Fact.(engine.IncidentOpened); opens && !r.world.paged[[2]string{string(f.Incident.ID), string(f.Incident.Severity)}] {
			r.check.fault("nobody ever heard of %s, %s %s", f.Incident.ID, f.Incident.Kind, f.Incident.Subject)
		}
	}
	for key, n := range r.world.effects {
		if n == 0 {
			r.check.fault("%s: no effect", key)
		}
	}
	if err := r.store.Close(); err != nil {
		r.check.fault("the log does not close: %v", err)
	}
}

// outcome gathers what came of it, stream by stream: which of two streams' events came first says nothing.
func (r *run) outcome() outcome {
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(r.check.streams)) {
		for _, body := range r.check.streams[name].bodies {
			b.Write(body)
			b.WriteByte('\n')
		}
	}
	for _, e := range r.check.log {
		if f, ok := e.Fact.(engine.StepStarted); ok {
			key := fmt.Sprintf("%s/%s", f.Change, f.Step.Name)
			if f.Undo {
				key += "/undo"
			}
			fmt.Fprintf(&b, "%s %s/%d: %d attempts, %d effects\n", key, e.Stream, e.Version, r.world.attempts[attemptID(key, f.Attempt)], r.world.effects[key])
		}
	}
	return outcome{broken: r.check.broken, trace: b.String(), calls: r.world.calls, events: r.check.log, hours: time.Since(r.world.began).Hours()}
}
