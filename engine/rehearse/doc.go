// Package rehearse leads the production loop, and the core in it, through a time of the caller's: what automation would have done,
// without a server, a clock, a database, people or a single effect on the world.
//
//	         ┌── ticks ◀── evaluate (the caller's: rules/prom over series in memory, or over the past of a Prometheus)
//	Until ───┤
//	         └── outcomes of steps, once they are due ◀─┐
//	Do ────────▶ loop ──▶ Decide ──▶ events ──▶ effects ┼──▶ steps: the caller says what they come to
//	                                                    └──▶ notices: kept, for nobody is told
//
// # What callers may rely on
//
// A rehearsal of the same rules, answers, requests and outcomes gives the same events, in the same order: it has one goroutine, the
// caller's, and no clock. It skips no tick. At one instant the tick comes first, then the outcomes of steps that are due then, the one
// that was owed first before the others, and then what is asked for with what follows from it at once.
//
// What is kept out are the parts of a server that decide nothing: the hash chain, checkpoints, retries of notices, and how long an
// attempt waits before the next one, which is the caller's to say.
package rehearse
