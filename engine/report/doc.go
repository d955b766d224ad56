// Package report drafts the post-mortem of a change, reviews what automation has come to in a while, and tells what a backtest came to:
// from events and the ledger alone, without a clock, a file or a network.
//
// # A report
//
// The story of a change is that of the stay it belongs to: from the first sign (the incident that led to it, or its condition
// turning true), through proposal, votes, steps and waves, until the scope is back in the mode that it left, with all changes of
// that stay. A change that only leads back is told with the stay that it ends.
//
//	events ─▶ the stay ─▶ explain.Change of each of its changes ─▶ timeline, people, times ─┐
//	ledger, readings in the events ─▶ burn rates with their gaps ───────────────────────────┼─▶ Report ─▶ Markdown, HTML
//	both ─▶ five answers, each with the events it rests on ─────────────────────────────────┘
//
// Nothing in it is guessed. Where nothing was measured there is a gap; what was not read, because the log was cut or is long, is
// said; what no log can tell (was it right for the users, what did people do outside of modeshift) is left to a person, in a place
// that is marked.
//
// # A review
//
// Review sums a while up, over scopes: which modes were used, what became of automation, how long people took, and which SLOs
// say nothing because they never fire, or always do.
//
// # A backtest
//
// Witness watches a rehearsal of rules: ticks and events in, what became of a service out. Score holds what people would have been told
// against incidents that they labelled. Two versions of rules stand side by side, with what differs.
//
// Equal arguments give equal documents.
package report
