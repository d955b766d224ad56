package rules

import "github.com/modeshift/modeshift/engine"

// Condition is a compiled expression over signals. It may be evaluated by many goroutines at once.
type Condition struct {
	Name     string // as in engine.Policy: "shed.when", "slo/availability/page"
	Text     string // as written
	Position string // file:line:column

	signals []Signal
}

// Signals are all the condition may ask for, each once, in order of first use.
func (c *Condition) Signals() []Signal { return c.signals }

// Eval says what the condition comes to with what is known. It asks lookup only for what can still decide.
func (c *Condition) Eval(lookup Lookup) Verdict { return Verdict{Truth: engine.Unknown} }
