package demo

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"

	"go.yaml.in/yaml/v3"
)

// fakeFailover is the fake's part in the second act.
type fakeFailover struct {
	roles map[string]string // of tokens, by their SHA-256
	steps []fakeStep

	asked  bool // a proposal waits
	waited int  // ticks since, and since it was carried out
	over   bool // the change was started
}

type fakeCall struct {
	URL  string
	JSON map[string]string
}

type fakeStep struct {
	Name    string
	Webhook fakeCall
	Undo    struct{ Webhook fakeCall }
}

const (
	fakeProposal = "shop-20"
	fakeChange   = "shop-30"
	fakeDigest   = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
)

// prepare reads the tokens and what the rules say of failing over.
func (f *fake) prepare(dir string) error {
	text, err := os.ReadFile(filepath.Join(dir, f.config.TokensFile))
	if err != nil {
		return err
	}
	var tokens []struct {
		SHA256 string
		Roles  []string
	}
	if err := yaml.Unmarshal(text, &tokens); err != nil {
		return err
	}
	f.roles = map[string]string{}
	for _, t := range tokens {
		f.roles[t.SHA256] = t.Roles[0]
	}
	if text, err = os.ReadFile(filepath.Join(dir, "rules", "shop.rules.yaml")); err != nil {
		return err
	}
	var rules struct {
		Transitions []struct {
			Name    string
			Actions []fakeStep
		}
	}
	if err := yaml.Unmarshal(text, &rules); err != nil {
		return err
	}
	for _, t := range rules.Transitions {
		if t.Name == transition {
			f.steps = t.Actions
		}
	}
	return nil
}

// serve adds what people use.
func (f *fake) serve(mux *http.ServeMux) {
	mux.HandleFunc("GET /api/v1/approvals", f.authorized("admin", func(*http.Request) any {
		list := []any{}
		if f.asked {
			list = append(list, f.proposal())
		}
		return map[string]any{"approvals": list}
	}))
	mux.HandleFunc("GET /api/v1/approvals/"+fakeProposal, f.authorized("admin", func(*http.Request) any { return f.proposal() }))
	mux.HandleFunc("POST /api/v1/approvals/"+fakeProposal+"/review", f.authorized("oncall", func(r *http.Request) any {
		var in struct{ Verdict, Digest, Reason string }
		if err := json.NewDecoder(r.Body).Decode(&in); err != nil || !f.asked || len(in.Digest) < 8 || !strings.HasPrefix(fakeDigest, in.Digest) || in.Reason == "" {
			return nil
		}
		f.asked = false
		kind := map[string]string{"yes": "ApprovalGranted", "no": "ProposalDenied"}[in.Verdict]
		f.log(kind, map[string]any{"principal": "carol"}, "request", in.Reason, map[string]any{"proposal": fakeProposal, "person": "carol", "role": "oncall"})
		if in.Verdict == "yes" {
			f.carryOut(r.Context(), fakeProposal)
		}
		return map[string]any{}
	}))
	mux.HandleFunc("POST /api/v1/scopes/shop/changes/"+fakeChange+"/undo", f.authorized("operator", func(r *http.Request) any {
		f.takeBack(r.Context(), "olga")
		return map[string]any{}
	}))
	mux.HandleFunc("POST /approvals/sign-in", func(w http.ResponseWriter, r *http.Request) {
		f.mu.Lock()
		defer f.mu.Unlock()
		if f.roles[sha(r.FormValue("token"))] != "oncall" {
			w.WriteHeader(http.StatusForbidden)
			return
		}
		_, _ = io.WriteString(w, fakeDigest+" repoint") // the browser may be gone
	})
}

func (f *fake) proposal() map[string]any {
	var steps []any
	for _, s := range f.steps {
		harm := s.Name == "repoint" && f.fault != faultVague
		steps = append(steps, map[string]any{"name": s.Name, "destructive": harm, "does": "POST " + s.Webhook.URL, "undo": "POST " + s.Undo.Webhook.URL})
	}
	budget := map[string]any{"slo": "payments", "remaining": 0.98, "burn": 72.5, "lasts": "7h0m0s"}
	if f.fault == faultTimeless {
		delete(budget, "lasts")
	}
	return map[string]any{
		"budgets": []any{budget},
		"id":      fakeProposal, "scope": "shop", "transition": transition, "to": "failover", "digest": fakeDigest, "left": "14m30s",
		"missing": []any{map[string]any{"role": "oncall", "count": 1}}, "destructive": f.fault != faultVague, "steps": steps,
	}
}

