// Package api is modeshift's HTTP API: its handlers, the tokens that open it, the stream of events, and the typed client
// that the command line uses.
//
// The handlers translate and nothing else. A request becomes an input for the core, and what the core decided, stored in
// the log by then, becomes the answer. What people may see is read from the loop's views; nothing is kept here that a
// restart could lose.
//
//	GET  /api/v1/scopes                       every scope the token may see, shortly
//	GET  /api/v1/scopes/{scope}               one scope with its evidence
//	GET  /api/v1/scopes/{scope}/history       its events, newest first
//	GET  /api/v1/scopes/{scope}/gate          may a deployment go ahead?
//	POST /api/v1/scopes/{scope}/set           a mode by hand; …/unpin gives it back to automation
//	POST /api/v1/scopes/{scope}/freeze        stop automation, in all scopes when the scope is "fleet"; …/unfreeze
//	POST /api/v1/scopes/{scope}/changes/{change}/cancel, undo, settle
//	GET  /api/v1/approvals                    the proposals that wait
//	GET  /api/v1/approvals/{id}               one, with all that has to be known to answer it; also when it has ended
//	POST /api/v1/approvals/{id}/review        a person's yes or no, bound to the digest of what they looked at
//	GET  /api/v1/events                       events as they are committed, as server-sent events
//	GET  /api/v1/status                       the server itself
//	GET  /api/v1/openapi.json, openapi.yaml   this API, described in OpenAPI 3.1
//
// # Guarantees
//
// A request that is answered with 2xx is in the log. One that could not be stored is answered with 503, and nobody who
// sees another status may conclude that it was carried out. GET never changes anything. Every error is a problem document
// (RFC 9457) whose type, urn:modeshift:problem:CODE, is meant for programs.
//
// An answer to a proposal is 2xx only when it counted. Whether the bearer's roles fit the gate is the core's to say: reviewing
// needs no more than a role that reads the scope, and an admin is a member of no group. What was refused is in the log too.
//
// # The stream
//
// An event's id is its position in the log, so a reader that was cut off goes on where it stopped, also after a restart of
// the server. A reader that does not keep up is cut off, never waited for: it resumes like any other.
//
// # Tokens
//
// A token is a random text of which the server knows the SHA-256 alone. Its value is a secret.Secret, which no printer shows.
package api
