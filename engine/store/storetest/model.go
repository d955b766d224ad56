package storetest

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/modeshift/modeshift/engine"
	"github.com/modeshift/modeshift/engine/store"
)

// modelled is a job as the model has it: in the order in which jobs became owed.
type modelled struct {
	id, key  string
	state    store.JobState
	due      time.Time
	leased   time.Time
	attempts int
	problem  string
	begun    bool
}

// model runs random histories against a list of jobs that is simple enough to be seen to be right.
func model(t *testing.T, fresh func(testing.TB) Open, lasting bool) {
	rapid.Check(t, func(rt *rapid.T) {
		f := &fixture{t: t, clock: NewClock(), open: fresh(t)}
		f.start()
		defer func() { f.must(f.Close()) }()
		var jobs []*modelled
		versions := map[engine.Scope]engine.Version{}

		// due is what the next lease has to hand out.
		due := func(limit int) (due []*modelled) {
			seen := map[string]bool{}
			for _, j := range jobs {
				if j.state != store.JobOwed || seen[j.key] {
					continue
				}
				seen[j.key] = true // the oldest of its key
				if now := f.clock.Now(); !j.due.After(now) && !j.leased.After(now) && (limit == 0 || len(due) < limit) {
					due = append(due, j)
				}
			}
			return due
		}
		// end compares the answer to an outcome with what the model says of it.
		end := func(rt *rapid.T, verb string, tell func(id, problem string) error, take func(*modelled)) {
			if len(jobs) == 0 {
				rt.Skip("no jobs")
			}
			j := rapid.SampledFrom(jobs).Draw(rt, "job")
			problem := rapid.SampledFrom([]string{"", "503", "naïve\x00\n"}).Draw(rt, "problem")
			err := tell(j.id, problem)
			switch {
			case j.state == store.JobOwed:
				if err != nil {
					rt.Fatalf("%s %s: %v", verb, j.id, err)
				}
				if verb != "begin" {
					j.problem = problem
				}
				take(j)
			case j.state == store.JobDone && verb == "done":
				if err != nil {
					rt.Fatalf("done again: %v", err)
				}
			case !errors.Is(err, store.ErrNotOwed):
				rt.Fatalf("%s of a job that is %s: %v", verb, j.state, err)
			}
		}
		actions := map[string]func(*rapid.T){
			"owe": func(rt *rapid.T) {
				stream := rapid.SampledFrom([]engine.Scope{"a", "b"}).Draw(rt, "stream")
				incidents := rapid.SliceOfN(rapid.SampledFrom([]engine.IncidentID{"i", "j", "k"}), 1, 3).Draw(rt, "incidents")
				for i, id := range f.owe(stream, versions[stream], incidents...) {
					jobs = append(jobs, &modelled{id: id, key: string(incidents[i]), state: store.JobOwed, due: f.clock.Now()})
				}
				versions[stream] += engine.Version(len(incidents))
			},
			"pass time": func(rt *rapid.T) {
				f.clock.Advance(rapid.SampledFrom([]time.Duration{time.Nanosecond, time.Second, lease - time.Nanosecond, lease, time.Minute}).Draw(rt, "time"))
			},
			"lease": func(rt *rapid.T) {
				limit := rapid.IntRange(0, 3).Draw(rt, "limit")
				want := due(limit)
				got := f.lease(limit)
				if len(got) != len(want) {
					rt.Fatalf("leased %q, want %d jobs", idsOf(got), len(want))
				}
				for i, j := range want {
					if g := got[i]; g.ID != j.id || g.Key != j.key || g.Attempts != j.attempts || g.Begun != j.begun || (j.attempts > 0 && g.Problem != j.problem) {
						rt.Fatalf("leased %s of %s after %d attempts (%q), want %+v", g.ID, g.Key, g.Attempts, g.Problem, *j)
					}
					j.leased = f.clock.Now().Add(lease)
				}
			},
			"begin": func(rt *rapid.T) {
				end(rt, "begin", func(id, _ string) error { return f.Begin(ctx, id) }, func(j *modelled) { j.begun = true })
			},
			"done": func(rt *rapid.T) {
				end(rt, "done", func(id, _ string) error { return f.Done(ctx, id) }, func(j *modelled) { j.state = store.JobDone })
			},
			"fail": func(rt *rapid.T) {
				end(rt, "fail", func(id, problem string) error { return f.Fail(ctx, id, problem) }, func(j *modelled) { j.state = store.JobFailed })
			},
			"retry": func(rt *rapid.T) {
				after := rapid.SampledFrom([]time.Duration{0, time.Nanosecond, time.Second, time.Minute}).Draw(rt, "after")
				end(rt, "retry", func(id, problem string) error { return f.Retry(ctx, id, problem, after) }, func(j *modelled) {
					j.attempts++
					j.begun = false
					j.due, j.leased = f.clock.Now().Add(after), time.Time{}
				})
			},
			"": func(rt *rapid.T) {
				want := store.JobCounts{}
				for _, j := range jobs {
					switch {
					case j.state == store.JobDone:
						want.Done++
					case j.state == store.JobFailed:
						want.Failed++
					case j.leased.After(f.clock.Now()):
						want.Leased++
					default:
						want.Owed++
					}
				}
				got, err := f.JobCounts(ctx)
				if got.Oldest = want.Oldest; err != nil || got != want {
					rt.Fatalf("counts %+v, %v; want %+v", got, err, want)
				}
			},
		}
		if lasting {
			actions["die"] = func(*rapid.T) {
				f.reopen()
				for _, j := range jobs {
					j.leased = time.Time{}
				}
			}
		}
		rt.Repeat(actions)

		// In the end each job is there, newest first, in the state the model says.
		all, err := f.Jobs(ctx, store.JobFilter{})
		f.must(err)
		slices.Reverse(all)
		for i, j := range jobs {
			state := j.state
			if state == store.JobOwed && j.leased.After(f.clock.Now()) {
				state = store.JobLeased
			}
			if got := fmt.Sprint(all[i].ID, " ", all[i].State); got != fmt.Sprint(j.id, " ", state) {
				rt.Fatalf("job %d is %s, want %s %s", i, got, j.id, state)
			}
		}
		f.verify()
	})
}
