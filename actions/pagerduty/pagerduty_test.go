package pagerduty_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/modeshift/modeshift/actions"
	"github.com/modeshift/modeshift/actions/pagerduty"
	"github.com/modeshift/modeshift/engine"
	"github.com/modeshift/modeshift/engine/secret"
	"github.com/modeshift/modeshift/test/receiver"
)

const routingKey = "c4naryc4naryc4naryc4naryc4nary00"

var at = time.Date(2026, 3, 1, 12, 0, 0, 123456789, time.UTC)

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

func notifier(t *testing.T, opts pagerduty.Options) *pagerduty.Notifier {
	t.Helper()
	if opts.RoutingKey.IsZero() && opts.RoutingKeyFile == "" {
		opts.RoutingKey = secret.New(routingKey)
	}
	n, err := pagerduty.New(opts)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func job(action engine.NoticeAction) engine.Job {
	ev := engine.Event{
		Stream: "checkout", Version: 17, At: at, Rules: "abc123", Reason: engine.Reason{Code: engine.CodeBurning, Text: "14.4 < burn rate"},
		Evidence: []engine.Reading{
			{Signal: `burn_rate("availability", "5m")`, Value: 20.5, Sample: at, Query: "sum(rate(x[5m]))", Source: "main"},
			{Signal: `sli("p99")`, Why: "stale"},
		},
		Fact: engine.IncidentOpened{Incident: engine.Incident{ID: "checkout-17", Kind: engine.IncidentSLO, Subject: "slo/availability/page"}},
	}
	return engine.Job{Effect: engine.Effect{ID: "checkout/17", Key: "checkout-17", Notice: &engine.Notice{
		Action: action, Incident: "checkout-17", Severity: engine.SeverityPage, Summary: "checkout: availability burns", Event: ev,
		Details: engine.Details{Scope: "checkout", Mode: "normal", Owner: "team-payments", Runbook: "https://runbooks.example/checkout",
			Transition: "shed", Labels: map[string]string{"tier": "1"}, Notes: map[string]string{"title": "High error rate"}},
	}}}
}

func TestAPageCarriesWhatAPersonAsksFirst(t *testing.T) {
	r := start(t, receiver.Options{RoutingKeys: []secret.Secret{secret.New(routingKey)}})
	n := notifier(t, pagerduty.Options{Endpoint: r.URL() + "/", ExternalURL: "https://modeshift.example", Log: "1f00",
		ApprovalsURL: "https://modeshift.example/approvals",
		StatusURL:    func(s engine.Scope) string { return "https://modeshift.example/scopes/" + string(s) },
		Checkpoint:   func(engine.Event) string { return "fleet/9 feed" }})
	if err := n.Notify(t.Context(), job(engine.NoticeTrigger)); err != nil {
		t.Fatal(err)
	}
	events := r.Events()
	if len(events) != 1 {
		t.Fatalf("%d events were taken", len(events))
	}
	var got, want any
	if err := json.Unmarshal(events[0].Body, &got); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal([]byte(`{
		"routing_key": "`+routingKey+`", "event_action": "trigger", "dedup_key": "modeshift/1f00/checkout-17",
		"client": "modeshift", "client_url": "https://modeshift.example",
		"links": [{"href": "https://runbooks.example/checkout", "text": "Runbook"},
		          {"href": "https://modeshift.example/approvals", "text": "What waits for a yes"},
		          {"href": "https://modeshift.example/scopes/checkout", "text": "Status of checkout"}],
		"payload": {"summary": "checkout: availability burns", "source": "checkout", "severity": "critical",
			"timestamp": "2026-03-01T12:00:00.123456789Z", "component": "slo/availability/page", "group": "team-payments", "class": "slo",
			"custom_details": {"mode": "normal", "transition": "shed", "owner": "team-payments", "runbook": "https://runbooks.example/checkout", "answer_at": "https://modeshift.example/approvals",
				"reason": "14.4 < burn rate", "reason_code": "burning", "labels": {"tier": "1"}, "annotations": {"title": "High error rate"},
				"evidence": [{"signal": "burn_rate(\"availability\", \"5m\")", "value": 20.5, "sample": "2026-03-01T12:00:00.123456789Z", "query": "sum(rate(x[5m]))", "source": "main"},
				             {"signal": "sli(\"p99\")", "unknown": "stale"}],
				"rules": "abc123", "event": "checkout/17", "checkpoint": "fleet/9 feed"}}}`), &want); err != nil {
		t.Fatal(err)
	}
	g, _ := json.MarshalIndent(got, "", " ")  // decoded from JSON a moment ago:
	w, _ := json.MarshalIndent(want, "", " ") // both can be written again
	if !bytes.Equal(g, w) {
		t.Errorf("the event is\n%s\nwant\n%s", g, w)
	}
}

func TestAPageLeadsToTheProposalThatItTellsOf(t *testing.T) {
	r := start(t, receiver.Options{})
	n := notifier(t, pagerduty.Options{Endpoint: r.URL(), ExternalURL: "https://modeshift.example", ApprovalsURL: "https://modeshift.example/approvals"})
	note, ticket := job(engine.NoticeUpdate), job(engine.NoticeTrigger)
	note.Notice.Details = engine.Details{Scope: "checkout", Proposal: "checkout-18"}
	ticket.Notice.Severity, ticket.Notice.Incident = engine.SeverityTicket, "checkout-19"
	for _, j := range []engine.Job{job(engine.NoticeTrigger), note, ticket} {
		if err := n.Notify(t.Context(), j); err != nil {
			t.Fatal(err)
		}
	}
	const list = "https://modeshift.example/approvals"
	alerts := r.Alerts()
	if len(alerts) != 2 || !slices.Contains(alerts[0].Links, list) || !slices.Contains(alerts[0].Links, list+"/checkout-18") {
		t.Errorf("the page has the links %q", alerts[0].Links)
	}
	if slices.Contains(alerts[1].Links, list) {
		t.Errorf("a ticket that nothing waits behind has the links %q", alerts[1].Links)
	}
}

func TestTriggerUpdateAndResolveOfOneIncidentAreOneAlert(t *testing.T) {
	r := start(t, receiver.Options{})
	n := notifier(t, pagerduty.Options{Endpoint: r.URL()})
	for _, a := range []engine.NoticeAction{engine.NoticeTrigger, engine.NoticeUpdate, engine.NoticeResolve} {
		if err := n.Notify(t.Context(), job(a)); err != nil {
			t.Fatalf("%s: %v", a, err)
		}
	}
	alerts := r.Alerts()
	if len(alerts) != 1 || len(alerts[0].Notes) != 1 || alerts[0].Resolved.IsZero() {
		t.Errorf("alerts are %+v, want one with one note, resolved", alerts)
	}
}

func TestSeverityFollowsTheNoticeAndALabelNeverQuietensAPage(t *testing.T) {
	for _, c := range []struct {
		severity engine.Severity
		label    string
		want     string
	}{
		{engine.SeverityPage, "", "critical"},
		{engine.SeverityPage, "error", "error"},
		{engine.SeverityPage, "warning", "critical"},
		{engine.SeverityPage, "info", "critical"},
		{engine.SeverityTicket, "", "warning"},
		{engine.SeverityTicket, "critical", "warning"},
		{engine.SeverityTicket, "info", "info"},
		{engine.SeverityInfo, "critical", "info"},
	} {
		r := start(t, receiver.Options{})
		j := job(engine.NoticeTrigger)
		j.Notice.Severity, j.Notice.Details.Labels = c.severity, map[string]string{"severity": c.label}
		if err := notifier(t, pagerduty.Options{Endpoint: r.URL()}).Notify(t.Context(), j); err != nil {
			t.Fatal(err)
		}
		if got := r.Events()[0].Severity; got != c.want {
			t.Errorf("%s labelled %q is %q, want %q", c.severity, c.label, got, c.want)
		}
	}
}

func TestTextOfAnyKindAndLengthMakesAnEventThatIsTaken(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*engine.Notice)
		has    string
		hasNot string
	}{
		{"a summary of 5,000 runes", func(n *engine.Notice) { n.Summary = strings.Repeat("ü", 5000) }, "…", ""},
		{"an empty summary", func(n *engine.Notice) { n.Summary = " \n" }, "checkout-17", ""},
		{"text that is no UTF-8", func(n *engine.Notice) { n.Summary, n.Event.Reason.Text = "a\xff\x00b", "\xff" }, "", ""},
		{"a value that is no number", func(n *engine.Notice) { n.Event.Evidence[0].Value = math.NaN() }, "NaN", ""},
		{"a runbook that is no URL", func(n *engine.Notice) { n.Details.Runbook = "see wiki" }, "see wiki", `"links"`},
		{"no scope at all", func(n *engine.Notice) { n.Details.Scope, n.Event.Stream = "", "" }, "", ""},
		{"a scope of 2,000 bytes", func(n *engine.Notice) {
			n.Details.Scope = engine.Scope(strings.Repeat("s", 2000))
			n.Incident = engine.IncidentID(string(n.Details.Scope) + "-17")
		}, "~", ""},
		{"600 KB of evidence", func(n *engine.Notice) {
			for i := range 6000 {
				n.Event.Evidence = append(n.Event.Evidence, engine.Reading{Signal: fmt.Sprint("s", i), Query: strings.Repeat("q", 100)})
			}
		}, "readings; event checkout/17 has them", ""},
		{"600 KB of annotations", func(n *engine.Notice) { n.Details.Notes = map[string]string{"a": strings.Repeat("<", 600<<10)} }, "annotations", `"evidence"`},
		{"600 KB of owner", func(n *engine.Notice) { n.Details.Owner = strings.Repeat("o", 600<<10) }, "all details", `"evidence"`},
		{"a runbook of 600 KB", func(n *engine.Notice) { n.Details.Runbook = "https://x.example/" + strings.Repeat("o", 600<<10) }, "all details", `"evidence"`},
	} {
		r := start(t, receiver.Options{})
		j := job(engine.NoticeTrigger)
		c.change(j.Notice)
		if err := notifier(t, pagerduty.Options{Endpoint: r.URL()}).Notify(t.Context(), j); err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		body := string(r.Events()[0].Body)
		if len(body) > 512_000 {
			t.Errorf("%s: the event has %d bytes", c.name, len(body))
		}
		if !strings.Contains(body, c.has) || (c.hasNot != "" && strings.Contains(body, c.hasNot)) {
			t.Errorf("%s: the event is %.2000s, want %q in it and not %q", c.name, body, c.has, c.hasNot)
		}
	}
}

