// Package scenario draws what a Prometheus would have seen: the series of an SLO through an outage, a slow burn, a restart. A test
// of a rule file names a scenario instead of writing samples.
//
// # How series are found
//
// An SLO says what it measures in PromQL. What its selectors select is tried out: of each metric one series for each way in
// which its selectors can tell series apart (code="200" and code="500" for code=~"5.."), and then which of them have to
// count for the queries to see a good request (a ratio of 0) and a failed one (a ratio of 1). The queries themselves decide, on
// the real engine, for requests of which some fail too. So total − good, buckets of histograms, metrics of their own for errors and
// ratios of one query come out alike, and a query for which nothing comes out is refused rather than guessed.
//
// Requests are the same requests, whoever counts them. SLOs that are drawn together (Among) bear the labels by which any of them selects,
// so that an availability and a latency of one histogram share its count, and no total holds the traffic of another SLO beside its own.
//
// # What is drawn
//
// Requests come evenly, and fail evenly while something goes on: the errors of any window are what arithmetic says, which is what
// detection times are compared with. Nothing is drawn by chance; equal parameters give equal samples. Each instance is scraped at a
// phase of its own. A target that is not scraped gets a stale marker, as Prometheus writes it.
package scenario