// failOver asks for what the burn of payments wants; at a tick.
func (f *fake) failOver(ctx context.Context) {
	if f.asked {
		if f.waited++; f.fault == faultEager && f.waited == 10 {
			f.carryOut(ctx, fakeProposal)
		}
		return
	}
	if f.over {
		back := false
		if burn, err := f.prom.paymentsBurnRate(ctx, "4s"); err == nil {
			back = burn == 0
		}
		if f.waited++; f.waited == 5 && f.fault == faultReturns {
			f.takeBack(ctx, "")
		}
		if back && f.mode == "normal" && f.fault != faultOpen {
			f.page(ctx, "resolve", "payments", "")
		}
		return
	}
	if f.mode != "normal" {
		return
	}
	for _, window := range []string{"12s", "4s"} {
		if burn, err := f.prom.paymentsBurnRate(ctx, window); err != nil || burn <= 10 {
			return // unknown holds
		}
	}
	if f.fault == faultNowhere {
		f.page(ctx, "trigger", "payments", "customers cannot pay", f.URL()+"/")
	} else {
		f.page(ctx, "trigger", "payments", "customers cannot pay", f.URL()+"/approvals/"+fakeProposal)
	}
	if f.fault == faultUnasked {
		f.carryOut(ctx, "")
		return
	}
	f.asked = true
}

func (f *fake) carryOut(ctx context.Context, proposal string) {
	f.over, f.asked, f.waited = true, f.fault == faultEager, 0
	f.log("ChangeStarted", nil, "approved", "", map[string]any{"change": fakeChange, "transition": transition, "from": f.mode, "to": "failover", "proposal": proposal})
	f.settle("failover")
	for _, s := range f.steps {
		key := fakeChange + "/" + s.Name
		if f.fault != faultClaims {
			f.call(ctx, s.Webhook, key)
		}
		switch f.fault {
		case faultTwice:
			f.call(ctx, s.Webhook, key)
		case faultAgain:
			f.call(ctx, s.Webhook, key+"/2")
		}
		f.log("StepDone", nil, "done", "", map[string]any{"change": fakeChange, "step": s.Name})
	}
	code := "verify"
	if f.fault == faultUnverified {
		code = "done"
	}
	f.log("ChangeDone", nil, code, "it is true", map[string]any{"change": fakeChange})
}

func (f *fake) takeBack(ctx context.Context, by string) {
	f.log("UndoStarted", map[string]any{"principal": by}, "request", "", map[string]any{"change": fakeChange})
	for i := len(f.steps) - 1; i >= 0; i-- {
		s := f.steps[i]
		if s.Undo.Webhook.URL == "" {
			continue
		}
		if f.fault != faultIdle {
			f.call(ctx, s.Undo.Webhook, fakeChange+"/"+s.Name+"/undo")
		}
		if f.fault == faultUndoTwice {
			f.call(ctx, s.Undo.Webhook, fakeChange+"/"+s.Name+"/undo")
		}
		f.log("StepDone", nil, "done", "", map[string]any{"change": fakeChange, "step": s.Name, "undo": true})
	}
	f.log("ChangeUndone", nil, "undone", "normal is in force again", map[string]any{"change": fakeChange})
	f.settle("normal")
}

// call carries out a step.
func (f *fake) call(ctx context.Context, c fakeCall, key string) {
	body, err := json.Marshal(c.JSON)
	f.keep(err)
	req, err := http.NewRequestWithContext(context.WithoutCancel(ctx), http.MethodPost, c.URL, bytes.NewReader(body))
	if err != nil {
		f.keep(err)
		return
	}
	req.Header.Set("Idempotency-Key", key)
	req.Close = true
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		f.keep(err)
		return
	}
	f.keep(res.Body.Close())
	if res.StatusCode != http.StatusOK {
		f.keep(fmt.Errorf("%s answers %s", c.URL, res.Status))
	}
}