func TestWhatPagerDutyAnswersDecidesWhetherToTryAgain(t *testing.T) {
	for _, c := range []struct {
		name  string
		fault receiver.Fault
		taken bool
		final bool
		after time.Duration
		says  string
	}{
		{name: "success is taken", taken: true},
		{name: "400 is final and keeps the API's words", fault: receiver.Fault{Kind: receiver.Status, Status: 400,
			Body: `{"status":"invalid event","message":"Event object is invalid","errors":["'payload.summary' is missing or blank"]}`},
			final: true, says: "400: invalid event: Event object is invalid: 'payload.summary' is missing or blank"},
		{name: "401 is final", fault: receiver.Fault{Kind: receiver.Status, Status: 401}, final: true, says: "401"},
		{name: "403 is final", fault: receiver.Fault{Kind: receiver.Status, Status: 403}, final: true, says: "403"},
		{name: "404 is final", fault: receiver.Fault{Kind: receiver.Status, Status: 404, Body: "no such path"}, final: true, says: "no such path"},
		{name: "413 is final", fault: receiver.Fault{Kind: receiver.Status, Status: 413}, final: true, says: "413"},
		{name: "408 is not", fault: receiver.Fault{Kind: receiver.Status, Status: 408}, says: "408"},
		{name: "429 waits as long as it says", fault: receiver.Fault{Kind: receiver.Status, Status: 429, RetryAfter: "42"}, after: 42 * time.Second, says: "429"},
		{name: "500 is tried again", fault: receiver.Fault{Kind: receiver.Status, Status: 500}, says: "500"},
		{name: "503 waits as long as it says", fault: receiver.Fault{Kind: receiver.Status, Status: 503, RetryAfter: "5"}, after: 5 * time.Second, says: "503"},
		{name: "a redirect is tried again and not followed", fault: receiver.Fault{Kind: receiver.Status, Status: 302}, says: "302"},
		{name: "200 that is no JSON is tried again", fault: receiver.Fault{Kind: receiver.Status, Status: 200, Body: "<html>log in</html>"}, says: "log in"},
		{name: "202 that is no JSON is tried again", fault: receiver.Fault{Kind: receiver.Garbage}, says: "welcome"},
		{name: "202 that says something else is tried again", fault: receiver.Fault{Kind: receiver.Garbage, Body: `{"status":"queued?"}`}, says: "queued?"},
		{name: "202 with JSON null is tried again", fault: receiver.Fault{Kind: receiver.Garbage, Body: `null`}, says: "null"},
		{name: "a connection that breaks is tried again", fault: receiver.Fault{Kind: receiver.Drop}, says: "EOF"},
		{name: "a lost answer is tried again", fault: receiver.Fault{Kind: receiver.Lost}, says: "EOF"},
	} {
		r := start(t, receiver.Options{})
		r.Script(receiver.Pages, c.fault)
		err := notifier(t, pagerduty.Options{Endpoint: r.URL()}).Notify(t.Context(), job(engine.NoticeTrigger))
		if c.taken {
			if err != nil {
				t.Errorf("%s: %v", c.name, err)
			}
			continue
		}
		var e *actions.Error
		if !errors.As(err, &e) {
			t.Errorf("%s: the error is %v", c.name, err)
			continue
		}
		if e.Final != c.final || e.After != c.after || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: final %v, after %v, %q; want %v, %v, %q in it", c.name, e.Final, e.After, err, c.final, c.after, c.says)
		}
		if len(r.Requests()) != 1 {
			t.Errorf("%s: %d requests were made", c.name, len(r.Requests()))
		}
	}
}

