// Package pagerduty tells people of incidents through PagerDuty's Events API v2.
//
// One incident is one alert there: trigger, update and resolve carry the same dedup_key, made of the identities of the
// log and the incident. An update is sent as another trigger: the API has no event of its own for it, and PagerDuty adds a trigger for an open
// alert to that alert's log without notifying anybody again. It would open a new alert if the old one were resolved, so
// notices of one incident have to be sent strictly in order, each only when the one before was taken. That is what jobs of
// one key do.
//
// A notice counts as taken when PagerDuty says so: an answer of 2xx whose JSON says "success". Whatever else comes with a
// 2xx (a proxy's page, an empty body, half an answer) is tried again: an event sent twice under one dedup_key is harmless,
// a page that only a proxy has seen is lost. Only what PagerDuty understood and refused (4xx other than 408, 425 and 429)
// is final.
//
// The request goes through github.com/PagerDuty/go-pagerduty. Of an answer other than 2xx that library keeps neither
// Retry-After nor the API's message, and of a failed request not the cause; the HTTP client it is given here does.
package pagerduty

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"
	"unicode"

	api "github.com/PagerDuty/go-pagerduty"
	"github.com/prometheus/common/config"

	"github.com/modeshift/modeshift/actions"
	"github.com/modeshift/modeshift/actions/answer"
	"github.com/modeshift/modeshift/engine"
	"github.com/modeshift/modeshift/engine/secret"
)

// DefaultEndpoint is where PagerDuty takes events.
const DefaultEndpoint = "https://events.pagerduty.com"

// PagerDuty takes about 120 events a minute for one routing key, over the last 60 seconds, and answers 429 to more.
// Source: PagerDuty, Events API v2, overview, "Rate limits".
const (
	limitEvents = 120
	limitSpan   = time.Minute
)

// maxAnswer is how much of an answer is read, in bytes; maxObjection how much of one that is no JSON is kept.
const (
	maxAnswer    = 64 << 10
	maxObjection = 1 << 10
)

// Options are what is needed to page. One of RoutingKey and RoutingKeyFile is required.
type Options struct {
	Endpoint       string        // without /v2/enqueue; empty: DefaultEndpoint
	RoutingKey     secret.Secret // the integration key of the service
	RoutingKeyFile string        // read at each attempt, so that the key can be changed without a restart

	// Log is the identity of the log the notices come from; it is part of the deduplication keys. Empty: none.
	Log string

	// Client is used when it is set; else one is made of HTTP: proxy and TLS. Redirects are not followed.
	Client *http.Client
	HTTP   config.HTTPClientConfig

	// ExternalURL is where people reach modeshift; empty: no link to it. StatusURL gives the page of one scope; nil:
	// ExternalURL for all.
	ExternalURL string
	StatusURL   func(engine.Scope) string
	// ApprovalsURL is where people say yes or no to what waits for them; empty: no link to it. The proposal's name follows it.
	ApprovalsURL string
	// Checkpoint gives the latest checkpoint of the log as of an event, so that a witness stands outside; nil: none. It
	// has to give the same answer for the same event, so that a retry repeats the request byte for byte.
	Checkpoint func(engine.Event) string
}

// Notifier sends notices to one service of PagerDuty. It is safe for concurrent use.
type Notifier struct {
	opts     Options // without what holds secrets
	key      secret.Source
	endpoint string
	host     string // for messages
	client   *http.Client
}

// New checks the options. It does not talk to PagerDuty.
func New(opts Options) (*Notifier, error) {
	endpoint := strings.TrimRight(cmp.Or(opts.Endpoint, DefaultEndpoint), "/")
	u, err := url.Parse(endpoint)
	if err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") {
		return nil, fmt.Errorf("pagerduty: endpoint %q is not an http or https URL, such as %s", endpoint, DefaultEndpoint)
	}
	key, err := secret.From(opts.RoutingKey, opts.RoutingKeyFile)
	if err != nil || key == nil {
		return nil, errors.New("pagerduty: set one of routing key and routing key file")
	}
	if err := checkKey(opts.RoutingKey); err != nil {
		return nil, err
	}
	n := &Notifier{opts: opts, key: key, endpoint: endpoint, host: u.Host}
	if opts.Client != nil {
		own := *opts.Client // the caller's client goes on following redirects
		n.client = &own
	} else if n.client, err = config.NewClientFromConfig(opts.HTTP, "pagerduty"); err != nil {
		return nil, fmt.Errorf("pagerduty: %w", err)
	}
	n.client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	n.opts.RoutingKey, n.opts.HTTP = secret.Secret{}, config.HTTPClientConfig{}
	return n, nil
}

