package modemetrics_test

import (
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/modeshift/modeshift/actions/agent"
	"github.com/modeshift/modeshift/actions/modemetrics"
	"github.com/modeshift/modeshift/engine"
)

type source struct {
	state  agent.State
	status agent.Status
	modes  []engine.Mode
}

func (s *source) Current() *agent.State { return &s.state }
func (s *source) Status() agent.Status  { return s.status }
func (s *source) Modes() []engine.Mode  { return s.modes }

func TestTheModeInForceIsOneAndTheOthersAreZero(t *testing.T) {
	s := &source{modes: []engine.Mode{"normal", "degraded"}}
	s.state.Scope = "checkout"
	c := modemetrics.New(s)
	if err := prometheus.NewPedanticRegistry().Register(c); err != nil {
		t.Fatal(err)
	}
	if problems, err := testutil.CollectAndLint(c); err != nil || len(problems) > 0 {
		t.Errorf("lint: %v, %v", problems, err)
	}
	const head = "# HELP modeshift_instance_mode 1 for the mode in force at this instance, 0 for the others that it knows.\n# TYPE modeshift_instance_mode gauge\n"
	compare := func(want string, names ...string) {
		t.Helper()
		if err := testutil.CollectAndCompare(c, strings.NewReader(want), names...); err != nil {
			t.Error(err)
		}
	}
	compare(head+`modeshift_instance_mode{mode="degraded",scope="checkout"} 0
modeshift_instance_mode{mode="normal",scope="checkout"} 0
`, "modeshift_instance_mode")
	s.state.Mode, s.state.Position.Revision = "degraded", 7
	s.status = agent.Status{Via: agent.ViaStream, Heard: time.Unix(1000, 0), Outcome: engine.OutcomeFailed, Failed: 3, Refused: agent.Refused{Older: 2, Scope: 1}, DiskError: "full"}
	compare(head+`modeshift_instance_mode{mode="degraded",scope="checkout"} 1
modeshift_instance_mode{mode="normal",scope="checkout"} 0
# HELP modeshift_instance_connected 1 while the instance hears from a server that leads, by stream or by polling.
# TYPE modeshift_instance_connected gauge
modeshift_instance_connected{scope="checkout",via="poll"} 0
modeshift_instance_connected{scope="checkout",via="stream"} 1
# HELP modeshift_instance_disk_failing 1 while the newest directive could not be kept on disk.
# TYPE modeshift_instance_disk_failing gauge
modeshift_instance_disk_failing{scope="checkout"} 1
# HELP modeshift_instance_refused_total What was not accepted: older directives, servers of a lower term, other scopes' directives, conflicting ones, garbage.
# TYPE modeshift_instance_refused_total counter
modeshift_instance_refused_total{reason="conflict",scope="checkout"} 0
modeshift_instance_refused_total{reason="garbage",scope="checkout"} 0
modeshift_instance_refused_total{reason="older",scope="checkout"} 2
modeshift_instance_refused_total{reason="scope",scope="checkout"} 1
modeshift_instance_refused_total{reason="term",scope="checkout"} 0
`, "modeshift_instance_mode", "modeshift_instance_connected", "modeshift_instance_disk_failing", "modeshift_instance_refused_total")
	s.modes = nil // a program that takes any mode
	compare(head+`modeshift_instance_mode{mode="degraded",scope="checkout"} 1
`, "modeshift_instance_mode")
}
