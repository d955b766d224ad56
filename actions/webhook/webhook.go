// Package webhook calls HTTP endpoints: a Notifier tells one of incidents, a Kind carries out the steps of changes.
//
// # Notices
//
// A notice may go to a ticket system's adapter, a chat's, anything that takes JSON. Each notice is one POST of a Document. Its key names the incident: open, update and resolve of one incident carry the same
// key and come in this order, each after the one before was answered with 2xx. Its id names the notice: a notice may be sent
// more than once (an answer was lost, the program died before it noted it), and a receiver that remembers ids, or answers by
// what it already has under the key, does nothing twice. The header Idempotency-Key carries the same id.
//
// With a signing secret, the header Modeshift-Signature lets the receiver make sure that the request comes from here and is
// not an old one sent again:
//
//	Modeshift-Signature: t=1767225600,v1=<hex of HMAC-SHA256(secret, "1767225600" + "." + body)>
//
// The receiver computes the same over the raw body before parsing it, compares in constant time, and refuses a time more
// than five minutes away.
//
// A chat gets a message in place of the document: a JSON object whose text is what Slack's incoming webhooks take, and those of
// others. A chat knows no keys: a message may come twice, and names the incident.
//
// Any 2xx takes the notice. 408, 425, 429, 5xx, a temporary redirect and no answer are tried again, when Retry-After says;
// everything else is final. Redirects are never followed: they would carry the notice, and its token, to a place nobody
// configured.
//
// # Steps
//
// A step is a request that a rule file describes:
//
//	webhook:
//	  url: https://dns.internal/repoint/{{.scope}}   # facts: see package spec
//	  method: POST                                   # the default; PUT, PATCH, GET; DELETE, which is destructive
//	  headers: {X-Reason: "{{.reason}}"}
//	  json: {to: eu-2, why: "{{.reason}}"}           # or form: {…}, or body: a text
//	  expect: {status: [200, 4xx], cel: json.ok}     # default: 2xx
//	  bearer_file: dns-token                         # in the server's folder for secrets
//	  signature: {secret_file: dns-key, header: Modeshift-Signature}
//	  cloudevents: {type: com.example.repoint, source: /dns, mode: structured}   # or true
//	  idempotency_header: Idempotency-Key            # holds the key, which is the same for every attempt
//	  keyed: true                                    # false: the target does not know the key
//	  done: {url: https://dns.internal/records, expect: {cel: json.to == "eu-2"}}
//	  timeout: 30s
//
// The secrets of a step are in files and nowhere else: rules are read by everybody. What an answer means is said at Kind.
package webhook

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"

	"github.com/prometheus/common/config"

	"github.com/modeshift/modeshift/actions"
	"github.com/modeshift/modeshift/actions/answer"
	"github.com/modeshift/modeshift/engine"
	"github.com/modeshift/modeshift/engine/secret"
)

// SignatureHeader carries the signature.
const SignatureHeader = "Modeshift-Signature"

// maxObjection is how much of a refusal's body is kept, in bytes; maxAnswer how much of an answer is read, so that the
// connection can be used again.
const (
	maxObjection = 1 << 10
	maxAnswer    = 64 << 10
)

// Options say where notices go. URL is required.
type Options struct {
	URL string // its path and query are never shown: with many receivers they are the secret

	// SigningSecret or SigningSecretFile makes requests signed; the file is read at each attempt.
	SigningSecret     secret.Secret
	SigningSecretFile string

	// Log is the identity of the log the notices come from; it is part of keys and ids. Empty: none.
	Log string

	// Client is used when it is set; else one is made of HTTP, in Prometheus's shape: authorization, basic_auth,
	// tls_config, proxy.
	Client *http.Client
	HTTP   config.HTTPClientConfig

	// Chat sends each notice as a message, in the form of Slack's incoming webhooks, in place of a Document.
	Chat bool

	// ExternalURL is where people reach modeshift; StatusURL gives the page of one scope, nil: ExternalURL for all.
	ExternalURL string
	StatusURL   func(engine.Scope) string
	// ApprovalsURL is where people say yes or no to what waits for them; the proposal's name follows it.
	ApprovalsURL string
}

// Notifier posts notices to one URL. It is safe for concurrent use.
type Notifier struct {
	opts    Options       // without what holds secrets
	url     secret.Source // where to
	signing secret.Source // nil: requests are not signed
	host    string        // for messages
	client  *http.Client
	further []secret.Secret // what is sent and in no request: to a proxy, to whoever gives OAuth's tokens
}

