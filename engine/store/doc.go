// Package store keeps the event log and the jobs it owes.
//
// # The log
//
// Events stand in streams, one a scope and one for the fleet, and in one order over all streams, the position. Append adds
// events to streams that are still at the version the writer saw, and the jobs for their effects (engine.Effects) in the
// same transaction: all or none, durable on return. A writer that is behind gets ErrConflict and has written nothing.
//
// What is stored of an event is exactly its canonical form (engine.Event.Encode), and each stream is a hash chain over
// those bytes:
//
//	hash_0 = SHA-256(32 zero bytes ‖ name of the stream)
//	hash_n = SHA-256(hash_n-1 ‖ body_n)
//
// so that anybody can check a copy of the log with nothing but a SHA-256. Verify does it, reading everything again and
// trusting no index, no snapshot and no column beside the body.
//
// # The life of a job
//
//	         Lease                      Done
//	owed ───────────▶ leased ───────────────────────▶ done
//	  ▲                  │ └──── Fail ──────────────▶ failed, kept with its problem
//	  └── Retry, expiry ─┘
//
// Jobs of one key are handed out strictly in the order in which they were owed: the next one only when the one before is
// done or failed. A job may be handed out more than once (a lease expires, a process dies before its outcome is stored),
// so its target has to recognise the job's ID.
//
// # SQLite
//
// One process owns a log; a second one gets ErrInUse. Leases therefore live in memory and die with the process, and a job
// that a killed process held is due again at once. Readers (OpenReadOnly) may look on at any time.
//
// One caller at a time writes. What others want written while a commit is under way shares the next one, and its fsync.
//
// When the disk is full or fails, Append and Mark return an error that wraps ErrUnwritable and nothing has changed. Reading
// goes on, and so does Lease: jobs already owed are still carried out. Their outcomes are remembered, so that this process
// does not run them again, and written together with the first thing that can be written. A process that dies before that
// runs them again.
//
// # What callers may not assume
//
// That a job runs once. That a position says which of two streams' events happened first. That a snapshot is true: it is a
// cache. That Verify can tell a log that was cut behind its last checkpoint, or replaced by an older copy of all of it: for
// that compare the report's heads with the checkpoint a page carried.
package store
