package demo

import (
	"bytes"
	"context"
	"crypto/sha256"
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

	"github.com/modeshift/modeshift/test/instancetest"
)

// fake is as much of a modeshift as the story can see, with faults. The real one is told the story by the tests of the
// command line; this one shows that a modeshift which fails somewhere does not get through.
type fake struct {
	fault  string
	dir    string
	server *httptest.Server
	prom   *promClient
	config struct {
		TokensFile string `yaml:"tokens_file"`
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

	instances *instancetest.Server

	mu     sync.Mutex // guards what follows
	mode   string
	events []map[string]any // newest first
	err    error
	fakeFailover
	fakeRollout
}

// The faults. Each is a way in which modeshift could seem to work.
const (
	faultBlind      = "it never degrades"
	faultMute       = "it pages nobody"
	faultFlags      = "what it tells instances stays behind its mode"
	faultStuck      = "it never recovers"
	faultHasty      = "it recovers while the backend is broken"
	faultChatty     = "it pages twice"
	faultForgetful  = "it never resolves"
	faultHelped     = "somebody asked for the mode"
	faultBeforehand = "the shop is degraded before anything is broken"

	faultUnasked    = "it fails over and asks nobody"
	faultVague      = "it asks and does not say that a step is destructive"
	faultEager      = "it asks and does not wait for the answer"
	faultTwice      = "it runs its steps twice under one key"
	faultAgain      = "it runs its steps twice under two keys"
	faultClaims     = "it says that its steps are done and does nothing"
	faultUnverified = "it does not verify what it did"
	faultReturns    = "it goes back before anybody asks"
	faultIdle       = "its undo does nothing"
	faultUndoTwice  = "its undo runs twice"
	faultOpen       = "it never resolves the second page"
	faultTimeless   = "it asks and does not say how long the budget lasts"
	faultNowhere    = "its page does not lead to what waits for an answer"

	faultForged   = "its table says that all instances follow"
	faultSilent   = "it pages nobody for an instance that refuses"
	faultHeedless = "it recovers though an instance refuses"
	faultGrudge   = "its page about an instance never ends"
	faultAtOnce   = "it recovers all instances at once"
	faultOnward   = "it goes on after a wave that relapses"
	faultKept     = "it does not take a relapse back"
	faultHush     = "it pages nobody for a relapse"
	faultHurry    = "after a relapse it recovers all instances at once"
	faultUneasy   = "it never resolves the page about a relapse"
)

func startFake(fault string) func(context.Context, string) (Modeshift, error) {
	return func(_ context.Context, file string) (Modeshift, error) {
		f := &fake{fault: fault, dir: filepath.Dir(file), mode: "normal"}
		if fault == faultBeforehand {
			f.mode = "degraded"
		}
		text, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		if err := yaml.Unmarshal(text, &f.config); err != nil {
			return nil, err
		}
		if err := f.prepare(filepath.Dir(file)); err != nil {
			return nil, err
		}
		if f.prom, err = newPromClient(f.config.Prometheus[0].URL); err != nil {
			return nil, err
		}
		mux := http.NewServeMux()
		mux.HandleFunc("GET /api/v1/scopes/shop", f.authorized("admin", func(*http.Request) any {
			return map[string]any{"scope": "shop", "mode": f.mode, "conditions": []any{map[string]any{"name": "recover.when", "text": "it is well", "truth": "false"}}}
		}))
		mux.HandleFunc("GET /api/v1/scopes/shop/history", f.authorized("admin", func(*http.Request) any { return map[string]any{"events": f.events} }))
		f.serve(mux)
		f.instances = instancetest.New(func(r *http.Request) bool { return f.roles[sha(bearer(r))] == "instance" })
		mux.Handle(instancetest.Path, f.instances)
		mux.HandleFunc("GET /api/v1/scopes/shop/instances", f.authorized("admin", func(*http.Request) any { return map[string]any{"instances": f.table()} }))
		f.publish(f.mode)
		f.server = httptest.NewServer(mux)
		ctx, cancel := context.WithCancel(context.Background())
		f.cancel = cancel
		f.done.Go(func() { f.run(ctx) })
		return f, nil
	}
}

func (f *fake) URL() string { return f.server.URL }

func (f *fake) Stop(ctx context.Context) error {
	f.cancel()
	f.done.Wait()
	f.instances.Close()
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

// authorized answers whoever has a role; nil from answer is a refusal.
func (f *fake) authorized(role string, answer func(*http.Request) any) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		f.mu.Lock()
		defer f.mu.Unlock()
		if f.roles[sha(bearer(r))] != role {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		a := answer(r)
		if a == nil {
			w.WriteHeader(http.StatusConflict)
			return
		}
		_ = json.NewEncoder(w).Encode(a) // a client that went away is its own affair
	}
}

func bearer(r *http.Request) string {
	return strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
}

func sha(text string) string { return fmt.Sprintf("%x", sha256.Sum256([]byte(text))) }

func (f *fake) run(ctx context.Context) {
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		short, err := f.prom.burnRate(ctx, scope, "4s")
		if err != nil {
			continue // unknown holds
		}
		long, err := f.prom.burnRate(ctx, scope, "12s")
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
				f.page(ctx, "trigger", "one", "shop: normal → degraded (shed)")
			}
			if f.fault == faultChatty {
				f.page(ctx, "trigger", "two", "shop: normal → degraded (shed)")
			}
		case f.rolling():
			f.roll(ctx)
		case f.mode == "degraded" && (short == 0 && failures == 0 || f.fault == faultHasty && long < 20) && f.fault != faultStuck && f.fault != faultBeforehand:
			if len(f.behind) == 0 || f.fault == faultHeedless {
				f.recover(ctx)
			}
		}
		f.diverge(ctx)
		f.failOver(ctx)
		f.mu.Unlock()
	}
}

func (f *fake) shift(mode, transition string) {
	cause := map[string]any{"input": "observed"}
	if f.fault == faultHelped {
		cause["principal"] = "admin"
	}
	f.log("ChangeStarted", cause, "", "", map[string]any{"change": "shop-1", "transition": transition, "from": f.mode, "to": mode})
	f.settle(mode)
}

func (f *fake) settle(mode string) {
	f.mode = mode
	if f.fault != faultFlags {
		f.publish(mode)
	}
}

func (f *fake) log(kind string, cause map[string]any, code, text string, fact map[string]any) {
	e := map[string]any{"kind": kind, "at": time.Now().UTC(), "cause": cause, "reason": map[string]any{"code": code, "text": text}, "fact": fact}
	f.events = append([]map[string]any{e}, f.events...)
}

func (f *fake) page(ctx context.Context, action, key, summary string, links ...string) {
	p := f.config.Receivers.Page.PagerDuty
	event := map[string]any{"routing_key": p.RoutingKey, "event_action": action, "dedup_key": key,
		"payload": map[string]any{"summary": summary, "source": "shop", "severity": "critical"}}
	list := []any{}
	for _, l := range links {
		list = append(list, map[string]any{"href": l, "text": "answer"})
	}
	event["links"] = list
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
