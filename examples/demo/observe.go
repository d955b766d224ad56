package demo

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"slices"
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

func newPromClient(server string) (*promClient, error) {
	t := &http.Transport{}
	c, err := api.NewClient(api.Config{Address: server, RoundTripper: t})
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

// budget is what the objectives of 99 % leave.
const budget = 0.01

// burnRate is how many times too fast the error budget of a scope's pages burnt over a window, such as "12s".
func (p *promClient) burnRate(ctx context.Context, scope, window string) (float64, error) {
	return p.value(ctx, fmt.Sprintf(`sum(rate(http_requests_total{job="%[3]s",code=~"5.."}[%[1]s]))
		/ sum(rate(http_requests_total{job="%[3]s"}[%[1]s])) / %[2]g`, window, budget, scope))
}

// paymentsBurnRate is how many times too fast the error budget of payments burnt over a window. They have the same objective.
func (p *promClient) paymentsBurnRate(ctx context.Context, window string) (float64, error) {
	return p.value(ctx, fmt.Sprintf(`sum(rate(shop_payments_total{job="shop",result="failed"}[%[1]s]))
		/ sum(rate(shop_payments_total{job="shop"}[%[1]s])) / %[2]g`, window, budget))
}

// budgetClock says how long an error budget for 30 days lasts at a burn rate.
func budgetClock(burn float64) (lasts time.Duration, text string) {
	lasts = time.Duration(30 * 24 * float64(time.Hour) / burn)
	return lasts, fmt.Sprintf("at this burn (%.0f) an error budget for 30 days lasts %.1f hours", burn, lasts.Hours())
}

// apiClient speaks to modeshift's API as any program would: JSON over HTTP with a bearer token.
type apiClient struct {
	url       string
	reader    person // who looks
	transport *http.Transport
}

func newAPIClient(server string, reader person) *apiClient {
	return &apiClient{server, reader, &http.Transport{}}
}

func (a *apiClient) close(context.Context) error { a.transport.CloseIdleConnections(); return nil }

// get reads a JSON document.
func (a *apiClient) get(ctx context.Context, path string, into any) error {
	return a.call(ctx, http.MethodGet, a.reader, path, nil, into)
}

// post has somebody ask for something.
func (a *apiClient) post(ctx context.Context, who person, path string, body any) error {
	text, err := json.Marshal(body)
	if err != nil {
		return err
	}
	return a.call(ctx, http.MethodPost, who, path, text, nil)
}

func (a *apiClient) call(ctx context.Context, method string, who person, path string, in []byte, into any) error {
	ctx, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, a.url+path, bytes.NewReader(in))
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+who.token.Reveal())
	if in != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	res, err := (&http.Client{Transport: a.transport}).Do(req)
	if err != nil {
		return fmt.Errorf("ask modeshift: %w", err)
	}
	body, err := io.ReadAll(res.Body)
	if err := errors.Join(err, res.Body.Close()); err != nil {
		return fmt.Errorf("ask modeshift: %w", err)
	}
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("modeshift answers %s %s with %s: %.300s", method, path, res.Status, body)
	}
	if into == nil {
		return nil
	}
	if err := json.Unmarshal(body, into); err != nil {
		return fmt.Errorf("read modeshift's answer to %s %s: %w", method, path, err)
	}
	return nil
}

// scopeMode is a scope's settled mode, according to modeshift.
func (a *apiClient) scopeMode(ctx context.Context, scope string) (string, error) {
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
		Input     string `json:"input"`
		Principal string `json:"principal"` // empty: nobody asked, modeshift decided
	} `json:"cause"`
	Reason struct {
		Code string `json:"code"`
		Text string `json:"text"`
	} `json:"reason"`
	Fact json.RawMessage `json:"fact"`
}

// changeFact is what a ChangeStarted says.
type changeFact struct {
	Change     string `json:"change"`
	Transition string `json:"transition"`
	From       string `json:"from"`
	To         string `json:"to"`
	Proposal   string `json:"proposal"` // that people approved; empty: nobody was asked
	Imposed    string `json:"imposed"`  // the scope above that asks for it
	Returns    bool   `json:"returns"`  // it goes back, since nothing above asks for it any more
}

// stepFact is what StepDone says, and what other events about a change do.
type stepFact struct {
	Change string `json:"change"`
	Step   string `json:"step"`
	Undo   bool   `json:"undo"`
}

// answerFact is what the events about people's answers say.
type answerFact struct {
	Proposal string `json:"proposal"`
	Person   string `json:"person"`
	Role     string `json:"role"`
}

// fact reads what an event says.
func fact[T any](e event) (T, error) {
	var f T
	if err := json.Unmarshal(e.Fact, &f); err != nil {
		return f, fmt.Errorf("read what %s says: %w", e.Kind, err)
	}
	return f, nil
}

// standing is what the story looks at in the list of all scopes.
type standing struct {
	Scope  string `json:"scope"`
	Mode   string `json:"mode"`
	Target string `json:"target"`
	Frozen bool   `json:"frozen"`
}

