package loop_test

import (
	"reflect"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/modeshift/modeshift/engine"
	"github.com/modeshift/modeshift/engine/loop"
)

// A window that opened and closed while the server was down, or while its machine slept, is said once and does nothing; and the decision
// that said so can be made again from the log.
func TestAWindowThatPassedUnseenIsSaidOnce(t *testing.T) {
	for name, absence := range map[string]func(h *harness, rules loop.Rules) *harness{
		"the server was down": func(h *harness, rules loop.Rules) *harness {
			h.stop()
			time.Sleep(4 * time.Minute) // virtual
			return start(h.t, h.log, h.world, rules)
		},
		"the machine slept": func(h *harness, _ loop.Rules) *harness {
			h.log.set(4 * time.Minute)
			return h
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w, log := &world{}, newMemory()
				w.say("shed.when", engine.False)
				rules := w.rules(checkout("v1"))
				var window engine.Window
				rules.Missed = func(scope engine.Scope, from, to time.Time) []engine.Window {
					if scope != "checkout" || !window.Opens.After(from) || window.Closes.After(to) {
						return nil
					}
					return []engine.Window{window}
				}
				h := start(t, log, w, rules)
				h.pass(31 * time.Second)
				window = engine.Window{Transition: "shed", Opens: log.wall().Add(time.Minute).UTC(), Closes: log.wall().Add(2 * time.Minute).UTC()}
				before := len(log.kinds("checkout", 0))
				h = absence(h, rules)
				h.pass(2 * time.Minute)
				if got := log.kinds("checkout", before); !slices.Equal(got, []string{"TimeLost", "WindowMissed"}) {
					t.Fatalf("the log goes on with %v", got)
				}
				if h.mode() != "normal" {
					t.Errorf("mode %s", h.mode())
				}
				log.mu.Lock()
				events := log.streams["checkout"]
				log.mu.Unlock()
				in, err := engine.InputOf(events[before:])
				if err != nil {
					t.Fatal(err)
				}
				var s engine.State
				for _, e := range events[:before] {
					s = engine.Apply(s, e)
				}
				if again := engine.Decide(checkout("v1"), s, in); !reflect.DeepEqual(again, events[before:]) {
					t.Errorf("made again it comes to %+v, and was %+v", again, events[before:])
				}
			})
		})
	}
}
