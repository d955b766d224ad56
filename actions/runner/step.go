package runner

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"time"

	"github.com/prometheus/common/model"

	"github.com/modeshift/modeshift/actions"
	"github.com/modeshift/modeshift/actions/notice"
	"github.com/modeshift/modeshift/engine"
)

// maxDetail is how much of what a target said of a step is stored, in bytes.
const maxDetail = 1 << 10

// diedDuring is what is reported of a destructive step that was under way when its worker died, where neither a key nor a
// check could tell more.
const diedDuring = "the server stopped during it"

// carryOut makes one attempt of a step:
//
//	begun before? ──no──▶ Begin ──▶ Do ──▶ report ──▶ Done
//	     │ yes                      ▲         ▲
//	     ▼                          │         │
//	  done already? ──no────────────┘         │
//	     ├──yes───────────────────────────────┤
//	     └──nobody knows──▶ would a second time do harm? ──yes: unknown
//
// The mark that an attempt was begun is durable before the attempt is, and the report before the job is over. So whoever
// finds a mark without a report knows that something may have happened, and only then.
func (r *Runner) carryOut(ctx context.Context, h *held) {
	job, st := h.job.Step, h.step
	log := r.stepLog(h)
	if r.opts.Steps.Stale(h.job) {
		log.Info("nobody waits for this attempt any more: its outcome was told before")
		r.over(h)
		return
	}
	if job.Find {
		r.find(ctx, h)
		return
	}
	kind := r.opts.Steps.Kinds[job.Step.Kind]
	if kind == nil {
		// The plan is older than the server's configuration.
		v := verdict{outcome: engine.OutcomeFailed, detail: fmt.Sprintf("no kind of action %q is configured any more; nothing was done", job.Step.Kind)}
		if h.job.Begun {
			v.outcome, v.detail = engine.OutcomeUnknown, fmt.Sprintf("%s, and no kind of action %q is configured any more", diedDuring, job.Step.Kind)
		}
		r.judged(ctx, h, "none", v)
		return
	}
	asked := false // the target was, and says that nothing has happened
	if h.job.Begun || job.Attempt > 1 {
		// An attempt before this one may have been the one.
		happened, err := r.check(ctx, kind, h)
		asked = err == nil && !happened
		switch {
		case ctx.Err() != nil:
			st.next = stepLeft
			return
		case happened:
			r.judged(ctx, h, job.Step.Kind, verdict{outcome: engine.OutcomeDone, detail: "it had happened already"})
			return
		case errors.Is(err, errNoCheck):
			// An attempt that was reported was judged by the core, which asks for another only where that is right.
			if h.job.Begun && job.Step.Destructive && !job.Step.Keyed {
				r.judged(ctx, h, job.Step.Kind, verdict{outcome: engine.OutcomeUnknown, detail: diedDuring})
				return
			}
		case err != nil && job.Step.Destructive:
			// Its being keyed may mean no more than that it can be asked about, so it is not sent. The core asks again.
			detail := "whether it has happened cannot be told: " + err.Error()
			if h.job.Begun {
				detail = diedDuring + "; " + detail
			}
			r.judged(ctx, h, job.Step.Kind, verdict{outcome: engine.OutcomeUnknown, detail: detail})
			return
		}
	}
	bounded, done := context.WithTimeout(ctx, r.opts.StoreTimeout)
	err := r.jobs.Begin(bounded, h.job.ID)
	done()
	if err != nil {
		// Without the mark nobody would know of it later, so it is not done now.
		log.Warn("cannot note that the attempt begins; nothing is done yet", "error", err)
		st.next = stepPutOff
		return
	}
	if ctx.Err() != nil {
		r.unbegin(h)
		return
	}
	began := time.Now()
	log.Debug("step begins", "age", began.Sub(h.job.Owed))
	v, interrupted := r.do(ctx, kind, h)
	r.metrics.stepSeconds(job.Step.Kind, time.Since(began))
	if interrupted {
		if v.outcome == engine.OutcomeFailed {
			r.unbegin(h)
			return
		}
		log.Warn("step interrupted: the program is stopping; what came of it is found out at the next start")
		st.next = stepLeft
		return
	}
	v.asked = asked
	if h.job.Begun && !asked && job.Step.Destructive && v.outcome == engine.OutcomeFailed {
		// This time it has done nothing. What became of the time before nobody has said.
		v.outcome, v.detail = engine.OutcomeUnknown, diedDuring+", and the next time: "+v.detail
	}
	r.judged(ctx, h, job.Step.Kind, v)
}

