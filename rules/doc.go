// Package rules is the rule language: it turns files into policies, and says of every fault where it is, what is wrong and
// what would be right.
//
//	files ─▶ YAML with places ─▶ drafts, one a document ─▶ PromQL parsed, CEL type-checked ─▶ references between services ─▶ Set
//
// # What a file may say
//
// `version: modeshift/v1` is the language of modeshift: SLOs with Sloth's fields and Sloth's meaning, SLIs without an
// objective, schedules, modes and transitions. `version: prometheus/v1` is a Sloth file, read unchanged: a service with SLOs
// and alerts and no modes. A file may hold several documents, each of one service; a fault keeps that one from loading, and one of
// YAML's syntax all of them. Keys that nobody knows are errors, in a Sloth file warnings: each may be a safety somebody relies on.
//
// # What a transition does
//
// Between the modes of a transition stands a change, and a file says all of it:
//
//	transitions:
//	  - name: fail-over
//	    from: [degraded]
//	    to: failover
//	    when: burn_rate("availability", "5m") > 14.4 && dwell() > duration("10m")
//	    approval:                             # who has to say yes first
//	      groups: [{role: oncall-payments, count: 1}, {role: payments-lead, count: 1}]
//	      within: 15m                         # at most 24h
//	      otherwise: escalate                 # deny (the default), page, or escalate `to` further groups
//	      to: [{role: incident-commander, count: 1}]
//	    actions:                              # in this order
//	      - name: repoint
//	        webhook: {url: "https://dns.internal/repoint", json: {to: "eu-2"}}
//	        destructive: true
//	        undo: {webhook: {url: "https://dns.internal/repoint", json: {to: "eu-1"}}}
//	        attempts: 3                       # 1 to 20, 1 when left out
//	        timeout: 10s                      # of an attempt, at most 1h, 30s when left out
//	    verify: sli("p99") < 0.5              # has to be true at the end
//	    publish: first                        # the directive before the actions, or `last`
//	    on_failure: undo                      # or `hold`; left out: an ungated move to more restriction is held, all else undone
//	    retry_after: 2h                       # after it came to nothing; 1h when left out
//
// `until` is a condition that takes the change back while its own mode still holds; `undo: entry` takes back what the change
// did that entered the mode being left. They exclude each other: going back with `until` leads to the mode that was left, as
// if it had never been left, and that is no longer true once its entry has been taken back. A mode that is `beside: true` has
// no rank among the others; the first mode has to have one.
//
// An action is of one kind, and its undo of the same. The kinds come with Options: this package does not know what a webhook
// is, it hands the part of the file below the kind's key over as JSON, and shows what the kind finds wrong where it stands.
//
// What an action acts on may be found when it begins. `targets: {query: …, label: instance, max: 3}` stands beside its kind: the
// targets are the values of a label in the answer of a query, and {{.targets}} in the kind's part says where they go. More than
// `max` (1 to 1000) hold the action and ask people again; where nobody is asked they fail it. The undo has the same targets. A
// query that aggregates the label away is refused.
//
// # How a mode reaches the instances
//
// A transition may tell the instances in waves. Each wave has a share of them, the first ones by a stable order, and goes out
// when those before it have taken the mode, waited, and verified:
//
//	rollout:
//	  waves: [5, 25, 100]                   # percent reached after each; at most 20, and the last is 100
//	  pause: 30s                            # at most 24h, none when left out
//	  verify: burn_rate("availability", "5m") < 1.0 && divergence() < 0.01
//
// With `publish: last` the actions come before the first wave. What verifies a wave should look at the wave: five percent of the
// instances hardly show in what all of them do. {{.instances}} in a query stands for those that the waves have reached so far:
//
//	error_query: sum(rate(http_requests_total{code=~"5..",instance=~"{{.instances}}"}[{{.window}}]))
//	total_query: sum(rate(http_requests_total{instance=~"{{.instances}}"}[{{.window}}]))
//
// It stands in the value of a =~ matcher, alone or with text around it (=~"{{.instances}}:9090"), of an SLO in each selector,
// and is a pattern of the names that the instances report themselves by. Only in the verify of a rollout is it narrowed;
// everywhere else the query is of all instances, so that one SLO serves its alerts and the waves. min_events counts in the wave
// as well. Nobody is taken for good: without instances, and for more of them than a query may name (a million bytes as it
// is sent, ten thousand long names), the reading is unknown. Budgets, alerts and what Sloth's rules record know no instances.
//
// At the top of a file stands what holds for all modes:
//
//	instances: {min_applied: 99%, grace: 30s, page_above: 1%}  # what is left out is as here
//	lease: 10m                              # from 1s to 30d; for ever when left out
//	on_loss: hold                           # or a mode, once an instance has heard nothing for that long
//
// A mode in which the service does not answer says what it answers in place of that: 503, with this.
//
//	modes:
//	  - name: maintenance
//	    unavailable: {message: "We are moving; back at 04:00", retry_after: 2m}
//
// What tells an incident that burns on to the next severity is said of all SLOs at the top of a file, or of one in the SLO:
//
//	escalation: [{severity: exec, burn_rate: 8, for: 30m}, {severity: page, burn_rate: 2, for: 6h, window: 1h}]
//
// exec is told pages, page tickets. The rate is that of the shortest window of the tier, which is asked anyway, unless `window` says
// otherwise. Without a word pages go to exec as above where Options.Receivers know somebody there; `escalation: []` says never.
//
// A schedule is a window of time: {name: migration, cron: "0 2 * * SUN", duration: 2h, timezone: Europe/Berlin} opens by the clock of
// a place and lasts as long as it says, whatever that clock does. Where clocks go forward a time in the gap counts as the gap's end, and
// where they go back one that comes twice counts the first time. A window has to end before the next one opens.
//
// A mode may pause SLOs: their tiers open nothing while it is in force, and their budgets leave the time out.
//
//	modes:
//	  - name: read-only
//	    slos: {availability: {pause: true}}
//
// Only people or a schedule lead to such a mode, and it ends: each transition into it has an `approval`, or a `when` that is a
// schedule alone; and the mode has a max_duration, or all of them an `until` that is the end of their schedule.
//
// Or it keeps incidents of SLOs quiet until it ends, by a max_duration or as above:
//
//	modes:
//	  - name: maintenance
//	    max_duration: 4h
//	    suppress: {slos: [availability], severities: [page, ticket]}
//
// divergence() is the share of the instances that are not where they should be; unknown while there are none.
//
// # Flags have a life
//
// A flag has one type (boolean, number, string or object) in all modes, and keeps it: a file that gives it another one than it
// has in the rules in force is refused, because clients have the type built in. A revision without the flag is the way out.
// What a file says of its flags beside their values decides nothing and is in no digest:
//
//	flags:
//	  recommendations: {owner: team-shop, level: 3, expires: 2027-03-01, tested: 2026-11-01, saves: 40 % of CPU, description: …}
//
// level goes from 1, most critical, to 5. A flag whose day is over, one that nobody has seen work for 90 days, one that no mode
// sets and, where a file declares any, one that is not declared are warnings, as far as Options say which day it is.
//
// # What does harm is asked about
//
// An action is destructive if its kind says so of it or of its undo, or if the file does; a file that says it is not, against
// its kind, says `why`. A transition with a destructive action and without an approval does not load. A destructive action
// without an undo says `irreversible: true`. A gate's silence is never a yes: `to` has to ask for somebody who was not asked
// before, or for more of them, or those who said yes in time would be enough once it is over.
//
// # All faults in one run
//
// Reading goes on after a fault, and a Diagnostic points into the string inside the YAML, whichever way the string is written:
// a CEL or PromQL error in a folded block scalar has the line and column of the very character. A syntax error of YAML itself
// is the exception: what comes after it means nothing. The work that a file can cause is bounded in its size, nesting,
// aliases, and in the number of faults that are shown.
//
// # What loads and was hardly meant
//
// With Options.Findings Load looks at what is legal, too: modes that nothing leads to or out of, an entry and an exit that can be true
// together, a factor that is never reached, a verification that does not look at its wave. FINDINGS.md has a section on each. A file
// lives with one, in its document and for a reason:
//
//	allow: [{code: unreachable-mode, why: it is set by hand}]
//
// # A bad file never replaces a good one
//
// Reload keeps a service whose file is bad, and what refers to it, on the rules it had, with the reason in Service.Problem.
// A file that no longer declares the mode its scope is in, or gives a flag another type, is bad as well.
//
// # Conditions
//
// A condition is true, false or unknown (Kleene), and says which signals that were not asked for yet can still decide it:
// that drives the queries. Loading it checks that each name it mentions exists; names and windows are therefore literals. What
// cannot be computed (a division by zero, a number that is not finite) is unknown. Whether an SLO burns is decided by
// comparing errors with factor × budget × total, as exact fractions and strictly.
//
// # What callers may rely on
//
// A Set does not change; it may be read, and its conditions and schedules evaluated, by many goroutines at once. Equal
// meanings have equal digests: places, comments, spaces and the way a duration is written do not matter. The digest of a
// transition, to which approvals are bound, covers its gate, its actions in the canonical form of their kinds, and what stands
// behind each of its conditions. The time zones of
// schedules come from the system or from time/tzdata, which the program imports.
package rules
