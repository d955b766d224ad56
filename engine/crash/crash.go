// Package crash turns a panic into an error, where one thing of many (a scope, a test, a team of services) is worked on and the others
// are to go on: a panic on a goroutine that nobody guards ends the whole process, with all that the others have found.
//
// It is for faults of modeshift itself. What is wrong with a file, or with what a stranger sends, is an error from the start.
package crash

import (
	"errors"
	"fmt"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"
)

// Error is a panic that was caught. Whoever passes it on says what it was about: which file, test or scope.
type Error struct {
	What  string // the panic's value as text, cut
	At    string // file:line of the source code where it began
	Stack []byte // for a report, where somebody can read it: not in results, which programs read
}

// Error asks for a report: who reads it cannot mend anything.
func (e *Error) Error() string {
	return fmt.Sprintf("modeshift failed, which is a fault of its own: %s; report it with the files and this place: %s", e.What, e.At)
}

// Try calls f and returns its error. A panic in f becomes an *Error; that of a Try on another goroutine, which was passed on by a panic of
// its own, stays what it is, with the stack on which it began.
func Try(f func() error) (err error) {
	defer func() {
		p := recover()
		if p == nil {
			return
		}
		passed, is := p.(error)
		if e := (*Error)(nil); !is || !errors.As(passed, &e) {
			passed = &Error{What: cut(fmt.Sprint(p)), At: Origin(), Stack: debug.Stack()}
		}
		err = passed
	}()
	return f()
}

// Of are the panics in an error, those of each place in the source code once: what goes wrong with one file in a hundred goes wrong with
// most of them.
func Of(err error) []*Error {
	var list []*Error
	seen := map[string]bool{}
	var look func(error)
	look = func(err error) {
		switch e := err.(type) { //nolint:errorlint // the tree is walked here, by hand
		case nil:
		case *Error:
			if !seen[e.At] {
				seen[e.At] = true
				list = append(list, e)
			}
		case interface{ Unwrap() []error }:
			for _, one := range e.Unwrap() {
				look(one)
			}
		default:
			look(errors.Unwrap(err))
		}
	}
	look(err)
	return list
}

// Origin is the place in the source code where the panic began that is being recovered from, to be called while it is.
func Origin() string {
	pcs := make([]uintptr, 64)
	frames := runtime.CallersFrames(pcs[:runtime.Callers(2, pcs)])
	panicked := false
	for {
		f, more := frames.Next()
		inside := strings.HasPrefix(f.Function, "runtime.")
		if panicked && !inside {
			return fmt.Sprintf("%s:%d", filepath.Base(f.File), f.Line)
		}
		if panicked = panicked || f.Function == "runtime.gopanic"; !more {
			return "unknown"
		}
	}
}

// most is how much of a panic's text is kept, in bytes: it may hold a whole file.
const most = 500

func cut(text string) string {
	text = strings.ToValidUTF8(text, "�")
	if len(text) > most {
		text = strings.ToValidUTF8(text[:most], "") + "…"
	}
	return text
}