// unbegin takes back the mark of an attempt that did nothing.
func (r *Runner) unbegin(h *held) {
	h.step.next = stepLeft
	// The program ends: this has its own time.
	ctx, cancel := context.WithTimeout(context.Background(), r.opts.StoreTimeout)
	defer cancel()
	if err := r.jobs.Retry(ctx, h.job.ID, "the server was stopping", 0); err != nil {
		r.stepLog(h).Warn("cannot note that the attempt did nothing", "error", err)
	}
}

// judged notes what came of a step, and reports it.
func (r *Runner) judged(ctx context.Context, h *held, kind string, v verdict) {
	v.detail = notice.Cut(v.detail, maxDetail)
	if v.after > 0 {
		r.patience.ask(h.job.Step.Key, time.Now().Add(min(v.after, r.opts.MaxAfter)))
	}
	h.step.verdict = v
	r.metrics.stepOutcome(kind, v.outcome)
	log := r.stepLog(h)
	switch v.outcome {
	case engine.OutcomeDone:
		log.Info("step done", "answer", v.detail)
	default:
		log.Warn("step "+string(v.outcome), "problem", v.detail)
	}
	r.report(ctx, h)
}

// report tells what came of a step, then the store that the job is over.
func (r *Runner) report(ctx context.Context, h *held) {
	// What is known is worth a moment even when the program stops.
	bounded, done := context.WithTimeout(context.WithoutCancel(ctx), r.opts.Steps.ReportLimit)
	defer done()
	stop := context.AfterFunc(ctx, func() { time.AfterFunc(r.opts.StoreTimeout, done) })
	defer stop()
	if err := r.opts.Steps.Report(bounded, h.job.Step.Scope, h.happened()); err != nil {
		h.step.next = stepUnreported
		h.step.reports++
		if now := time.Now(); now.Sub(h.step.told) >= time.Minute {
			h.step.told = now
			r.stepLog(h).Error("cannot report what came of a step; it is remembered and reported again", "outcome", string(h.step.verdict.outcome), "error", err)
		}
		return
	}
	r.over(h)
}

// happened is what has to be reported of a step.
func (h *held) happened() engine.Happening {
	job, v := h.job.Step, h.step.verdict
	if v.found != nil {
		return v.found
	}
	return &engine.StepReported{Change: job.Change, Step: job.Step.Name, Undo: job.Undo, Attempt: job.Attempt, Outcome: v.outcome, Detail: v.detail,
		Asked: v.asked && v.outcome == engine.OutcomeFailed}
}

// over tells the store that the job is over.
func (r *Runner) over(h *held) {
	ctx, cancel := context.WithTimeout(context.Background(), r.opts.StoreTimeout)
	defer cancel()
	h.step.next = stepOver
	if err := r.jobs.Done(ctx, h.job.ID); err != nil && !r.opts.Settled(err) {
		h.step.next = stepUnstored
	}
}

// do has the kind do it. interrupted says that it ended because the program is stopping, and that nothing was learned.
func (r *Runner) do(ctx context.Context, kind actions.Kind, h *held) (v verdict, interrupted bool) {
	var answer string
	err := r.within(ctx, h, func(ctx context.Context) (err error) {
		answer, err = kind.Do(ctx, *h.job.Step)
		return err
	})
	var told *actions.Error
	switch {
	case err == nil:
		return verdict{outcome: engine.OutcomeDone, detail: answer}, false
	case actions.Unknown(err):
		v.outcome = engine.OutcomeUnknown
	case !errors.As(err, &told) && (errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled)):
		v.outcome = engine.OutcomeUnknown // it says that its time was over, and not what it had done by then
	default:
		v.outcome = engine.OutcomeFailed
	}
	v.detail, v.after = err.Error(), actions.RetryAfter(err)
	return v, errors.Is(context.Cause(ctx), errStopping)
}

