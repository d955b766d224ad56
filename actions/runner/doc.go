// Package runner makes notices durable work: it takes the jobs a store owes, has them carried out, and sees to it that what
// came of each is stored.
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
// # What callers must see to
//
// A job may be attempted more than once: the process may die between the target's yes and the storing of it. Its ID and its
// key stay the same, and the target recognises it by them.
package runner
