// Package flags serves directives as feature flags, so that any OpenFeature SDK can read a service's mode.
//
// A service is a scope. It has the flag "mode", whose value and variant are the published mode, and every flag that any of
// its modes declares. Two protocols tell them:
//
//   - OFREP 0.3, the OpenFeature Remote Evaluation Protocol (Handler): the client asks, this package evaluates;
//   - flagd's sync protocol (NewSync): the client gets the whole flag configuration, and evaluates by itself.
//
// Clients of both are readers. What they were told is known, what they made of it is not: Options.Fetched counts the former.
//
// # What is served
//
// A Source says what each instance is told, and nothing else is served: there is no state here that could lag behind it.
// What is made of a source's answer is kept until the source says that something may have changed. A client names its
// service by the key "service" of its context, or by flagd's selector, and its instance by the key "instance" or else by
// OpenFeature's own, "targetingKey". A name that is no instance's gets the directive meant for the rest.
//
// While a roll-out goes on, instances are told different things. A flag that is the same for all has the reason STATIC, as
// at all other times; one that is not has the reason SPLIT: whose turn it is was drawn by a hash, and a client must not take
// one instance's answer for another's. Answers that differ have different ETags, for they are made of the content.
//
// # OFREP
//
//	POST /ofrep/v1/evaluate/flags/{key}   {"context": {"service": "checkout", "targetingKey": "pod-1"}}
//	POST /ofrep/v1/evaluate/flags         the same, with If-None-Match; 304 when nothing changed
//	GET  /ofrep/v1/events?…               text/event-stream; the address comes with the answer to the second
//
// The stream tells a client that its flags are not the ones any more that it has, by a message of type refetchEvaluation;
// the client then asks again. The id of a message is the content it announces. A client that comes back says by
// Last-Event-ID which one it saw last, and by a part of the address which one it had when it got the address, so that what
// changed in between is told at once: for that nothing has to be kept, only compared. A reader that is slow finds the newest
// content when it has caught up, and nothing before it; one that takes longer than Options.WriteWait for a message is cut
// off.
//
// A browser cannot send a token with its request for a stream, so the address holds a ticket, which opens that stream and
// nothing else: see tickets.
//
// A context without service is INVALID_CONTEXT. A service nobody declares is FLAG_NOT_FOUND (404) for a single flag; for
// the bulk endpoint the protocol knows no 404, so it is INVALID_CONTEXT (400) with details that name the service. A client
// that had flags before keeps them in both cases. A retired service keeps its last directive.
//
// # flagd
//
// SyncFlags sends a scope's configuration at once and at each change, FetchAllFlags sends it once. The state of a flag is
// always ENABLED; which variant holds is what moves. A variant is named after the mode that gives the value, as in OFREP. In
// a roll-out the flags that differ have a targeting rule, which looks for the instance in the list of those whose turn it
// was. The sync context holds service, mode, revision and term: clients merge it into every evaluation's context, and so it
// reaches their hooks, and through them logs and spans.
//
// A client that sends no token, as npm's provider cannot, has to ask where none is needed: at an agent on its own machine.
//
// # A flag that the present mode does not set
//
// The client has to end at the default in its code, and without an error, since nothing is wrong. OFREP says that
// a missing value means so (its ADR 0006). What real clients make of that:
//
//   - the Go provider v0.1.6 takes a missing value for a type mismatch, an error, unless the reason is DISABLED: then it
//     returns the default without looking at the value;
//   - the web provider 0.4.3 returns the default for a missing value whatever the reason is, and FLAG_NOT_FOUND, an error,
//     for a flag that is not in the answer at all.
//
// So such a flag is answered with the reason DISABLED and no value. DISABLED is in the protocol's list of reasons, and
// fits: the mode does not use the flag. flagd's word for it is another: a flag of state ENABLED whose defaultVariant is null.
package flags
