package prom

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"

	"github.com/prometheus/client_golang/api"
	v1 "github.com/prometheus/client_golang/api/prometheus/v1"
	"github.com/prometheus/common/config"

	"github.com/modeshift/modeshift/engine/secret"
)

// Source is a Prometheus, or something that speaks its query API, under the name by which rules, metrics and incidents call
// it.
type Source struct {
	Name string
	// Replicas are servers that gather the same data, each by itself; at least one.
	Replicas []v1.API
}

// maxAnswer bounds the body of an answer. A condition's query gives one number; an answer of this size is a query that
// forgot to aggregate, and must not fill the memory of what watches over production.
const maxAnswer = 4 << 20

// Dial makes a source of the Prometheis at urls, which are replicas of one another. cfg is Prometheus's own shape for authorization and TLS; its zero value is a
// client with neither that does not follow redirects, config.DefaultHTTPClientConfig one that does. No connection is made
// yet: the error is about the URL or the configuration.
func Dial(name string, cfg config.HTTPClientConfig, urls ...string) (Source, error) {
	return dialWithin(name, cfg, maxAnswer, urls...)
}

// dialWithin is Dial with answers of at most so many bytes.
func dialWithin(name string, cfg config.HTTPClientConfig, most int, urls ...string) (Source, error) {
	if err := cfg.Validate(); err != nil {
		return Source{}, fmt.Errorf("source %s: %w", name, err)
	}
	client, err := config.NewClientFromConfig(cfg, "modeshift_"+name, config.WithUserAgent("modeshift"))
	if err != nil {
		return Source{}, fmt.Errorf("source %s: %w", name, err)
	}
	client.Transport = bounded{client.Transport, configured(&cfg), most}
	s := Source{Name: name}
	for _, url := range urls {
		c, err := api.NewClient(api.Config{Address: url, Client: client})
		if err != nil {
			return Source{}, fmt.Errorf("source %s: %w", name, err)
		}
		s.Replicas = append(s.Replicas, v1.NewAPI(noting{c}))
	}
	return s, nil
}

// bounded fails the reading of answers that are too long, and takes what was sent as a secret out of refusals: what they
// say stands in the log for ever, and a proxy may repeat whole requests.
type bounded struct {
	next   http.RoundTripper
	secret []secret.Secret // what is sent and in no request: to a proxy, to whoever gives OAuth's tokens
	most   int             // bytes of an answer
}

func (b bounded) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := b.next.RoundTrip(req)
	if err != nil {
		return resp, secret.Clean(err, b.secret...)
	}
	resp.Body = &boundedBody{resp.Body, b.most, b.most}
	if resp.StatusCode/100 != 2 {
		resp.Body = clean(resp, b.secret)
	}
	return resp, nil
}

// configured are the secrets of a configuration that are in no request.
func configured(cfg *config.HTTPClientConfig) []secret.Secret {
	out := secret.OfUser(cfg.ProxyURL.URL)
	if o := cfg.OAuth2; o != nil {
		out = append(out, secret.OfUser(o.ProxyURL.URL)...)
		out = append(out, secret.New(string(o.ClientSecret)))
	}
	return out
}

// clean is the body of an answer without the secrets of its request.
func clean(resp *http.Response, further []secret.Secret) io.ReadCloser {
	text, err := io.ReadAll(resp.Body)
	said := io.Reader(strings.NewReader(secret.Scrub(string(text), append(further[:len(further):len(further)], sent(resp.Request)...)...)))
	if err != nil {
		said = io.MultiReader(said, cutOff{err})
	}
	return struct {
		io.Reader
		io.Closer
	}{said, resp.Body}
}

// cutOff is the rest of a body that could not be read.
type cutOff struct{ err error }

func (c cutOff) Read([]byte) (int, error) { return 0, c.err }

// sent are the secrets of a request as it went out: what headers hold that are not plainly harmless, the longest first, so
// that a whole goes before a part of it.
func sent(req *http.Request) (out []secret.Secret) {
	if req == nil {
		return nil
	}
	hide := func(texts ...string) {
		for _, t := range texts {
			if len(t) >= 4 { // fewer bytes keep nothing secret, and taking them out would make the text unreadable
				out = append(out, secret.New(t))
			}
		}
	}
	for name, values := range req.Header {
		switch name {
		case "Accept", "Accept-Encoding", "Content-Length", "Content-Type", "Idempotency-Key", "User-Agent":
			continue
		}
		for _, v := range values {
			_, credentials, _ := strings.Cut(v, " ")
			hide(v, credentials)
			if user, password, ok := req.BasicAuth(); ok && name == "Authorization" {
				hide(user+":"+password, password)
			}
		}
	}
	slices.SortFunc(out, func(a, b secret.Secret) int { return len(b.Reveal()) - len(a.Reveal()) })
	return out
}

type boundedBody struct {
	io.ReadCloser
	left int
	most int
}

var errTooLong = errors.New("the query has to aggregate")

func (b *boundedBody) Read(p []byte) (int, error) {
	if b.left == 0 {
		// The end may just have been reached: only one more byte proves that it has not.
		if n, err := b.ReadCloser.Read(p[:min(1, len(p))]); n == 0 {
			return 0, err
		}
		return 0, fmt.Errorf("the answer is longer than %d MiB: %w", b.most>>20, errTooLong)
	}
	n, err := b.ReadCloser.Read(p[:min(b.left, len(p))])
	b.left -= n
	return n, err
}
