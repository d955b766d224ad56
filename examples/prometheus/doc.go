// Package prometheus is a small Prometheus inside this process, made of Prometheus's own libraries: its time series
// database, its scraper and its PromQL engine, behind /api/v1/query, /api/v1/query_range and /-/ready.
//
// It is what the demo measures with, so that `make demo` needs nothing installed. A rule file cannot tell it from the real
// server: the queries run in the same engine over the same storage, staleness and counter resets included, and the answers
// have the same JSON. What the real server has and this has not: service discovery (targets are listed by address), recording
// and alerting rules, remote write, the web pages, and retention worth the name.
//
// The targets go straight to the scraper. Prometheus's own discovery hands its first batch over after five seconds, an
// eternity in a story of one minute; here the first scrape comes within one interval of Start.
package prometheus
