// Package loop drives the core: at every tick it asks how the conditions of all scopes stand, lets engine.Decide judge, and
// stores what follows. One goroutine owns all states; everything from outside waits in one bounded inbox for its turn.
//
//	        tick ──▶ questions ──▶ Evaluate (a goroutine) ──▶ answer ─┐
//	                                                                  ▼
//	Submit, Replace ──▶ inbox ─────────────────────────────▶ Decide ──▶ Append ──▶ Apply ──▶ views, OnCommit
//
// # What callers may rely on
//
// What Submit returned without an error is stored. A state never runs ahead of the log: events are applied after they were
// stored, and when storing failed the state is read back from the log before anything else is decided in that scope. A
// source that hangs delays nobody's request: evaluation happens beside the loop. An answer to a question that is out of date
// (the scope moved, the rules changed) is dropped, not judged.
//
// # Time
//
// Ticks stand at multiples of the interval. An evaluation that takes longer than an interval makes the ticks it covers
// missed: they are counted, never made up for. Events are judged at the later of the store's clock and the stream's last
// event. The last evaluated instant is kept by the log, so that a restart knows how much time it lost.
package loop
