package shop

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// The names of the gateways, as the router knows them.
const (
	Primary = "primary"
	Backup  = "backup"
)

// gatewayHeader names in the router's answer the gateway that a payment went to.
const gatewayHeader = "Payment-Gateway"

// warmCharges is how many payments of nothing a warm-up makes.
const warmCharges = 5

// Router hands payments to one of two gateways, and is told over HTTP which:
//
//	POST /charges                     a payment, to the gateway in use; 502 when that does not answer
//	POST /warm    {"gateway": NAME}   tries a gateway before it is needed
//	POST /repoint {"to": NAME}        payments go there from now on
//	GET  /calls                       what it was told, as Record has it
//
// warm and repoint take an Idempotency-Key: what comes again under a key is answered as before and not done again; under
// another body it is refused, with 422. Source: draft-ietf-httpapi-idempotency-key-header-07, section 2.
type Router struct {
	*server
	gateways map[string]string // URLs by name
	client   *http.Client
	once     sync.Once
	err      error // of the first Stop

	mu    sync.Mutex // guards what follows
	route string
	calls []Call
}

// Call is one thing that the router was told to do.
type Call struct {
	Do       string `json:"do"` // warm or repoint
	Gateway  string `json:"gateway"`
	Key      string `json:"key"`      // by which it was recognised
	Requests int    `json:"requests"` // that came under the key; it was done at the first one
	OK       bool   `json:"ok"`       // a warm-up of a dead gateway is not
	done     chan struct{}
}

// Record is what the router was told so far.
type Record struct {
	Route string `json:"route"` // the gateway in use
	Calls []Call `json:"calls"` // the first at the front
}

// StartRouter begins to hand payments to the gateway at primary, on listen: host:port; empty: a free port of the loopback
// interface.
func StartRouter(listen, primary, backup string) (*Router, error) {
	r := &Router{
		gateways: map[string]string{Primary: primary, Backup: backup}, route: Primary,
		client: &http.Client{Timeout: 2 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: loadWorkers}},
	}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /charges", r.charges)
	mux.HandleFunc("POST /warm", func(w http.ResponseWriter, q *http.Request) { r.told(w, q, "warm", "gateway") })
	mux.HandleFunc("POST /repoint", func(w http.ResponseWriter, q *http.Request) { r.told(w, q, "repoint", "to") })
	mux.HandleFunc("GET /calls", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(r.Record()) // the caller may be gone
	})
	var err error
	if r.server, err = serve("gateway router", listen, mux, prometheus.NewRegistry()); err != nil {
		return nil, err
	}
	return r, nil
}

// Record returns what it was told so far.
func (r *Router) Record() Record {
	r.mu.Lock()
	defer r.mu.Unlock()
	return Record{r.route, append([]Call{}, r.calls...)}
}

// charges hands a payment on.
func (r *Router) charges(w http.ResponseWriter, q *http.Request) {
	r.mu.Lock()
	name := r.route
	r.mu.Unlock()
	w.Header().Set(gatewayHeader, name)
	answer, err := r.charge(q.Context(), name)
	if err != nil {
		http.Error(w, "the gateway does not answer", http.StatusBadGateway)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(answer) // the caller may be gone
}

// charge makes a payment at a gateway. A payment must not be made twice, and net/http sends a POST once only.
func (r *Router) charge(ctx context.Context, name string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, r.gateways[name]+"/charges", nil)
	if err != nil {
		return nil, err
	}
	res, err := r.client.Do(req)
	if err != nil {
		return nil, err
	}
	answer, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer))
	if err := errors.Join(err, res.Body.Close()); err != nil {
		return nil, err
	}
	if res.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("the %s gateway answers %s", name, res.Status)
	}
	return answer, nil
}

// told does what a request says, once for each key; member names the gateway in its body.
func (r *Router) told(w http.ResponseWriter, q *http.Request, do, member string) {
	var body map[string]string
	if err := json.NewDecoder(io.LimitReader(q.Body, maxAnswer)).Decode(&body); err != nil {
		http.Error(w, "a JSON object of texts is wanted: "+err.Error(), http.StatusBadRequest)
		return
	}
	gateway, key := body[member], q.Header.Get("Idempotency-Key")
	switch {
	case r.gateways[gateway] == "":
		http.Error(w, fmt.Sprintf("%s: there is no gateway %q, only %s and %s", member, gateway, Primary, Backup), http.StatusBadRequest)
		return
	case key == "":
		http.Error(w, "an Idempotency-Key is needed", http.StatusBadRequest)
		return
	}
	ok, same := r.carryOut(q.Context(), Call{Do: do, Gateway: gateway, Key: key})
	switch {
	case !same:
		http.Error(w, "the key was used for something else", http.StatusUnprocessableEntity)
	case !ok:
		http.Error(w, fmt.Sprintf("the %s gateway does not answer", gateway), http.StatusServiceUnavailable)
	default:
		_, _ = fmt.Fprintf(w, "%s %s\n", do, gateway) // the caller may be gone
	}
}

// carryOut does what a call says unless its key was seen: then it waits for what came of it. same is false when the key was
// used for something else.
func (r *Router) carryOut(ctx context.Context, c Call) (ok, same bool) {
	r.mu.Lock()
	at := slices.IndexFunc(r.calls, func(seen Call) bool { return seen.Key == c.Key })
	if at >= 0 {
		seen := &r.calls[at]
		if seen.Do != c.Do || seen.Gateway != c.Gateway {
			r.mu.Unlock()
			return false, false
		}
		seen.Requests++
		done := seen.done
		r.mu.Unlock()
		<-done
		r.mu.Lock()
		defer r.mu.Unlock()
		return r.calls[at].OK, true
	}
	c.Requests, c.done = 1, make(chan struct{})
	at = len(r.calls)
	r.calls = append(r.calls, c)
	if c.Do == "repoint" {
		r.route = c.Gateway
	}
	r.mu.Unlock()
	ok = true
	if c.Do == "warm" {
		// Whoever asked may be gone; what was begun under a key is finished.
		ok = r.warm(context.WithoutCancel(ctx), c.Gateway)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.calls[at].OK = ok
	close(c.done)
	return ok, true
}

// warm makes a few payments of nothing, so that the gateway is known to answer and connections stand.
func (r *Router) warm(ctx context.Context, name string) bool {
	for range warmCharges {
		if _, err := r.charge(ctx, name); err != nil {
			return false
		}
	}
	return true
}

// Stop ends the router; requests under way have until ctx ends. Further calls return the first one's result.
func (r *Router) Stop(ctx context.Context) error {
	r.once.Do(func() {
		if err := r.stop(ctx); err != nil {
			r.err = fmt.Errorf("stop the gateway router: %w", err)
		}
		r.client.CloseIdleConnections()
	})
	return r.err
}
