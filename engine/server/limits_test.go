package server

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/common/model"

	"github.com/modeshift/modeshift/engine"
	"github.com/modeshift/modeshift/engine/secret"
)

func TestLimitsAreWhatTheFileSaysAndTheDefaultWhereItSaysNothing(t *testing.T) {
	for _, c := range []struct {
		text, want string // want is a part of the error; empty: there is none
	}{
		{"{}", ""},
		{"{reads: 0, writes: 0, urgent: 0, instances: 0, anonymous: 0, streams: 0}", ""},
		{"{at_once: 100, header_time: 100ms, read_time: 100ms, answer_time: 100ms, idle_time: 100ms, slow_reader: 100ms}", ""},
		{"{reads: -1}", "limits.reads: -1 requests a second; 0 is no limit"},
		{"{urgent: .nan}", "limits.urgent: NaN requests a second"},
		{"{writes: 2e6}", "limits.writes: 2e+06 requests a second"},
		{"{streams: -1}", "limits.streams: -1; 0 is no limit"},
		{"{at_once: 0}", "limits.at_once: 0 requests are not from 1 to 100"},
		{"{at_once: 101}", "limits.at_once: 101 requests are not from 1 to 100"},
		{"{header_time: 99ms}", "limits.header_time: 99ms is too short"},
		{"{idle_time: 0s}", "limits.idle_time: 0s is too short, or none"},
		{"{read_tim: 1s}", "modeshift.yaml:3: unknown key read_tim; known here: reads, writes, urgent, instances, anonymous, streams, at_once, header_time, read_time, answer_time, idle_time, slow_reader"},
	} {
		path := filepath.Join(t.TempDir(), "modeshift.yaml")
		put(t, path, "rules: [rules/]\nprometheus: [{name: main, url: http://127.0.0.1:1}]\nlimits: "+c.text+"\n")
		cfg, err := LoadConfig(path)
		if err == nil {
			err = cfg.Validate()
		}
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.text, err, c.want)
		}
		if c.text == "{}" && cfg.Limits != defaultLimits() {
			t.Errorf("nothing is said, and there is %+v", cfg.Limits)
		}
	}
	path := filepath.Join(t.TempDir(), "modeshift.yaml")
	put(t, path, "limits: {writes: 5, idle_time: 1m}\n")
	want := defaultLimits()
	want.Writes, want.IdleTime = 5, model.Duration(time.Minute)
	if cfg, err := LoadConfig(path); err != nil || cfg.Limits != want {
		t.Errorf("some are said, and there is %+v, %v", cfg.Limits, err)
	}
}

// limitedShop is a server with limits, and its admin token.
func limitedShop(t *testing.T, change func(*Config)) (*Server, string) {
	t.Helper()
	dir := t.TempDir()
	put(t, filepath.Join(dir, "shop.yaml"), service("shop", "degraded"))
	s := runningWith(t, slog.New(slog.DiscardHandler), func(cfg *Config) {
		cfg.Rules = []string{dir}
		change(cfg)
	})
	token, err := secret.Read(filepath.Join(s.opts.Config.Data, AdminTokenFile))
	if err != nil {
		t.Fatal(err)
	}
	return s, token.Reveal()
}

