package loop

import (
	"context"
	"errors"
	"fmt"

	"github.com/modeshift/modeshift/engine"
)

// Error is why a request was not carried out. Code is one of unknown_scope, no_rules, refused, conflict, unavailable.
type Error struct {
	code   string
	Reason engine.Reason // of a refusal
	err    error
}

func (e *Error) Error() string { return e.err.Error() }
func (e *Error) Unwrap() error { return e.err }

// Code says what kind of error it is, for programs.
func (e *Error) Code() string { return e.code }

type request struct {
	scope engine.Scope
	by    engine.Actor
	what  engine.Happening
	reply chan reply
}

type reply struct {
	events []engine.Event
	err    error
}

type replacement struct {
	rules Rules
	reply chan error
}

// Submit hands a request to the loop and returns the events it led to, which are stored by then. A request the core refuses
// returns its events, RequestRefused among them, and an *Error of code refused. When the inbox is full, the log cannot be
// written or the loop has ended, the code is unavailable: trying again later is right.
func (l *Loop) Submit(ctx context.Context, scope engine.Scope, by engine.Actor, what engine.Happening) ([]engine.Event, error) {
	r := request{scope, by, what, make(chan reply, 1)}
	select {
	case l.inbox <- r:
	case <-l.done:
		return nil, unavailable(errors.New("the server is stopping"))
	default:
		return nil, unavailable(errors.New("too many requests wait"))
	}
	select {
	case a := <-r.reply:
		return a.events, a.err
	case <-ctx.Done():
		return nil, unavailable(fmt.Errorf("gave up waiting; the request may still be carried out: %w", context.Cause(ctx)))
	case <-l.done:
		select { // it may have been the last one served
		case a := <-r.reply:
			return a.events, a.err
		default:
			return nil, unavailable(errors.New("the server is stopping"))
		}
	}
}

// ErrMoved says that a scope went, after the rules were read, into a mode they do not declare. Nothing was taken into force:
// the rules have to be checked against the modes in force again.
var ErrMoved = errors.New("a scope is in a mode that the rules do not declare")

// Replace takes other rules into force. It returns when that is stored. After ErrMoved nothing has changed; after any other
// error the rules are in force and not all of what follows from them is stored.
func (l *Loop) Replace(ctx context.Context, rules Rules) error {
	r := replacement{rules, make(chan error, 1)}
	select {
	case l.inbox <- r:
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-l.done:
		return errors.New("the server is stopping")
	}
	select {
	case err := <-r.reply:
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-l.done:
		return errors.New("the server is stopping")
	}
}

func unavailable(err error) *Error { return &Error{code: "unavailable", err: err} }

// serve carries out one message of the inbox.
func (l *Loop) serve(ctx context.Context, m any) {
	switch m := m.(type) {
	case replacement:
		err := l.fits(m.rules)
		if err == nil {
			err = l.replace(ctx, m.rules)
		}
		m.reply <- err
	case request:
		events, err := l.carryOut(ctx, m)
		m.reply <- reply{events, err} // whoever waits is not kept by those below
		l.follow(ctx)
	}
}

// fits checks that rules declare the mode of every scope: whoever loaded them did so with modes that may have been left since.
func (l *Loop) fits(rules Rules) error {
	for i := range rules.Policies {
		p := &rules.Policies[i]
		sc := l.scopes[p.Scope]
		if sc == nil || sc.state.Target == "" {
			continue
		}
		if _, declared := p.Mode(sc.state.Target); !declared {
			return fmt.Errorf("%w: %s is in %s", ErrMoved, p.Scope, sc.state.Target)
		}
	}
	return nil
}

func (l *Loop) carryOut(ctx context.Context, r request) ([]engine.Event, error) {
	sc := l.scopes[r.scope]
	switch {
	case sc == nil || sc.state.Retired:
		return nil, &Error{code: "unknown_scope", err: fmt.Errorf("no scope %q: %s", r.scope, l.known())}
	case sc.policy == nil:
		return nil, &Error{code: "no_rules", err: fmt.Errorf("no rules are in force for %s: %s", r.scope, sc.problem)}
	}
	// First of all, time in which nobody could answer is given back to people.
	_, err := l.decide(ctx, r.scope, engine.Actor{}, &engine.TimePassed{Prev: sc.prev})
	var events []engine.Event
	if err == nil {
		events, err = l.decide(ctx, r.scope, r.by, r.what)
	}
	switch {
	case errors.Is(err, ErrConflict):
		return nil, &Error{code: "conflict", err: err}
	case err != nil:
		return nil, unavailable(err)
	}
	for _, e := range events {
		if _, refused := e.Fact.(engine.RequestRefused); refused {
			return events, &Error{code: "refused", Reason: e.Reason, err: errors.New(e.Reason.Text)}
		}
	}
	return events, nil
}

// known names the scopes there are, for whoever mistyped one.
func (l *Loop) known() string {
	views := l.Views()
	names := make([]engine.Scope, 0, len(views))
	for _, v := range views {
		if !v.State.Retired && len(names) < 20 {
			names = append(names, v.State.Scope)
		}
	}
	if len(names) == 0 {
		return "no rule file declares one"
	}
	return fmt.Sprintf("there are %v", names)
}
