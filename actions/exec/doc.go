// Package exec carries out steps by running programs.
//
// A program is started by its path with a list of arguments, and no shell is between: what a fact holds is a part of one
// argument, whatever it looks like. Only programs on the server's allow-list run. Who puts an interpreter there (sh, python,
// env, ssh) allows whatever it is told, so that list is for programs that do one thing.
//
// # A program's life
//
// Each program is the leader of a session and process group of its own. It ends by itself, at its timeout or with the
// server, also when that is killed; then whatever it started and left behind is killed too, in its group or elsewhere: a step
// that is over has nothing running, and no second attempt meets the first. Package reaper says how. Out of reach is only what a
// program asks others to start, such as a service manager.
//
// # What it is taken for
//
// Nobody can tell from here what a program does. A step that runs one is destructive, with all that follows (a gate, an undo or
// `irreversible: true`), unless its rule file says `destructive: false` and, in `why`, why not.
//
// # What an end means
//
// An expected exit status says that the step has happened, another one that it has not; so says an error to start it. A
// program that was killed, by the timeout or by anybody else, may have done its work before: nobody knows. Its environment
// has MODESHIFT_KEY, the same for every attempt, by which it can know a step that it did already.
//
// Programs run on Linux only: elsewhere there is nothing that makes them die with the server.
package exec
