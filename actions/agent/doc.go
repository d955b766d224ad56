// Package agent lets a Go program follow the mode of its scope.
//
//	a, err := agent.New(agent.Options{Server: "https://modeshift.internal", TokenFile: "/run/secrets/modeshift",
//		Scope: "checkout", StateDir: "/var/lib/checkout"})
//	a.OnChange(func(ctx context.Context, old, now agent.State) error { return pool.Resize(now.Float("workers", 8)) })
//	go a.Run(ctx)
//	...
//	if mode, ok := a.Mode(); ok && mode == "read-only" { ... }
//
// Reading the mode is one atomic load. Everything else happens in Run: it keeps a connection to the server, judges what it
// is told, keeps it on disk, calls the program's callbacks, and reports what came of it.
//
// # Which directive counts
//
// Directives are ordered by the leader's term, then by the revision. One that is older than what the agent has is refused,
// and so is everything a server says that leads in a lower term than the highest ever heard of: it is an old leader, or was
// restored from a backup. So is a directive for another scope, and one that says something else at the very position of the
// one in hand: that server has another history. Refusals are counted, in reports and in Status.
//
// # When a directive is in force
//
// Callbacks are called one after another, in the order in which they were given, and never two at a time. Only when all have
// returned nil does Current change, and only then is the directive reported as applied. If one returns an error, panics, or
// does not return in time, the later ones are not called, Current stays what it was, the report says failed and why, and the
// agent tries again from the first callback, at growing intervals, until it succeeds or a newer directive is there. So a callback
// has to bear being called twice for one directive, and being called for the next one although a later callback failed for
// this one. Directives that come while callbacks run wait, and only the newest of them is applied.
//
// A mode that the program does not list in Options.Modes, if it lists any, is not applied: the mode in force stays, and the
// report says failed. The agent still remembers the directive as the newest.
//
// # Without the server
//
// The last directive that was accepted is on disk, and the last that was applied if that is another one. A start begins
// with them. Without a file a program begins in Options.ColdStart once the server had some time to answer; without that
// either it has no mode: Mode says so, and nobody invents one.
//
// A directive may come with a lease. It begins anew with each sign of life of a server that leads, and is measured with the
// monotonic clock, so that setting the time does not matter. When it is over, the agent takes the mode that the directive
// declares for that, or holds what it has if none is declared. Once the server is back the directive counts again. A restart
// has no monotonic clock to go by: the file says when the server was last heard, by the wall clock, written at least every
// quarter of a lease. What is left of the lease is taken from that, at least nothing and at most all of it.
//
// A disk that cannot be written does not keep a directive from being applied. It is logged, Status says so, and the agent
// tries again.
//
// # The connection
//
// An instance holds one HTTP request to the server, whose body and answer both go on for ever: it sends lines of JSON (a
// hello, reports, beats) and gets server-sent events (a welcome, directives, beats). Where there are thousands of instances the
// welcome says how far their reports are to be spread, and each waits for a random part of that. Silence for two heartbeats means that the
// other side is gone, whatever TCP says. Connections are made again with full jitter. A proxy that holds answers
// back lets no welcome through; then the agent asks at intervals instead, by ordinary requests, and tries the stream again later.
package agent
