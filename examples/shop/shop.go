package shop

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"html/template"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/modeshift/modeshift/actions/modehttp"
	"github.com/modeshift/modeshift/actions/modelog"
	"github.com/modeshift/modeshift/actions/modemetrics"
	"github.com/modeshift/modeshift/engine"
	"github.com/modeshift/modeshift/engine/secret"
)

// Options say how one instance of the shop runs. Backend is required.
type Options struct {
	Listen  string        // host:port; empty: a free port of the loopback interface
	Service string        // the scope whose mode it takes; empty: "shop"
	Backend string        // URL of the recommendations
	Timeout time.Duration // of a call to the backend; 0: 1 s
	Router  string        // URL of the gateways' router; empty: nothing can be paid

	Name      string        // of this instance, one of a kind in the scope; empty: its address
	Version   string        // of the program, as people see it beside the instance
	Modeshift string        // its URL; empty: no mode is followed until Follow is called
	Token     secret.Secret // speaks for the instance there; zero: none is sent
	StateDir  string        // keeps the last directive of each instance; empty: it is kept nowhere
	Probe     time.Duration // between two probes of the backend; 0: 1 s

	Log *slog.Logger // nil: nothing is logged
}

// Shop is one running instance.
type Shop struct {
	*server
	name     string
	version  string
	stateDir string
	backend  *backendClient
	router   string
	follower follower
	metrics  *metrics
	log      *slog.Logger

	mu    sync.Mutex // guards fault
	fault fault

	cancel context.CancelFunc // ends probes
	done   sync.WaitGroup
	stop   sync.Once
	err    error // of the first Stop
}

// Start begins to serve, to probe the backend and to follow the mode. When it returns an error nothing is left running. The
// caller owns the shop and has to Stop it.
func Start(o Options) (*Shop, error) {
	if _, err := url.ParseRequestURI(o.Backend); err != nil {
		return nil, fmt.Errorf("start shop: URL of the recommendations: %w", err)
	}
	reg := prometheus.NewRegistry()
	s := &Shop{name: o.Name, version: o.Version, stateDir: o.StateDir, router: o.Router, metrics: newMetrics(reg), log: o.Log}
	s.follower.none.Scope = engine.Scope(cmp.Or(o.Service, "shop"))
	reg.MustRegister(modemetrics.New(&s.follower))
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	s.log = slog.New(modelog.New(s.log.Handler(), &s.follower))
	s.backend = &backendClient{url: o.Backend, http: &http.Client{Timeout: cmp.Or(o.Timeout, time.Second), Transport: &http.Transport{MaxIdleConnsPerHost: 16}}}

	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", s.home)
	mux.HandleFunc("GET /product/{id}", s.product)
	var err error
	// Payments are measured for themselves: a page is no payment, and each has an objective of its own.
	all := http.NewServeMux()
	all.HandleFunc("POST /pay", s.pay)
	all.Handle("/", s.metrics.measure(s.deployed(mux)))
	s.obey(all)
	s.deploy(all)
	answer := modehttp.Middleware(&s.follower, modehttp.Options{Exempt: []string{"/refuse", "/give-in", "/break", "/mend"}})(all)
	if s.server, err = serve("shop", o.Listen, answer, reg); err != nil {
		s.backend.close()
		return nil, err
	}
	s.name = cmp.Or(s.name, s.address)
	ctx, cancel := context.WithCancel(context.Background())
	s.cancel = cancel
	if o.Modeshift != "" {
		if err := s.Follow(o.Modeshift, o.Token); err != nil {
			return nil, errors.Join(fmt.Errorf("start shop: %w", err), s.Stop(ctx))
		}
	}
	s.done.Go(func() { every(ctx, cmp.Or(o.Probe, time.Second), s.probe) })
	return s, nil
}

// Stop ends the instance; requests under way have until ctx ends. Further calls return the first one's result.
func (s *Shop) Stop(ctx context.Context) error {
	s.stop.Do(func() {
		s.cancel()
		s.done.Wait()
		s.follower.close()
		s.err = s.server.stop(ctx)
		s.backend.close()
	})
	return s.err
}

// Name is the instance's name, as modeshift knows it.
func (s *Shop) Name() string { return s.name }

// Counts is what product pages did about recommendations since the start.
type Counts struct {
	Shown, Skipped, Failed uint64
}

// Counts returns them.
func (s *Shop) Counts() Counts {
	return Counts{s.metrics.shown.Load(), s.metrics.skipped.Load(), s.metrics.failed.Load()}
}

var products = []string{"kettle", "toaster", "lamp", "clock", "radio", "chair", "table", "shelf", "mirror", "rug"}

