package rules

import (
	"fmt"
	"strconv"
	"time"

	"github.com/prometheus/common/model"

	"github.com/modeshift/modeshift/engine"
)

// SignalKind says what a signal measures.
type SignalKind string

// The kinds of signal a condition can refer to.
const (
	SignalSLO      SignalKind = "slo"      // an SLO's errors and total over Window
	SignalBudget   SignalKind = "budget"   // the share of an SLO's error budget that is left
	SignalSLI      SignalKind = "sli"      // a value with no objective
	SignalAlert    SignalKind = "alert"    // whether a Prometheus alert of that name fires
	SignalSchedule SignalKind = "schedule" // whether a declared window is open
	SignalMode     SignalKind = "mode"     // the committed mode of the scope Name
	SignalDwell    SignalKind = "dwell"    // how long the present target has been published
	// SignalDivergence is the share of the scope's instances that are not where they should be.
	SignalDivergence SignalKind = "divergence"
)

// Signal is one thing measured, as far as a condition is concerned. It is comparable and serves as a key.
type Signal struct {
	Kind   SignalKind
	Name   string        // of the SLO (for a budget too), SLI, alert, schedule or scope; empty for dwell and divergence
	Window time.Duration // for SignalSLO
	// Every pins the signal to the multiples of a cadence: at an instant between two of them it has the value it had at the
	// earlier one. 0: it is measured at the instant itself. It is set only in the tickets of SLOs.
	Every time.Duration
	// Narrowed: it is measured on the instances alone that the waves of a change have reached so far (engine.Question.Instances).
	// It is set only in the verification of a roll-out, of what has {{.instances}} in its queries.
	Narrowed bool
}

// String is the signal as a condition writes it, or could: an SLO's value is its error ratio, whatever the condition makes of it.
func (s Signal) String() string {
	switch s.Kind {
	case SignalSLO:
		return fmt.Sprintf("error_ratio(%s, %q)", strconv.Quote(s.Name), model.Duration(s.Window))
	case SignalBudget:
		return "budget_remaining(" + strconv.Quote(s.Name) + ")"
	case SignalDwell, SignalDivergence:
		return string(s.Kind) + "()"
	default:
		return string(s.Kind) + "(" + strconv.Quote(s.Name) + ")"
	}
}

// At is the instant at which the signal is measured for an evaluation at instant.
func (s Signal) At(instant time.Time) time.Time {
	if s.Every <= 0 {
		return instant
	}
	return instant.Truncate(s.Every)
}

// Value is a signal's reading together with what the reading alone cannot carry.
type Value struct {
	// Reading.Value is an error ratio in [0, 1], an SLI's value in its own unit, 0 or 1 for alert and schedule, seconds for
	// dwell, a share in [0, 1] for divergence, at most 1 for a budget, which is negative once it is overspent; Reading.Text is the mode for SignalMode.
	Reading engine.Reading
	// Errors and Total of an SLO's window in the unit of its queries (events or events per second); for a raw SLI Total
	// is 1. Conditions compare Errors > factor × budget × Total, so that 0/0 and rounding decide nothing.
	Errors, Total float64
	// Replicas are what each replica of the source said, where at least Agree of them have to come to the same truth in each
	// comparison; Reading is then the freshest of theirs. Empty: Reading, Errors and Total alone count.
	Replicas []Value
	Agree    int
}

// Lookup returns the value of a signal; false when it has not been asked for yet.
type Lookup func(Signal) (Value, bool)

// Verdict is what a condition comes to with what is known.
type Verdict struct {
	Truth engine.Truth
	// Missing are the signals not asked for yet that can still decide the truth, in order of first use. While it is not
	// empty, Truth is Unknown for want of asking.
	Missing []Signal
	// Used are the signals looked up, each once, in order of first use: the evidence.
	Used []Signal
	// Disagree are the signals whose replicas came to different truths in a comparison, each once.
	Disagree []Signal
}
