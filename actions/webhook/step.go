package webhook

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"strings"
	"sync/atomic"
	"time"

	"github.com/modeshift/modeshift/actions"
	"github.com/modeshift/modeshift/actions/answer"
	"github.com/modeshift/modeshift/actions/guard"
	"github.com/modeshift/modeshift/actions/notice"
	"github.com/modeshift/modeshift/engine"
	"github.com/modeshift/modeshift/engine/secret"
)

// KindOptions say what steps may do.
type KindOptions struct {
	// Guard says which addresses may be called. Redirects are never followed, whatever it says: they would carry a step,
	// its key and its token to a place that nobody approved.
	Guard guard.Options
	// SecretsDir is the folder with the files that bearer_file and secret_file name; empty: steps have no secrets. Links
	// are followed inside of it only. A file is read at each attempt.
	SecretsDir string
	// Source is the source of CloudEvents whose step names none; empty: modeshift. The server's own URL is a good one.
	Source string
	// FormOnly makes a kind that checks specifications without knowing a server's configuration, and carries nothing out.
	FormOnly bool
}

// Kind carries out steps by HTTP. It is an actions.Kind and an actions.Checker.
//
// # What an answer means
//
// A step has happened when the target gave the expected answer. It has not when nothing was sent (no address, refused
// connection, no TLS), and when the target says that it refused (4xx, 501). Everything else leaves it open: no answer after
// the request went out; 5xx, since a server that failed, or a proxy before it, may have done the work first; an answer of
// success other than the expected one, or one that the expression cannot judge. Whether an open step may be sent again is
// not decided here. It depends on whether the target knows the key, which the file says (keyed), and on what a second time
// would do, which nobody can see from an answer: a 500 is no more harmless because somebody would like to try again.
//
// GET is the exception: it asks, and changes nothing, so that a failed one has not happened.
type Kind struct {
	opts     KindOptions
	client   *http.Client
	programs programs
}

// maxStepAnswer is how much of an answer is given back, in bytes; maxJudged how much of it is read to be judged.
const (
	maxStepAnswer = 1 << 10
	maxJudged     = 256 << 10
)

// NewKind makes the kind of step.
func NewKind(opts KindOptions) *Kind {
	g := opts.Guard
	g.MaxRedirects, g.MaxBytes = 0, maxJudged
	g.Timeout = maxTimeout // of all; each step has its own
	return &Kind{opts: opts, client: guard.Client(g)}
}

var (
	_ actions.Kind    = (*Kind)(nil)
	_ actions.Checker = (*Kind)(nil)
)

// ErrNoCheck says that a step has no way to find out whether it happened.
var ErrNoCheck = errors.New("the step has no done check")

// Check reads a specification. A DELETE destroys; what another call sets off is for the file to say. It is keyed
// unless the file says that the target does not know the key and there is no other way to ask.
func (k *Kind) Check(data []byte) ([]byte, engine.Traits, []engine.SpecProblem) {
	s, f := k.read(data)
	if len(f.Problems) > 0 {
		return nil, engine.Traits{}, f.Problems
	}
	return f.Canonical(), engine.Traits{Destructive: s.method == http.MethodDelete, Keyed: s.keyed || s.done != nil, Targets: f.Targets}, nil
}

// of understands a stored step. Its faults are old ones: the file was checked when it was loaded.
func (k *Kind) of(job engine.StepJob) (*step, error) {
	text := job.Step.Spec
	if job.Undo {
		text = job.Step.UndoSpec
	}
	s, f := k.read([]byte(text))
	for _, p := range f.Problems {
		return nil, fmt.Errorf("%s: %s", strings.Join(p.Path, "."), p.Message)
	}
	return s, nil
}

// failed is an outcome where it has not happened and trying again cannot help.
func failed(err error) error { return &actions.Error{Err: err, Final: true} }

// Do makes one attempt.
func (k *Kind) Do(ctx context.Context, job engine.StepJob) (string, error) {
	if k.opts.FormOnly {
		return "", failed(errors.New("webhook: this kind only checks"))
	}
	s, err := k.of(job)
	if err != nil {
		return "", failed(err)
	}
	c, err := k.call(s, job)
	if err != nil {
		return "", failed(err)
	}
	if err := k.unlock(c, s); err != nil {
		// Not final: somebody may be changing the file at this moment.
		return "", &actions.Error{Err: err}
	}
	ctx, cancel := context.WithTimeoutCause(ctx, s.timeout, fmt.Errorf("no answer within %s", s.timeout))
	defer cancel()
	a, sent, err := k.send(ctx, c)
	if a.status == 0 {
		var refused *guard.Refused
		return "", &actions.Error{Err: c.scrub(err), Unknown: sent && s.method != http.MethodGet, Final: errors.As(err, &refused)}
	}
	said := c.said(a)
	if err != nil { // the answer broke off; what it began to say counts unless it has to be judged
		if !s.expect.status(a.status) || s.expect.program != nil {
			return "", &actions.Error{Err: fmt.Errorf("%s: %w", said, c.scrub(err)), Unknown: s.method != http.MethodGet}
		}
		return said, nil
	}
	return k.judge(ctx, s, c, a)
}

