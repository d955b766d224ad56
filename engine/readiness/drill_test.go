package readiness

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/modeshift/modeshift/engine"
)

// run lets the core decide, so that what is folded is what it says.
type run struct {
	t      *testing.T
	policy engine.Policy
	state  engine.State
	at     time.Time
	events []engine.Event
}

func begin(t *testing.T) *run {
	conditions := []engine.Condition{{Name: "hot", Digest: "1"}, {Name: "cool", Digest: "2"}, {Name: "window", Digest: "3"}, {Name: "over", Digest: "4"}}
	r := &run{t: t, at: noon, policy: engine.Policy{
		Digest: "d", Scope: "checkout", Interval: 15 * time.Second, BlindAfter: 5 * time.Minute, Conditions: conditions,
		Modes: []engine.ModeRule{{Name: "normal"}, {Name: "degraded"}, {Name: "read-only"}},
		Transitions: []engine.Transition{
			{Name: "shed", From: []engine.Mode{"normal"}, To: "degraded", When: 0, Digest: "t1"},
			{Name: "recover", From: []engine.Mode{"degraded"}, To: "normal", When: 1, Digest: "t2"},
			{Name: "migrate", From: []engine.Mode{"normal", "degraded"}, To: "read-only", When: 2, Until: 4, Digest: "t3"},
		},
	}}
	r.do(&engine.TimePassed{})
	return r
}

func (r *run) do(what engine.Happening) {
	r.t.Helper()
	r.at = r.at.Add(15 * time.Second)
	if o, is := what.(*engine.Observed); is {
		o.Instant, o.Prev = r.at, r.at.Add(-15*time.Second)
	}
	events := engine.Decide(r.policy, r.state, engine.Input{At: r.at, Term: 1, By: engine.Actor{Principal: "ann", Person: "ann"}, What: what})
	for _, e := range events {
		if _, refused := e.Fact.(engine.RequestRefused); refused {
			r.t.Fatalf("refused: %s", e.Reason.Text)
		}
		r.state = engine.Apply(r.state, e)
	}
	r.events = append(r.events, events...)
}

// observe says which conditions are true; all others are false.
func (r *run) observe(names ...string) {
	r.t.Helper()
	o := &engine.Observed{}
	for _, c := range r.policy.Conditions {
		truth := engine.False
		if slices.Contains(names, c.Name) {
			truth = engine.True
		}
		o.Conditions = append(o.Conditions, engine.Observation{Asked: true, Truth: truth})
	}
	r.do(o)
}

func (r *run) set(mode engine.Mode, directiveOnly bool) {
	r.t.Helper()
	r.do(&engine.SetRequested{Mode: mode, Reason: "drill", For: time.Second, DirectiveOnly: directiveOnly})
}

func TestADrillIsAStayThatEndedByTheModesWayBack(t *testing.T) {
	for _, c := range []struct {
		name string
		do   func(*run)
		want string // mode: how the last stay ended, and whether there was a drill
	}{
		{"nothing has happened", func(*run) {}, "degraded: never; read-only: never"},
		{"a stay that lasts is no drill", func(r *run) { r.observe("hot") }, "degraded: never; read-only: never"},
		{"by itself in and out", func(r *run) { r.observe("hot"); r.observe("cool") }, "degraded: shed recover done drill; read-only: never"},
		{"by hand in and out", func(r *run) { r.set("degraded", false); r.set("normal", false) }, "degraded: shed recover done drill; read-only: never"},
		{"by hand in, by itself out", func(r *run) { r.set("degraded", false); r.observe(); r.observe("cool") },
			"degraded: shed recover done drill; read-only: never"},
		{"until is a way back", func(r *run) { r.observe("window"); r.observe("over") }, "degraded: never; read-only: migrate migrate until drill"},
		{"to undo the entry is none", func(r *run) {
			r.observe("hot")
			r.do(&engine.UndoRequested{Change: r.state.Past[0].ID, Reason: "no need"})
		}, "degraded: shed shed undone; read-only: never"},
		{"nor is what goes past the rules", func(r *run) { r.set("read-only", false); r.set("normal", true) }, "degraded: never; read-only: migrate - directive only"},
		{"to protect more is no way back, and the stay goes on after it", func(r *run) { r.observe("hot"); r.observe("window"); r.observe("over") },
			"degraded: shed migrate done; read-only: migrate migrate until drill"},
		{"a drill is remembered when the next stay ends otherwise", func(r *run) {
			r.observe("hot")
			r.observe("cool")
			r.observe("hot")
			r.do(&engine.UndoRequested{Change: r.state.Past[len(r.state.Past)-1].ID, Reason: "no need"})
		}, "degraded: shed shed undone, before it a drill; read-only: never"},
	} {
		r := begin(t)
		c.do(r)
		if got := told(Records(&r.policy, r.events)); got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
		// Two folds of one log: this one, and the core's.
		var f fold
		for _, e := range r.events {
			f.apply(e)
		}
		if f.mode != r.state.Mode {
			t.Errorf("%s: it ends in %s, and the core in %s", c.name, f.mode, r.state.Mode)
		}
		// What Tells leaves out is not missed.
		kept := slices.DeleteFunc(slices.Clone(r.events), func(e engine.Event) bool { return !Tells(e) })
		if got := told(Records(&r.policy, kept)); got != c.want {
			t.Errorf("%s, of what tells alone: %s", c.name, got)
		}
	}
}

