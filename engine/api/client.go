package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/modeshift/modeshift/engine"
	"github.com/modeshift/modeshift/engine/secret"
)

// ErrNoServer says that no server answered: nothing listens there, or what came back was no HTTP. Whether a request was
// carried out is unknown then.
var ErrNoServer = errors.New("no modeshift server answers")

// Error is a request the server answered and did not carry out.
type Error struct {
	Problem Problem
	// RetryAfter is when the server wants to be asked again; 0: it does not say.
	RetryAfter time.Duration
}

func (e *Error) Error() string {
	text := e.Problem.Detail
	if text == "" {
		text = e.Problem.Title
	}
	for _, d := range e.Problem.Errors {
		if d.Message != text && d.Message != "" {
			text += ": " + d.Message
			if d.Location != "" {
				text += " (" + d.Location + ")"
			}
		}
	}
	return text
}

// Status is the HTTP status.
func (e *Error) Status() int { return e.Problem.Status }

// Code is one of this package's codes, or empty.
func (e *Error) Code() string { return ProblemCode(&e.Problem) }

// Client speaks to a server's API. It is safe for concurrent use.
type Client struct {
	server *url.URL
	token  secret.Secret
	http   *http.Client
}

// NewClient speaks to the server at an http or https URL. A zero token is not sent. Redirects are not followed: the token
// is for this server alone. transport is nil for http.DefaultTransport.
func NewClient(server string, token secret.Secret, transport http.RoundTripper) (*Client, error) {
	u, err := url.Parse(server)
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" {
		return nil, fmt.Errorf("%q is not the URL of a server: write http://HOST:PORT or https://HOST", server)
	}
	if u.User != nil {
		return nil, errors.New("the server's URL holds a password: the token goes into a file of its own (--token-file)")
	}
	return &Client{
		server: u,
		token:  token,
		http: &http.Client{
			Transport:     transport,
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}, nil
}

// Scopes lists the scopes the token may see, sorted by name.
func (c *Client) Scopes(ctx context.Context) ([]Summary, error) {
	var out Scopes
	err := c.get(ctx, "/scopes", nil, &out)
	return out.Scopes, err
}

// Scope shows one scope; engine.Fleet too.
func (c *Client) Scope(ctx context.Context, scope engine.Scope) (Scope, error) {
	var out Scope
	return out, c.get(ctx, scopePath(scope, ""), nil, &out)
}

// History returns at most limit events of a scope, newest first, below a version; 0 is from the newest on. Where limit is 0
// the server chooses.
func (c *Client) History(ctx context.Context, scope engine.Scope, before engine.Version, limit int) (History, error) {
	query := url.Values{}
	if before > 0 {
		query.Set("before", strconv.FormatUint(uint64(before), 10))
	}
	if limit > 0 {
		query.Set("limit", strconv.Itoa(limit))
	}
	var out History
	return out, c.get(ctx, scopePath(scope, "/history"), query, &out)
}

// Status shows the server.
func (c *Client) Status(ctx context.Context) (Status, error) {
	var out Status
	return out, c.get(ctx, "/status", nil, &out)
}

// Set asks for a mode by hand.
func (c *Client) Set(ctx context.Context, scope engine.Scope, r SetRequest) (Outcome, error) {
	return c.post(ctx, scopePath(scope, "/set"), r)
}

// Unpin gives a scope back to automation.
func (c *Client) Unpin(ctx context.Context, scope engine.Scope, reason string) (Outcome, error) {
	return c.post(ctx, scopePath(scope, "/unpin"), ReasonRequest{reason})
}

// Freeze stops automation from starting changes in a scope, everywhere for engine.Fleet; until released where d is 0.
func (c *Client) Freeze(ctx context.Context, scope engine.Scope, reason string, d time.Duration) (Outcome, error) {
	return c.post(ctx, scopePath(scope, "/freeze"), FreezeRequest{reason, Duration(d)})
}

// Unfreeze ends a freeze.
func (c *Client) Unfreeze(ctx context.Context, scope engine.Scope, reason string) (Outcome, error) {
	return c.post(ctx, scopePath(scope, "/unfreeze"), ReasonRequest{reason})
}

// Approvals lists the proposals that wait, the one whose time is over first at the front.
func (c *Client) Approvals(ctx context.Context) ([]ApprovalSummary, error) {
	var out Approvals
	err := c.get(ctx, "/approvals", nil, &out)
	return out.Approvals, err
}

// Approval shows one proposal, waiting or ended.
func (c *Client) Approval(ctx context.Context, id engine.ChangeID) (Approval, error) {
	var out Approval
	return out, c.get(ctx, "/approvals/"+url.PathEscape(string(id)), nil, &out)
}

// Review answers a proposal. It returns without an error only when the answer counted.
func (c *Client) Review(ctx context.Context, id engine.ChangeID, r ReviewRequest) (Outcome, error) {
	return c.post(ctx, "/approvals/"+url.PathEscape(string(id))+"/review", r)
}