// scopes are all scopes by name.
func (a *apiClient) scopes(ctx context.Context) (map[string]standing, error) {
	var list struct {
		Scopes []standing `json:"scopes"`
	}
	err := a.get(ctx, "/api/v1/scopes", &list)
	all := map[string]standing{}
	for _, s := range list.Scopes {
		all[s.Scope] = s
	}
	return all, err
}

// history is a scope's log, newest first. The story is far shorter than the limit.
func (a *apiClient) history(ctx context.Context, scope string) ([]event, error) {
	var h struct {
		Events []event `json:"events"`
	}
	err := a.get(ctx, "/api/v1/scopes/"+scope+"/history?limit=1000", &h)
	return h.Events, err
}

// lastChange is the newest change of a scope's mode in the log.
func (a *apiClient) lastChange(ctx context.Context, scope string) (event, changeFact, error) {
	events, err := a.history(ctx, scope)
	if err != nil {
		return event{}, changeFact{}, err
	}
	for _, e := range events {
		if e.Kind == "ChangeStarted" {
			f, err := fact[changeFact](e)
			return e, f, err
		}
	}
	return event{}, changeFact{}, errors.New("the history has no change")
}

// proposal is what the story looks at in a proposal.
type proposal struct {
	ID         string `json:"id"`
	Scope      string `json:"scope"`
	Transition string `json:"transition"`
	To         string `json:"to"`
	Digest     string `json:"digest"`
	Left       string `json:"left"`
	Missing    []struct {
		Role  string `json:"role"`
		Count int    `json:"count"`
	} `json:"missing"`
	Destructive  bool `json:"destructive"`
	Irreversible bool `json:"irreversible"`
	Steps        []struct {
		Name        string `json:"name"`
		Destructive bool   `json:"destructive"`
		Does        string `json:"does"`
		Undo        string `json:"undo"`
	} `json:"steps"`
	Budgets []approvalBudget `json:"budgets"`
}

// approvalBudget is what a proposal says of the error budget of an SLO.
type approvalBudget struct {
	SLO       string  `json:"slo"`
	Remaining float64 `json:"remaining"`
	Burn      float64 `json:"burn"`
	Lasts     string  `json:"lasts"`
	Unknown   string  `json:"unknown"`
}

// budget is what it says of one SLO's.
func (p *proposal) budget(slo string) (approvalBudget, bool) {
	i := slices.IndexFunc(p.Budgets, func(b approvalBudget) bool { return b.SLO == slo })
	if i < 0 {
		return approvalBudget{}, false
	}
	return p.Budgets[i], true
}

// clock is how long the budget lasts, in words.
func (b approvalBudget) clock() string {
	if b.Lasts == "" {
		return "of the budget of " + b.SLO + " nothing is left"
	}
	lasts := b.Lasts
	if d, err := model.ParseDuration(lasts); err == nil {
		lasts = model.Duration(time.Duration(d).Truncate(time.Minute)).String()
	}
	return fmt.Sprintf("%.0f %% of the budget of %s is left and lasts %s at this burn (%.0f)", 100*b.Remaining, b.SLO, lasts, b.Burn)
}

// proposals are those that wait.
func (a *apiClient) proposals(ctx context.Context) ([]proposal, error) {
	var list struct {
		Approvals []proposal `json:"approvals"`
	}
	err := a.get(ctx, "/api/v1/approvals", &list)
	return list.Approvals, err
}

// proposal is one of them, with all there is to know.
func (a *apiClient) proposal(ctx context.Context, id string) (proposal, error) {
	var p proposal
	return p, a.get(ctx, "/api/v1/approvals/"+id, &p)
}

// page is where a proposal is answered with a browser.
func (a *apiClient) page(p proposal) string { return a.url + "/approvals/" + p.ID }

// readPage signs somebody in, as a browser does, and checks that the page asks for an answer to what the API says.
func (a *apiClient) readPage(ctx context.Context, who person, p proposal) error {
	ctx, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	jar, err := cookiejar.New(nil)
	if err != nil {
		return err
	}
	form := url.Values{"id": {p.ID}, "token": {who.token.Reveal()}}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, a.url+"/approvals/sign-in", strings.NewReader(form.Encode()))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	res, err := (&http.Client{Transport: a.transport, Jar: jar}).Do(req)
	if err != nil {
		return fmt.Errorf("open the page: %w", err)
	}
	body, err := io.ReadAll(res.Body)
	if err := errors.Join(err, res.Body.Close()); err != nil {
		return fmt.Errorf("open the page: %w", err)
	}
	if res.StatusCode != http.StatusOK || !bytes.Contains(body, []byte(p.Digest)) || !bytes.Contains(body, []byte("repoint")) {
		return fmt.Errorf("the page %s answers %s and does not show the proposal", a.page(p), res.Status)
	}
	return nil
}
