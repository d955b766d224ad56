// Package demo tells stories of incidents, on real services with real metrics. The main one is that of a shop of twenty instances,
// in about a minute and a half:
//
//	good traffic → the recommendations break → the error budget burns → modeshift degrades the shop, and pages →
//	the errors stop, because the instances took the mode → the recommendations are mended → the shop recovers →
//	the page is resolved
//
//	the payment gateway dies → failing over is destructive, and waits for a yes → it is done, once → it is taken back
//
//	the shop degrades again, and one instance refuses → that pages, and keeps the shop from recovering → it gives in →
//	a fault that no probe sees is still there: the recovery relapses in its first wave, and is undone → it is mended →
//	the shop recovers, wave by wave
//
// The others are of six services of one product, that need the same recommendations (see Stories):
//
//	lying-prometheus: Prometheus stores answers as errors → three services are degraded, and the brake withholds the rest →
//	people are paged, look, freeze automation and say no → the lie is mended → the three recover
//
//	shared-outage: the recommendations break → three services are degraded, and the brake withholds the rest → somebody
//	contains the product, and all of them follow at once → meanwhile one has a bad deploy → the outage ends, the product is
//	let go → who may goes back, the one that burns stays degraded until it is mended
//
//	maintenance: a window is written into the rule files of two services → it opens, and pauses their SLO → they burn, and
//	nobody is paged but about a third one that burns as well → it gets worse than was announced: one is contained, and that
//	is a page → the window ends → their budgets leave it out
//
// Run starts everything the story needs in this process: Prometheus, the recommendations, the instances, their
// visitors, a receiver of pages and tickets, and modeshift itself with a configuration file and a rule file such as anybody
// would write. The demo then breaks and mends things, and does nothing else: what happens in between is up to
// modeshift, and to whoever answers it.
//
// A step of the story counts when it has been seen from the outside: in the answers visitors got, in what Prometheus and
// modeshift's API say, in the pages that arrived, in what each instance did. That the demo asked for something, or that
// modeshift claims something, is not enough. A story that lacks a step ends with an *Incomplete that names it.
package demo
