package demo

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/modeshift/modeshift/engine/secret"
	"github.com/modeshift/modeshift/examples/prometheus"
	"github.com/modeshift/modeshift/examples/shop"
	"github.com/modeshift/modeshift/test/receiver"
)

// claims are what a modeshift says, and a Prometheus beside it: documents by path. The services have neither instances nor visitors:
// what stories see of these is seen in the tests with the real server.
type claims struct {
	*product
	t    *testing.T
	says map[string]any
}

func newClaims(t *testing.T) *claims {
	t.Helper()
	c := &claims{t: t, says: map[string]any{}}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		document, known := c.says[r.URL.Path]
		if !known {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(document) // a client that went away is its own affair
	}))
	t.Cleanup(server.Close)
	pager, err := receiver.Start("127.0.0.1:0", receiver.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = pager.Close() }) // nothing hangs in it
	prom, err := newPromClient(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	api := newAPIClient(server.URL, person{token: secret.New("x")})
	t.Cleanup(func() { _, _ = prom.close(context.Background()), api.close(context.Background()) }) // they have no errors
	c.product = &product{stage: &stage{pager: pager, prom: prom, api: api}}
	c.people.operator = person{name: "olga", role: "operator"}
	for _, name := range shop.Services {
		c.services = append(c.services, &service{name: name, load: shop.NewLoad("http://127.0.0.1:1")})
		c.log(name)
	}
	c.modes(map[string]string{})
	c.waits()
	return c
}

// modes are where the scopes are; those not named are in mode normal.
func (c *claims) modes(modes map[string]string) {
	list := []any{}
	for _, name := range append([]string{shop.Product}, shop.Services...) {
		mode := modes[name]
		if mode == "" {
			mode = "normal"
		}
		list = append(list, map[string]any{"scope": name, "mode": mode, "target": mode})
		c.says["/api/v1/scopes/"+name] = map[string]any{"mode": mode}
	}
	c.says["/api/v1/scopes"] = map[string]any{"scopes": list}
}

// log is a scope's history, the newest event first.
func (c *claims) log(scope string, events ...map[string]any) {
	c.says["/api/v1/scopes/"+scope+"/history"] = map[string]any{"events": append([]map[string]any{}, events...)}
}

func happened(kind, input, principal, why string, fact map[string]any) map[string]any {
	return map[string]any{"kind": kind, "at": time.Now().UTC(), "cause": map[string]any{"input": input, "principal": principal},
		"reason": map[string]any{"code": "x", "text": why}, "fact": fact}
}

func shedding(principal string) map[string]any {
	return happened("ChangeStarted", "observed", principal, "it burns", map[string]any{"transition": "shed", "from": "normal", "to": "degraded"})
}

// waits are the proposals that do.
func (c *claims) waits(list ...proposal) {
	c.says["/api/v1/approvals"] = map[string]any{"approvals": append([]proposal{}, list...)}
}

func withheld(scope string) proposal {
	p := proposal{ID: scope + "-4", Scope: scope, Transition: "shed", To: "degraded", Digest: "0123456789"}
	p.Missing = append(p.Missing, struct {
		Role  string `json:"role"`
		Count int    `json:"count"`
	}{"operator", 1})
	return p
}

// page sends one about a service.
func (c *claims) page(service, key string, links ...string) {
	c.t.Helper()
	list := []any{}
	for _, l := range links {
		list = append(list, map[string]any{"href": l, "text": "answer"})
	}
	body, err := json.Marshal(map[string]any{"routing_key": routingKey, "event_action": "trigger", "dedup_key": key, "links": list,
		"payload": map[string]any{"summary": service + " burns", "source": service, "severity": "critical"}})
	if err != nil {
		c.t.Fatal(err)
	}
	res, err := http.Post(c.pager.URL()+"/v2/enqueue", "application/json", bytes.NewReader(body))
	if err != nil {
		c.t.Fatal(err)
	}
	if err := res.Body.Close(); err != nil || res.StatusCode != http.StatusAccepted {
		c.t.Fatalf("%s, %v", res.Status, err)
	}
}

