// Package demo tells the story of one incident, on a real shop with real metrics, in about a minute:
//
//	good traffic → the recommendations break → the error budget burns → modeshift degrades the shop, and pages →
//	the errors stop, because the instances took the mode → the recommendations are mended → the shop recovers →
//	the page is resolved
//
// Run starts everything the story needs in this process: Prometheus, the recommendations, three instances of the shop, its
// visitors, a receiver of pages and tickets, and modeshift itself with a configuration file and a rule file such as anybody
// would write. The demo then breaks and mends the recommendations, and does nothing else: what happens in between is up to
// modeshift.
//
// A step of the story counts when it has been seen from the outside: in the answers visitors got, in what Prometheus and
// modeshift's API say, in the pages that arrived, in what each instance did. That the demo asked for something, or that
// modeshift claims something, is not enough. A story that lacks a step ends with an *Incomplete that names it.
package demo