// New checks the options. It does not talk to the endpoint.
func New(opts Options) (*Notifier, error) {
	u, err := url.Parse(opts.URL)
	if err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") {
		return nil, errors.New("webhook: the URL is not an http or https URL with a host, such as https://tickets.example/hook")
	}
	n := &Notifier{opts: opts, host: u.Host, further: secret.OfUser(opts.HTTP.ProxyURL.URL)}
	if o := opts.HTTP.OAuth2; o != nil {
		n.further = append(append(n.further, secret.OfUser(o.ProxyURL.URL)...), secret.New(string(o.ClientSecret)))
	}
	if n.url, err = secret.From(secret.New(opts.URL), ""); err != nil {
		return nil, fmt.Errorf("webhook: %w", err)
	}
	if n.signing, err = secret.From(opts.SigningSecret, opts.SigningSecretFile); err != nil {
		return nil, errors.New("webhook: set one of signing secret and signing secret file, not both")
	}
	if opts.Client != nil {
		own := *opts.Client // the caller's client goes on following redirects
		n.client = &own
	} else if n.client, err = config.NewClientFromConfig(opts.HTTP, "webhook"); err != nil {
		return nil, fmt.Errorf("webhook: %w", err)
	}
	n.client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	n.opts.URL, n.opts.SigningSecret, n.opts.HTTP = "", secret.Secret{}, config.HTTPClientConfig{}
	return n, nil
}

// Refusal is an answer other than 2xx.
type Refusal struct {
	Host       string
	StatusCode int
	Body       string // its beginning, at most 1 KiB
}

func (e *Refusal) Error() string {
	s := fmt.Sprintf("%s answered %d %s", e.Host, e.StatusCode, http.StatusText(e.StatusCode))
	if e.Body != "" {
		s += ": " + e.Body
	}
	return s
}

// Notify posts one notice. Its errors are *actions.Error: final when the endpoint understood and refused, with the time to
// wait when it gave one. A *Refusal is inside when there was an answer, else the cause of the failure.
func (n *Notifier) Notify(ctx context.Context, job engine.Job) error {
	// The body is made anew at each attempt, from the job alone, so that a retry repeats it byte for byte. A body kept
	// from the attempt before would be one that was read to its end.
	write := n.document
	if n.opts.Chat {
		write = n.chat
	}
	body, err := write(job)
	if err != nil {
		return &actions.Error{Err: err, Final: true}
	}
	to, err := n.url()
	if err != nil {
		return &actions.Error{Err: err}
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, to.Reveal(), bytes.NewReader(body))
	if err != nil {
		return &actions.Error{Err: fmt.Errorf("webhook: make request for %s", n.host), Final: true}
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", "modeshift")
	req.Header.Set("Idempotency-Key", n.id(job))

	var key secret.Secret
	if n.signing != nil {
		if key, err = n.signing(); err != nil {
			// Not final: somebody may be changing the file at this moment, and will mend it once told.
			return &actions.Error{Err: fmt.Errorf("signing secret: %w", err)}
		}
	}
	if !key.IsZero() {
		req.Header.Set(SignatureHeader, sign(key, time.Now(), body))
	}

	resp, err := n.client.Do(req)
	if err != nil {
		return &actions.Error{Err: answer.Unreachable(n.host, err, n.further...)}
	}
	defer func() { _ = resp.Body.Close() }() // read or given up: there is nothing left to learn
	if resp.StatusCode/100 == 2 {
		// The status takes the notice. Reading on only lets the connection be used again.
		_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, maxAnswer))
		return nil
	}
	// Half a body still says more than none; the status is what decides.
	objection, _ := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	return &actions.Error{
		Err:   &Refusal{n.host, resp.StatusCode, answer.Excerpt(objection, maxObjection, slices.Concat(n.further, answer.Sent(resp.Request), []secret.Secret{key, to})...)},
		Final: final(resp.StatusCode),
		After: answer.RetryAfter(resp.Header, time.Now()),
	}
}

// final reports whether an answer other than 2xx leaves nothing to try. A permanent redirect does: only another URL helps.
// A temporary one is often a proxy's log-in page, and passes.
func final(status int) bool {
	switch status {
	case http.StatusMovedPermanently, http.StatusPermanentRedirect:
		return true
	}
	return status/100 == 4 && !answer.Temporary(status)
}

// sign returns the signature header's value for a body sent at an instant.
func sign(key secret.Secret, at time.Time, body []byte) string {
	t := strconv.FormatInt(at.Unix(), 10)
	mac := hmac.New(sha256.New, []byte(key.Reveal()))
	// A hash takes whatever it is given: Write never fails.
	_, _ = io.WriteString(mac, t+".")
	_, _ = mac.Write(body)
	return "t=" + t + ",v1=" + hex.EncodeToString(mac.Sum(nil))
}
