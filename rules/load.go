package rules

import (
	"time"

	"github.com/modeshift/modeshift/engine"
)

// File is a rule file as it was read.
type File struct {
	Name string // as positions give it
	Data []byte
}

// Options are what the rule files leave to the server.
type Options struct {
	Interval   time.Duration // between two evaluations; 0: 15 s
	BlindAfter time.Duration // how long sight may be lost before somebody is paged; 0: 5 min
	SLOPeriod  time.Duration // of SLOs that name none; 0: 30 days
	MaxAge     time.Duration // of the samples of SLIs and SLOs that name none; 0: 5 min
	// InForce is the mode each scope is in. A file that does not declare it any more is refused.
	InForce map[engine.Scope]engine.Mode
}
