// Package prom finds out how conditions stand, by asking Prometheus.
//
// A condition is evaluated with what is known. What can still decide it is asked for, and it is evaluated again, until
// nothing that is missing matters any more. All queries of a tick are for one instant, however many rounds it takes:
//
//	conditions ──▶ Eval ──▶ missing signals ──▶ queries ──▶ plan ──▶ fetches, some at a time ──▶ answers ──▶ readings ─┐
//	                ▲                                                                                                  │
//	                └──────────────────────────────────────────────────────────────────────────────────────────────────┘
//
// While the short window of a burn-rate pair is quiet, its long window is never queried. That this changes no truth follows
// from Kleene's logic: what one operand has decided, no value of the other can change.
//
// # What is unknown
//
// A number is believed only if the source gave one, without a warning, for one series, from a sample that is young enough.
// Everything else is unknown, with one of the reasons of engine.Why and the source's own words. Too little traffic is unknown
// as well, but it is not blindness: the source saw well that little happened.
//
// # Guarantees
//
// Evaluate returns within Options.Budget, whatever the sources do. It never fails and never panics: a condition that panics
// is unknown and takes no other along. Equal answers give equal observations, in whatever order they come. An Evaluator may
// be used by many goroutines and what it answers does not change after New, but that Budget remembers for a minute what it
// found; other rules are another Evaluator.
package prom
