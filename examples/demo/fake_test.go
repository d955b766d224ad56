package demo

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"go.yaml.in/yaml/v3"
)

// fake is as much of a modeshift as the story can see, with faults. The real one is told the story by the tests of the
// command line; this one shows that a modeshift which fails somewhere does not get through.
type fake struct {
	fault  string
	dir    string
	server *httptest.Server
	prom   *promClient
	config struct {
		Prometheus []struct{ URL string }
		Receivers  struct {
			Page struct {
				PagerDuty struct {
					RoutingKey string `yaml:"routing_key"`
					URL        string
				}
			}
		}
	}
	cancel context.CancelFunc
	done   sync.WaitGroup

	mu     sync.Mutex // guards what follows
	mode   string
	change map[string]any
	told   string // the mode of the flags
	err    error
}

// The faults. Each is a way in which modeshift could seem to work.
const (
	faultBlind      = "it never degrades"
	faultMute       = "it pages nobody"
	faultFlags      = "its flags stay behind its mode"
	faultStuck      = "it never recovers"
	faultHasty      = "it recovers while the backend is broken"
	faultChatty     = "it pages twice"
	faultForgetful  = "it never resolves"
	faultHelped     = "somebody asked for the mode"
	faultBeforehand = "the shop is degraded before anything is broken"
)

func startFake(fault string) func(context.Context, string) (Modeshift, error) {
	return func(_ context.Context, file string) (Modeshift, error) {
		f := &fake{fault: fault, dir: filepath.Dir(file), mode: "normal", told: "normal"}
		if fault == faultBeforehand {
			f.mode, f.told = "degraded", "degraded"
		}
		text, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		if err := yaml.Unmarshal(text, &f.config); err != nil {
			return nil, err
		}
		if err := os.WriteFile(f.TokenFile(), []byte("right\n"), 0o600); err != nil {
			return nil, err
		}
		if f.prom, err = newPromClient(f.config.Prometheus[0].URL); err != nil {
			return nil, err
		}
		mux := http.NewServeMux()
		mux.HandleFunc("GET /api/v1/scopes/shop", f.authorized(func() any { return map[string]any{"scope": "shop", "mode": f.mode} }))
		mux.HandleFunc("GET /api/v1/scopes/shop/history", f.authorized(func() any { return map[string]any{"events": []any{f.change}} }))
		mux.HandleFunc("POST /ofrep/v1/evaluate/flags/{key}", func(w http.ResponseWriter, r *http.Request) {
			f.mu.Lock()
			defer f.mu.Unlock()
			value := map[string]any{"mode": f.told, "recommendations": f.told == "normal"}[r.PathValue("key")]
			f.keep(json.NewEncoder(w).Encode(map[string]any{"key": r.PathValue("key"), "value": value, "reason": "STATIC"}))
		})
		f.server = httptest.NewServer(mux)
		ctx, cancel := context.WithCancel(context.Background())
		f.cancel = cancel
		f.done.Go(func() { f.run(ctx) })
		return f, nil
	}
}

func (f *fake) URL() string       { return f.server.URL }
func (f *fake) TokenFile() string { return filepath.Join(f.dir, "token") }

func (f *fake) Stop(ctx context.Context) error {
	f.cancel()
	f.done.Wait()
	f.server.Close()
	_ = f.prom.close(ctx) // it has no error
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.err
}

func (f *fake) keep(err error) {
	if err != nil && f.err == nil {
		f.err = err
	}
}

func (f *fake) authorized(answer func() any) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer right" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		f.mu.Lock()
		defer f.mu.Unlock()
		_ = json.NewEncoder(w).Encode(answer()) // a client that went away is its own affair
	}
}

func (f *fake) run(ctx context.Context) {
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		short, err := f.prom.burnRate(ctx, "4s")
		if err != nil {
			continue // unknown holds
		}
		long, err := f.prom.burnRate(ctx, "12s")
		if err != nil {
			continue
		}
		failures, err := f.prom.value(ctx, `sum(rate(shop_dependency_probes_total{result="failure"}[3s]))`)
		if err != nil {
			continue
		}
		f.mu.Lock()
		switch {
		case f.mode == "normal" && long > 10 && short > 10 && f.fault != faultBlind:
			f.shift("degraded", "shed")
			if f.fault != faultMute {
				f.page(ctx, "trigger", "one")
			}
			if f.fault == faultChatty {
				f.page(ctx, "trigger", "two")
			}
		case f.mode == "degraded" && (short == 0 && failures == 0 || f.fault == faultHasty && long < 20) && f.fault != faultStuck && f.fault != faultBeforehand:
			f.shift("normal", "recover")
			if f.fault != faultForgetful {
				f.page(ctx, "resolve", "one")
			}
		}
		f.mu.Unlock()
	}
}

func (f *fake) shift(mode, transition string) {
	cause := map[string]any{"input": "observed"}
	if f.fault == faultHelped {
		cause["principal"] = "admin"
	}
	f.change = map[string]any{"kind": "ChangeStarted", "cause": cause, "fact": map[string]any{"transition": transition, "from": f.mode, "to": mode}}
	f.mode = mode
	if f.fault != faultFlags {
		f.told = mode
	}
}

func (f *fake) page(ctx context.Context, action, key string) {
	p := f.config.Receivers.Page.PagerDuty
	event := map[string]any{"routing_key": p.RoutingKey, "event_action": action, "dedup_key": key,
		"payload": map[string]any{"summary": "the shop is degraded", "source": "shop", "severity": "critical"}}
	body, err := json.Marshal(event)
	f.keep(err)
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, strings.TrimSuffix(p.URL, "/")+"/v2/enqueue", bytes.NewReader(body))
	f.keep(err)
	req.Header.Set("Content-Type", "application/json")
	req.Close = true
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		f.keep(err)
		return
	}
	f.keep(res.Body.Close())
	if res.StatusCode != http.StatusAccepted {
		f.keep(fmt.Errorf("the pager answers %s", res.Status))
	}
}