// burn is what Prometheus says of every burn rate.
func (c *claims) burn(rate float64) {
	c.says["/api/v1/query"] = map[string]any{"status": "success", "data": map[string]any{"resultType": "vector",
		"result": []any{map[string]any{"metric": map[string]string{}, "value": []any{1, fmt.Sprint(rate)}}}}}
}

// expect wants of a step that it has happened, that it never can any more, or that it is waited for; and that it says so.
func (c *claims) expect(seen func(context.Context) (sight, error), what, says string) {
	c.t.Helper()
	s, err := seen(c.t.Context())
	got := "waits"
	switch {
	case err != nil:
		s.text = err.Error()
	case s.ok:
		got = "ok"
	case s.never:
		got = "never"
	}
	if got != what || !strings.Contains(s.text, says) {
		c.t.Errorf("%s: %s\nwant %s: %s", got, s.text, what, says)
	}
}

func TestMoreThanTheBrakeLetsMoveIsNoStory(t *testing.T) {
	c := newClaims(t)
	c.modes(map[string]string{"catalog": "degraded", "search": "degraded"})
	c.expect(c.moves, "waits", "2 services have moved")
	for _, name := range []string{"catalog", "search", "cart"} {
		c.log(name, shedding(""))
	}
	c.modes(map[string]string{"catalog": "degraded", "search": "degraded", "cart": "degraded", "account": "degraded"})
	c.expect(c.moves, "never", "4 services have moved, and the brake lets 3")
	c.modes(map[string]string{"catalog": "degraded", "search": "degraded", "cart": "degraded"})
	c.expect(c.moves, "ok", "catalog, search, cart")
	if names(c.kept) != "checkout, account, shipping" {
		t.Errorf("kept: %s", names(c.kept))
	}
	c.log("search", shedding("olga"))
	c.expect(c.moves, "never", `search is moved by "shed" of "olga"`)
}

func TestWhatIsWithheldIsAPageAndAQuestionForEach(t *testing.T) {
	c := newClaims(t)
	c.moved, c.kept = c.services[:3], c.services[3:]
	c.expect(c.asked, "waits", "nobody is asked about checkout")
	c.waits(withheld("checkout"), withheld("account"))
	c.expect(c.asked, "waits", "nobody is asked about shipping")
	all := []proposal{withheld("checkout"), withheld("account"), withheld("shipping")}
	c.waits(append(all, withheld("catalog"))...)
	c.expect(c.asked, "never", "4 proposals wait, and 3 services are withheld")
	other := withheld("shipping")
	other.Missing[0].Role = "oncall"
	c.waits(all[0], all[1], other)
	c.expect(c.asked, "never", "waits for [{oncall 1}]")
	c.waits(all...)
	for _, v := range c.services[:5] {
		c.page(v.name, v.name, c.api.url+"/approvals/"+v.name+"-4")
	}
	c.expect(c.asked, "waits", "no page has arrived about shipping")
	c.page("shipping", "shipping")
	c.expect(c.asked, "waits", "the page about shipping has no link to the proposal")
	c.page("shipping", "shipping", c.api.url+"/approvals/shipping-4")
	c.expect(c.asked, "ok", "checkout, account, shipping say that the move is withheld")
	c.page("cart", "another")
	c.expect(c.asked, "never", "2 pages came for one trouble")
	c.log("account", shedding(""))
	c.expect(c.asked, "never", "account was moved, and nobody said yes")
}

func TestANoIsANoOnlyIfSomebodySaidItAndNothingMoved(t *testing.T) {
	c := newClaims(t)
	c.kept, c.proposals = c.services[4:], map[string]proposal{"account": withheld("account"), "shipping": withheld("shipping")}
	l := &liar{product: c.product}
	c.burn(0)
	c.expect(l.denied, "waits", "the least burn rate is 0.0")
	c.burn(50)
	c.expect(l.denied, "waits", "account-4 waits")
	denied := func(kind, by, scope string, ago time.Duration) map[string]any {
		e := happened(kind, "review", by, "it is not true", map[string]any{"proposal": scope + "-4", "person": by, "role": "operator"})
		e["at"] = time.Now().Add(-ago).UTC()
		return e
	}
	c.log("account", denied("ProposalDenied", "olga", "account", time.Minute))
	c.log("shipping", denied("ProposalWithdrawn", "", "shipping", time.Minute))
	c.expect(l.denied, "never", "shipping-4 was not denied by anybody: ProposalWithdrawn")
	c.log("shipping", denied("ProposalDenied", "olga", "shipping", 0))
	c.expect(l.denied, "waits", "nothing has moved for")
	c.log("shipping", denied("ProposalDenied", "olga", "shipping", time.Minute))
	c.waits(withheld("shipping"))
	c.expect(l.denied, "waits", "1 proposals wait")
	c.waits()
	c.expect(l.denied, "ok", "olga says no to all 2: it is not true")
	c.log("shipping", shedding(""), denied("ProposalDenied", "olga", "shipping", time.Minute))
	c.expect(l.denied, "never", "shipping was moved, and nobody said yes")
}

