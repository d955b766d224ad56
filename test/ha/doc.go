// Package ha holds modeshift against bad luck: processes that are killed, a Prometheus that is away or lies, rule files that
// turn bad, a disk that is full. Its tests run the real program, as a process or as a server in the test's own, against a
// real Prometheus and a receiver that holds every notice against the published contracts.
//
// What they look for is always the same: no mode changes without a reason in the log, nobody is told twice of one thing,
// nothing that was acknowledged is lost, and what is wrong is said in a place where somebody looks.
//
// With CI=true the kills are 200 of a server that decides and tells, and 100 of one that changes the world, and fewer
// without; MODESHIFT_KILLS says how many. Everything random there follows from one seed, which is printed; MODESHIFT_SEED
// repeats it.
package ha
