package loop_test

import (
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/modeshift/modeshift/engine"
)

// named is the policy of checkout under other names.
func named(names ...engine.Scope) []engine.Policy {
	list := make([]engine.Policy, len(names))
	for i, name := range names {
		list[i] = checkout("v1")
		list[i].Scope, list[i].Alerts = name, nil
	}
	return list
}

// moved are the scopes that are not in their first mode any more.
func (h *harness) moved() (list []string) {
	for _, v := range h.Views() {
		if v.State.Mode != "normal" {
			list = append(list, string(v.State.Scope))
		}
	}
	return list
}

var ann = engine.Actor{Principal: "ann"}

var storm = []engine.Scope{"a", "b", "c", "d", "e", "f", "g", "h"}

func TestOfAllThatAreRedAtOnceAsManyMoveAsMay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &world{}
		h := startWith(t, newMemory(), w, w.rules(named(storm...)...), engine.BrakeRule{Max: 3, Share: 0.05, Within: 10 * time.Minute})
		h.pass(16 * time.Second)
		w.say("shed.when", engine.True)
		h.pass(30 * time.Second)
		if got := h.moved(); len(got) != 3 {
			t.Errorf("%v have moved, want three", got)
		}
		waiting := 0
		for _, v := range h.Views() {
			waiting += len(v.State.Proposals)
		}
		if waiting != len(storm)-3 {
			t.Errorf("people are asked about %d, want all others", waiting)
		}
		if got := h.log.kinds(engine.Fleet, 0); strings.Count(strings.Join(got, " "), "BrakePermitted") != 3 {
			t.Errorf("the fleet's stream has %v", got)
		}
		h.pass(10 * time.Minute)
		if got := h.moved(); len(got) != 6 {
			t.Errorf("%v have moved after the window, want six", got)
		}
	})
}

// A permit and the move it is for are one append: neither is stored without the other, whatever happens to the write.
func TestAPermitIsStoredWithItsMoveOrNotAtAll(t *testing.T) {
	for name, fail := range map[string]func(*memory){
		"the write fails":                       func(m *memory) { m.fail(errDiskFull, nil) },
		"the write takes effect and fails":      func(m *memory) { m.fail(nil, errDiskFull) },
		"another writer moved the fleet":        func(m *memory) { m.interrupt(engine.Fleet) },
		"another writer moved the scope itself": func(m *memory) { m.interrupt("a") },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := &world{}
				log := newMemory()
				h := startWith(t, log, w, w.rules(named("a", "b")...), engine.BrakeRule{Max: 1, Within: 10 * time.Minute})
				h.pass(16 * time.Second)
				w.say("shed.when", engine.True)
				fail(log)
				h.pass(15 * time.Second)
				log.fail(nil, nil)
				h.pass(time.Minute)
				permits, starts := 0, 0
				for _, stream := range []engine.Scope{engine.Fleet, "a", "b"} {
					for _, kind := range log.kinds(stream, 0) {
						switch kind {
						case "BrakePermitted":
							permits++
						case "ChangeStarted":
							starts++
						}
					}
				}
				if permits != 1 || starts != 1 || len(h.moved()) != 1 {
					t.Errorf("%d permits, %d changes, %v moved", permits, starts, h.moved())
				}
			})
		})
	}
}

// interrupt lets another writer be faster with a stream than the loop at its next append.
func (m *memory) interrupt(stream engine.Scope) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.meddle = func() { m.other(stream) }
}

// other adds an event to a stream behind the loop's back.
func (m *memory) other(stream engine.Scope) {
	s := m.load(stream)
	m.streams[stream] = append(m.streams[stream], engine.Event{Stream: stream, Version: s.Version + 1, At: time.Now().UTC(), Rules: s.Rules,
		Fact: engine.RequestRefused{}})
}

// family is a product, a part of it, and a service below that.
func family() []engine.Policy {
	list := named("product", "part", "service")
	list[0].Modes[1].Imposes, list[1].Parent, list[2].Parent = "degraded", "product", "part"
	list[1].Transitions, list[2].Transitions = nil, nil
	return list
}

func TestWhatAScopeImposesReachesThoseBelowAtOnce(t *testing.T) {
	for name, between := range map[string]engine.Mode{"and the one in between moves": "", "and the one in between stays": "degraded"} {
		t.Run(name, func(t *testing.T) { imposes(t, between) })
	}
}

