// Package convert reads the files of other SLO tools and writes rule files that mean the same, as far as they can.
//
//	their files ─▶ YAML with places ─▶ SLOs with what their tool would ask and fire ─▶ rule files, loaded once for proof
//	                     │                              │
//	                     └── faults, at their places    └── differences, at their places; Verify measures them on real history
//
// # What may be relied on
//
// Nothing is dropped silently: what a file says and the rule file does not is in Result.Differences, with the place where it
// is written. Each is one of three: something behaves otherwise here (Changed), something is not carried over (Dropped), or a
// person has to decide (Decide), and then it stands in the rule file too, as a comment above its SLO. Comments are carried over to what
// they stand with, and those that stand with nothing a rule file has are told of with their lines.
//
// Nothing is guessed. What has two meanings, such as the queries of OpenSLO, which each tool reads in its own way, is an error
// that says how to choose.
//
// All that is returned loads: each rule file has been loaded before, and what would not is an error at the place of the SLO it
// comes from. Equal files give equal rule files, byte by byte.
//
// # What each tool would have done
//
// An SLO keeps how its own tool measures and alerts: the expression of the error ratio over a window, and the pairs of windows
// with their thresholds as floating-point numbers that bear the tool's noise. Verify asks a Prometheus for both, ours and
// theirs, from the raw series; what their rules have recorded may not be there, and may be of older rules. Where theirs has several
// series, ours is held to what all of them together make.
package convert
