// Package spec reads what a rule file says of a step, for the kinds of step: strictly, with every fault at its place and what
// would be right, and with templates that can do no harm.
//
// # Templates
//
// A text may be a Go template over the facts of its change:
//
//	{{.scope}} {{.change}} {{.transition}} {{.from}} {{.to}} {{.reason}} {{.key}} {{.attempt}} {{.targets}}
//
// The targets are what a step with a selector acts on. In a text they are a list in JSON; where a place holds nothing else it
// may take them one by one (a list in a document, an argument each).
//
// The facts come from outside: a label may hold anything, a reason may hold anything that somebody typed, a scope may be named
// by anybody who writes a rule file. They are data, and stay data where they arrive. A template says what is fixed, and whoever made it knows its
// context (a member of a JSON document, a part of a URL, one argument of a program); there a fact takes the place that was
// meant for it and no other. That is why the context escapes, and not the author.
//
// A template can compare, choose (if, with), print and escape. It cannot loop, include, call, read a file or the
// environment, and its result has a limit. A name that is not a fact is a fault when the file is loaded, not a hole in a request.
package spec
