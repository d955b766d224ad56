// Package approval is the desk at which people are asked: it gathers what somebody has to know to say yes or no to a
// proposal, and takes their answer to the core.
//
// The HTTP API and the page for the phone stand at the same desk, so that both show the same facts and give the same
// answers. Nothing is kept here. A proposal that waits is read from the loop's view of its scope; what would be done, the
// evidence and the votes are read from the log, where its first event is: a proposal's identity is that event's.
//
//	waiting → started as a change | denied | expired | withdrawn
//	   ▲              │
//	   └──────────────┘ a step of it found more targets than were approved, and is held
//
// # Guarantees
//
// Review returns without an error only when the answer counted: the log then holds ApprovalGranted or ProposalDenied for it.
// In every other case the error says why, and nobody may conclude that a vote was given. A proposal that has ended is still
// found, with how it ended.
package approval