func checkKey(key secret.Secret) error {
	if strings.ContainsFunc(key.Reveal(), func(r rune) bool { return unicode.IsSpace(r) || unicode.IsControl(r) }) {
		return errors.New("pagerduty: the routing key contains white space")
	}
	return nil
}

// Limit is how many events PagerDuty takes in a span of time.
func (n *Notifier) Limit() (events int, span time.Duration) { return limitEvents, limitSpan }

// Refusal is an answer of PagerDuty other than a success, in its own words.
type Refusal struct {
	StatusCode int
	Status     string   // such as "invalid event"
	Message    string   // such as "Event object is invalid"; of an answer that is no JSON, its beginning
	Errors     []string // such as "'payload.summary' is missing or blank"
}

func (e *Refusal) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "PagerDuty answered %d", e.StatusCode)
	for _, part := range []string{e.Status, e.Message, strings.Join(e.Errors, "; ")} {
		if part != "" {
			b.WriteString(": " + part)
		}
	}
	return b.String()
}

// Notify sends one notice. Its errors are *actions.Error: final when PagerDuty understood and refused, with the time to
// wait when it gave one. A *Refusal is inside when there was an answer, else the cause of the failure.
func (n *Notifier) Notify(ctx context.Context, job engine.Job) error {
	if job.Notice == nil {
		return &actions.Error{Err: fmt.Errorf("pagerduty: job %s has no notice", job.ID), Final: true}
	}
	key, err := n.key()
	if err == nil {
		err = checkKey(key)
	}
	if err != nil {
		// Not final: somebody may be changing the file at this moment, and will mend it once told.
		return &actions.Error{Err: fmt.Errorf("routing key: %w", err)}
	}
	event, err := n.event(job)
	if err != nil {
		return &actions.Error{Err: err, Final: true}
	}
	event.RoutingKey = key.Reveal()

	kept := &keeper{client: n.client}
	client := api.NewClient("", api.WithV2EventsAPIEndpoint(n.endpoint))
	client.HTTPClient = kept
	_, err = client.ManageEventWithContext(ctx, event)
	return n.judge(kept, err, key)
}

// judge makes an outcome of what came back; the library's own error counts only where nothing was sent.
func (n *Notifier) judge(kept *keeper, err error, key secret.Secret) error {
	switch {
	case kept.err != nil:
		return &actions.Error{Err: answer.Unreachable(n.host, kept.err), After: kept.after}
	case kept.status == 0:
		return &actions.Error{Err: fmt.Errorf("pagerduty: %s", secret.Scrub(err.Error(), key))}
	}
	refusal := &Refusal{StatusCode: kept.status}
	var body struct {
		Status  string   `json:"status"`
		Message string   `json:"message"`
		Errors  []string `json:"errors"`
	}
	secrets := append(answer.Sent(kept.sent), key)
	if json.Unmarshal(kept.body, &body) == nil {
		if kept.status/100 == 2 && strings.EqualFold(body.Status, "success") {
			return nil
		}
		clean := func(s string) string { return answer.Excerpt([]byte(s), maxObjection, secrets...) }
		refusal.Status, refusal.Message = clean(body.Status), clean(body.Message)
		for _, e := range body.Errors[:min(len(body.Errors), 20)] {
			refusal.Errors = append(refusal.Errors, clean(e))
		}
	}
	if refusal.Status == "" && refusal.Message == "" && len(refusal.Errors) == 0 {
		refusal.Message = answer.Excerpt(kept.body, maxObjection, secrets...)
	}
	// A 3xx is no refusal: a proxy's log-in page redirects for as long as the proxy likes, then the page goes through.
	final := kept.status/100 == 4 && !answer.Temporary(kept.status)
	return &actions.Error{Err: refusal, Final: final, After: kept.after}
}

// keeper is the HTTP client of one call. It keeps what the library loses.
type keeper struct {
	client *http.Client

	err    error // no answer, or not all of it
	sent   *http.Request
	status int // 0: no answer
	after  time.Duration
	body   []byte // at most maxAnswer bytes
}

// Do sends a request, reads its answer and hands the library a copy.
func (k *keeper) Do(req *http.Request) (*http.Response, error) {
	resp, err := k.client.Do(req)
	if err != nil {
		k.err = err
		return nil, err
	}
	defer func() { _ = resp.Body.Close() }() // read or given up: there is nothing left to learn
	k.sent, k.status = resp.Request, resp.StatusCode
	k.after = answer.RetryAfter(resp.Header, time.Now())
	k.body, err = io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil && resp.StatusCode/100 != 4 {
		// A refusal is known by its status; for anything else the rest of the answer is what counts.
		k.err = fmt.Errorf("read the answer (%d): %w", resp.StatusCode, err)
		return nil, k.err
	}
	resp.Body = io.NopCloser(bytes.NewReader(k.body))
	return resp, nil
}