// errNoCheck says that nobody can be asked whether a step has happened.
var errNoCheck = errors.New("nobody can be asked whether it has happened")

// check asks a kind whether a step has happened. It returns errNoCheck when that cannot be asked, any other error when there
// was no answer.
func (r *Runner) check(ctx context.Context, kind actions.Kind, h *held) (happened bool, err error) {
	checker, can := kind.(actions.Checker)
	if !can {
		return false, errNoCheck
	}
	err = r.within(ctx, h, func(ctx context.Context) (err error) {
		happened, err = checker.Done(ctx, *h.job.Step)
		return err
	})
	if err != nil && r.opts.Steps.NoCheck(err) {
		err = errNoCheck
	}
	return happened && err == nil, err
}

// within calls a kind with a step's timeout. A panic is its step's trouble, not the program's; a call that does not keep to
// its time is left alone, for a change must not wait for ever.
func (r *Runner) within(ctx context.Context, h *held, call func(context.Context) error) error {
	timeout := timeoutOf(*h.job.Step, r.opts.Steps.Timeout)
	ctx, cancel := context.WithTimeoutCause(ctx, timeout, fmt.Errorf("no answer within %v", timeout))
	defer cancel()
	ended := make(chan error, 1)
	go func() {
		var err error
		defer func() {
			if p := recover(); p != nil {
				// The value of a panic may hold anything, a secret too: only its type and place are told.
				err = &actions.Error{Err: fmt.Errorf("the action panicked with a %T", p), Unknown: true}
				r.stepLog(h).Error("an action panicked", "type", fmt.Sprintf("%T", p), "stack", string(debug.Stack()))
			}
			ended <- err
		}()
		err = call(ctx)
	}()
	over := ctx.Done()
	var late <-chan time.Time
	for {
		select {
		case err := <-ended:
			if err != nil && errors.Is(err, context.DeadlineExceeded) && errors.Is(ctx.Err(), context.DeadlineExceeded) {
				return &timedOut{context.Cause(ctx), err}
			}
			return err
		case <-over:
			over, late = nil, time.After(r.opts.Steps.Overrun)
		case <-late:
			r.stepLog(h).Error("an action does not end when its time is over; it is left alone")
			return &actions.Error{Err: fmt.Errorf("it did not end %v after its time of %v", r.opts.Steps.Overrun, timeout), Unknown: true}
		}
	}
}

// timedOut is a kind's error with the time it had; what the kind said of the outcome stands.
type timedOut struct{ cause, err error }

func (e *timedOut) Error() string { return fmt.Sprintf("%v (%v)", e.cause, e.err) }
func (e *timedOut) Unwrap() error { return e.err }

// timeoutOf is how long an attempt may take: what the specification says under timeout, or def.
func timeoutOf(job engine.StepJob, def time.Duration) time.Duration {
	text := job.Step.Spec
	if job.Undo {
		text = job.Step.UndoSpec
	}
	var spec struct {
		Timeout string `json:"timeout"`
	}
	// Rules that load give it in this form; anything else has no timeout of its own.
	if err := json.Unmarshal([]byte(text), &spec); err != nil || spec.Timeout == "" {
		return def
	}
	if d, err := model.ParseDuration(spec.Timeout); err == nil && d > 0 {
		return time.Duration(d)
	}
	return def
}

// stepLog names a step, and nothing of what it holds.
func (r *Runner) stepLog(h *held) *slog.Logger {
	s := h.job.Step
	return r.opts.Log.With("job", h.job.ID, "step", s.Key, "kind", s.Step.Kind, "scope", string(s.Scope), "change", string(s.Change), "undo", s.Undo, "attempt", s.Attempt)
}
