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
// from Kleene's logic: what one operand has decided, no value of the other can change. Of what a condition misses, what costs
// ten times as many samples as the cheapest waits for the next round, by what it cost last time; after four rounds all that is
// missing is asked for at once.
//
// # Cadence
//
// A page, and what a transition waits for, is asked at each tick. The pairs of a ticket stand at the multiples of a cadence of
// their own, a sixtieth of the short window: rules.Signal.Every. At a tick in between they are measured for the last multiple,
// not for the tick, and what was measured for that instant already is not asked for again. So a tick that comes late, and one
// after a restart, which remembers nothing, comes to the same.
//
// # Freshness
//
// An instant query answers with the time it was asked about, not with that of any sample: one hour's rate of a target that
// vanished fifty minutes ago looks like a measurement of now. A window no longer than max_age needs no further proof. For a
// longer one a value over the page's short window is the proof, which is asked for anyhow; where there is none, or replicas
// have to be compared, the newest sample's time is asked for (fresh.go).
//
// # Sources
//
// A source is one server or several replicas. All replicas are asked the same, each at its own pace; the freshest reading counts.
// Where a rule says agree, each comparison is made with the values of each replica, and comes to nothing unless enough of them
// come to the same.
//
// # Fusion
//
// Services measured alike have queries that differ in one value: sum(rate(x{job="a"}[5m])), and the same for b, c and so on.
// They go out as one request, so that there are no more of them for a thousand services than for ten:
//
//	sum by (job) (rate(x{job=~"a|b|c"}[5m]))
//
// That is done for queries equal but for the value of one equality matcher, the same in each selector; of several labels
// that could be it, for the one in which most queries differ. The request is made on the syntax tree, part by part: each part
// either keeps the label or loses it, and algebra.go argues for each that the answer's elements with job="a" are the
// answer of a's own query (the label being taken away where it was lost). What it cannot argue for, such as topk or
// scalar(), is asked as it is; Fusion says which queries those are. An element that is missing is the empty answer. A
// constant, `… or vector(0)` at the top, is given to each query that lacks one.
//
// One request is for a thousand values at most, fewer for long windows. When it fails because of the data of some (a
// many-to-many match, a warning of the PromQL engine, an answer without end) it is sent again in halves at the same tick,
// until it is clear whose data; they are asked alone from then on, until ten minutes after they last failed. There are 64
// such requests in a tick, and the search goes on in the next. A timeout or a refusal is never repeated in its tick; the
// next asks for half as many at once, and more again after five minutes. All this decides how a query is asked and when it
// is unknown, never what it answers. A reading bears the query of its own service, to be pasted into Prometheus.
//
// # Waves
//
// What verifies the waves of a roll-out is measured on the instances they have reached, where its queries have a place for them
// (rules.Signal.Narrowed). Which they are comes with the question, so that these queries are made at each tick, asked each by
// itself, and nothing about them is remembered. Without instances, or with more than a query may name, they are unknown
// (narrow.go).
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
// be used by many goroutines. What it answers does not change after New, but that Budget remembers for a minute what it found
// and fusion whose queries made others fail; other rules are another Evaluator.
package prom