func TestChildrenFollowWhatIsAboveThemAndNotATickOfTheirOwn(t *testing.T) {
	c := newClaims(t)
	c.moved, c.kept = c.services[:3], c.services[3:]
	u := &outage{product: c.product}
	below := func(input, imposed string) map[string]any {
		return happened("ChangeStarted", input, "", "shop is in contained", map[string]any{"from": "normal", "to": "degraded", "imposed": imposed})
	}
	c.expect(u.contained(), "waits", "shop is in mode normal")
	modes := map[string]string{shop.Product: "contained"}
	for _, v := range c.services {
		modes[v.name] = "degraded"
	}
	c.modes(modes)
	c.log(shop.Product, happened("ChangeStarted", "set requested", "olga", "down", map[string]any{"from": "normal", "to": "contained"}))
	c.expect(u.contained(), "waits", "the history has no change")
	for _, v := range c.moved {
		c.log(v.name, shedding(""))
	}
	for _, v := range c.kept {
		c.log(v.name, below("ancestor moved", shop.Product))
	}
	c.log("account", below("observed", shop.Product))
	c.expect(u.contained(), "never", "account waited for its next tick: observed")
	c.log("account", shedding(""))
	c.expect(u.contained(), "never", `account is moved by "shed" of "", and not by what is above it`)
	c.log("account", below("ancestor moved", shop.Product))
	c.log("cart", below("ancestor moved", shop.Product))
	c.expect(u.contained(), "never", `cart is moved by ""`)
	c.log("cart", shedding(""))
	c.waits(withheld("account"))
	c.expect(u.contained(), "waits", "1 proposals wait")
	c.waits()
	c.expect(u.contained(), "waits", "0 visitors of catalog without an error")
}

func TestWhoStillBurnsIsNotGivenBack(t *testing.T) {
	c := newClaims(t)
	c.moved, c.kept = c.services[:3], c.services[3:]
	u := &outage{product: c.product, sick: c.services[3]}
	imposed := happened("ChangeStarted", "ancestor moved", "", "", map[string]any{"to": "degraded", "imposed": shop.Product})
	back := happened("ChangeStarted", "observed", "", "shop is in normal", map[string]any{"to": "normal", "returns": true})
	kept := happened("ModeKept", "observed", "", "it burns", map[string]any{"mode": "degraded"})
	c.log("checkout", imposed)
	c.expect(u.returned(), "waits", "checkout is still held by the product")
	c.log("checkout", back, imposed)
	c.expect(u.returned(), "never", "checkout burns, and was moved to normal")
	c.log("checkout", kept, imposed)
	c.log("account", imposed)
	c.expect(u.returned(), "waits", "account is still held by the product")
	c.log("account", back, imposed)
	c.log("shipping", happened("ChangeStarted", "set requested", "olga", "", map[string]any{"to": "normal", "returns": true}), imposed)
	c.expect(u.returned(), "never", "shipping goes back to normal")
	c.log("shipping", back, imposed)
	for _, v := range c.moved {
		c.log(v.name, happened("ChangeStarted", "set requested", "olga", "", map[string]any{"to": "normal"}))
	}
	c.expect(u.returned(), "never", `catalog went back by "" of "olga"`)
	for _, v := range c.moved {
		c.log(v.name, happened("ChangeStarted", "observed", "", "", map[string]any{"to": "normal", "transition": "recover"}))
	}
	c.expect(u.returned(), "waits", "checkout is in mode normal")
	c.modes(map[string]string{"checkout": "degraded"})
	c.expect(u.returned(), "waits", "0 visitors of catalog without an error")
}

