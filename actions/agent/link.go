package agent

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"mime"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/modeshift/modeshift/engine"
	"github.com/modeshift/modeshift/engine/secret"
)

const (
	// slowly is how long is waited after an answer that will not change by itself: the token is wrong, the scope unknown.
	slowly = time.Minute
	// tokenLook is how often a token's file is looked at meanwhile.
	tokenLook = 5 * time.Second
	// maxRetryAfter bounds what a server may ask for.
	maxRetryAfter = 5 * time.Minute
	// maxPollFor bounds how long polling goes on before the stream is tried again.
	maxPollFor = time.Hour
	// pollGap bounds how long that try may take: nothing is polled meanwhile.
	pollGap = 5 * time.Second
	// sayAgain is how often the log repeats why there is no connection.
	sayAgain = time.Minute
	// maxProblem is how much of an error's answer is read, in bytes.
	maxProblem = 64 << 10
)

var (
	errNoWelcome = errors.New("no welcome came in time")
	errSilent    = errors.New("the server was silent for two heartbeats")
	errStopped   = errors.New("the server ended the stream")
)

// statusError is an answer that is no stream.
type statusError struct {
	status     int
	detail     string
	retryAfter time.Duration // 0: not said
}

func (e *statusError) Error() string {
	text := fmt.Sprintf("the server answers %d %s", e.status, http.StatusText(e.status))
	if e.detail != "" {
		text += ": " + e.detail
	}
	return text
}

// wait is a random part of Base × 2ⁿ, at most of Cap.
func (b Backoff) wait(n int) time.Duration {
	most := b.Cap
	if n < 32 && b.Base<<n < b.Cap && b.Base<<n > 0 {
		most = b.Base << n
	}
	return rand.N(most + 1)
}

// clientOf makes the client for an agent's requests.
func clientOf(opts Options) *http.Client {
	c := &http.Client{}
	if opts.HTTPClient != nil {
		*c = *opts.HTTPClient
	} else {
		c.Transport = &http.Transport{
			Proxy:               http.ProxyFromEnvironment,
			DialContext:         (&net.Dialer{Timeout: 5 * time.Second, KeepAlive: 15 * time.Second}).DialContext,
			TLSClientConfig:     opts.TLS,
			TLSHandshakeTimeout: 5 * time.Second,
			ForceAttemptHTTP2:   true,
			IdleConnTimeout:     time.Minute,
			DisableCompression:  true, // a compressor holds events back until its block is full
		}
	}
	c.Timeout = 0 // a stream has no end
	// The token goes to the server that was named, and nowhere else.
	c.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return c
}

// link keeps a connection to the server until ctx ends.
func (a *Agent) link(ctx context.Context) {
	tries, pollFor := 0, a.opts.PollFor
	polling := false
	var said speaker
	for {
		began := time.Now()
		patience := a.patience(a.heartbeat)
		if polling {
			patience = min(patience, pollGap)
		}
		err := a.stream(ctx, patience, &said)
		polling = false
		if errors.Is(err, errNoWelcome) {
			// A server that answers a short request, and lets no stream through, is behind a proxy that buffers. One that answers
			// neither is away.
			var polled bool
			if polled, err = a.poll(ctx, pollFor, &said); polled && err == nil {
				pollFor, polling = min(2*pollFor, maxPollFor), true
				continue
			}
		} else if time.Since(began) > a.opts.Reconnect.Cap {
			pollFor = a.opts.PollFor
		}
		if ctx.Err() != nil {
			return
		}
		if time.Since(began) > a.opts.Reconnect.Cap && !errors.Is(err, errNoWelcome) {
			tries = 0 // it was well for a while
		}
		wait := a.opts.Reconnect.wait(tries)
		a.note(func(s *Status) {
			s.Via, s.LinkError = ViaNone, clip(a.plain(err.Error()), maxError)
			if _, garbage := errors.AsType[*garbageError](err); garbage {
				s.Refused.Garbage++
			}
		})
		refused, _ := errors.AsType[*statusError](err)
		patient := refused != nil && (refused.status == http.StatusUnauthorized || refused.status == http.StatusForbidden || refused.status == http.StatusNotFound)
		switch {
		case patient:
			wait = slowly/2 + rand.N(slowly)
		case refused != nil && refused.status == http.StatusConflict:
			// Another process has the name. It may be this program's last life, which the server takes for alive for two heartbeats;
			// or it is a thousand that were given one name, and stays so.
			wait = Backoff{a.opts.Reconnect.Base, slowly}.wait(tries)
		case refused != nil && refused.retryAfter > 0:
			wait += refused.retryAfter
		}
		tries++
		said.failed(a, err, wait)
		a.sleep(ctx, wait, patient)
		if ctx.Err() != nil {
			return
		}
	}
}

