// Package explain says, from the log alone, why a change came about and what became of it: what was seen, which rule it was
// and where it stood, why that one and not another, who said yes, what each step's attempts came to, and how long it all
// took.
//
// It does not ask to be believed. The log keeps of each decision the input it was made from (engine.Given), and the server
// keeps the rules of each digest (EncodePolicy); with both, engine.Decide is run again over the decisions of the change and has
// to give the very events that are in the log:
//
//	events ─▶ decisions ─▶ state before, input, rules of the digest ─▶ engine.Decide ─▶ the same events?
//
// # What the replay shows, and what it does not
//
// That the events follow from the truths of the conditions at that instant, by the rules of that digest. Not that a condition
// was true: for that stand the readings and their queries, which are the evidence of each event and are compared with nothing.
//
// A digest is of what rules mean, not of how they are laid out: a comment or a moved line gives other positions under the same
// digest. Where several such texts were in force, one of them has to give the same events.
//
// Nothing here reads a clock or a file; equal arguments give equal explanations.
package explain
