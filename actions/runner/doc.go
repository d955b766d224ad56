// Package runner makes notices and steps durable work: it takes the jobs a store owes, has them carried out, and sees to it
// that what came of each is stored. Notices go this way:
//
//	store ──Lease──▶ waiting ──slot, rate──▶ attempt ──▶ taken ─────────▶ Done
//	  ▲              (by urgency)               ├──────▶ final failure ──▶ Fail, and the fallback is told
//	  └──────────────── Retry, backoff ◀────────┴──────▶ any other failure
//
// # What callers may rely on
//
// A job is attempted until its target takes it or refuses it for good; there is no number of attempts after which a page is
// given up. Jobs of one key are attempted one at a time, in the store's order. Two severities with notifiers of their own
// do not wait for each other: each route has its own slots, its own queue and its own rate.
//
// Nothing fails silently: a final failure is logged as an error, counted, listed by Problems and told to the fallback. So is
// a page that could not be delivered for FallbackAfter, once.
//
// An attempt whose outcome cannot be stored is not repeated by the same process: the runner remembers the outcome and goes on
// storing it. While a retry cannot be stored the runner makes it itself, so that a full disk delays no page.
//
// # Steps
//
// A step of a change is carried out by the kind that its plan names, in slots of its own: no step delays a notice, and a slow
// one delays another scope's only when its kind, or all kinds together, are at their limit. The core decides what follows
// from an outcome, another attempt too, so the runner makes one attempt a job:
//
//	waiting ──due, slot──▶ Begin ──▶ Do ──▶ Report ──▶ Done
//
// Each arrow is durable before the next is taken. Where the process dies decides what the next one does: before Begin the
// attempt is made as if nothing had been; after Report the job is only closed (Steps.Stale); in between Job.Begun says that it
// may have happened. Then a kind that can tell is asked. What nobody can tell is sent again under the same key where that does
// no harm, and else reported as unknown: at most once, and a person looks.
//
// The job of a step whose targets are to be found does nothing else: they are found and reported, and what follows is a job of
// its own that holds them. What cannot be found is reported as such, and is never "none".
//
// An outcome that cannot be reported is kept and reported again, and nothing is done again meanwhile. An attempt that could not
// be marked is not made. A kind that does not end when its time is over is left alone and its step reported as unknown, so that
// no change waits for ever. Nothing that a step holds is written to the log: only its name and what the kind said of it.
//
// # What callers must see to
//
// A job may be attempted more than once: the process may die between the target's yes and the storing of it. Its ID and its
// key stay the same, and the target recognises it by them.
package runner
