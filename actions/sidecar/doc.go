// Package sidecar brings the mode of a scope to a program that knows nothing of modeshift: it is the work of modeshift agent.
//
// It runs an agent, and what a Go program would do in a callback it does by steps that a configuration names: write a file,
// run a command, signal a process, call an URL. Then it probes whether the program took the mode. It has applied a directive
// when all steps and the probe have succeeded, and says so; otherwise it says what failed, and tries again later from the
// first step, at growing intervals. So every step has to bear being repeated.
//
// A start of the sidecar applies the last directive again: the program may have been restarted with it. Where a probe finds
// that the program is in the mode already, commands, signals and calls are left out, so that a restart of the sidecar is none
// of the program.
//
// On loopback it serves the mode that is in force as feature flags, by OFREP and by flagd's sync protocol: from what it was
// told, or from disk. A program that reads its flags here does not notice when the server is away. Nobody needs a token there,
// so it serves on loopback only.
//
// # What a step gets to know
//
// Commands get facts by the environment: MODESHIFT_SCOPE, MODESHIFT_MODE, MODESHIFT_OLD_MODE (empty at the first),
// MODESHIFT_TERM, MODESHIFT_REVISION, MODESHIFT_CHANGE, MODESHIFT_ORIGIN, MODESHIFT_UNAVAILABLE (true or false), MODESHIFT_MESSAGE,
// MODESHIFT_RETRY_AFTER (seconds), and MODESHIFT_FLAG_NAME for each flag, with the name in capitals and everything that is no letter or
// digit made an underscore. Their arguments are what the configuration says and nothing else, and no shell is between. Files get the same facts, as
// JSON, as such variables, or by a Go template.
package sidecar
