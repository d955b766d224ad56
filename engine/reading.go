package engine

import "time"

// Truth is three-valued. The zero value is Unknown, so that what nobody asked about is never taken for false.
type Truth int8

// The truths. Unknown starts nothing and ends nothing.
const (
	Unknown Truth = iota
	False
	True
)

// TruthOf makes a known truth of a boolean.
func TruthOf(b bool) Truth {
	if b {
		return True
	}
	return False
}

func (t Truth) String() string { return [...]string{"unknown", "false", "true"}[t] }

// MarshalText writes the truth as a word.
func (t Truth) MarshalText() ([]byte, error) { return []byte(t.String()), nil }

// UnmarshalText reads what MarshalText wrote; any other word is Unknown.
func (t *Truth) UnmarshalText(b []byte) error {
	switch string(b) {
	case "true":
		*t = True
	case "false":
		*t = False
	default:
		*t = Unknown
	}
	return nil
}

// Why says for what reason a reading is unknown; empty when it is known.
type Why string

// The reasons a reading can be unknown for.
const (
	WhyFailed    Why = "failed"     // the source answered with an error, or could not be reached
	WhyTimeout   Why = "timeout"    // the source did not answer in time
	WhyPartial   Why = "partial"    // the source warned that data is missing
	WhyAbsent    Why = "absent"     // no such series, no sample
	WhyStale     Why = "stale"      // the newest sample is older than max_age
	WhyNotFinite Why = "not finite" // NaN or infinite
	WhyInvalid   Why = "invalid"    // an answer that cannot be: two series where one was expected, a ratio above 1
	WhyDisagree  Why = "disagree"   // two sources that must agree do not
	WhyNoTraffic Why = "no traffic" // nothing happened that could have been good or bad
	WhyFewEvents Why = "few events" // fewer events in the window than min_events
	// WhyLittleKnown is of a budget: most of its period was not measured, or not read yet.
	WhyLittleKnown Why = "little known"
	// WhyNoInstances is of what is measured on instances, or counted among them: there are none.
	WhyNoInstances Why = "no instances"
)

// Blind reports whether the reason is a want of sight. Too little traffic is not: the source answered, and truly. Nor is a
// budget of whose past little is known: what can be seen now is seen. Nor are instances that are not there.
func (w Why) Blind() bool {
	return w != "" && w != WhyNoTraffic && w != WhyFewEvents && w != WhyLittleKnown && w != WhyNoInstances
}

// Reading is a signal's value at an instant, or the reason why it is unknown.
type Reading struct {
	Signal string    `json:"signal"`           // as a condition writes it: burn_rate("availability", "5m")
	Value  float64   `json:"value"`            // finite; a boolean is 0 or 1; meaningless while Why is set
	Text   string    `json:"text,omitempty"`   // for a signal whose value is a word, such as mode("shop")
	Why    Why       `json:"why,omitempty"`    // set when the value is unknown
	Detail string    `json:"detail,omitempty"` // the source's own words, at most 500 bytes
	Sample time.Time `json:"sample,omitzero"`  // of the sample behind the value
	At     time.Time `json:"at,omitzero"`      // the instant it was measured for, where that is not the evaluation's own
	Query  string    `json:"query,omitempty"`  // as it was sent
	Source string    `json:"source,omitempty"` // the name of the Prometheus it came from
}

// Observation is the truth of one condition at an instant, with the readings it rests on. The zero value says that nobody
// asked at this tick, which is not the same as unknown.
type Observation struct {
	Asked    bool
	Truth    Truth
	Blind    bool // Truth is Unknown for want of sight, not for want of traffic
	Readings []Reading
}

// Question is what the loop wants to know of one scope at a tick.
type Question struct {
	Scope      Scope
	Dwell      time.Duration // in the present target, lost time not counted
	Known      int           // how many instances the scope has: of none, no share diverges
	Divergence float64       // share of those that diverge, in [0, 1]
	// Instances are the names of those that the waves of the change under way have told its directive so far, each once. What
	// is measured on them alone is unknown while there are none. nil: no wave is under way.
	Instances  []string
	Conditions []int // indexes into Policy.Conditions
}

// Sight is what one source showed at a tick.
type Sight struct {
	Source string `json:"source"`
	// Asked is false when nothing was asked of the source. Blind is true when everything asked of it came back unknown
	// for want of sight.
	Asked  bool   `json:"asked"`
	Blind  bool   `json:"blind"`
	Detail string `json:"detail,omitempty"` // why, in the source's words
}
