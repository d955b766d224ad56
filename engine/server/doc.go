// Package server puts the program together: the store, the loop, the rules and their evaluator, the notifiers, the HTTP
// API and the flags. It is the one place that knows all of them, and nothing here decides anything.
//
//	New    opens the log, reads the rules, wires everything; nothing runs yet
//	Run    serves until its context ends, then stops everything in reverse order
//	Reload reads the rule files again, as SIGHUP, /-/reload and a change of the files do
//
// Tests start all of it in-process, with real parts.
package server
