package sim

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/modeshift/modeshift/actions"
	"github.com/modeshift/modeshift/engine"
	"github.com/modeshift/modeshift/engine/loop"
)

// world is all that is outside of the program, and outlives it.
type world struct {
	seed  uint64
	began time.Time
	check *check

	mu       sync.Mutex // guards what follows
	truths   map[engine.Scope]map[string]string
	waves    map[engine.Scope]map[string]wave
	storm    storm
	blind    time.Time // the source answers nobody before that
	hangs    time.Time // it does not answer at all
	mood     string    // of the targets
	moody    time.Time // until when
	deaf     time.Time // the pager takes nothing before that
	effects  map[string]int
	attempts map[string]int     // by attempt
	paged    map[[2]string]bool // incident and severity
	taken    map[string]bool    // jobs of notices
	crew     []*copyOf          // of all scopes, also those that are gone; the supervisor's
	clock    clock
	calm     bool     // faults have ended
	calls    []string // of the store, with their instants: they say where two runs of a seed part
}

func newWorld(seed uint64, scopes []member, c *check) *world {
	w := &world{
		seed: seed, began: time.Now(), check: c, truths: map[engine.Scope]map[string]string{}, waves: map[engine.Scope]map[string]wave{}, effects: map[string]int{},
		attempts: map[string]int{}, paged: map[[2]string]bool{}, taken: map[string]bool{},
	}
	for _, m := range scopes {
		w.truths[m.scope], w.waves[m.scope] = map[string]string{}, map[string]wave{}
	}
	w.clock = clock{wall: w.began, since: w.began, rate: 100}
	return w
}

// dice throws for something that happens by chance: the same seed and thing always fall the same.
func (w *world) dice(sides int, format string, args ...any) int {
	h := fnv.New64a()
	_, _ = h.Write(fmt.Appendf(fmt.Appendf(nil, "%d ", w.seed), format, args...)) // a hash takes everything
	x := h.Sum64()
	x ^= x >> 33
	x *= 0xff51afd7ed558ccd
	x ^= x >> 33
	return int(x % uint64(sides))
}

// note notes a call.
func (w *world) note(call string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.calls = append(w.calls, time.Since(w.began).String()+" "+call)
}

// clock is the clock on the wall. It runs at a rate (in per cent) and jumps.
type clock struct {
	wall, since time.Time
	rate        int
}

func (c clock) now() time.Time {
	return c.wall.Add(time.Since(c.since) * time.Duration(c.rate) / 100).UTC()
}

func (w *world) now() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.clock.now()
}

// turn sets the clock on the wall.
func (w *world) turn(jump time.Duration, rate int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.clock = clock{wall: w.clock.now().Add(jump), since: time.Now(), rate: rate}
}

