package sim

import (
	"context"
	"fmt"
	"log/slog"
	"strconv"
	"time"

	"github.com/modeshift/modeshift/actions"
	"github.com/modeshift/modeshift/actions/runner"
	"github.com/modeshift/modeshift/engine"
)

const attemptTimeout = 10 * time.Second

// newRunner is the production runner, wired as the server wires it, with targets and a pager of the world's.
func newRunner(w *world, p *process) *runner.Runner {
	pager := &outside{w: w, p: p}
	return runner.New(p.log, map[engine.Severity]actions.Notifier{
		engine.SeverityPage: pager, engine.SeverityTicket: pager, engine.SeverityAsk: pager,
		engine.SeverityExec: pager, engine.SeverityInfo: pager,
	}, runner.Options{
		Timeout: attemptTimeout, Log: slog.New(slog.DiscardHandler),
		Rand: func() float64 { return float64(w.dice(1000, "backoff %v", time.Since(w.began))) / 1000 },
		Steps: &runner.Steps{
			Kinds: map[string]actions.Kind{"sim": &outside{w: w, p: p}, askable: &asked{outside{w: w, p: p}}}, Timeout: attemptTimeout,
			Stale:  func(job engine.Job) bool { return stale(p, job) },
			Finder: &outside{w: w, p: p},
			Report: func(ctx context.Context, scope engine.Scope, what engine.Happening) error {
				return tellLoop(ctx, w, p, scope, what)
			},
		},
	})
}

// askable is the kind of step whose target can be asked whether it has happened.
const askable = "asked"

// asked is outside for those.
type asked struct{ outside }

func (a *asked) Done(ctx context.Context, job engine.StepJob) (bool, error) {
	ctx, done := a.mortal(ctx)
	defer done()
	if happened, err := a.w.done(ctx, job); err != nil || a.p.log.mutation != "said done, not done" {
		return happened, err
	}
	return true, nil
}

// tellLoop tells the loop what came of an attempt. Now and then it tells it twice: at once, or when something else is under way.
func tellLoop(ctx context.Context, w *world, p *process, scope engine.Scope, what engine.Happening) error {
	var again engine.Happening
	id := ""
	switch r := what.(type) {
	case *engine.StepReported:
		if p.log.mutation == "failed after unknown" {
			r.Asked = true
		}
		twice := *r
		id, again = fmt.Sprint(r.Change, r.Step, r.Undo, r.Attempt), &twice
	case *engine.TargetsReported:
		twice := *r
		id, again = fmt.Sprint("targets ", r.Change, r.Step, r.Attempt), &twice
	}
	_, err := p.loop.Submit(ctx, scope, engine.Actor{}, what)
	if err == nil && w.dice(4, "again %s", id) == 0 {
		_, err = p.loop.Submit(ctx, scope, engine.Actor{}, again)
	}
	if late := w.dice(int(20*time.Minute), "late %s", id); err == nil && time.Duration(late) < 5*time.Minute {
		p.wg.Go(func() {
			if sleep(p.ctx, time.Duration(late)) {
				_, _ = p.loop.Submit(p.ctx, scope, engine.Actor{}, again) // nobody waits for the answer
			}
		})
	}
	return err
}

// stale reports whether nobody waits for a step's outcome: the loop is past the event that asked for it.
func stale(p *process, job engine.Job) bool {
	v, ok := p.loop.View(job.Step.Scope)
	var asked engine.Version
	if _, err := fmt.Sscanf(job.ID, string(job.Step.Scope)+"/%d", &asked); err != nil || !ok || v.State.Version < asked {
		return false
	}
	return !awaited(v.State, *job.Step)
}

// awaited reports whether s waits for the outcome of this very attempt.
func awaited(s engine.State, job engine.StepJob) bool {
	if s.Change == nil || s.Change.Running == nil {
		return false
	}
	r := s.Change.Running
	return r.Change == job.Change && r.Step.Name == job.Step.Name && r.Undo == job.Undo && r.Attempt == job.Attempt && r.Finding == job.Find
}

// outside is the way of one process to the world: it ends with the process.
type outside struct {
	w *world
	p *process
}

// mortal ends ctx when the process dies, which leaves attempts no time to end well.
func (o *outside) mortal(ctx context.Context) (context.Context, func()) {
	ctx, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(o.p.ctx, cancel)
	return ctx, func() { stop(); cancel() }
}

func (o *outside) Notify(ctx context.Context, job engine.Job) error {
	ctx, done := o.mortal(ctx)
	defer done()
	if n := job.Notice; o.p.log.mutation == "a page that gets lost" && n.Severity == engine.SeverityPage && n.Action == engine.NoticeTrigger {
		return nil
	}
	return o.w.notify(ctx, job)
}

func (o *outside) Do(ctx context.Context, job engine.StepJob) (string, error) {
	ctx, done := o.mortal(ctx)
	defer done()
	if o.p.log.mutation == "a second key for the second attempt" && job.Attempt > 1 {
		job.Key += "/again"
	}
	return o.w.do(ctx, o.p.log, job)
}

func (o *outside) Find(ctx context.Context, scope engine.Scope, selector string) ([]string, error) {
	ctx, done := o.mortal(ctx)
	defer done()
	names, err := o.w.find(ctx, scope, selector)
	if most, _ := strconv.Atoi(selector); o.p.log.mutation == "more targets than approved" && len(names) > most {
		names = names[:most]
	}
	return names, err
}

func (o *outside) Check(spec []byte) ([]byte, engine.Traits, []engine.SpecProblem) {
	return spec, engine.Traits{}, nil // the traits of a step are drawn
}

func (o *outside) Describe(job engine.StepJob) (string, error) { return job.Key, nil }