func TestAnAnnouncedMaintenanceIsQuietAndEndsWithItsWindow(t *testing.T) {
	c := newClaims(t)
	m := &maintenance{product: c.product, planned: c.services[:2], hurt: c.services[0], other: c.services[2], opens: time.Now().Add(15 * time.Second)}
	c.expect(m.entered, "waits", "the window opens in less than 20s")
	c.modes(map[string]string{"catalog": "maintenance"})
	c.expect(m.entered, "never", "catalog is not in mode normal, and the window is not open")

	m.opens = time.Now().Add(-time.Second)
	c.expect(m.entered, "waits", "search is in mode normal")
	c.modes(map[string]string{"catalog": "maintenance", "search": "maintenance"})
	migrates := func(by string) map[string]any {
		return happened("ChangeStarted", "observed", by, "", map[string]any{"change": "c-4", "transition": "migrate", "from": "normal", "to": "maintenance"})
	}
	budgets := func(name string, b map[string]any) {
		b["slo"] = "availability"
		c.says["/api/v1/scopes/"+name+"/budget"] = map[string]any{"budgets": []any{b}}
	}
	c.log("catalog", migrates("olga"))
	c.expect(m.entered, "never", `catalog is in maintenance by "migrate" of "olga"`)
	c.log("catalog", migrates(""))
	budgets("catalog", map[string]any{"known": true})
	c.expect(m.entered, "never", "nothing says that its SLO is paused")
	paused := map[string]any{"mode": "maintenance", "change": "c-4"}
	for _, name := range []string{"catalog", "search"} {
		c.log(name, migrates(""))
		budgets(name, map[string]any{"known": true, "paused": paused})
	}
	c.expect(m.entered, "ok", "catalog, search are in maintenance by their schedule")

	c.burn(50)
	c.expect(m.hushed(), "waits", "no page has arrived about cart")
	c.page("cart", "cart")
	c.expect(m.hushed(), "waits", "nobody is paged about catalog, search for 0s")
	c.page("search", "search")
	c.expect(m.hushed(), "never", "a page came out of an announced maintenance: search burns")
	c.expect(m.contained, "never", "a page came out of an announced maintenance: search burns")

	c.expect(m.over, "waits", "the window ends in less than 50s")
	m.opens = time.Now().Add(-windowLasts - time.Minute)
	c.expect(m.over, "waits", "catalog is in mode maintenance")
	c.modes(map[string]string{})
	c.expect(m.over, "never", "search left the maintenance, and not because the window was over")
	undo := happened("UndoStarted", "observed", "", "", nil)
	undo["reason"] = map[string]any{"code": "until"}
	c.log("search", undo, migrates(""))
	c.expect(m.over, "ok", "the window is over")
}

func TestAnEmergencyInAMaintenanceIsAPageInTheMiddleOfIt(t *testing.T) {
	c := newClaims(t)
	m := &maintenance{product: c.product, planned: c.services[:2], hurt: c.services[0], opens: time.Now().Add(-10 * time.Second)}
	contains := func(by, from string, after time.Duration) {
		e := happened("ChangeStarted", "observed", by, "", map[string]any{"transition": "contain", "from": from, "to": "contained"})
		e["at"] = m.opens.Add(after)
		c.log("catalog", e)
	}
	c.expect(m.contained, "waits", "catalog is in mode normal")
	c.modes(map[string]string{"catalog": "contained", "search": "maintenance"})
	contains("olga", "maintenance", time.Second)
	c.expect(m.contained, "never", `catalog is contained by "contain" of "olga"`)
	contains("", "normal", time.Second)
	c.expect(m.contained, "never", "from normal")
	contains("", "maintenance", windowLasts)
	c.expect(m.contained, "never", "and not in the window")
	contains("", "maintenance", time.Second)
	c.expect(m.contained, "waits", "no page has arrived about catalog")
	c.page("catalog", "catalog")
	c.expect(m.contained, "ok", "44 s before the window ends")
	c.page("catalog", "another")
	c.expect(m.contained, "never", "2 pages came for one trouble")
}

