// Package suggest says, from the log alone, what automation would have done while it was only allowed to suggest: which
// transitions would have been taken and when, for how long each stayed ready, and which pages of SLOs came only after it. It is how
// a team finds out whether to trust a rule before the rule acts.
//
//	events ─▶ Teller ─▶ Report ─▶ history, API, the weekly notice, what a reload that turns automation on says
//
// # What it cannot say
//
// A suggestion is a stretch of time in which a transition was ready and nothing but `automation: suggest` kept it from starting.
// How long its mode would have lasted nobody knows: the service was never in it, and what would have ended it was not looked at.
// What is told in its place is how long the transition stayed ready. What did not start did not change what was seen after it:
// of two suggestions one after the other the second might not have been, had the first been followed.
//
// Nothing here reads a clock or a file; equal arguments give equal reports.
package suggest
