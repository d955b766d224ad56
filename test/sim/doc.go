// Package sim runs the production core, store, loop and runner in a simulated world, one world a seed.
//
//	seed ──▶ scopes, rules + story ──▶ world: Prometheus, targets, pager, people, clock ◀──▶ loop, store, runner
//	                                            │
//	                                            └──▶ checks: every stored event, every effect, every page
//
// Everything is drawn from the seed: two to six scopes in a tree of up to three levels, their rules (modes and what they impose, gates,
// playbooks, schedules, how far automation goes, when a scope flaps), the brake, and a story, which is a list of things that happen
// at instants: a condition turns or begins to swing, all turn red at once (a Prometheus lies, or what all rest on is gone), a source goes
// blind, a person answers twice, the clock jumps, a target is slow, the process dies at its n-th write. The story runs in virtual time (testing/synctest), so hours pass in milliseconds, and what
// happens by chance in it (is this write lost before or after it took effect?) is decided by a hash of the seed and of what
// is being done, not by a shared generator: leaving one thing out of a story does not change the others. That is what makes
// a failing story shrink. Every call of the store takes a little while of its own, so no two things happen at one instant and
// the same seed gives the same events however the machine schedules goroutines.
//
// # What is checked
//
// The checks know the rules, what the world showed and what people said. They learn what modeshift did from the events as
// they become durable and from what arrives at targets and pager; they do not ask the core. While faults go on: one mode
// and at most one change a scope; no destructive step of a gated transition without a valid approval; nothing follows from
// what was denied, expired or withdrawn; unknown starts and ends nothing; a `for` is as long as it says; a step that must not
// be repeated is attempted once; a step goes out under its own key and has one effect, which its being done implies; a directive
// only goes around no declared transition; what was answered with success is stored; time does not run backwards in a stream. And what
// keeps automation from doing harm (defences_test.go): no more scopes move by themselves in a window than the brake lets, each with a
// permit stored at one stroke with it; nothing starts by itself where automation only suggests, or is off; a scope that flaps keeps its
// protection; a pin ends in time and holds until then; what a scope above asks for, and no more, is laid on those below, and left again;
// an SLO that burns, a move, what is withheld of protection, failed or stuck, and want of sight are told at once.
// An SLO that burns is kept quiet (quiet_test.go) only by a mode that declares it, or that pauses it because people or a schedule led
// there, and no longer than the mode's time and its window last.
//
// When the faults stop: everything settles within an hour, nobody below what is asked for from above, and where that ends everybody is
// back in their own mode; every page owed arrives, its trigger first; the chain verifies, and folding the log gives what the loop shows.
//
// # Use
//
//	go test ./test/sim                                   500 seeds, each twice, some with the log in a file
//	make sim SEEDS=10000                                 more of them, with progress
//	go test ./test/sim -run Seeds -sim.seed 42 -v        one seed, with its story and its events
//
// A seed that fails prints that command, and the story shrunk to what the failure needs.
//
// # Faults
//
// That the checks find something is tested by faults they have to find: of the world and the rules (mutation_test.go), and of the
// source, built through an overlay (source_test.go). -sim.mutation NAME runs a seed with one of the former.
package sim
