package receiver_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/modeshift/modeshift/engine/secret"
	"github.com/modeshift/modeshift/test/receiver"
)

var routingKey = strings.Repeat("k", 32)

func start(t *testing.T, opts receiver.Options) *receiver.Receiver {
	t.Helper()
	r, err := receiver.Start("127.0.0.1:0", opts)
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

// post sends a body and returns the answer's status and text.
func post(t *testing.T, url, contentType string, body []byte) (int, string) {
	t.Helper()
	resp, err := http.Post(url, contentType, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}

func event(action, key string) map[string]any {
	e := map[string]any{"routing_key": routingKey, "event_action": action, "dedup_key": key}
	if action == "trigger" {
		e["payload"] = map[string]any{"summary": "checkout burns", "source": "checkout", "severity": "critical", "timestamp": "2026-03-01T12:00:00Z"}
	}
	return e
}

func write(t *testing.T, v any) []byte {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestEventsOutsideThePublishedContractAreRefusedWithAFlatBody(t *testing.T) {
	r := start(t, receiver.Options{})
	payload := func(e map[string]any) map[string]any { return e["payload"].(map[string]any) }
	for _, c := range []struct {
		name   string
		change func(map[string]any)
		want   string // in the errors; empty: taken
	}{
		{"a whole event is taken", func(map[string]any) {}, ""},
		{"a trigger without a key is taken", func(e map[string]any) { delete(e, "dedup_key") }, ""},
		{"a summary of 1024 characters is taken", func(e map[string]any) { payload(e)["summary"] = strings.Repeat("ü", 1024) }, ""},
		{"a summary of 1025 characters is not", func(e map[string]any) { payload(e)["summary"] = strings.Repeat("ü", 1025) }, "payload.summary"},
		{"a summary is required", func(e map[string]any) { delete(payload(e), "summary") }, "payload.summary"},
		{"a blank summary is none", func(e map[string]any) { payload(e)["summary"] = " " }, "payload.summary"},
		{"a source is required", func(e map[string]any) { delete(payload(e), "source") }, "payload.source"},
		{"a severity is required", func(e map[string]any) { delete(payload(e), "severity") }, "payload.severity"},
		{"a severity is one of four", func(e map[string]any) { payload(e)["severity"] = "page" }, "payload.severity"},
		{"a time is ISO 8601", func(e map[string]any) { payload(e)["timestamp"] = "yesterday" }, "payload.timestamp"},
		{"a component is text", func(e map[string]any) { payload(e)["component"] = 1 }, "payload.component"},
		{"a payload is required", func(e map[string]any) { delete(e, "payload") }, "payload"},
		{"a key of 255 characters is taken", func(e map[string]any) { e["dedup_key"] = strings.Repeat("k", 255) }, ""},
		{"a key of 256 characters is not", func(e map[string]any) { e["dedup_key"] = strings.Repeat("k", 256) }, "dedup_key"},
		{"a routing key is required", func(e map[string]any) { delete(e, "routing_key") }, "routing_key"},
		{"a routing key has 32 characters", func(e map[string]any) { e["routing_key"] = strings.Repeat("k", 31) }, "routing_key"},
		{"an action is required", func(e map[string]any) { delete(e, "event_action") }, "event_action"},
		{"an action is one of three", func(e map[string]any) { e["event_action"] = "update" }, "event_action"},
		{"a resolve needs a key", func(e map[string]any) { e["event_action"] = "resolve"; delete(e, "dedup_key") }, "dedup_key"},
		{"a link leads somewhere", func(e map[string]any) { e["links"] = []any{map[string]any{"href": "runbook", "text": "x"}} }, "links[0].href"},
		{"an image comes by https", func(e map[string]any) { e["images"] = []any{map[string]any{"src": "http://x.example/a.png"}} }, "images[0].src"},
		{"a client URL is one", func(e map[string]any) { e["client_url"] = "modeshift" }, "client_url"},
	} {
		e := event("trigger", "modeshift/checkout-17")
		c.change(e)
		status, body := post(t, r.URL()+"/v2/enqueue", "application/json", write(t, e))
		if c.want == "" {
			if status != http.StatusAccepted || !strings.Contains(body, `"status":"success"`) {
				t.Errorf("%s: answered %d %s", c.name, status, body)
			}
			continue
		}
		var flat struct {
			Status string
			Errors []string
		}
		if err := json.Unmarshal([]byte(body), &flat); err != nil || status != http.StatusBadRequest || flat.Status != "invalid event" {
			t.Errorf("%s: answered %d %s", c.name, status, body)
		}
		if got := strings.Join(flat.Errors, "; "); !strings.Contains(got, c.want) {
			t.Errorf("%s: errors are %q, want one about %s", c.name, got, c.want)
		}
	}
	if status, _ := post(t, r.URL()+"/v2/enqueue", "text/plain", write(t, event("trigger", "k"))); status != http.StatusBadRequest {
		t.Errorf("an event that is not declared as JSON was answered %d", status)
	}
	if status, _ := post(t, r.URL()+"/v2/enqueue", "application/json", []byte("{")); status != http.StatusBadRequest {
		t.Errorf("half an event was answered %d", status)
	}
	if status, _ := post(t, r.URL()+"/v2/enqueue", "application/json", bytes.Repeat([]byte(" "), 512<<10+1)); status != http.StatusRequestEntityTooLarge {
		t.Errorf("an event of more than 512 KB was answered %d", status)
	}
}

func TestATriggerAfterItsResolveOpensANewAlertAndOneBeforeItDoesNot(t *testing.T) {
	var told []string
	r := start(t, receiver.Options{OnEvent: func(e receiver.Event) { told = append(told, e.Action+": "+e.Effect) }})
	for _, action := range []string{"resolve", "trigger", "trigger", "acknowledge", "resolve", "resolve", "trigger"} {
		if status, body := post(t, r.URL()+"/v2/enqueue", "application/json", write(t, event(action, "k"))); status != http.StatusAccepted {
			t.Fatalf("%s was answered %d %s", action, status, body)
		}
	}
	want := "resolve: nothing to close, trigger: opened, trigger: noted, acknowledge: noted, resolve: resolved, resolve: nothing to close, trigger: opened"
	if got := strings.Join(told, ", "); got != want {
		t.Errorf("events did\n%s\nwant\n%s", got, want)
	}
	alerts := r.Alerts()
	if len(alerts) != 2 || alerts[0].Resolved.IsZero() || len(alerts[0].Notes) != 2 || !alerts[1].Resolved.IsZero() {
		t.Errorf("alerts are %+v", alerts)
	}
}

func TestScriptedFaultsMeetOneRequestEachAndTheNextIsServed(t *testing.T) {
	r := start(t, receiver.Options{})
	url := r.URL() + "/v2/enqueue"
	r.Script(receiver.Pages,
		receiver.Fault{Kind: receiver.Status, Status: 429, RetryAfter: "7"},
		receiver.Fault{Kind: receiver.Garbage},
		receiver.Fault{Kind: receiver.Lost},
		receiver.Fault{Kind: receiver.Drop},
		receiver.Fault{Kind: receiver.Hang},
	)
	body := write(t, event("trigger", "k"))
	if status, _ := post(t, url, "application/json", body); status != 429 {
		t.Errorf("the first request was answered %d", status)
	}
	if status, text := post(t, url, "application/json", body); status != 202 || json.Valid([]byte(text)) {
		t.Errorf("the second request was answered %d %s", status, text)
	}
	if n := len(r.Events()); n != 0 {
		t.Errorf("%d events were taken before any request was served", n)
	}
	for i, taken := range []int{1, 1} {
		// Each on a connection of its own: a broken one that was in use before is tried again by net/http.
		req, err := http.NewRequest(http.MethodPost, url, bytes.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/json")
		if resp, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(req); err == nil {
			t.Errorf("request %d was answered %s", i+3, resp.Status)
		}
		if n := len(r.Events()); n != taken {
			t.Errorf("after request %d, %d events were taken, want %d", i+3, n, taken)
		}
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	gave := errors.New("gave up")
	go func() {
		if err := r.Wait(t.Context(), func(r *receiver.Receiver) bool { return len(r.Requests()) == 5 }); err != nil {
			t.Error(err)
		}
		cancel(gave)
	}()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if resp, err := http.DefaultClient.Do(req); err == nil {
		t.Errorf("the hanging request was answered %s", resp.Status)
	}
	if !errors.Is(context.Cause(ctx), gave) {
		t.Error("the hanging request ended by itself")
	}
	if status, _ := post(t, url, "application/json", body); status != 202 || len(r.Events()) != 2 {
		t.Errorf("after the faults, a request was answered %d and %d events were taken", status, len(r.Events()))
	}
}

func TestMoreThanTheRateOfPagesIsAnswered429WithRetryAfter(t *testing.T) {
	r := start(t, receiver.Options{PerMinute: 2})
	for i, want := range []int{202, 202, 429} {
		if status, _ := post(t, r.URL()+"/v2/enqueue", "application/json", write(t, event("trigger", fmt.Sprint(i)))); status != want {
			t.Errorf("event %d was answered %d, want %d", i, status, want)
		}
	}
}

func TestATicketIsTakenOnceUnderItsID(t *testing.T) {
	r := start(t, receiver.Options{Token: secret.New("t0ken")})
	send := func(token, id string, doc map[string]any) int {
		t.Helper()
		req, err := http.NewRequest(http.MethodPost, r.TicketURL(), bytes.NewReader(write(t, doc)))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set("Authorization", "Bearer "+token)
		req.Header.Set("Idempotency-Key", id)
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		if err := resp.Body.Close(); err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode
	}
	doc := map[string]any{"version": "1", "action": "open", "key": "modeshift/a-1", "id": "a/1", "severity": "ticket", "scope": "a",
		"summary": "s", "at": time.Now().Format(time.RFC3339)}
	if got := send("other", "a/1", doc); got != http.StatusUnauthorized {
		t.Errorf("a wrong token was answered %d", got)
	}
	if got := send("t0ken", "a/2", doc); got != http.StatusBadRequest {
		t.Errorf("a header that is not the id was answered %d", got)
	}
	if got := send("t0ken", "a/1", doc); got != http.StatusCreated {
		t.Errorf("a ticket was answered %d", got)
	}
	if got := send("t0ken", "a/1", doc); got != http.StatusOK || len(r.Events()) != 1 {
		t.Errorf("a repeated ticket was answered %d, %d events taken", got, len(r.Events()))
	}
	doc["summary"] = "other"
	if got := send("t0ken", "a/1", doc); got != http.StatusConflict {
		t.Errorf("another ticket under the same id was answered %d", got)
	}
}

func TestWaitEndsWithItsContext(t *testing.T) {
	r := receiver.New(receiver.Options{})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := r.Wait(ctx, func(*receiver.Receiver) bool { return false }); !errors.Is(err, context.Canceled) {
		t.Errorf("Wait = %v", err)
	}
}
