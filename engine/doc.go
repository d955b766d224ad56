// Package engine is the core of modeshift: what a policy is, what is known of a scope, and what follows from an input.
//
// Three functions carry it, and all three are pure:
//
//	Decide(policy, state, input) []Event     what follows from this input, in this state, under these rules
//	Apply(state, event) State                the only way a state changes
//	Effects(event) []Effect                  what the world is owed because this happened
//
// The edge gathers readings, Decide judges them, the edge stores the events together with the jobs for their effects, and
// only then does anything act. State is a fold of stored events: a crash at any line is answered by reading the log again.
//
// # The life of a change
//
//	             condition true, for satisfied, nothing withholds it
//	(no change) ────────────────────────────────────────────────────▶ ChangeStarted ─▶ DirectivePublished ─▶ … ─▶ ChangeDone
//	     │                                                                 target moves                            mode settles
//	     ├── ready but withheld (pin, freeze, min_duration, …) ──▶ TransitionWithheld, once for each reason
//	     └── ready and gated ──▶ ChangeProposed ─▶ ApprovalGranted … ─▶ ChangeStarted, or denied, expired, withdrawn: the end
//
// Between the directive and the end come the steps of the playbook and the verification. A change that fails is held (it
// protects), undone (anything else), or stuck, which a person has to settle.
//
// # What callers may rely on
//
// Equal arguments give equal events in the same order. Nothing here reads a clock, starts a goroutine, does I/O or draws a
// random number; time comes with the input. Neither Decide nor Apply changes its arguments: states share memory and may be
// kept and compared. An unknown truth starts nothing and ends nothing.
//
// # What callers must see to
//
// The events of one Decide are stored all or none, at the version the state had. Input times do not run backwards in a
// stream. Observations stand at the indexes of Policy.Conditions.
package engine
