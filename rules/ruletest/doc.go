// Package ruletest runs the tests of rule files: series in memory under the real PromQL engine, the production evaluator over them,
// and the production loop and core over that, led through a time that takes no time.
//
//	test file ──Parse──▶ File ──▶ Run ──▶ Results
//	                               │
//	   series, scenarios ──▶ rules/series ◀── rules/prom ◀── engine/rehearse ──▶ events, notices ──▶ expectations
//
// Nothing is imitated but the world: what a test sees is what a server with the same rules would have decided on the same samples, at
// the same ticks, with the same offset of its queries. What a failed expectation says is made of the same readings a server shows.
//
// What is left of an error budget is what the ledger of a server would know at that tick: a bucket of five minutes once it is over and
// 65 s have passed, and nothing while less than half of the period is known. A scenario of an SLO whose budget is asked for has even
// traffic for a whole period before the test, unless it says how long before; series that are written down begin with it.
//
// A test file stands beside its rule files and names them. It is read as strictly as they are, against what they declare: a mode, an
// SLO or a step that does not exist is an error with its place, not an expectation that never holds.
package ruletest