// judge says what an answer means.
func (k *Kind) judge(ctx context.Context, s *step, c *call, a answered) (string, error) {
	said := c.said(a)
	if !s.expect.status(a.status) {
		out := &actions.Error{Err: fmt.Errorf("%s answered %s", c.host, said), After: answer.RetryAfter(a.headers, time.Now())}
		switch {
		case a.status == http.StatusNotImplemented, a.status == http.StatusHTTPVersionNotSupported:
			out.Final = true
		case a.status/100 == 4: // refused, now or for good
			out.Final = final(a.status)
		case a.status == http.StatusMovedPermanently, a.status == http.StatusPermanentRedirect:
			out.Final = true
		case a.status == http.StatusTemporaryRedirect: // the request was to be sent elsewhere: it was not taken here
		default: // 5xx, an unexpected success, "see other"
			out.Unknown = s.method != http.MethodGet
		}
		return "", out
	}
	yes, err := s.expect.holds(ctx, a)
	switch {
	case err != nil:
		return "", &actions.Error{Err: fmt.Errorf("%s answered %s, which cannot be judged: %w", c.host, said, c.scrub(err)), Unknown: s.method != http.MethodGet}
	case !yes:
		return "", &actions.Error{Err: fmt.Errorf("%s answered %s, and %s is false", c.host, said, s.expect.text)}
	}
	return said, nil
}

// Done asks the target whether the step has happened: true for the expected answer, false for another one that is an
// answer (2xx, 404, 410). Everything else leaves it open.
func (k *Kind) Done(ctx context.Context, job engine.StepJob) (bool, error) {
	if k.opts.FormOnly {
		return false, errors.New("webhook: this kind only checks")
	}
	s, err := k.of(job)
	if err != nil {
		return false, err
	}
	if s.done == nil {
		return false, ErrNoCheck
	}
	c, err := s.done.call(job)
	if err != nil {
		return false, err
	}
	if err := k.addBearer(c, s.done.bearer(s)); err != nil {
		return false, err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, s.timeout, fmt.Errorf("no answer within %s", s.timeout))
	defer cancel()
	a, _, err := k.send(ctx, c)
	if err != nil {
		return false, c.scrub(err)
	}
	if s.done.expect.status(a.status) {
		yes, err := s.done.expect.holds(ctx, a)
		if err != nil {
			return false, fmt.Errorf("%s answered %s, which cannot be judged: %w", c.host, c.said(a), c.scrub(err))
		}
		return yes, nil
	}
	if a.status/100 == 2 || a.status == http.StatusNotFound || a.status == http.StatusGone {
		return false, nil
	}
	return false, fmt.Errorf("%s answered %s", c.host, c.said(a))
}

// send makes the call. sent reports whether any of it may have reached the target. A status of 0 says that there was no
// answer; with a status, an error says that its body broke off.
func (k *Kind) send(ctx context.Context, c *call) (a answered, sent bool, err error) {
	// The headers are written before the body, and nothing can be done with half of the headers: from here on the target may
	// act. It is noted before the bytes are handed to the network.
	var wrote atomic.Bool
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		WroteHeaders: func() { wrote.Store(true) },
		WroteRequest: func(httptrace.WroteRequestInfo) { wrote.Store(true) },
	})
	req, err := c.request(ctx)
	if err != nil {
		return a, false, err
	}
	resp, err := k.client.Do(req)
	if err != nil {
		if cause := context.Cause(ctx); cause != nil && ctx.Err() != nil {
			err = cause
		}
		return a, wrote.Load(), answer.Unreachable(c.host, err)
	}
	defer func() { _ = resp.Body.Close() }() // read or given up: there is nothing left to learn
	a = answered{status: resp.StatusCode, headers: resp.Header}
	a.body, err = io.ReadAll(resp.Body)
	if err != nil {
		err = fmt.Errorf("read the answer of %s: %w", c.host, err)
	}
	return a, true, err
}

// said is an answer in one line, without secrets.
func (c *call) said(a answered) string {
	s := fmt.Sprintf("%d %s", a.status, http.StatusText(a.status))
	if body := answer.Excerpt(a.body, maxStepAnswer-len(s)-2, c.secrets...); body != "" {
		s += ": " + body
	}
	return s
}

// scrubbed is an error whose text shows no secrets. Its cause can still be asked for.
type scrubbed struct {
	error
	text string
}

func (e *scrubbed) Error() string { return e.text }
func (e *scrubbed) Unwrap() error { return e.error }

func (c *call) scrub(err error) error {
	return &scrubbed{err, notice.Line(secret.Scrub(err.Error(), c.secrets...), maxStepAnswer)}
}