// speaker logs why there is no connection: when the reason changes, and now and then.
type speaker struct {
	text string
	at   time.Time
}

func (s *speaker) failed(a *Agent, err error, wait time.Duration) {
	text := clip(a.plain(err.Error()), maxError)
	if text == s.text && time.Since(s.at) < sayAgain {
		return
	}
	s.text, s.at = text, time.Now()
	a.log.Warn("there is no connection to the server", "error", text, "again_in", wait.Round(time.Millisecond))
}

func (s *speaker) connected(a *Agent, via Via) {
	s.text = ""
	a.note(func(s *Status) {
		if s.Via != via {
			s.Connects++
		}
		s.Via, s.LinkError = via, ""
	})
}

// plain is text from outside without the token, which a server may repeat.
func (a *Agent) plain(text string) string { return secret.Scrub(text, a.sent) }

// sleep waits, but when watched only as long as the token stays what it is.
func (a *Agent) sleep(ctx context.Context, d time.Duration, watched bool) {
	over := time.NewTimer(d)
	defer over.Stop()
	var looks <-chan time.Time
	var before secret.Secret
	if watched && a.bearer != nil && a.opts.TokenFile != "" {
		before, _ = a.bearer() // no token now: the first that is there is another one
		t := time.NewTicker(tokenLook)
		defer t.Stop()
		looks = t.C
	}
	for {
		select {
		case <-ctx.Done():
			return
		case <-over.C:
			return
		case <-looks:
			if now, err := a.bearer(); err == nil && now != before {
				return
			}
		}
	}
}

// request makes a request of the protocol.
func (a *Agent) request(ctx context.Context, path, accept, kind string, body io.Reader) (*http.Request, error) {
	u := a.base.JoinPath("api/v1/instances", path)
	u.RawQuery = url.Values{"scope": {string(a.opts.Scope)}}.Encode()
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, u.String(), body)
	if err != nil {
		return nil, err
	}
	r.Header.Set("Accept", accept)
	r.Header.Set("Accept-Encoding", "identity")
	r.Header.Set("Content-Type", kind)
	r.Header.Set("Cache-Control", "no-store")
	r.Header.Set("User-Agent", "modeshift-agent")
	if a.bearer != nil {
		token, err := a.bearer()
		if err != nil {
			return nil, err
		}
		a.sent = token
		r.Header.Set("Authorization", "Bearer "+token.Reveal())
	}
	return r, nil
}

// refusal reads an answer that is not the wanted one.
func (a *Agent) refusal(resp *http.Response) error {
	e := &statusError{status: resp.StatusCode, retryAfter: retryAfter(resp.Header.Get("Retry-After"))}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxProblem))
	if err != nil {
		return e
	}
	kind, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type")) // none: no problem+json
	var problem struct {
		Title  string `json:"title"`
		Detail string `json:"detail"`
	}
	if kind == "application/problem+json" && json.Unmarshal(body, &problem) == nil {
		e.detail = problem.Detail
		if e.detail == "" {
			e.detail = problem.Title
		}
	}
	e.detail = clip(a.plain(strings.Join(strings.Fields(e.detail), " ")), maxError) // one line
	return e
}