func TestRetryAfterAsADateIsHonoured(t *testing.T) {
	r := start(t, receiver.Options{})
	r.Script(receiver.Pages, receiver.Fault{Kind: receiver.Status, Status: 429, RetryAfter: time.Now().Add(time.Hour).UTC().Format(http.TimeFormat)})
	err := notifier(t, pagerduty.Options{Endpoint: r.URL()}).Notify(t.Context(), job(engine.NoticeTrigger))
	if got := actions.RetryAfter(err); got < 59*time.Minute || got > time.Hour {
		t.Errorf("the time to wait is %v, want about an hour", got)
	}
}

func TestARefusalCanBeReadByPrograms(t *testing.T) {
	r := start(t, receiver.Options{RoutingKeys: []secret.Secret{secret.New(strings.Repeat("o", 32))}})
	err := notifier(t, pagerduty.Options{Endpoint: r.URL()}).Notify(t.Context(), job(engine.NoticeTrigger))
	var refusal *pagerduty.Refusal
	if !errors.As(err, &refusal) || refusal.StatusCode != 400 || len(refusal.Errors) != 1 || refusal.Status != "invalid event" {
		t.Errorf("the error is %#v", err)
	}
}

func TestADeadlineAndARefusedConnectionKeepTheirCause(t *testing.T) {
	r := start(t, receiver.Options{})
	r.Script(receiver.Pages, receiver.Fault{Kind: receiver.Hang})
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	err := notifier(t, pagerduty.Options{Endpoint: r.URL()}).Notify(ctx, job(engine.NoticeTrigger))
	if !errors.Is(err, context.DeadlineExceeded) || actions.Final(err) {
		t.Errorf("a hanging API gives %v", err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	err = notifier(t, pagerduty.Options{Endpoint: "http://" + l.Addr().String()}).Notify(t.Context(), job(engine.NoticeTrigger))
	var op *net.OpError
	if !errors.As(err, &op) || actions.Final(err) {
		t.Errorf("nobody listening gives %v", err)
	}
}

func TestARetryRepeatsTheRequestByteForByte(t *testing.T) {
	r := start(t, receiver.Options{})
	n := notifier(t, pagerduty.Options{Endpoint: r.URL(), ExternalURL: "https://modeshift.example"})
	r.Script(receiver.Pages, receiver.Fault{Kind: receiver.Status, Status: 500})
	if err := n.Notify(t.Context(), job(engine.NoticeTrigger)); err == nil {
		t.Fatal("a 500 was taken for a success")
	}
	if err := n.Notify(t.Context(), job(engine.NoticeTrigger)); err != nil {
		t.Fatal(err)
	}
	q := r.Requests()
	if len(q) != 2 || len(q[0].Body) == 0 || !bytes.Equal(q[0].Body, q[1].Body) {
		t.Errorf("requests are\n%s\nand\n%s", q[0].Body, q[1].Body)
	}
}

func TestTheRoutingKeyShowsNowhere(t *testing.T) {
	r := start(t, receiver.Options{})
	n := notifier(t, pagerduty.Options{Endpoint: r.URL()})
	var shown []string
	for _, body := range []string{
		`{"status":"invalid event","message":"no key ` + routingKey + `","errors":["` + routingKey + `"]}`,
		"<html>" + routingKey + "</html>",
		strings.Repeat("x", 1<<10-10) + routingKey, // cut in its middle
	} {
		for _, status := range []int{202, 400, 500} {
			r.Script(receiver.Pages, receiver.Fault{Kind: receiver.Status, Status: status, Body: body})
			err := n.Notify(t.Context(), job(engine.NoticeTrigger))
			if err == nil {
				t.Fatalf("answer %d %s was taken for a success", status, body)
			}
			shown = append(shown, err.Error(), fmt.Sprintf("%+v %#v", err, errors.Unwrap(err)))
		}
	}
	_, err := pagerduty.New(pagerduty.Options{RoutingKey: secret.New(routingKey + " x")})
	shown = append(shown, fmt.Sprint(err), fmt.Sprintf("%+v", n), fmt.Sprintf("%#v", *n))
	for _, s := range shown {
		if strings.Contains(s, routingKey[:10]) {
			t.Errorf("the routing key shows in %s", s)
		}
	}
}

func TestTheRoutingKeyFileIsReadAtEachAttempt(t *testing.T) {
	r := start(t, receiver.Options{RoutingKeys: []secret.Secret{secret.New(routingKey)}})
	path := filepath.Join(t.TempDir(), "key")
	n := notifier(t, pagerduty.Options{Endpoint: r.URL(), RoutingKeyFile: path})
	if err := n.Notify(t.Context(), job(engine.NoticeTrigger)); err == nil || actions.Final(err) {
		t.Errorf("without the file: %v, want an error worth another attempt", err)
	}
	if err := os.WriteFile(path, []byte(routingKey+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := n.Notify(t.Context(), job(engine.NoticeTrigger)); err != nil {
		t.Error(err)
	}
}

func TestOptionsThatCannotWorkAreRefused(t *testing.T) {
	for name, opts := range map[string]pagerduty.Options{
		"no key":             {},
		"two keys":           {RoutingKey: secret.New(routingKey), RoutingKeyFile: "/x"},
		"an endpoint of ftp": {RoutingKey: secret.New(routingKey), Endpoint: "ftp://x.example"},
		"no host":            {RoutingKey: secret.New(routingKey), Endpoint: "https://"},
	} {
		if _, err := pagerduty.New(opts); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	if _, err := pagerduty.New(pagerduty.Options{RoutingKey: secret.New(routingKey)}); err != nil {
		t.Error(err)
	}
}
