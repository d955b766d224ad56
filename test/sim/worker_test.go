package sim

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/modeshift/modeshift/actions"
	"github.com/modeshift/modeshift/engine"
	"github.com/modeshift/modeshift/engine/loop"
)

// worker carries out jobs as package runner says they are carried out.
type worker struct {
	w    *world
	log  *unlucky
	loop *loop.Loop
	wake chan struct{}

	mu   sync.Mutex // guards held
	held map[string]bool
	wg   sync.WaitGroup
}

const attemptTimeout = 10 * time.Second

func (k *worker) run(ctx context.Context) {
	defer k.wg.Wait()
	poll := time.NewTicker(time.Second + 137*time.Nanosecond)
	defer poll.Stop()
	for ctx.Err() == nil {
		k.lease(ctx)
		select {
		case <-ctx.Done():
		case <-poll.C:
		case <-k.wake:
		}
	}
}

func (k *worker) lease(ctx context.Context) {
	jobs, err := k.log.Lease(ctx, 100)
	if err != nil {
		return
	}
	for _, job := range jobs {
		k.mu.Lock()
		has := k.held[job.ID]
		k.held[job.ID] = true
		k.mu.Unlock()
		if has {
			continue
		}
		k.wg.Go(func() {
			k.attempt(ctx, job)
			k.mu.Lock()
			delete(k.held, job.ID)
			k.mu.Unlock()
			select {
			case k.wake <- struct{}{}:
			default:
			}
		})
	}
}

// attempt makes one attempt and sees to it that what came of it is stored.
func (k *worker) attempt(ctx context.Context, job engine.Job) {
	if job.Notice != nil {
		err := k.w.Notify(ctx, job)
		k.insist(ctx, func() error {
			if err != nil {
				return k.log.Retry(ctx, job.ID, err.Error(), time.Second<<min(job.Attempts, 6))
			}
			return k.log.Done(ctx, job.ID)
		})
		return
	}
	report := &engine.StepReported{Change: job.Step.Change, Step: job.Step.Step.Name, Undo: job.Step.Undo, Attempt: job.Step.Attempt}
	if job.Begun && job.Step.Step.Destructive && !job.Step.Step.Keyed {
		report.Outcome, report.Detail = engine.OutcomeUnknown, "its worker died"
	} else {
		if k.log.Begin(ctx, job.ID) != nil {
			k.insist(ctx, func() error { return k.log.Retry(ctx, job.ID, "it could not be begun", time.Second) })
			return
		}
		actx, cancel := context.WithTimeout(ctx, attemptTimeout)
		answer, err := k.w.do(actx, k.log, job.ID, *job.Step)
		cancel()
		switch {
		case ctx.Err() != nil:
			return
		case err == nil:
			report.Outcome, report.Detail = engine.OutcomeDone, answer
		case actions.Unknown(err):
			report.Outcome, report.Detail = engine.OutcomeUnknown, err.Error()
		default:
			report.Outcome, report.Detail = engine.OutcomeFailed, err.Error()
		}
	}
	k.insist(ctx, func() error {
		_, err := k.loop.Submit(ctx, job.Step.Scope, engine.Actor{}, report)
		return err
	})
	k.insist(ctx, func() error { return k.log.Done(ctx, job.ID) })
}

// insist tries again until it works, or the process ends.
func (k *worker) insist(ctx context.Context, do func() error) {
	for {
		err := do()
		if err == nil || ctx.Err() != nil || errors.Is(err, errDied) {
			return
		}
		sleep(ctx, time.Second+11*time.Nanosecond)
	}
}