func TestAClientThatFloodsIsHeldBackAndCounted(t *testing.T) {
	s, admin := limitedShop(t, func(cfg *Config) {
		cfg.Limits.Reads, cfg.Limits.Writes, cfg.Limits.Anonymous = 0.001, 0.001, 0.001 // five each, and then none for this test
	})
	freeze := func() answered {
		return ask(t, http.DefaultClient, http.MethodPost, s.URL()+"/api/v1/scopes/shop/freeze", admin, `{"reason":"drill"}`)
	}
	flood := func(what string, want int, request func() answered) {
		t.Helper()
		for n := range 8 {
			if got := request().status; (got == http.StatusTooManyRequests) != (n >= 5) || n < 5 && got != want {
				t.Errorf("%s: request %d is answered %d", what, n+1, got)
			}
		}
	}
	flood("writing", http.StatusOK, freeze)
	flood("reading", http.StatusOK, func() answered { return get(t, http.DefaultClient, s.URL()+"/api/v1/scopes", admin) })
	flood("a stranger", http.StatusUnauthorized, func() answered { return get(t, http.DefaultClient, s.URL()+"/api/v1/scopes", "eve") })
	if got := get(t, http.DefaultClient, s.URL()+"/approvals", ""); got.status != http.StatusTooManyRequests || !strings.Contains(got.text, "Too many requests came from you, or from where you are. Nothing was recorded: wait ") {
		t.Errorf("the stranger's browser is answered %d %s", got.status, got.text)
	}
	if got := ask(t, http.DefaultClient, http.MethodPost, s.URL()+"/-/reload", admin, ""); got.status != http.StatusTooManyRequests {
		t.Errorf("a reload, which is a write, is answered %d", got.status)
	}
	// What is urgent is counted apart: the answers are the core's.
	if got := ask(t, http.DefaultClient, http.MethodPost, s.URL()+"/api/v1/scopes/shop/set", admin, `{"mode":"degraded","reason":"fire","force":true}`); got.status == http.StatusTooManyRequests {
		t.Errorf("break-glass is answered %d %s", got.status, got.text)
	}
	if got := get(t, http.DefaultClient, s.URL()+"/api/v1/approvals", admin); got.status != http.StatusOK {
		t.Errorf("who looks for proposals is answered %d %s", got.status, got.text)
	}
	for _, path := range []string{"/-/healthy", "/metrics"} { // a probe that is turned away restarts the server
		for range 50 {
			if got := get(t, http.DefaultClient, s.URL()+path, ""); got.status != http.StatusOK {
				t.Fatalf("%s is answered %d", path, got.status)
			}
		}
	}
	metrics := get(t, http.DefaultClient, s.URL()+"/metrics", "").text
	for _, want := range []string{`{reason="anonymous"} 4`, `{reason="read"} 3`, `{reason="write"} 4`, `{reason="urgent"} 0`, `{reason="overload"} 0`} {
		if !strings.Contains(metrics, "modeshift_http_limited_total"+want+"\n") {
			t.Errorf("the metrics do not say %s", want)
		}
	}
}

// brisk are times in which a test can see slow clients be dropped.
func brisk(cfg *Config) {
	short := model.Duration(400 * time.Millisecond)
	cfg.Limits.HeaderTime, cfg.Limits.ReadTime, cfg.Limits.IdleTime, cfg.Limits.SlowReader = short, short, short, short
	cfg.Limits.AnswerTime = 2 * short // time to say what was wrong
	cfg.Instances.Heartbeat = model.Duration(100 * time.Millisecond)
}

func TestASlowClientIsDropped(t *testing.T) {
	s, admin := limitedShop(t, brisk)
	for name, c := range map[string]struct {
		first, then string // then comes again and again, a little at a time
		answer      string // how what comes back begins; empty: nothing does
	}{
		"it says nothing":             {"", "", ""},
		"its header trickles":         {"GET / HTTP/1.1\r\nHost: x\r\n", "X: y\r\n", ""},
		"its body trickles":           {"POST /api/v1/scopes/shop/freeze HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 1000\r\nAuthorization: Bearer " + admin + "\r\n\r\n{", " ", "HTTP/1.1 408 "},
		"an instance's body trickles": {"POST /api/v1/instances/exchange?scope=shop HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\nAuthorization: Bearer " + admin + "\r\n\r\n{", " ", "HTTP/1.1 400 "},
		"a stream without a hello":    {"POST /api/v1/instances/stream?scope=shop HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\nAuthorization: Bearer " + admin + "\r\n\r\n", "", ""}, // after 10 s, too late for an answer here
		"it keeps what it has used":   {"GET /-/healthy HTTP/1.1\r\nHost: x\r\n\r\n", "", "HTTP/1.1 200 "},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			conn, err := net.Dial("tcp", s.Addr())
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = conn.Close() }() // the server has closed its side
			if _, err := io.WriteString(conn, c.first); err != nil {
				t.Fatal(err)
			}
			ended := make(chan struct{})
			defer func() { <-ended }()
			stop := make(chan struct{})
			defer close(stop)
			go func() {
				defer close(ended)
				every := time.NewTicker(50 * time.Millisecond)
				defer every.Stop()
				for c.then != "" {
					select {
					case <-every.C:
						_, _ = io.WriteString(conn, c.then) // it is closed at some time
					case <-stop:
						return
					}
				}
			}()
			if err := conn.SetReadDeadline(time.Now().Add(15 * time.Second)); err != nil {
				t.Fatal(err)
			}
			said, err := io.ReadAll(conn)
			var timeout net.Error
			if errors.As(err, &timeout) && timeout.Timeout() {
				t.Fatalf("after 15 s it is still connected; it was told %q", said)
			}
			if !strings.HasPrefix(string(said), c.answer) || c.answer == "" && len(said) > 0 && !strings.HasPrefix(string(said), "HTTP/1.1 4") {
				t.Errorf("it is told %q", said)
			}
		})
	}
}