// Cancel takes a change under way back, or withdraws a proposal.
func (c *Client) Cancel(ctx context.Context, scope engine.Scope, change engine.ChangeID, r ChangeRequest) (Outcome, error) {
	return c.post(ctx, changePath(scope, change, "/cancel"), r)
}

// Undo takes the last change that is done back.
func (c *Client) Undo(ctx context.Context, scope engine.Scope, change engine.ChangeID, r ChangeRequest) (Outcome, error) {
	return c.post(ctx, changePath(scope, change, "/undo"), r)
}

// Settle says what a person found of a stuck change.
func (c *Client) Settle(ctx context.Context, scope engine.Scope, change engine.ChangeID, r SettleRequest) (Outcome, error) {
	return c.post(ctx, changePath(scope, change, "/settle"), r)
}

func changePath(scope engine.Scope, change engine.ChangeID, rest string) string {
	return scopePath(scope, "/changes/"+url.PathEscape(string(change))+rest)
}

func scopePath(scope engine.Scope, rest string) string {
	return "/scopes/" + url.PathEscape(string(scope)) + rest
}

func (c *Client) get(ctx context.Context, path string, query url.Values, out any) error {
	return c.call(ctx, http.MethodGet, path, query, nil, out)
}

func (c *Client) post(ctx context.Context, path string, in any) (Outcome, error) {
	body, err := json.Marshal(in)
	if err != nil {
		return Outcome{}, fmt.Errorf("encode the request: %w", err)
	}
	var out Outcome
	return out, c.call(ctx, http.MethodPost, path, nil, body, &out)
}

// maxAnswer is far above the largest answer there is: a thousand events with their evidence.
const maxAnswer = 64 << 20

func (c *Client) call(ctx context.Context, method, path string, query url.Values, in []byte, out any) (err error) {
	resp, err := c.send(ctx, method, path, query, in, nil)
	for again := 0; err != nil && method == http.MethodGet && again < maxAgain && comeAgain(ctx, err); again++ {
		resp, err = c.send(ctx, method, path, query, in, nil)
	}
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, resp.Body.Close()) }()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return c.lost(ctx, err)
	}
	if err := json.Unmarshal(body, out); err != nil {
		return fmt.Errorf("%s gave an answer that is not modeshift's: %w", c.server.Redacted(), err)
	}
	return nil
}

// Reading changes nothing, so that it may be tried again when the server says when; but nobody is kept waiting for long who would
// rather hear what is wrong.
const (
	maxAgain = 2
	maxWait  = 10 * time.Second
)

// comeAgain waits for as long as the server said. It returns false at once where the server did not say, where it is longer than
// anybody wants to wait, and where there is not that much time.
func comeAgain(ctx context.Context, err error) bool {
	var e *Error
	if !errors.As(err, &e) || e.RetryAfter <= 0 || e.RetryAfter > maxWait {
		return false
	}
	if by, bounded := ctx.Deadline(); bounded && time.Until(by) <= e.RetryAfter {
		return false
	}
	pause := time.NewTimer(e.RetryAfter)
	defer pause.Stop()
	select {
	case <-pause.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// send returns the response when its status is 200, else an error. Whoever gets the response closes its body.
func (c *Client) send(ctx context.Context, method, path string, query url.Values, in []byte, header http.Header) (*http.Response, error) {
	u := c.server.String()
	u = strings.TrimSuffix(u, "/") + Prefix + path
	if len(query) > 0 {
		u += "?" + query.Encode()
	}
	var body io.Reader
	if in != nil {
		body = bytes.NewReader(in)
	}
	req, err := http.NewRequestWithContext(ctx, method, u, body)
	if err != nil {
		return nil, fmt.Errorf("make a request: %w", err)
	}
	for name, values := range header {
		req.Header[name] = values
	}
	if in != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if !c.token.IsZero() {
		req.Header.Set("Authorization", "Bearer "+c.token.Reveal())
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, c.lost(ctx, err)
	}
	if resp.StatusCode == http.StatusOK {
		return resp, nil
	}
	err = c.problem(resp)
	return nil, errors.Join(err, resp.Body.Close())
}

// lost is the error for a request that got no answer.
func (c *Client) lost(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	var u *url.Error
	if errors.As(err, &u) {
		err = u.Err // its text repeats the address
	}
	return fmt.Errorf("%w at %s: %w", ErrNoServer, c.server.Redacted(), err)
}

// problem reads what the server says went wrong. A proxy in between may have answered something else.
func (c *Client) problem(resp *http.Response) error {
	text, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil {
		text = nil // the status says enough
	}
	e := &Error{}
	if n, err := strconv.Atoi(resp.Header.Get("Retry-After")); err == nil && n > 0 {
		e.RetryAfter = time.Duration(min(n, 24*3600)) * time.Second
	}
	kind, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type")) // empty when it cannot be parsed
	if kind == "application/problem+json" && json.Unmarshal(text, &e.Problem) == nil && e.Problem.Status != 0 {
		return e
	}
	e.Problem = Problem{Status: resp.StatusCode, Title: http.StatusText(resp.StatusCode),
		Detail: fmt.Sprintf("%s answered %s, and not as modeshift does", c.server.Redacted(), resp.Status)}
	return e
}
