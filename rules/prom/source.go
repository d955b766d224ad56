package prom

import (
	"errors"
	"fmt"
	"io"
	"net/http"

	"github.com/prometheus/client_golang/api"
	v1 "github.com/prometheus/client_golang/api/prometheus/v1"
	"github.com/prometheus/common/config"
)

// Source is a Prometheus, or something that speaks its query API, under the name by which rules, metrics and incidents call
// it.
type Source struct {
	Name string
	API  v1.API
}

// maxAnswer bounds the body of an answer. A condition's query gives one number; an answer of this size is a query that
// forgot to aggregate, and must not fill the memory of what watches over production.
const maxAnswer = 4 << 20

// Dial makes a source of the Prometheus at url. cfg is Prometheus's own shape for authorization and TLS; its zero value is a
// client with neither that does not follow redirects, config.DefaultHTTPClientConfig one that does. No connection is made
// yet: the error is about the URL or the configuration.
func Dial(name, url string, cfg config.HTTPClientConfig) (Source, error) {
	if err := cfg.Validate(); err != nil {
		return Source{}, fmt.Errorf("source %s: %w", name, err)
	}
	client, err := config.NewClientFromConfig(cfg, "modeshift_"+name, config.WithUserAgent("modeshift"))
	if err != nil {
		return Source{}, fmt.Errorf("source %s: %w", name, err)
	}
	client.Transport = bounded{client.Transport}
	c, err := api.NewClient(api.Config{Address: url, Client: client})
	if err != nil {
		return Source{}, fmt.Errorf("source %s: %w", name, err)
	}
	return Source{Name: name, API: v1.NewAPI(c)}, nil
}

// bounded fails the reading of answers longer than maxAnswer.
type bounded struct{ next http.RoundTripper }

func (b bounded) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := b.next.RoundTrip(req)
	if err == nil {
		resp.Body = &boundedBody{resp.Body, maxAnswer}
	}
	return resp, err
}

type boundedBody struct {
	io.ReadCloser
	left int
}

var errTooLong = errors.New("the answer is longer than 4 MiB: the query has to aggregate")

func (b *boundedBody) Read(p []byte) (int, error) {
	if b.left == 0 {
		// The end may just have been reached: only one more byte proves that it has not.
		if n, err := b.ReadCloser.Read(p[:min(1, len(p))]); n == 0 {
			return 0, err
		}
		return 0, errTooLong
	}
	n, err := b.ReadCloser.Read(p[:min(b.left, len(p))])
	b.left -= n
	return n, err
}