func TestAHeaderThatIsTooLongIsRefused(t *testing.T) {
	s, _ := limitedShop(t, func(*Config) {})
	for _, c := range []struct{ size, want int }{{maxHeader - 1000, http.StatusOK}, {maxHeader + 8<<10, http.StatusRequestHeaderFieldsTooLarge}} { // net/http leaves itself some room
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.URL()+"/-/healthy", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("X-Long", strings.Repeat("x", c.size))
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		if err := resp.Body.Close(); err != nil {
			t.Error(err)
		}
		if resp.StatusCode != c.want {
			t.Errorf("a header of %d bytes is answered %d", c.size, resp.StatusCode)
		}
	}
}

// An instance to which nothing happens is no slow client: it and the server let each other hear that they are there.
func TestAnIdleButHealthyInstanceAndAReaderOfEventsOutliveAllTimes(t *testing.T) {
	s, admin := limitedShop(t, brisk)
	body, lines := io.Pipe()
	defer func() { _ = lines.Close() }()
	go func() {
		_, err := io.WriteString(lines, `{"hello":{"instance":"shop-1","session":"s"}}`+"\n")
		for every := time.NewTicker(50 * time.Millisecond); err == nil; <-every.C {
			_, err = io.WriteString(lines, "{}\n")
		}
	}()
	open := func(method, path string, body io.Reader) *bufio.Scanner {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), method, s.URL()+path, body)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+admin)
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = resp.Body.Close() }) // it has no end of its own
		if resp.StatusCode != http.StatusOK {
			t.Fatalf("%s is answered %d", path, resp.StatusCode)
		}
		return bufio.NewScanner(resp.Body)
	}
	instance, events := open(http.MethodPost, "/api/v1/instances/stream?scope=shop", body), open(http.MethodGet, "/api/v1/events", nil)
	beats := 0
	for began := time.Now(); time.Since(began) < 3*time.Duration(s.opts.Config.Limits.AnswerTime); {
		if !instance.Scan() {
			t.Fatalf("the instance is dropped after %v: %v", time.Since(began), instance.Err())
		}
		if instance.Text() == "event: beat" {
			beats++
		}
	}
	if beats < 5 {
		t.Errorf("%d beats in so long", beats)
	}
	if _, err := s.loop.Submit(t.Context(), "shop", engine.Actor{Principal: "ann"}, &engine.SetRequested{Mode: "degraded", Reason: "drill", DirectiveOnly: true}); err != nil {
		t.Fatal(err)
	}
	for what, lines := range map[string]*bufio.Scanner{`"mode":"degraded"`: instance, `"DirectivePublished"`: events} {
		found := false
		for !found && lines.Scan() {
			found = strings.Contains(lines.Text(), what)
		}
		if !found {
			t.Errorf("the stream ended before %s came: %v", what, fmt.Sprint(lines.Err()))
		}
	}
}