var page = template.Must(template.New("page").Parse(`<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{{.Title}}</title></head><body>
<h1>{{.Title}}</h1>
{{with .Recommendations}}<h2>You may also like</h2><ul>{{range .}}<li>{{.}}</li>{{end}}</ul>{{end -}}
<ul>{{range $id, $name := .Products}}<li><a href="/product/{{$id}}">{{$name}}</a></li>{{end}}</ul>
</body></html>
`))

// view is what a page shows.
type view struct {
	Title           string
	Recommendations []string
	Products        []string
}

func (s *Shop) home(w http.ResponseWriter, _ *http.Request) {
	s.render(w, view{Title: "The shop", Products: products})
}

// product renders one product with recommendations, if the mode has them.
func (s *Shop) product(w http.ResponseWriter, r *http.Request) {
	var id int
	if n, err := fmt.Sscanf(r.PathValue("id"), "%d", &id); n != 1 || err != nil || id < 0 || id >= len(products) {
		http.Error(w, "no such product", http.StatusNotFound)
		return
	}
	v := view{Title: products[id]}
	if !s.follower.Current().Bool(flagRecommendations, true) {
		s.metrics.skip()
		s.render(w, v)
		return
	}
	var err error
	if v.Recommendations, err = s.backend.recommend(r.Context(), products[id]); err != nil {
		s.metrics.fail()
		s.log.Debug("no recommendations", "product", products[id], "err", err)
		http.Error(w, "the recommendations cannot be had", http.StatusInternalServerError)
		return
	}
	s.metrics.show()
	s.render(w, v)
}

// pay hands a payment to the gateways' router. That one of a gateway's connections broke is not hidden by another attempt: it
// may have been paid.
func (s *Shop) pay(w http.ResponseWriter, r *http.Request) {
	gateway, err := s.backend.pay(r.Context(), s.router)
	s.metrics.paid(gateway, err == nil)
	if err != nil {
		s.log.Debug("no payment", "gateway", gateway, "err", err)
		http.Error(w, "the payment cannot be made", http.StatusBadGateway)
		return
	}
	_, _ = fmt.Fprintln(w, "paid, thank you") // the customer may be gone
}

func (s *Shop) render(w http.ResponseWriter, v view) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	if err := page.Execute(w, v); err != nil {
		s.log.Debug("the visitor went away", "err", err)
	}
}

// ProbeProduct is what a probe asks for; it is on no page.
const ProbeProduct = "probe"

// probe asks for a recommendation on the shop's own account and counts whether it came.
func (s *Shop) probe(ctx context.Context) {
	_, err := s.backend.recommend(ctx, ProbeProduct)
	if ctx.Err() != nil {
		return // the shop stops: that says nothing about the backend
	}
	s.metrics.probed(err == nil)
}

// every calls f now and then each interval until ctx ends. A slow f is not called twice at once.
func every(ctx context.Context, interval time.Duration, f func(context.Context)) {
	t := time.NewTicker(interval)
	defer t.Stop()
	for {
		f(ctx)
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
	}
}

// backendClient calls the recommendations and the gateways' router.
type backendClient struct {
	url  string
	http *http.Client
}

// maxAnswer bounds what is read of a backend's answer, in bytes.
const maxAnswer = 64 << 10

func (b *backendClient) recommend(ctx context.Context, product string) (names []string, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, b.url+"/recommendations?product="+url.QueryEscape(product), nil)
	if err != nil {
		return nil, err
	}
	res, err := b.http.Do(req)
	if err != nil {
		return nil, err
	}
	// Read to the end, so that the connection can be used again.
	body, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer))
	if err := errors.Join(err, res.Body.Close()); err != nil {
		return nil, fmt.Errorf("read recommendations: %w", err)
	}
	if res.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("recommendations answer %s", res.Status)
	}
	var a recommendations
	if err := json.Unmarshal(body, &a); err != nil {
		return nil, fmt.Errorf("read recommendations: %w", err)
	}
	return a.Names, nil
}

// pay makes a payment and returns the gateway that it went to; empty when the router did not say.
func (b *backendClient) pay(ctx context.Context, router string) (gateway string, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, router+"/charges", nil)
	if err != nil {
		return "", err
	}
	res, err := b.http.Do(req)
	if err != nil {
		return "", err
	}
	gateway = res.Header.Get(gatewayHeader)
	_, err = io.Copy(io.Discard, io.LimitReader(res.Body, maxAnswer))
	if err := errors.Join(err, res.Body.Close()); err != nil {
		return gateway, fmt.Errorf("read the router's answer: %w", err)
	}
	if res.StatusCode != http.StatusOK {
		return gateway, fmt.Errorf("the router answers %s", res.Status)
	}
	return gateway, nil
}

func (b *backendClient) close() { b.http.CloseIdleConnections() }