func imposes(t *testing.T, between engine.Mode) {
	synctest.Test(t, func(t *testing.T) {
		w := &world{}
		h := start(t, newMemory(), w, w.rules(family()...))
		h.pass(16 * time.Second)
		if between != "" {
			if _, err := h.Submit(t.Context(), "part", ann, &engine.SetRequested{Mode: between, Reason: "before", DirectiveOnly: true}); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := h.Submit(t.Context(), "product", ann, &engine.SetRequested{Mode: "degraded", Reason: "attack", Via: "shed"}); err != nil {
			t.Fatal(err)
		}
		synctest.Wait() // no tick has come
		if got := h.moved(); len(got) != 3 {
			t.Errorf("%v have moved before the next tick, want all three", got)
		}
		if _, err := h.Submit(t.Context(), "product", ann, &engine.SetRequested{Mode: "normal", Reason: "over", Via: "recover"}); err != nil {
			t.Fatal(err)
		}
		h.pass(15 * time.Second)
		if v, _ := h.View("service"); v.State.Mode != "normal" {
			t.Errorf("%v are still held down", h.moved())
		}
	})
}

// What would move a scope that is held down is asked all the same: whether it may go back depends on that.
func TestTheRulesOfAScopeThatIsHeldDownAreAsked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &world{}
		policies := family()
		policies[2] = named("service")[0]
		policies[2].Parent = "part"
		h := start(t, newMemory(), w, w.rules(policies...))
		h.pass(16 * time.Second)
		w.say("shed.when", engine.False)
		if _, err := h.Submit(t.Context(), "product", ann, &engine.SetRequested{Mode: "degraded", Reason: "attack", Via: "shed"}); err != nil {
			t.Fatal(err)
		}
		h.pass(15 * time.Second)
		if _, err := h.Submit(t.Context(), "product", ann, &engine.SetRequested{Mode: "normal", Reason: "over", Via: "recover"}); err != nil {
			t.Fatal(err)
		}
		h.pass(15 * time.Second)
		if v, _ := h.View("service"); v.State.Mode != "normal" {
			t.Errorf("service is in %s: what keeps it there was not asked", v.State.Mode)
		}
	})
}

// Whether the product still asks for it nobody knows while its rules are not in force: what it asked for holds.
func TestAScopeWhoseRulesAreLostKeepsItsChildrenWhereTheyAre(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &world{}
		log := newMemory()
		h := start(t, log, w, w.rules(family()...))
		h.pass(16 * time.Second)
		if _, err := h.Submit(t.Context(), "product", ann, &engine.SetRequested{Mode: "degraded", Reason: "attack", Via: "shed"}); err != nil {
			t.Fatal(err)
		}
		h.pass(15 * time.Second)
		h.stop()
		rules := w.rules(family()[1:]...)
		rules.Problems = map[engine.Scope]string{"product": "its file is broken"}
		h = start(t, log, w, rules)
		h.pass(time.Minute)
		if got := h.moved(); !slices.Equal(got, []string{"part", "product", "service"}) {
			t.Errorf("%v are held, want all three", got)
		}
		if err := h.Replace(t.Context(), w.rules(family()[1:]...)); err != nil { // and now it is retired
			t.Fatal(err)
		}
		h.pass(time.Minute)
		for _, name := range []engine.Scope{"part", "service"} {
			if v, _ := h.View(name); v.State.Mode != "normal" || len(v.State.Imposed) > 0 {
				t.Errorf("%s is in %s, imposed %v", name, v.State.Mode, v.State.Imposed)
			}
		}
	})
}

func TestAPageCarriesTheLatestCheckpoint(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &world{}
		log := newMemory()
		p := checkout("v1")
		p.Alerts = []engine.Alert{{SLO: "a", Severity: engine.SeverityPage, Condition: 2}}
		h := start(t, log, w, w.rules(p))
		h.pass(16 * time.Second)
		w.say("slo/a/ticket", engine.True)
		h.pass(2 * time.Minute)
		var carried []string
		for _, e := range log.streams["checkout"] {
			if f, opened := e.Fact.(engine.IncidentOpened); opened {
				carried = append(carried, f.Details.Checkpoint)
			}
		}
		if !slices.Equal(carried, []string{"fleet-2:hash"}) {
			t.Errorf("the pages carry %q", carried)
		}
	})
}
