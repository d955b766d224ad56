// Package rules is the rule language: it turns files into policies, and says of every fault where it is, what is wrong and
// what would be right.
//
//	files ─▶ YAML with places ─▶ drafts, one a document ─▶ PromQL parsed, CEL type-checked ─▶ references between services ─▶ Set
//
// # What a file may say
//
// `version: modeshift/v1` is the language of modeshift: SLOs with Sloth's fields and Sloth's meaning, SLIs without an
// objective, schedules, modes and transitions. `version: prometheus/v1` is a Sloth file, read unchanged: a service with SLOs
// and alerts and no modes, and, as with Sloth, several documents in a file. Keys that a later version will know are refused,
// never ignored: each is a safety somebody relies on. Keys that nobody knows are errors, in a Sloth file warnings.
//
// # All faults in one run
//
// Reading goes on after a fault, and a Diagnostic points into the string inside the YAML, whichever way the string is written:
// a CEL or PromQL error in a folded block scalar has the line and column of the very character. A syntax error of YAML itself
// is the exception: what comes after it means nothing. The work that a file can cause is bounded in its size, nesting,
// aliases, and in the number of faults that are shown.
//
// # A bad file never replaces a good one
//
// Reload keeps a service whose file is bad, and what refers to it, on the rules it had, with the reason in Service.Problem.
// A file that no longer declares the mode its scope is in is bad as well.
//
// # Conditions
//
// A condition is true, false or unknown (Kleene), and says which signals that were not asked for yet can still decide it:
// that drives the queries. Loading it checks that each name it mentions exists; names and windows are therefore literals. What
// cannot be computed (a division by zero, a number that is not finite) is unknown. Whether an SLO burns is decided by
// comparing errors with factor × budget × total, as exact fractions and strictly.
//
// # What callers may rely on
//
// A Set does not change; it may be read, and its conditions and schedules evaluated, by many goroutines at once. Equal
// meanings have equal digests: places, comments, spaces and the way a duration is written do not matter. The time zones of
// schedules come from the system or from time/tzdata, which the program imports.
package rules
