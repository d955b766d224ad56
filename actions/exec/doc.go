// Package exec carries out steps by running programs.
//
// A program is started by its path with a list of arguments, and no shell is between: what a fact holds is a part of one
// argument, whatever it looks like. Only programs on the server's allow-list run. Who puts an interpreter there (sh, python,
// env, ssh) allows whatever it is told, so that list is for programs that do one thing.
//
// # A program's life
//
// Each program is the leader of a session and process group of its own. It ends by itself, at its timeout or with the
// server; then whatever it started and left behind in its group is killed too: a step that is over has nothing running.
// When the server is killed, the kernel kills the program (PR_SET_PDEATHSIG), so that no second attempt meets the first. The
// kernel does not do so for what the program has started itself: a program that starts others has to end them, or is run by
// a service manager that does. What a program moves into yet another session is out of reach in every case.
//
// # What an end means
//
// An expected exit status says that the step has happened, another one that it has not; so says an error to start it. A
// program that was killed, by the timeout or by anybody else, may have done its work before: nobody knows. Its environment
// has MODESHIFT_KEY, the same for every attempt, by which it can know a step that it did already.
//
// Programs run on Linux only: elsewhere there is nothing that makes them die with the server.
package exec
