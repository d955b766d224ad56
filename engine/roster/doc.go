// Package roster knows the instances of every scope: which there are, what each is told, and what it says that it has.
//
//	loop ── Follow ──▶ who is told what ──▶ Seat.Frame ──▶ instance
//	                                                          │
//	loop ◀── Summary, OnNews ◀── table ◀── Seat.Report ◀──────┘
//
// It is a table beside the log, not a part of it: ten thousand acknowledgements are no events. The core gets a summary with each
// input, and what crosses a threshold there becomes an event.
//
// # Who is told what
//
// The newest directive, but in a wave: then the first so many instances by rank are told the new one and all others the one
// before. Ranks are those of a hash of scope and name, so that the same instances go first each time, and they are drawn up once,
// among the instances there are when the change starts, and kept: who comes later, or under another name, waits for the last wave.
//
// # Which instances count
//
// One that is connected counts. One whose connection was closed is taken for stopped when it has not come back within the grace
// time. One that fell silent, without its connection being closed, may still run with a mode that is not wanted any more: it counts
// on, for Options.Forget, as soon as another revision is meant for it than the one it had. So a crash is no page, and a partition
// is one.
//
// An instance is behind from the moment on at which what it has is not what is meant for it. A later directive does not give it
// time again.
//
// # Names
//
// An instance's name is one of a kind in its scope. A second process of the same name is refused while the first is connected,
// and told where that one sits. The same process coming back takes its own seat over.
package roster