// evaluate is Prometheus and the conditions on it.
func (w *world) evaluate(ctx context.Context, t loop.Tick, policies map[engine.Scope]engine.Policy, mutation string) loop.Answer {
	if !sleep(ctx, time.Millisecond+time.Duration(w.dice(int(2*time.Second), "evaluate %v", time.Since(w.began)))) {
		return w.unseen(t, policies, "cut short")
	}
	w.mu.Lock()
	hangs := time.Now().Before(w.hangs)
	blind := time.Now().Before(w.blind)
	w.mu.Unlock()
	if hangs {
		<-ctx.Done()
		return w.unseen(t, policies, "timeout")
	}
	if blind {
		return w.unseen(t, policies, "refused")
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.answer(t, policies, mutation, "")
}

func (w *world) unseen(t loop.Tick, policies map[engine.Scope]engine.Policy, detail string) loop.Answer {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.answer(t, policies, "", detail)
}

// answer answers t; with a detail it is that nothing can be seen. It tells the checks what was shown. The caller holds w.mu.
func (w *world) answer(t loop.Tick, policies map[engine.Scope]engine.Policy, mutation, detail string) loop.Answer {
	a := loop.Answer{Observations: map[engine.Scope][]engine.Observation{}, SourceBlind: map[engine.Scope]bool{}}
	a.Sources = []engine.Sight{{Source: "main", Asked: true, Blind: detail != "", Detail: detail}}
	for _, q := range t.Questions {
		p := policies[q.Scope]
		seen := make([]engine.Observation, len(p.Conditions))
		shown := map[string]engine.Truth{}
		for _, i := range q.Conditions {
			c := &p.Conditions[i]
			name := c.Name
			o := engine.Observation{Asked: true}
			switch truth := w.truth(q.Scope, c); {
			case detail != "" && !c.Scheduled || truth == "unknown": // a schedule asks nobody
				o.Blind = true
			case truth == "true":
				o.Truth = engine.True
			case truth == "false":
				o.Truth = engine.False
			}
			shown[name] = o.Truth
			if mutation == "unknown is false" && o.Truth == engine.Unknown {
				o.Truth, o.Blind = engine.False, false
			}
			seen[i] = o
		}
		a.Observations[q.Scope], a.SourceBlind[q.Scope] = seen, detail != ""
		w.check.showed(q.Scope, t.Instant, shown)
	}
	return a
}

// sleep reports whether d passed before ctx ended.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// The outcomes a target may have, whatever it says.
const (
	works   = "works"
	fails   = "fails"   // says so, has done nothing
	unknown = "unknown" // does nothing and does not answer
	lost    = "lost"    // does it, and the answer is lost
	slow    = "slow"    // does it, after the sender gave up
	refuses = "refuses" // lets nobody in, whatever it did before
)

// do is the target of steps. A keyed target carries out one key once and says so.
func (w *world) do(ctx context.Context, u *unlucky, job engine.StepJob) (string, error) {
	id := attemptID(job.Key, job.Attempt)
	w.check.arrives(id, job)
	w.mu.Lock()
	w.attempts[id]++
	throw := fmt.Sprintf("do %s %d", id, w.attempts[id])
	mood := works
	if time.Now().Before(w.moody) {
		mood = w.mood
		if mood == "shaky" { // the first attempt does it and gives no answer, and those after it are not let in
			mood = refuses
			if job.Attempt == 1 {
				mood = lost
			}
		}
		if mood == "mixed" {
			mood = []string{works, fails, unknown, lost, slow, refuses}[w.dice(6, "mood %s", throw)]
		}
	}
	w.mu.Unlock()
	defer w.check.leaves(id, job)
	before := time.Millisecond + time.Duration(w.dice(int(3*time.Second), "before %s", throw))
	after := time.Millisecond + time.Duration(w.dice(int(time.Second), "after %s", throw))
	u.perish("before")
	if !sleep(ctx, before) {
		// What was under way when the program died arrived, or it did not.
		if mood != fails && mood != unknown && mood != refuses && w.dice(2, "died %s", throw) == 0 {
			w.effect(job)
		}
		return "", &actions.Error{Err: errors.New("no answer"), Unknown: true}
	}
	if job.Step.Keyed && w.has(job.Key) && mood != refuses {
		mood = works // the key is known: whatever ails the target, it has done this
	}
	switch mood {
	case fails:
		sleep(ctx, after)
		return "", errors.New("500")
	case refuses:
		return "", errors.New("connection refused")
	case unknown:
		<-ctx.Done()
		return "", &actions.Error{Err: errors.New("no answer"), Unknown: true}
	case slow, lost:
		w.effect(job)
		if mood == slow {
			<-ctx.Done()
		}
		return "", &actions.Error{Err: errors.New("connection reset"), Unknown: true}
	}
	w.effect(job)
	u.perish("after")
	if !sleep(ctx, after) {
		return "", &actions.Error{Err: errors.New("no answer"), Unknown: true}
	}
	return "200", nil
}

// find is what a selector finds: a few more or less than its step may have, and now and then nothing or no answer.
func (w *world) find(ctx context.Context, scope engine.Scope, selector string) ([]string, error) {
	throw := fmt.Sprintf("find %s %v", scope, time.Since(w.began))
	if !sleep(ctx, time.Millisecond+time.Duration(w.dice(int(time.Second), "asked %s", throw))) {
		return nil, ctx.Err()
	}
	w.mu.Lock()
	dark := time.Now().Before(w.blind) || time.Now().Before(w.hangs)
	w.mu.Unlock()
	most, err := strconv.Atoi(selector)
	if dark || err != nil {
		return nil, errors.New("connection refused")
	}
	count := max(0, most-2+w.dice(5, "found %s", throw))
	w.mu.Lock()
	if w.calm { // nothing changes any more
		count = min(count, most)
	}
	w.mu.Unlock()
	names := make([]string, count)
	for i := range names {
		names[i] = fmt.Sprintf("%s-%d", scope, i)
	}
	w.check.found(scope, names)
	return names, nil
}

func (w *world) has(key string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.effects[key] > 0
}

func (w *world) effect(job engine.StepJob) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if job.Step.Keyed && w.effects[job.Key] > 0 {
		return
	}
	w.effects[job.Key]++
	w.check.acted(job)
}

// done is what a target answers to whether a step has happened. It does not always answer.
func (w *world) done(ctx context.Context, job engine.StepJob) (bool, error) {
	throw := fmt.Sprintf("done %s %v", job.Key, time.Since(w.began))
	if !sleep(ctx, time.Millisecond+time.Duration(w.dice(int(time.Second), "before %s", throw))) {
		return false, ctx.Err()
	}
	w.mu.Lock()
	out := time.Now().Before(w.moody) && w.dice(2, "out %s", throw) == 0
	w.mu.Unlock()
	if out {
		return false, errors.New("connection refused")
	}
	return w.has(job.Key), nil
}

// attemptID names an attempt of a step.
func attemptID(key string, attempt int) string { return fmt.Sprintf("%s#%d", key, attempt) }

// notify is the pager, for pages, tickets and questions alike.
func (w *world) notify(ctx context.Context, job engine.Job) error {
	if !sleep(ctx, time.Millisecond+time.Duration(w.dice(int(time.Second), "pager %s %d", job.ID, job.Attempts))) {
		return ctx.Err()
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	n := job.Notice
	if time.Now().Before(w.deaf) && w.dice(3, "deaf %s %d", job.ID, job.Attempts) > 0 {
		return errors.New("503")
	}
	told := [2]string{string(n.Incident), string(n.Severity)}
	if n.Action != engine.NoticeTrigger && !w.paged[told] {
		w.check.fault("the pager is told to %s %s before it heard of it", n.Action, n.Incident)
	}
	w.paged[told] = true
	w.taken[job.ID] = true
	if w.dice(20, "receipt %s %d", job.ID, job.Attempts) == 0 && time.Now().Before(w.deaf) {
		return errors.New("the answer was lost")
	}
	return nil
}

// set makes a condition stand as "name=truth" says.
func (w *world) set(scope engine.Scope, what string) {
	name, truth, _ := strings.Cut(what, "=")
	w.mu.Lock()
	defer w.mu.Unlock()
	w.truths[scope][name] = truth
	delete(w.waves[scope], name)
}
