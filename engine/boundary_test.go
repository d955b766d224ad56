package engine_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/modeshift/modeshift/engine"
)

// TestBoundary looks at both sides of each boundary, one nanosecond apart. The scripts are in the language of the transcripts.
func TestBoundary(t *testing.T) {
	const (
		shift = "policy\n  mode normal\n  mode degraded\n  transition shed from=normal to=degraded when=hot for=1m\ngiven 0s normal\n"
		pair  = "policy\n  mode normal\n  mode degraded min=1m max=2m\n  transition recover from=degraded to=normal when=cool\ngiven 0s degraded\n"
	)
	for _, tc := range []struct {
		name   string
		script string
		last   string // with %v for its instant
		want   string // what the last command yields at yes and does not at no
		yes    time.Duration
		no     time.Duration
	}{
		{"for: 1m has not passed one nanosecond early", shift + "every 15s from 15s to 1m hot=true",
			"observe %v hot=true", "ChangeStarted", 75 * time.Second, 75*time.Second - 1},
		{"two true evaluations count when two intervals apart and not one nanosecond more", shift + "every 15s from 15s to 45s hot=true",
			"observe %v hot=true", "ChangeStarted", 75 * time.Second, 75*time.Second + 1},
		{"with an unknown between them too", shift + "every 15s from 15s to 45s hot=true\nobserve 1m hot=unknown",
			"observe %v hot=true", "ChangeStarted", 75 * time.Second, 75*time.Second + 1},
		{"the sum of a `for` survives a hole of blind_after and not one nanosecond more", shift + "every 15s from 15s to 1m hot=true",
			"observe %v hot=true", "clock.sum=45s", 6 * time.Minute, 6*time.Minute + 1},
		{"time is lost when evaluations are more than two intervals apart", shift + "observe 15s hot=false",
			"observe %v hot=false", "TimeLost", 45*time.Second + 1, 45 * time.Second},
		{"min_duration: 1m has not passed one nanosecond early", pair + "every 15s from 15s to 45s cool=true",
			"observe %v cool=true", "ChangeStarted", time.Minute, time.Minute - 1},
		{"max_duration: 2m has not passed one nanosecond early", pair + "every 15s from 15s to 1m45s cool=false",
			"observe %v cool=false", "too long", 2 * time.Minute, 2*time.Minute - 1},
		{"blind_after: 5m has not passed one nanosecond early", pair + "every 15s from 15s to 5m cool=unknown",
			"observe %v cool=unknown", "blind", 5*time.Minute + 15*time.Second, 5*time.Minute + 15*time.Second - 1},
		{"blind_after of a source has not passed one nanosecond early", pair + "sources 0s main=ok\nsources 15s main=blind until=5m",
			"sources %v main=blind", "IncidentOpened", 5*time.Minute + 15*time.Second, 5*time.Minute + 15*time.Second - 1},
		{"a pin is over at its last instant and holds one nanosecond before", pair + "set 0s degraded reason=why for=3m by=alice\nevery 15s from 15s to 2m45s cool=true",
			"observe %v cool=true", "ChangeStarted", 3 * time.Minute, 3*time.Minute - 1},
		{"a freeze is over at its last instant and holds one nanosecond before", pair + "freeze 0s reason=why for=3m by=alice\nevery 15s from 15s to 2m45s cool=true",
			"observe %v cool=true", "ChangeStarted", 3 * time.Minute, 3*time.Minute - 1},
		{"a pin may last 24h and not one nanosecond more", pair,
			"set 0s normal reason=why by=alice for=%v", "ModePinned", engine.MaxPin, engine.MaxPin + 1},
		{"a pin lasts some time", pair,
			"set 0s normal reason=why by=alice for=%v", "until=+1ns", 1, 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if out := runScript(t, tc.script, fmt.Sprintf(tc.last, tc.yes)); !strings.Contains(out, tc.want) {
				t.Errorf("at %v: no %q in\n%s", tc.yes, tc.want, out)
			}
			if out := runScript(t, tc.script, fmt.Sprintf(tc.last, tc.no)); strings.Contains(out, tc.want) {
				t.Errorf("at %v: %q in\n%s", tc.no, tc.want, out)
			}
		})
	}
}

// runScript carries out a script and then one command more, and returns what that one yields.
func runScript(t *testing.T, script, last string) string {
	t.Helper()
	tr, err := parseTranscript("# script\n" + script + "\n----\n\n" + last + "\n----\n")
	if err != nil {
		t.Fatal(err)
	}
	out, err := tr.run()
	if err != nil {
		t.Fatal(err)
	}
	_, yield, _ := strings.Cut(out, "\n"+last+"\n----\n")
	return yield
}

func TestATargetBesideTheOthersIsHeldByMinDuration(t *testing.T) {
	script := "policy\n  mode normal\n  mode degraded min=1m\n  mode failover beside\n" +
		"  transition over from=degraded to=failover when=hot\ngiven 0s degraded"
	if out := runScript(t, script, "observe 15s hot=true"); !strings.Contains(out, "TransitionWithheld") {
		t.Errorf("a mode without rank is not known to protect more, so it waits:\n%s", out)
	}
}