func TestABudgetLeavesOutExactlyTheTimeInMaintenance(t *testing.T) {
	c := newClaims(t)
	m := &maintenance{product: c.product, planned: c.services[:1], before: map[*service]planBudget{c.services[0]: {Known: true, Remaining: 1}}}
	budget := func(remaining float64, excluded string, more map[string]any) {
		b := map[string]any{"slo": "availability", "known": true, "remaining": remaining, "excluded": excluded}
		for k, v := range more {
			b[k] = v
		}
		c.says["/api/v1/scopes/catalog/budget"] = map[string]any{"budgets": []any{b}}
	}
	told := func(mode string, at time.Duration) map[string]any {
		e := happened("DirectivePublished", "observed", "", "", map[string]any{"directive": map[string]any{"mode": mode}})
		e["at"] = time.Now().Add(at).UTC()
		return e
	}
	c.log("catalog", told("normal", -time.Minute), told("maintenance", -90*time.Second), told("contained", -2*time.Minute), told("maintenance", -130*time.Second))
	budget(1, "40s", nil)
	c.expect(m.unspent, "ok", "they leave 40 s out")
	budget(1, "42s", nil)
	c.expect(m.unspent, "never", "and its budget leaves 42s out")
	budget(1, "", nil)
	c.expect(m.unspent, "never", "and its budget leaves 0s out")
	budget(0.99, "40s", nil)
	c.expect(m.unspent, "never", "99.0000 % is left after the window")
	budget(1, "40s", map[string]any{"paused": map[string]any{"mode": "maintenance"}})
	c.expect(m.unspent, "never", "paused: true")
	c.log("catalog")
	budget(1, "", nil)
	c.expect(m.unspent, "never", "was in maintenance for 0s")
}

func TestALogThatIsNotWholeIsNoEnd(t *testing.T) {
	c := newClaims(t)
	c.verify = func(context.Context, string) (string, error) {
		return "", errors.New("the chain of catalog breaks at 7")
	}
	c.expect(c.whole, "never", "breaks at 7")
	c.verify = func(context.Context, string) (string, error) { return "it is whole", nil }
	c.expect(c.whole, "ok", "it is whole")
}

func TestAStoryThatIsNotThereSaysWhichAre(t *testing.T) {
	err := Run(t.Context(), Options{Story: "lying"})
	if !errors.Is(err, ErrNoStory) || !strings.Contains(err.Error(), strings.Join(Stories(), ", ")) {
		t.Errorf("got %v", err)
	}
}

func TestOnlyOnesOwnPrometheusCanBeMadeToLie(t *testing.T) {
	err := Run(t.Context(), Options{Story: "lying-prometheus", Prometheus: func([]prometheus.Job) (string, func(context.Context) error, error) {
		return "", nil, errors.New("it was started")
	}})
	if err == nil || !strings.Contains(err.Error(), "only the embedded Prometheus") {
		t.Errorf("got %v", err)
	}
}

// silent is a modeshift that answers nothing of use.
type silent struct{ *httptest.Server }

func (s silent) URL() string                { return s.Server.URL }
func (s silent) Stop(context.Context) error { s.CloseClientConnections(); s.Close(); return nil }

func TestEachStoryEndsWithItsContextAndLeavesNothing(t *testing.T) {
	for _, story := range Stories() {
		t.Run(story, func(t *testing.T) {
			temp := t.TempDir()
			t.Setenv("TMPDIR", temp)
			ctx, cancel := context.WithCancel(t.Context())
			err := Run(ctx, Options{Story: story, Once: true, Start: func(context.Context, string) (Modeshift, error) {
				cancel()
				return silent{httptest.NewServer(http.NotFoundHandler())}, nil
			}})
			var i *Incomplete
			if !errors.As(err, &i) || i.Missing[0] != stepTraffic {
				t.Errorf("got %v", err)
			}
			left, err := os.ReadDir(temp)
			if err != nil || len(left) > 0 {
				t.Errorf("left behind: %v, %v", left, err)
			}
		})
	}
}
