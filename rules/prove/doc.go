// Package prove searches everything that can happen under rule files, and says what holds in all of it.
//
// It asks the core itself, engine.Decide and engine.Apply, and keeps no model of it: a state of the search is a State of the engine, and
// each step is an Input that a server could give it. From each state it tries
//
//   - every evaluation: all ways in which the conditions asked for can stand together, unknown among them. Which can is told by
//     the leaves of the conditions: a signal that is compared with several constants lies in one of the spans between them, so that
//     burn_rate < 1 and burn_rate > 14.4 are never true at once. A leaf that is more than such a comparison may be anything.
//   - time: the next evaluation and, where that would change nothing, the one at which something the state waits for is over (a
//     `for`, min_duration, a gate, a rest, …). The evaluations in between find the same and change nothing, so one call stands for
//     all of them. What would change something sooner is also tried in that very evaluation, after others that found nothing.
//   - every answer at a gate (yes, blind yes, no, one that comes too late, none), every outcome of a step, every number of targets,
//     what instances say of a wave, and what a person finds of a change that is stuck.
//
// # Which states are the same
//
// Two states are taken for one when they differ in nothing but names of events, versions, history that nothing refers to, incidents, and
// instants. Of time a key holds which of the spans that a state waits for are over, and which ends next. That is sound for what is claimed
// because Decide compares each span with a constant of the rules, and never two spans with each other: what it decides in a state follows from
// what is over. How long the rest still takes only says in which order it will be over; a state is kept with its true instants, and goes on from
// them, so that whatever the search meets can happen, to the second.
//
// What that leaves out: of three or more spans that run at once, an order that comes about only for particular moments at which
// conditions turn may not be met; nor, of two, that they end in one and the same evaluation. Further
//
//   - truths that the core takes for the same in a state are one. Where only that a condition is true matters, unknown stands for false
//     too: that is the one of which it has to be shown that it moves nothing.
//   - people say yes in one order; it makes no difference to a gate.
//   - a step that is tried again is answered at once. What else may happen while it runs, happens while its first attempt does.
//   - a transition that rests and leads out of another mode is not waited for: while it rests, a scope can do less.
//   - nobody pins, freezes, cancels or forces anything; the brake and flapping withhold nothing, and automation is on. All of these make
//     a scope do less, or are a person's own doing.
//   - time in which nobody evaluates is not among what happens.
//
// # Scopes that look at one another
//
// A scope looks at those whose mode() its conditions ask for, and at those above it that impose modes. Scopes that look at one another,
// directly or around corners, are searched together, in the product of their states. Of a scope that is looked at, and does not look back, each
// mode may be in force at any evaluation: more than can happen, so that what is proved holds.
//
// # What is proved
//
// The first mode can be reached from each state, by what the rules declare: the search keeps who leads where, and goes back from the first
// modes. No destructive step starts without its gate, nothing acts after denied or expired, and unknown moves nothing: each decision
// is judged by code that is not the core's (judge.go). No steady input changes modes for ever: from each kind of state
// in which nothing is under way all that is measured is held still, in every way in which it can differ, until nothing changes or something comes
// round (steady.go). A change that fails and is tried again after retry_after is not counted as coming round: it was declared so. No
// two scopes wait for each other: see wait.go.
//
// A bound that is reached, of states, memory or time, is an answer of its own: nobody can tell. A counter-example is one all the same.
// So is a search that was stopped, and one that a panic ended: that is a fault of modeshift's own, about one group of many.
package prove
