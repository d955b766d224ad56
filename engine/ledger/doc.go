// Package ledger keeps what SLOs measured, so that their error budgets cost nothing to ask.
//
// # Buckets
//
// What an SLO measured stands in buckets: five minutes each for the last three days, an hour each before that. A bucket
// holds errors and total, or the reason why they are not known. It is never zero for want of an answer.
//
//	          coarse: one bucket an hour              fine: twelve an hour
//	├───────────────────────────────────────────┼──────────────────────────┤ due            now
//	oldest that a period reaches         three days ago                    └── not over, or samples may come late
//
// Errors and total are numbers of events where the SLO's queries tell how many there were; else they are weights, in the
// query's own unit times seconds. A ratio has no count at all: its total is the number of seconds, so that all time weighs
// the same, and its errors are the ratio times that. Shares of the budget mean the same in all three; "events left" is for
// the first only.
//
// # What is asked of it
//
// Sums over any span, and what follows from them: the share of the budget that is left over a period, how much of the period
// is known, the burn rate over a window, how long what is left lasts. A bucket that lies in the span only in part counts for
// that part, as if what it holds had been spread evenly: so a span that is cut at any instant has the sum of its parts.
//
// Beside the buckets there are sums of whole hours and whole days, and an answer only ever adds: a month is thirty days and
// some hours. Nothing is subtracted, so that no number, however large, leaves a trace once its time is over.
//
// # What does not count
//
// Spans may be excluded: time in which a mode paused the SLO, and corrections, which people record with a reason. A
// correction says since when it is known. An answer as of an instant leaves out what was recorded later, and still honours
// what was withdrawn later: what was said then can be said again.
//
// # Guarantees
//
// Equal buckets and equal questions give equal answers. A value that is negative or not finite makes its bucket unknown and
// nothing else. A bucket that is known is replaced by a newer reading only if that is known as well.
//
// A Ledger is not safe for concurrent use; a Keeper is. The Keeper fills ledgers from a Source and writes them to a Store,
// which is a cache: what cannot be written is kept in memory and tried again, and what is lost is read again.
package ledger
