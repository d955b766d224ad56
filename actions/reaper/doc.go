// Package reaper runs a program and ends all that came of it: when it ends, when it is told to, and when the process that
// asked for it is gone, whatever ended that.
//
// The kernel's death signal (PR_SET_PDEATHSIG) reaches the program and not what the program has started. So the program is
// started by a second process, the reaper: this very executable, started anew under another name and in a session of its own.
// Between the two is a pipe.
//
//	server ──pipe──▶ reaper ──▶ program ──▶ whatever it starts
//
// The reaper starts the program once it has read a byte from the pipe, and from then on a pipe that is at its end says that
// nobody is there any more: the server was killed, or let go on purpose, which is the same thing on purpose. The reaper is also
// the one that the kernel gives orphans to (PR_SET_CHILD_SUBREAPER), so that a program's descendants stay below it, in another
// group and session too. It kills the program's group, then whatever is below it, until nothing is; only then does it report
// how the program ended, and ends itself.
//
// When the reaper itself is killed the program dies of the death signal, and the server, if there is one, kills the program's
// group. What has left that group lives on then. Only what a program asks others to start, a service manager or another
// machine, is out of reach in every case.
//
// Importing this package lets an executable be its own reaper: see init. It has to be initialised early, before packages that
// take their time, so it imports little.
package reaper
