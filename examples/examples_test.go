// Package examples_test runs the complete configurations of this folder: the real program on a real Prometheus server with
// hours of samples behind it, and a pager at the other end.
package examples_test

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/common/model"

	"github.com/modeshift/modeshift/engine/server"
	"github.com/modeshift/modeshift/test/promtest"
	"github.com/modeshift/modeshift/test/receiver"
)

// run starts an example as its configuration file has it, but for what is different on every machine: the addresses of
// Prometheus and of the receivers, the key, the port, the data folder; and it looks every second. It returns a function that
// reads the API.
func run(t *testing.T, name, prometheus string, pager *receiver.Receiver) func(path string, into any) {
	t.Helper()
	cfg, err := server.LoadConfig(filepath.Join(name, "modeshift.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	key := filepath.Join(t.TempDir(), "pagerduty-key")
	if err := os.WriteFile(key, []byte("0123456789abcdef0123456789abcdef\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg.Listen, cfg.Data = "127.0.0.1:0", t.TempDir()
	cfg.Prometheus[0].URL = prometheus
	cfg.Receivers.Page.PagerDuty.RoutingKeyFile, cfg.Receivers.Page.PagerDuty.URL = key, pager.URL()
	cfg.Receivers.Ticket.Webhook.URL = pager.TicketURL()
	cfg.Evaluation.Interval = model.Duration(time.Second)

	log := slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelWarn}))
	s, err := server.New(t.Context(), server.Options{Config: cfg, Logger: log, Version: "test"})
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- s.Run(context.Background()) }()
	t.Cleanup(func() {
		if err := errors.Join(s.Stop(), <-ended); err != nil {
			t.Error(err)
		}
	})
	token, err := os.ReadFile(filepath.Join(cfg.Data, server.AdminTokenFile))
	if err != nil {
		t.Fatal(err)
	}
	return func(path string, into any) {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.URL()+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+strings.TrimSpace(string(token)))
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		err = json.NewDecoder(res.Body).Decode(into)
		if err := errors.Join(err, res.Body.Close()); err != nil || res.StatusCode != http.StatusOK {
			t.Fatalf("GET %s: %s, %v", path, res.Status, err)
		}
	}
}

func startPager(t *testing.T) *receiver.Receiver {
	t.Helper()
	r, err := receiver.Start("127.0.0.1:0", receiver.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	})
	return r
}

// paged waits for the one page an example is to send.
func paged(t *testing.T, pager *receiver.Receiver) receiver.Alert {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	pages := func(r *receiver.Receiver) (pages []receiver.Alert) {
		for _, a := range r.Alerts() {
			if a.Target == receiver.Pages {
				pages = append(pages, a)
			}
		}
		return pages
	}
	if err := pager.Wait(ctx, func(r *receiver.Receiver) bool { return len(pages(r)) > 0 }); err != nil {
		t.Fatalf("no page came: %v", err)
	}
	all := pages(pager)
	if len(all) != 1 {
		t.Fatalf("want one page, got %+v", all)
	}
	return all[0]
}

func TestCheckoutDegradesAndPagesWhenItsBudgetBurns(t *testing.T) {
	now := time.Now()
	from := now.Add(-2 * time.Hour)
	p := promtest.Start(t, promtest.Options{})
	p.Push(
		promtest.Counter(`http_requests_total{job="checkout",code="200"}`, from, now, 15*time.Second, 0, 960),
		promtest.Counter(`http_requests_total{job="checkout",code="503"}`, from, now, 15*time.Second, 0, 40), // 4 %: a burn rate of 40
	)
	pager := startPager(t)
	get := run(t, "checkout", p.URL, pager)
	page := paged(t, pager)
	if page.Source != "checkout" || page.Severity != "critical" {
		t.Errorf("the page says %+v", page)
	}
	var scope struct {
		Mode      string         `json:"mode"`
		Directive map[string]any `json:"directive"`
	}
	get("/api/v1/scopes/checkout", &scope)
	if flags, _ := scope.Directive["flags"].(map[string]any); scope.Mode != "degraded" || flags["payment_gateway"] != "backup" || flags["writes"] != true {
		t.Errorf("the API says %+v", scope)
	}
}

func TestASlothFilePagesAsItIs(t *testing.T) {
	now := time.Now()
	from := now.Add(-2 * time.Hour)
	p := promtest.Start(t, promtest.Options{})
	p.Push(
		promtest.Counter(`http_request_duration_seconds_count{job="search",code="200"}`, from, now, 15*time.Second, 0, 960),
		promtest.Counter(`http_request_duration_seconds_count{job="search",code="429"}`, from, now, 15*time.Second, 0, 40),
	)
	pager := startPager(t)
	get := run(t, "sloth", p.URL, pager)
	page := paged(t, pager)
	if page.Source != "search" || !strings.Contains(page.Summary, "requests-availability") {
		t.Errorf("the page says %+v", page)
	}
	var scope struct {
		Mode      string `json:"mode"`
		Incidents []struct {
			Subject string `json:"subject"`
		} `json:"incidents"`
	}
	get("/api/v1/scopes/search", &scope)
	if scope.Mode != "" || len(scope.Incidents) == 0 || scope.Incidents[0].Subject != "slo/requests-availability/page" {
		t.Errorf("a Sloth file has SLOs and no modes; the API says %+v", scope)
	}
}
