package roster

import (
	"fmt"
	"maps"
	"strings"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"github.com/modeshift/modeshift/engine"
)

// Limits of what an instance may say of itself, in bytes.
const (
	maxName    = 253
	maxError   = 500
	maxVersion = 200
)

// Error says why an instance is not let in. Code is one of unknown_scope, in_use, invalid, unavailable.
type Error struct {
	code string
	text string
}

func (e *Error) Error() string { return e.text }

// Code says what kind of error it is, for programs.
func (e *Error) Code() string { return e.code }

// Line leads from a seat to its instance. Its methods are called while the roster is locked: they return at once.
type Line interface {
	// Tell says that there may be something to tell: Frame has it.
	Tell()
	// Taken says that the same process has come in by another line: this one is of no use any more.
	Taken()
}

// Seat is the place of a connected instance. One goroutine at a time asks what it is to be told, another one hands in what it says.
type Seat struct {
	roster *Roster
	crew   *crew
	member *member
	line   Line
	told   atomic.Pointer[message] // what the instance is to be told; read without the roster's lock, for which ten thousand would queue
	sent   *message                // last
}

// Connect gives an instance its seat. from is where it connects from. The line is told before Connect returns.
func (r *Roster) Connect(scope engine.Scope, hello engine.Hello, from string, line Line) (*Seat, error) {
	m, c, err := r.enter(scope, hello, from)
	if err != nil {
		return nil, err
	}
	defer r.mu.Unlock()
	if m.seat != nil {
		m.seat.line.Taken()
	}
	m.due = time.Time{}
	m.seat = &Seat{roster: r, crew: c, member: m, line: line}
	m.seat.tell(c.meant(m.Name))
	return m.seat, nil
}

// Exchange is a connection of one moment, for an instance that has no stream: it says what it has, and is told what is meant for
// it. It counts as connected until it should have come back.
func (r *Roster) Exchange(scope engine.Scope, hello engine.Hello, report *engine.Report, from string, back time.Duration) (engine.Told, bool, error) {
	m, c, err := r.enter(scope, hello, from)
	if err != nil {
		return engine.Told{}, false, err
	}
	defer r.mu.Unlock()
	if m.seat != nil { // it has given up its stream
		m.seat.line.Taken()
		m.seat = nil
	}
	m.due = r.opts.Now().UTC().Add(back)
	if report != nil {
		r.report(c, m, *report)
	}
	t := c.meant(m.Name)
	if t == nil {
		return engine.Told{}, false, nil
	}
	return t.told, true, nil
}

// enter finds or makes the member for an instance. Without an error the roster is locked, and the caller unlocks it.
func (r *Roster) enter(scope engine.Scope, hello engine.Hello, from string) (*member, *crew, error) {
	switch plain := func(s string) bool {
		return utf8.ValidString(s) && !strings.ContainsFunc(s, func(c rune) bool { return c < ' ' || c == 0x7f })
	}; {
	case hello.Instance == "" || len(hello.Instance) > maxName || !plain(hello.Instance):
		return nil, nil, &Error{"invalid", fmt.Sprintf("an instance has a name of 1 to %d bytes, without control characters", maxName)}
	case hello.Session == "" || len(hello.Session) > maxName || !plain(hello.Session):
		return nil, nil, &Error{"invalid", "an instance draws a session when it starts, and sends it each time it connects"}
	case len(hello.Version) > maxVersion || !plain(hello.Version):
		return nil, nil, &Error{"invalid", fmt.Sprintf("a version has at most %d bytes, without control characters", maxVersion)}
	}
	r.mu.Lock()
	c := r.scopes[scope]
	if c == nil || c.state.Version == 0 || scope == engine.Fleet {
		return nil, nil, r.refuse(scope, hello, from, "unknown_scope", fmt.Sprintf("no scope %q", scope))
	}
	if r.closed {
		r.mu.Unlock()
		return nil, nil, &Error{"unavailable", "the server is stopping"}
	}
	now := r.opts.Now().UTC()
	m := c.members[hello.Instance]
	switch {
	case m == nil:
		m = &member{Instance: Instance{Scope: scope, Name: hello.Instance, Seen: now}}
		c.members[hello.Instance] = m
	case m.Session != hello.Session && m.Connected():
		return nil, nil, r.refuse(scope, hello, from, "in_use",
			fmt.Sprintf("an instance %q of %s is connected already, from %s: give each its own name", hello.Instance, scope, m.From))
	case m.Session != hello.Session:
		m.Report, m.Reported = engine.Report{}, time.Time{} // what the process before it had says nothing of this one
	}
	m.Session, m.Version, m.From, m.Left, m.Silent = hello.Session, hello.Version, from, time.Time{}, false
	r.judge(c, m, now)
	r.dirty[m] = true
	r.changedIn(scope)
	r.compare(c, hello)
	return m, c, nil
}

