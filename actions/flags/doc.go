// Package flags serves directives as feature flags, so that any OpenFeature SDK can read a service's mode.
//
// It speaks OFREP 0.3, the OpenFeature Remote Evaluation Protocol: single and bulk evaluation, with ETag and 304.
//
//	POST /ofrep/v1/evaluate/flags/{key}   {"context": {"service": "checkout"}}
//	POST /ofrep/v1/evaluate/flags         {"context": {"service": "checkout"}}, If-None-Match
//
// A service is a scope; the context key "service" names it. It has the flag "mode", whose value and variant are the
// published mode, and every flag that any of its modes declares. No other part of the context matters: an answer is the
// same for all instances, so its reason is STATIC.
//
// # A flag that the present mode does not set
//
// The client has to end at the default in its code, and without an error, since nothing is wrong. The protocol says that
// a missing value means so (its ADR 0006). What real clients make of that:
//
//   - the Go provider v0.1.6 takes a missing value for a type mismatch, an error, unless the reason is DISABLED: then it
//     returns the default without looking at the value;
//   - the web provider 0.4.3 returns the default for a missing value whatever the reason is, and FLAG_NOT_FOUND, an error,
//     for a flag that is not in the answer at all.
//
// So such a flag is answered with the reason DISABLED and no value. DISABLED is in the protocol's list of reasons, and
// fits: the mode does not use the flag.
//
// # What is refused
//
// A context without service is INVALID_CONTEXT. A service nobody declares is FLAG_NOT_FOUND (404) for a single flag; for
// the bulk endpoint the protocol knows no 404, so it is INVALID_CONTEXT (400) with details that name the service. A client
// that had flags before keeps them in both cases. A retired service keeps its last directive.
package flags