// retryAfter reads the header: seconds or a date.
func retryAfter(header string) time.Duration {
	var d time.Duration
	if n, err := strconv.Atoi(header); err == nil {
		d = time.Duration(min(n, int(maxRetryAfter/time.Second))) * time.Second
	} else if at, err := http.ParseTime(header); err == nil {
		d = time.Until(at)
	}
	return min(max(d, 0), maxRetryAfter)
}

// patience is how long a stream may take to bring the first event.
func (a *Agent) patience(heartbeat time.Duration) time.Duration {
	switch {
	case a.opts.Patience > 0:
		return a.opts.Patience
	case heartbeat > 0:
		return 2 * heartbeat
	}
	return DefaultPatience
}

// heartbeatOf is what a welcome says of it, within reason.
func heartbeatOf(w engine.Welcome) time.Duration {
	return time.Duration(min(max(w.HeartbeatMS, 50), (10*time.Minute).Milliseconds())) * time.Millisecond
}

// exchange asks once, by a request as any other.
func (a *Agent) exchange(ctx context.Context) (poll time.Duration, err error) {
	// One that takes longer than the patience with a stream is as good as none.
	ctx, cancel := context.WithTimeoutCause(ctx, max(a.patience(0), DefaultPatience), errNoWelcome)
	defer cancel()
	report, _ := a.report.get()
	body, err := json.Marshal(struct {
		Hello  *engine.Hello  `json:"hello"`
		Report *engine.Report `json:"report"`
	}{a.hello.Load(), report})
	if err != nil {
		return 0, err
	}
	r, err := a.request(ctx, "exchange", "application/json", "application/json", bytes.NewReader(body))
	if err != nil {
		return 0, err
	}
	resp, err := a.client.Do(r)
	if err != nil {
		return 0, err
	}
	defer func() { _ = resp.Body.Close() }() // only read from
	if resp.StatusCode != http.StatusOK {
		return 0, a.refusal(resp)
	}
	data, err := io.ReadAll(io.LimitReader(resp.Body, maxMessage+1))
	switch {
	case err != nil:
		return 0, err
	case len(data) > maxMessage:
		return 0, &garbageError{errTooLarge}
	}
	var answer struct {
		Welcome   *engine.Welcome `json:"welcome"`
		Directive json.RawMessage `json:"directive"`
		PollMS    int64           `json:"poll_ms"`
	}
	if err := decode(data, &answer); err != nil {
		return 0, err
	}
	if answer.Welcome == nil {
		return 0, &garbageError{errors.New("an answer has no welcome")}
	}
	var told *engine.Told
	if d := bytes.TrimSpace(answer.Directive); len(d) > 0 && string(d) != "null" {
		if told, err = decodeTold(d); err != nil {
			return 0, err
		}
	}
	a.heartbeat = heartbeatOf(*answer.Welcome)
	var verdict error
	if err := a.call(ctx, func() {
		l := a.loop
		if verdict = l.welcome(*answer.Welcome); verdict != nil {
			return
		}
		if told != nil {
			l.tell(told, false)
		} else {
			l.beat()
		}
	}); err != nil {
		return 0, err
	}
	return time.Duration(min(max(answer.PollMS, 250), time.Minute.Milliseconds())) * time.Millisecond, verdict
}

// poll asks at intervals for a while. It returns false and the error when it could not ask even once.
func (a *Agent) poll(ctx context.Context, d time.Duration, said *speaker) (bool, error) {
	until := time.Now().Add(d)
	polled := false
	for {
		_, changed := a.report.get()
		every, err := a.exchange(ctx)
		if err != nil {
			return polled, err
		}
		if !polled {
			polled = true
			a.log.Warn("a proxy seems to hold back what the server streams; asking at intervals instead, and trying the stream again later",
				"every", every, "stream_in", d)
		}
		said.connected(a, ViaPoll)
		if time.Now().After(until) {
			return true, nil
		}
		t := time.NewTimer(every - rand.N(every/5+1))
		select {
		case <-ctx.Done():
			t.Stop()
			return true, ctx.Err()
		case <-changed: // the server hears at once what came of a directive
			t.Stop()
		case <-t.C:
		}
	}
}
