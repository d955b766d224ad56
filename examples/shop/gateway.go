package shop

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
)

// Gateway takes payments. It can die on purpose: by Kill and Revive, or over HTTP by POST /kill and POST /revive. A dead one
// closes every connection without an answer.
type Gateway struct {
	*server
	name string
	once sync.Once
	err  error // of the first Stop

	mu      sync.Mutex // guards what follows
	dead    bool
	charges uint64 // payments taken
}

// StartGateway begins to take payments on listen: host:port; empty: a free port of the loopback interface.
func StartGateway(name, listen string) (*Gateway, error) {
	g := &Gateway{name: name}
	reg := prometheus.NewRegistry()
	taken := prometheus.NewCounter(prometheus.CounterOpts{Name: "gateway_charges_total", Help: "Payments taken."})
	reg.MustRegister(taken)

	mux := http.NewServeMux()
	mux.HandleFunc("POST /charges", func(w http.ResponseWriter, _ *http.Request) {
		n, alive := g.charge()
		if !alive {
			panic(http.ErrAbortHandler) // as net/http closes a connection without an answer
		}
		taken.Inc()
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(map[string]string{"charge": fmt.Sprintf("%s-%d", g.name, n)}) // the caller may be gone
	})
	mux.HandleFunc("POST /kill", func(w http.ResponseWriter, _ *http.Request) {
		g.Kill()
		_, _ = fmt.Fprintf(w, "%s answers no payment from now on\n", g.name) // the caller may be gone
	})
	mux.HandleFunc("POST /revive", func(w http.ResponseWriter, _ *http.Request) {
		g.Revive()
		_, _ = fmt.Fprintf(w, "%s answers again\n", g.name) // the caller may be gone
	})
	var err error
	if g.server, err = serve(name+" gateway", listen, mux, reg); err != nil {
		return nil, err
	}
	return g, nil
}

// Kill makes every further payment end without an answer.
func (g *Gateway) Kill() { g.set(true) }

// Revive ends a Kill.
func (g *Gateway) Revive() { g.set(false) }

func (g *Gateway) set(dead bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.dead = dead
}

// Charges counts the payments taken.
func (g *Gateway) Charges() uint64 {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.charges
}

// charge takes a payment, if the gateway lives.
func (g *Gateway) charge() (n uint64, alive bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.dead {
		g.charges++
	}
	return g.charges, !g.dead
}

// Stop ends the gateway; requests under way have until ctx ends. Further calls return the first one's result.
func (g *Gateway) Stop(ctx context.Context) error {
	g.once.Do(func() {
		if err := g.stop(ctx); err != nil {
			g.err = fmt.Errorf("stop the %s gateway: %w", g.name, err)
		}
	})
	return g.err
}
