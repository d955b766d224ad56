package shop

import (
	"context"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

type gateways struct {
	primary, backup *Gateway
	router          *Router
}

func startGateways(t *testing.T) gateways {
	t.Helper()
	var g gateways
	var err error
	if g.primary, err = StartGateway(Primary, ""); err != nil {
		t.Fatal(err)
	}
	if g.backup, err = StartGateway(Backup, ""); err != nil {
		t.Fatal(err)
	}
	if g.router, err = StartRouter("", g.primary.URL(), g.backup.URL()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx := context.Background()
		for range 2 { // the second does nothing
			if err := errors.Join(g.router.Stop(ctx), g.primary.Stop(ctx), g.backup.Stop(ctx)); err != nil {
				t.Error(err)
			}
		}
	})
	return g
}

// send posts a document under a key.
func send(t *testing.T, url, key, body string) (code int, answer string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if key != "" {
		req.Header.Set("Idempotency-Key", key)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(res.Body)
	if err := errors.Join(err, res.Body.Close()); err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(text)
}

func TestPaymentsGoWhereTheRouterPoints(t *testing.T) {
	b, g := startBackend(t), startGateways(t)
	s := startShop(t, Options{Backend: b.URL(), Router: g.router.URL(), Probe: time.Hour})
	pay := func(want int) {
		t.Helper()
		if code, _ := send(t, s.URL()+"/pay", "", ""); code != want {
			t.Errorf("a payment answers %d, want %d", code, want)
		}
	}
	pay(200)
	if code, _ := send(t, g.primary.URL()+"/kill", "", ""); code != 200 {
		t.Fatalf("kill answers %d", code)
	}
	pay(502)
	pay(502)
	if code, _ := send(t, g.router.URL()+"/repoint", "k1", `{"to": "backup", "because": "it is dead"}`); code != 200 {
		t.Fatalf("repoint answers %d", code)
	}
	pay(200)
	if code, _ := send(t, g.primary.URL()+"/revive", "", ""); code != 200 {
		t.Fatalf("revive answers %d", code)
	}
	pay(200)
	if code, _ := send(t, g.router.URL()+"/repoint", "k2", `{"to": "primary"}`); code != 200 {
		t.Fatalf("repoint answers %d", code)
	}
	pay(200)
	if p, b := g.primary.Charges(), g.backup.Charges(); p != 2 || b != 2 {
		t.Errorf("the primary took %d payments and the backup %d, want 2 each", p, b)
	}
	_, metrics := get(t, s.URL()+"/metrics")
	for _, want := range []string{
		`shop_payments_total{gateway="primary",result="paid"} 2`, `shop_payments_total{gateway="primary",result="failed"} 2`,
		`shop_payments_total{gateway="backup",result="paid"} 2`, `shop_payments_total{gateway="backup",result="failed"} 0`,
		`http_requests_total{code="200"} 0`, // payments are no pages
	} {
		if !strings.Contains(metrics, want+"\n") {
			t.Errorf("the metrics lack %s:\n%s", want, metrics)
		}
	}
}

func TestAShopWithoutARouterTakesNoPayments(t *testing.T) {
	s := startShop(t, Options{Backend: startBackend(t).URL(), Probe: time.Hour})
	if code, _ := send(t, s.URL()+"/pay", "", ""); code != 502 {
		t.Errorf("a payment answers %d", code)
	}
	if _, metrics := get(t, s.URL()+"/metrics"); !strings.Contains(metrics, `shop_payments_total{gateway="unknown",result="failed"} 1`) {
		t.Errorf("it is not counted:\n%s", metrics)
	}
}

func TestWhatComesAgainUnderAKeyIsAnsweredAndNotDoneAgain(t *testing.T) {
	g := startGateways(t)
	repoint := g.router.URL() + "/repoint"
	if code, _ := send(t, repoint, "a", `{"to": "backup"}`); code != 200 {
		t.Fatalf("it answers %d", code)
	}
	if code, _ := send(t, repoint, "b", `{"to": "primary"}`); code != 200 {
		t.Fatalf("it answers %d", code)
	}
	if code, _ := send(t, repoint, "a", `{"to": "backup"}`); code != 200 {
		t.Errorf("a repetition answers %d", code)
	}
	r := g.router.Record()
	if r.Route != Primary {
		t.Error("a repetition was done again: payments go to the backup")
	}
	if code, _ := send(t, repoint, "a", `{"to": "primary"}`); code != 422 {
		t.Errorf("another thing under the same key answers %d", code)
	}
	if code, _ := send(t, g.router.URL()+"/warm", "a", `{"gateway": "backup"}`); code != 422 {
		t.Errorf("another thing under the same key answers %d", code)
	}
	if len(r.Calls) != 2 || r.Calls[0].Requests != 2 || r.Calls[1].Requests != 1 || r.Calls[0].Key != "a" || !r.Calls[0].OK {
		t.Errorf("the record says %+v", r.Calls)
	}
	if _, body := get(t, g.router.URL()+"/calls"); !strings.Contains(body, `"route":"primary"`) || !strings.Contains(body, `"key":"a","requests":2`) {
		t.Errorf("GET /calls says %s", body)
	}
}

func TestManyAtOnceUnderOneKeyAreDoneOnce(t *testing.T) {
	g := startGateways(t)
	codes := make([]int, 20)
	var all sync.WaitGroup
	for i := range codes {
		all.Go(func() { codes[i], _ = send(t, g.router.URL()+"/warm", "w", `{"gateway": "backup"}`) })
	}
	all.Wait()
	if slices.ContainsFunc(codes, func(c int) bool { return c != 200 }) {
		t.Errorf("they answer %v", codes)
	}
	if n := g.backup.Charges(); n != warmCharges {
		t.Errorf("%d payments of nothing, want %d", n, warmCharges)
	}
	if r := g.router.Record(); len(r.Calls) != 1 || r.Calls[0].Requests != len(codes) || r.Route != Primary {
		t.Errorf("the record says %+v", r)
	}
}

func TestADeadGatewayCannotBeWarmed(t *testing.T) {
	g := startGateways(t)
	g.backup.Kill()
	if code, _ := send(t, g.router.URL()+"/warm", "w", `{"gateway": "backup"}`); code != 503 {
		t.Errorf("it answers %d", code)
	}
	if r := g.router.Record(); r.Calls[0].OK {
		t.Errorf("the record says %+v", r)
	}
}

func TestTheRouterRefusesWhatItDoesNotUnderstand(t *testing.T) {
	g := startGateways(t)
	for _, c := range []struct{ path, key, body string }{
		{"/repoint", "", `{"to": "backup"}`},
		{"/repoint", "k", `{"to": "elsewhere"}`},
		{"/repoint", "k", `{}`},
		{"/repoint", "k", `backup`},
		{"/warm", "k", `{"to": "backup"}`},
	} {
		if code, _ := send(t, g.router.URL()+c.path, c.key, c.body); code != 400 {
			t.Errorf("%s %s under %q answers %d", c.path, c.body, c.key, code)
		}
	}
	if r := g.router.Record(); len(r.Calls) != 0 || r.Route != Primary {
		t.Errorf("the record says %+v", r)
	}
}

func TestTheLoadCountsPaymentsForThemselves(t *testing.T) {
	b, g := startBackend(t), startGateways(t)
	s := startShop(t, Options{Backend: b.URL(), Router: g.router.URL(), Probe: time.Hour})
	l := NewLoad(s.URL())
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); l.Pay(ctx, 200) }()
	eventually(t, "payments are made", func() bool { return l.Payments().Answers > 10 })
	if p := l.Payments(); p.Errors != 0 {
		t.Errorf("nothing is broken, and %d of %d failed", p.Errors, p.Answers)
	}
	g.primary.Kill()
	eventually(t, "payments fail", func() bool { return l.Payments().Errors > 5 })
	cancel()
	<-done
	if v := l.Visits(); v.Answers != 0 {
		t.Errorf("payments counted as %d pages", v.Answers)
	}
}
