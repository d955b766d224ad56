package shop

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
)

// Backend makes recommendations, and can be broken on purpose: by Break and Mend, or over HTTP by POST /break?share=0.5 and
// POST /mend. With only=pages a probe finds nothing wrong, as happens where a health check looks at something else than what
// visitors need.
type Backend struct {
	*server
	once sync.Once
	err  error // of the first Stop

	mu     sync.Mutex // guards what follows
	fault  fault
	unseen bool   // by probes, which are answered well
	served uint64 // requests for the sake of a page
}

// recommendations is the answer to GET /recommendations?product=NAME.
type recommendations struct {
	Names []string `json:"recommendations"`
}

// StartBackend begins to serve on listen: host:port; empty: a free port of the loopback interface.
func StartBackend(listen string) (*Backend, error) {
	b := &Backend{}
	reg := prometheus.NewRegistry()
	requests := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "http_requests_total", Help: "Requests answered, by status code."}, []string{"code"})
	reg.MustRegister(requests)

	mux := http.NewServeMux()
	mux.HandleFunc("GET /recommendations", func(w http.ResponseWriter, r *http.Request) {
		product := r.FormValue("product")
		code := http.StatusOK
		if !b.answers(product) {
			code = http.StatusInternalServerError
		}
		requests.WithLabelValues(strconv.Itoa(code)).Inc()
		if code != http.StatusOK {
			http.Error(w, "broken on purpose", code)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(recommendations{pick(product)}) // the caller may be gone
	})
	mux.HandleFunc("POST /break", func(w http.ResponseWriter, r *http.Request) {
		share, ok := shareOf(w, r)
		if !ok {
			return
		}
		switch only := r.FormValue("only"); only {
		case "":
			b.Break(share)
			_, _ = fmt.Fprintf(w, "%g of all requests fail from now on\n", share) // the caller may be gone
		case "pages":
			b.BreakPages(share)
			_, _ = fmt.Fprintf(w, "%g of the requests for pages fail from now on\n", share) // likewise
		default:
			http.Error(w, fmt.Sprintf("only=%q: pages is all there is", only), http.StatusBadRequest)
		}
	})
	mux.HandleFunc("POST /mend", func(w http.ResponseWriter, _ *http.Request) {
		b.Mend()
		_, _ = fmt.Fprintln(w, "mended") // the caller may be gone
	})
	var err error
	if b.server, err = serve("recommendations", listen, mux, reg); err != nil {
		return nil, err
	}
	return b, nil
}

// Break makes a share of all further requests fail, evenly spread; share is in [0, 1].
func (b *Backend) Break(share float64) { b.fail(share, false) }

// BreakPages is as Break, but probes are answered.
func (b *Backend) BreakPages(share float64) { b.fail(share, true) }

func (b *Backend) fail(share float64, unseen bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.fault, b.unseen = faulty(share), unseen
}

// Mend ends a Break.
func (b *Backend) Mend() { b.Break(0) }

// Broken reports whether requests fail on purpose.
func (b *Backend) Broken() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.fault.share > 0
}

// Served counts the requests made for the sake of a page, not of a probe, answered well or not.
func (b *Backend) Served() uint64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.served
}

// answers counts a request and says whether it is to be answered.
func (b *Backend) answers(product string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if product != ProbeProduct {
		b.served++
	} else if b.unseen {
		return true
	}
	return !b.fault.strikes()
}

// Stop ends the backend; requests under way have until ctx ends. Further calls return the first one's result.
func (b *Backend) Stop(ctx context.Context) error {
	b.once.Do(func() {
		if err := b.stop(ctx); err != nil {
			b.err = fmt.Errorf("stop recommendations: %w", err)
		}
	})
	return b.err
}

// pick returns three products other than the one given.
func pick(product string) []string {
	var names []string
	for i := range products {
		if p := products[(i+len(product))%len(products)]; p != product && len(names) < 3 {
			names = append(names, p)
		}
	}
	return names
}
