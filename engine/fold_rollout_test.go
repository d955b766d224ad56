package engine_test

import (
	"time"

	"pgregory.net/rapid"

	"github.com/modeshift/modeshift/engine"
)

// Random roll-outs and instances, and the laws of waves.

func drawRollout(t *rapid.T, conditions int) *engine.Rollout {
	if between(t, 0, 2, "rolled out") > 0 {
		return nil
	}
	r := &engine.Rollout{Waves: pick(t, [][]engine.Percent{{100}, {1, 100}, {5, 25, 100}, {50, 100}}, "waves"), Pause: often(t, 40*time.Second, "pause")}
	if between(t, 0, 2, "wave verified") > 0 {
		r.Verify = engine.ConditionRef(between(t, 1, conditions, "wave verify"))
	}
	return r
}

// drawInstances draws what the table of instances might say: mostly of the directive in force, with most of them fine.
func drawInstances(t *rapid.T, s engine.State, at time.Time) engine.Instances {
	in := engine.Instances{Known: pick(t, []int{0, 0, 0, 1, 2, 3, 10, 200}, "instances"), Revision: s.Directive.Revision}
	if s.Change != nil {
		in.Wave = s.Change.Wave
		if s.Change.Instances == 0 { // it waits for nobody: whoever came since is told all the same
			in.Known = pick(t, []int{0, in.Known}, "came since")
		} else if between(t, 0, 19, "all gone") > 0 {
			in.Known = s.Change.Instances
		}
	}
	if in.Known == 0 {
		return engine.Instances{}
	}
	if between(t, 0, 9, "of before") == 0 {
		in.Revision -= min(in.Revision, 1)
	}
	in.Told = in.Known
	if s.Change != nil && s.Change.Before != nil {
		in.Told = min(in.Known, s.Change.Waved)
	}
	switch between(t, 0, 5, "answers") {
	case 0:
	case 1:
		in.Failed = between(t, 0, in.Told, "failed")
		in.Applied = between(t, 0, in.Told-in.Failed, "applied")
	default:
		in.Applied = in.Told
	}
	if behind := in.Told - in.Applied; behind > 0 && between(t, 0, 1, "for long") == 0 {
		in.Behind, in.Since = behind, at.Add(-time.Minute)
	}
	return in
}

// seeRollout checks one event against the state before it.
func seeRollout(fail func(string, ...any), p engine.Policy, s engine.State, in engine.Input, e engine.Event) {
	c := s.Change
	if in.Deposed != "" && e.Reason.Code != engine.CodeRetry { // a step that is out is sent again, under its key
		switch e.Fact.(type) {
		case engine.ChangeStarted, engine.DirectivePublished, engine.WavePublished, engine.StepStarted, engine.ChangeDone, engine.ChangeUndone:
			fail("somebody else has led since")
		}
	}
	switch f := e.Fact.(type) {
	case engine.WavePublished:
		r := c.Plan.Rollout
		if c.ID != f.Change || r == nil || f.Wave != c.Wave+1 || f.Share != r.Waves[c.Wave] || c.Undoing {
			fail("it is not the next wave of %+v", c)
		}
		if f.Instances < 1 || f.Share < 100 && f.Instances > c.Instances {
			fail("it tells %d of %d", f.Instances, c.Instances)
		}
		if f.Wave > 1 {
			passed(fail, p, c, in, e)
		}
	case engine.RolloutDone:
		if c.ID != f.Change || c.Rolled || c.Undoing {
			fail("nothing is rolled out")
		}
		if e.Reason.Code != engine.CodeInstances {
			if c.Wave != len(c.Plan.Rollout.Waves) {
				fail("there are waves left")
			}
			passed(fail, p, c, in, e)
		} else if in.Instances.Known > 0 {
			fail("there are instances")
		}
	case engine.DirectiveApplied:
		told := in.Instances
		if c.ID != f.Change || told.Revision != s.Directive.Revision || told.Wave != c.Wave {
			fail("that is what was said of another directive")
		}
		if float64(told.Applied) < 0.99*float64(told.Told) && told.Applied < told.Told-1 || told.Applied == 0 {
			fail("%d of %d are not enough", told.Applied, told.Told)
		}
	case engine.StepStarted:
		if !f.Undo && f.Change == c.ID && !c.Rolled && !c.Plan.PublishLast {
			fail("the instances do not have the mode yet")
		}
	case engine.ChangeDone:
		if !c.Rolled && c.Why != engine.CodeSettled {
			fail("the instances do not have the mode yet")
		}
	case engine.ChangeFailed:
		if unknown, ok := in.What.(*engine.Observed); ok && e.Reason.Code == engine.CodeVerify {
			for _, o := range unknown.Conditions {
				if o.Truth == engine.False {
					return
				}
			}
			fail("only a false takes a wave back")
		}
	}
}

// passed checks that a wave may be followed by what is next.
func passed(fail func(string, ...any), p engine.Policy, c *engine.Change, in engine.Input, e engine.Event) {
	r := c.Plan.Rollout
	switch {
	case c.Applied == nil:
		fail("the wave before was not applied")
	case e.Reason.Code == engine.CodePause && r.Verify != "":
		fail("nobody verified it")
	case e.At.Before(c.Applied.At.Add(r.Pause)):
		fail("its pause is not over")
	case r.Verify != "":
		o, ok := in.What.(*engine.Observed)
		if !ok || o.Instant.Before(c.Applied.At.Add(r.Pause)) {
			fail("nobody looked since")
			return
		}
		for i := range p.Conditions {
			if p.Conditions[i].Name == r.Verify && o.Conditions[i].Truth == engine.True {
				return
			}
		}
		fail("%s is not true", r.Verify)
	}
}

// leavesInWaves reports whether m is being left wave by wave, so that it is still in force at some instances.
func leavesInWaves(c *engine.Change, m engine.Mode) bool {
	return c != nil && c.Plan.Rollout != nil && !c.Rolled && c.From == m
}