func told(records []Record) string {
	var out []string
	for _, r := range records {
		text := "never"
		if s := r.Last; s != nil {
			text = strings.ReplaceAll(fmt.Sprintf("%s %s %s", orDash(s.In), orDash(s.Out), s.Ended), "  ", " ")
			switch {
			case r.Drill == s:
				text += " drill"
			case r.Drill != nil:
				text += ", before it a drill"
			}
		}
		out = append(out, string(r.Mode)+": "+text)
	}
	return strings.Join(out, "; ")
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

// The log is read back only so far: a stay whose beginning is not there still ended by its way back, and nothing is made up.
func TestAFoldMayBeginAnywhere(t *testing.T) {
	r := begin(t)
	r.observe("hot")
	r.observe("cool")
	r.observe("hot")
	r.observe("cool")
	whole := Records(&r.policy, r.events)[0].Drill
	if whole == nil {
		t.Fatal("no drill")
	}
	for from := range r.events {
		d := Records(&r.policy, r.events[from:])[0].Drill
		started := slices.ContainsFunc(r.events[from:], func(e engine.Event) bool {
			f, is := e.Fact.(engine.ChangeStarted)
			return is && f.Transition == "recover"
		})
		if started && (d == nil || !d.Left.Equal(whole.Left) || d.To != "normal") {
			t.Errorf("from %d on: %+v", from, d)
		}
		if !started && d != nil {
			t.Errorf("from %d on, where nobody saw how it was left: %+v", from, d)
		}
	}
}

// A scope above holds this one down and lets it go: by directives alone, which prove nothing of its own way back.
func TestWhatAScopeAboveAsksForIsNoDrill(t *testing.T) {
	r := begin(t)
	at := r.at.Add(time.Minute)
	event := func(f engine.Fact) engine.Event { return engine.Event{Stream: "checkout", At: at, Fact: f} }
	events := append(r.events, event(engine.ChangeStarted{Change: "a", Imposed: "shop", From: "normal", To: "degraded"}),
		event(engine.DirectivePublished{Directive: engine.Directive{Mode: "degraded"}}), event(engine.ChangeDone{Change: "a"}),
		event(engine.ChangeStarted{Change: "b", Returns: true, From: "degraded", To: "normal"}),
		event(engine.DirectivePublished{Directive: engine.Directive{Mode: "normal"}}), event(engine.ChangeDone{Change: "b"}))
	if got := told(Records(&r.policy, events)); got != "degraded: - - from above; read-only: never" {
		t.Error(got)
	}
}

func TestWhatAPersonSettledIsNoDrill(t *testing.T) {
	r := begin(t)
	r.observe("hot")
	at := r.at.Add(time.Minute)
	event := func(f engine.Fact) engine.Event { return engine.Event{Stream: "checkout", At: at, Fact: f} }
	events := append(r.events, event(engine.ChangeStarted{Change: "c", Transition: "recover", From: "degraded", To: "normal"}),
		event(engine.DirectivePublished{Directive: engine.Directive{Mode: "normal"}}), event(engine.ChangeStuck{Change: "c"}),
		event(engine.ChangeSettled{Change: "c", As: engine.SettledDone}), event(engine.ChangeDone{Change: "c"}))
	if got := told(Records(&r.policy, events)); got != "degraded: shed recover settled; read-only: never" {
		t.Error(got)
	}
}
