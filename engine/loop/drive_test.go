package loop_test

import (
	"context"
	"encoding/json"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/modeshift/modeshift/engine"
	"github.com/modeshift/modeshift/engine/loop"
	"github.com/modeshift/modeshift/engine/rehearse"
)

// TestATimeThatIsLedThroughGivesTheEventsOfRun lets the same hour pass in both ways: hot for ten minutes, and set by hand in the middle
// of what follows.
func TestATimeThatIsLedThroughGivesTheEventsOfRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		w := &world{}
		rules := w.rules(checkout("v1"))
		evaluate := rules.Evaluate
		rules.Evaluate = func(ctx context.Context, tick loop.Tick) loop.Answer {
			at := tick.Instant.Sub(began)
			w.say("shed.when", engine.TruthOf(at >= 5*time.Minute && at < 15*time.Minute))
			w.say("recover.when", engine.TruthOf(at < 5*time.Minute || at >= 15*time.Minute))
			w.say("slo/a/ticket", engine.TruthOf(at >= 7*time.Minute && at < 31*time.Minute))
			return evaluate(ctx, tick)
		}
		set := &engine.SetRequested{Mode: "degraded", Reason: "drill", For: 10 * time.Minute}
		ann := engine.Actor{Principal: "ann", Person: "ann"}

		r, err := rehearse.New(t.Context(), rehearse.Options{Rules: rules, Interval: 15 * time.Second, BlindAfter: 5 * time.Minute,
			Start: began})
		if err != nil {
			t.Fatal(err)
		}
		for _, to := range []time.Duration{20*time.Minute + 7*time.Second, time.Hour} {
			if err := r.Until(t.Context(), began.Add(to)); err != nil {
				t.Fatal(err)
			}
			if to < time.Hour {
				if _, err := r.Do(t.Context(), "checkout", ann, set); err != nil {
					t.Fatal(err)
				}
			}
		}

		log := newMemory()
		h := start(t, log, w, rules)
		h.pass(20*time.Minute + 7*time.Second)
		if _, err := h.Submit(t.Context(), "checkout", ann, set); err != nil {
			t.Fatal(err)
		}
		h.pass(40*time.Minute - 7*time.Second)

		var led []engine.Event
		for _, e := range r.Events() {
			if e.Stream == "checkout" {
				led = append(led, e)
			}
		}
		ran := log.streams["checkout"]
		if len(led) != len(ran) || len(led) < 10 {
			t.Fatalf("%d events led through, %d of Run", len(led), len(ran))
		}
		for i := range led {
			a := text(t, led[i])
			b := strings.ReplaceAll(text(t, ran[i]), ".001Z", "Z") // Run's timer fires a millisecond late, on purpose
			if a != b {
				t.Errorf("event %d:\n%s led through\n%s of Run", i+1, a, b)
			}
		}
	})
}

func text(t *testing.T, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
