// Package outline is what the rules of a scope say, as plain data that people compare: without positions that moved, spaces and
// secrets, and with what counts in an order of its own. Package rules makes an outline of what it compiled, a server gives those
// of what is in force, and Compare says how two differ and which of the differences loosen something.
//
// To loosen is to let automation do more, ask fewer people, look less closely, tell fewer people, or protect less or later. Which
// difference does so is one table, Rules. What cannot be compared, because it says something else altogether, counts as looser:
// unknown is never a yes here either, and whoever reviews it has only to say so.
package outline
