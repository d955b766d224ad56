package demo

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/prometheus/client_golang/api"
	v1 "github.com/prometheus/client_golang/api/prometheus/v1"
	"github.com/prometheus/common/model"
)

// lookTimeout bounds one look at the world: a server that hangs is seen as one that does not answer.
const lookTimeout = 3 * time.Second

// promClient asks Prometheus what the rules ask it too, independently of modeshift.
type promClient struct {
	api       v1.API
	transport *http.Transport
}

func newPromClient(url string) (*promClient, error) {
	t := &http.Transport{}
	c, err := api.NewClient(api.Config{Address: url, RoundTripper: t})
	if err != nil {
		return nil, fmt.Errorf("URL of Prometheus: %w", err)
	}
	return &promClient{v1.NewAPI(c), t}, nil
}

func (p *promClient) close(context.Context) error { p.transport.CloseIdleConnections(); return nil }

// errNoSample is the answer of a query that selects nothing, or that divides nothing by nothing.
var errNoSample = errors.New("no sample")

// value returns the one sample that a query gives now.
func (p *promClient) value(ctx context.Context, query string) (float64, error) {
	ctx, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	v, _, _, err := p.api.Query(ctx, query, time.Now())
	if err != nil {
		return 0, fmt.Errorf("ask Prometheus: %w", err)
	}
	vec, ok := v.(model.Vector)
	if !ok || len(vec) != 1 || math.IsNaN(float64(vec[0].Value)) || math.IsInf(float64(vec[0].Value), 0) {
		return 0, errNoSample
	}
	return float64(vec[0].Value), nil
}

// budget is what the shop's objective of 99 % leaves.
const budget = 0.01

// burnRate is how many times too fast the shop's error budget burnt over a window, such as "12s".
func (p *promClient) burnRate(ctx context.Context, window string) (float64, error) {
	return p.value(ctx, fmt.Sprintf(`sum(rate(http_requests_total{job="shop",code=~"5.."}[%[1]s]))
		/ sum(rate(http_requests_total{job="shop"}[%[1]s])) / %[2]g`, window, budget))
}

// apiClient reads modeshift's API as any program would: JSON over HTTP with a bearer token.
type apiClient struct {
	url       string
	tokenFile string
	transport *http.Transport
}

func newAPIClient(m Modeshift) *apiClient {
	return &apiClient{m.URL(), m.TokenFile(), &http.Transport{}}
}

func (a *apiClient) close(context.Context) error { a.transport.CloseIdleConnections(); return nil }

// get reads a JSON document.
func (a *apiClient) get(ctx context.Context, path string, into any) error {
	ctx, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, a.url+path, nil)
	if err != nil {
		return err
	}
	token, err := os.ReadFile(a.tokenFile)
	if err != nil {
		return fmt.Errorf("read the admin token: %w", err)
	}
	req.Header.Set("Authorization", "Bearer "+strings.TrimSpace(string(token)))
	res, err := (&http.Client{Transport: a.transport}).Do(req)
	if err != nil {
		return fmt.Errorf("ask modeshift: %w", err)
	}
	body, err := io.ReadAll(res.Body)
	if err := errors.Join(err, res.Body.Close()); err != nil {
		return fmt.Errorf("ask modeshift: %w", err)
	}
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("modeshift answers GET %s with %s: %.200s", path, res.Status, body)
	}
	if err := json.Unmarshal(body, into); err != nil {
		return fmt.Errorf("read modeshift's answer to GET %s: %w", path, err)
	}
	return nil
}

// shopMode is the shop's settled mode, according to modeshift.
func (a *apiClient) shopMode(ctx context.Context) (string, error) {
	var s struct {
		Mode string `json:"mode"`
	}
	err := a.get(ctx, "/api/v1/scopes/"+scope, &s)
	return s.Mode, err
}

// event is what the story looks at in an event of the log.
type event struct {
	At    time.Time `json:"at"`
	Kind  string    `json:"kind"`
	Cause struct {
		Principal string `json:"principal"` // empty: nobody asked, modeshift decided
	} `json:"cause"`
	Reason struct {
		Text string `json:"text"`
	} `json:"reason"`
	Fact struct {
		Transition string `json:"transition"`
		From       string `json:"from"`
		To         string `json:"to"`
	} `json:"fact"`
}

// lastChange is the newest change of the shop's mode in the log.
func (a *apiClient) lastChange(ctx context.Context) (event, error) {
	var h struct {
		Events []event `json:"events"` // newest first
	}
	if err := a.get(ctx, "/api/v1/scopes/"+scope+"/history", &h); err != nil {
		return event{}, err
	}
	for _, e := range h.Events {
		if e.Kind == "ChangeStarted" {
			return e, nil
		}
	}
	return event{}, errors.New("the history has no change")
}
