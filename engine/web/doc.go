// Package web is the page for the phone: whoever is woken at night reads there what they are asked, and says yes or no.
//
// It is plain HTML without a script, served for the same desk as the API, and shows the same facts.
//
//	GET  /approvals            the proposals that wait
//	GET  /approvals/{id}       one of them, with a form to answer it; also when it has ended
//	POST /approvals/{id}       the answer
//	POST /approvals/sign-in    by token; …/sign-out
//
// # Guarantees
//
// GET changes nothing. An answer needs a session, the form's own token, and the digest of what was shown: what has changed
// since is shown again and asked again, never approved unseen. After a POST that counted the reader is sent back to GET, so that
// reloading repeats nothing; what the page says then is read from the log, not remembered here.
//
// # Sessions
//
// A session is a random number in a cookie that no script reads and no other site's page sends. It lives in memory: a restart
// signs everybody out. It holds the token's SHA-256 and looks that up with each request, so a token taken out of the file
// opens nothing any more.
package web