// refuse counts an instance that is not let in, and unlocks the roster. Who tries again and again is named in the log once in a while.
func (r *Roster) refuse(scope engine.Scope, hello engine.Hello, from, code, text string) error {
	defer r.mu.Unlock()
	r.refused[code]++
	if now := r.opts.Now(); now.Sub(r.said) >= sayEvery || now.Before(r.said) {
		r.said = now
		r.log.Warn("an instance is not let in", "scope", scope, "instance", hello.Instance, "from", from, "why", text)
	}
	return &Error{code, text}
}

// Refused says how many instances were not let in since the start, by code: unknown_scope, those no rule knows of, and in_use.
func (r *Roster) Refused() map[string]uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return maps.Clone(r.refused)
}

// compare notices that an instance knows of a leader, or of a directive, that this log does not.
func (r *Roster) compare(c *crew, hello engine.Hello) {
	if r.opts.OnAhead == nil || r.opts.Term == nil {
		return
	}
	heard, own, leads := max(hello.Term, hello.Has.Term), c.state.Directive.Position(), r.opts.Term()
	switch {
	case heard > leads:
		r.opts.OnAhead(c.state.Scope, heard, fmt.Sprintf("%s has heard of term %d", hello.Instance, heard))
	case hello.Has.Compare(own) > 0 && hello.Has.Term == leads:
		r.opts.OnAhead(c.state.Scope, leads, fmt.Sprintf("%s has revision %d of %s in term %d, and this log ends at revision %d",
			hello.Instance, hello.Has.Revision, c.state.Scope, leads, own.Revision))
	}
}

// tell leaves a message to be asked for. One that nobody has asked for yet is replaced.
func (s *Seat) tell(t *message) {
	s.told.Store(t)
	s.line.Tell()
}

// Frame is what the instance has to be told next, as a server-sent event; nil when it was told all. A reader that was slow is told
// the latest only.
func (s *Seat) Frame() []byte {
	t := s.told.Load()
	if t == nil || t == s.sent || s.sent != nil && bytesEqual(t.frame, s.sent.frame) {
		s.sent = t
		return nil
	}
	s.sent = t
	return t.frame
}

func bytesEqual(a, b []byte) bool { return string(a) == string(b) }

// Report takes over what the instance says of itself.
func (s *Seat) Report(rep engine.Report) {
	s.roster.mu.Lock()
	defer s.roster.mu.Unlock()
	if s.member.seat == s {
		s.roster.report(s.crew, s.member, rep)
	}
}

func (r *Roster) report(c *crew, m *member, rep engine.Report) {
	rep.Error = strings.ToValidUTF8(rep.Error[:min(len(rep.Error), maxError)], "")
	now := r.opts.Now().UTC()
	m.Report, m.Reported = rep, now
	r.judge(c, m, now)
	r.dirty[m] = true
	r.changedIn(m.Scope)
}

// Leave gives the seat up. silent says that the connection was not closed: nothing was heard any more.
func (s *Seat) Leave(silent bool) {
	r := s.roster
	r.mu.Lock()
	defer r.mu.Unlock()
	if s.member.seat != s {
		return
	}
	r.left(s.crew, s.member, silent, r.opts.Now().UTC())
}

func (r *Roster) left(c *crew, m *member, silent bool, now time.Time) {
	m.seat, m.Left, m.Silent, m.due = nil, now, silent, time.Time{}
	r.judge(c, m, now)
	r.dirty[m] = true
	r.changedIn(m.Scope)
}

// Close lets nobody in any more.
func (r *Roster) Close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closed = true
}
