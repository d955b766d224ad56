package webhook_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/common/config"

	"github.com/modeshift/modeshift/actions"
	"github.com/modeshift/modeshift/actions/webhook"
	"github.com/modeshift/modeshift/engine"
	"github.com/modeshift/modeshift/engine/secret"
	"github.com/modeshift/modeshift/test/receiver"
)

const canary = "c4nary-0123456789"

var at = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

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

func notifier(t *testing.T, opts webhook.Options) *webhook.Notifier {
	t.Helper()
	n, err := webhook.New(opts)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func job(version engine.Version, action engine.NoticeAction) engine.Job {
	return engine.Job{Effect: engine.Effect{ID: fmt.Sprintf("checkout/%d", version), Key: "checkout-17", Notice: &engine.Notice{
		Action: action, Incident: "checkout-17", Severity: engine.SeverityTicket, Summary: "checkout: budget burns slowly",
		Details: engine.Details{Scope: "checkout", Mode: "normal", Owner: "team-payments", Runbook: "https://runbooks.example/checkout", Labels: map[string]string{"tier": "1"}},
		Event: engine.Event{Stream: "checkout", Version: version, At: at, Rules: "abc", Reason: engine.Reason{Code: engine.CodeBurning, Text: "3 < burn rate"},
			Evidence: []engine.Reading{{Signal: `burn_rate("availability", "2h")`, Value: 4}}},
	}}}
}

func TestATicketIsTheWholeStoryInOneDocument(t *testing.T) {
	r := start(t, receiver.Options{})
	n := notifier(t, webhook.Options{URL: r.TicketURL(), ExternalURL: "https://modeshift.example", Log: "1f00"})
	if err := n.Notify(t.Context(), job(17, engine.NoticeTrigger)); err != nil {
		t.Fatal(err)
	}
	want := `{"version":"1","action":"open","key":"modeshift/1f00/checkout-17","id":"1f00/checkout/17","severity":"ticket","scope":"checkout",` +
		`"summary":"checkout: budget burns slowly","reason":{"code":"burning","text":"3 < burn rate"},` +
		`"details":{"mode":"normal","owner":"team-payments","runbook":"https://runbooks.example/checkout","labels":{"tier":"1"},"rules":"abc","event":"checkout/17"},` +
		`"evidence":[{"signal":"burn_rate(\"availability\", \"2h\")","value":4}],"at":"2026-03-01T12:00:00Z","url":"https://modeshift.example"}`
	q := r.Requests()[0]
	if string(q.Body) != want {
		t.Errorf("the document is\n%s\nwant\n%s", q.Body, want)
	}
	if got := q.Header.Get("Idempotency-Key"); got != "1f00/checkout/17" {
		t.Errorf("Idempotency-Key is %q", got)
	}
}

func TestADocumentSaysWhereTheProposalItTellsOfIsAnswered(t *testing.T) {
	r := start(t, receiver.Options{})
	n := notifier(t, webhook.Options{URL: r.TicketURL(), ExternalURL: "https://modeshift.example", ApprovalsURL: "https://modeshift.example/approvals"})
	note := job(18, engine.NoticeUpdate)
	note.Notice.Details.Proposal = "checkout-18"
	for _, j := range []engine.Job{job(17, engine.NoticeTrigger), note} {
		if err := n.Notify(t.Context(), j); err != nil {
			t.Fatal(err)
		}
	}
	if q := r.Requests(); bytes.Contains(q[0].Body, []byte("answer_at")) || !bytes.Contains(q[1].Body, []byte(`"answer_at":"https://modeshift.example/approvals/checkout-18"`)) {
		t.Errorf("the documents are\n%s\n%s", q[0].Body, q[1].Body)
	}
}

func TestOpenUpdateAndResolveAreOneTicket(t *testing.T) {
	r := start(t, receiver.Options{})
	n := notifier(t, webhook.Options{URL: r.TicketURL()})
	for i, a := range []engine.NoticeAction{engine.NoticeTrigger, engine.NoticeUpdate, engine.NoticeResolve} {
		if err := n.Notify(t.Context(), job(engine.Version(17+i), a)); err != nil {
			t.Fatalf("%s: %v", a, err)
		}
	}
	if a := r.Alerts(); len(a) != 1 || len(a[0].Notes) != 1 || a[0].Resolved.IsZero() {
		t.Errorf("tickets are %+v", a)
	}
}

func TestARequestIsAuthorisedAndSignedWithWhatTheFilesHoldNow(t *testing.T) {
	r := start(t, receiver.Options{Token: secret.New(canary + "-token"), Signing: secret.New(canary + "-signing")})
	dir := t.TempDir()
	token, signing := filepath.Join(dir, "token"), filepath.Join(dir, "signing")
	put := func(path, text string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	put(token, canary+"-token")
	put(signing, "an older one")
	n := notifier(t, webhook.Options{URL: r.TicketURL(), SigningSecretFile: signing,
		HTTP: config.HTTPClientConfig{Authorization: &config.Authorization{Type: "Bearer", CredentialsFile: token}}})
	err := n.Notify(t.Context(), job(17, engine.NoticeTrigger))
	if !actions.Final(err) || !strings.Contains(err.Error(), "wrong signature") {
		t.Errorf("with an old signing secret: %v", err)
	}
	put(signing, canary+"-signing\n")
	if err := n.Notify(t.Context(), job(17, engine.NoticeTrigger)); err != nil {
		t.Error(err)
	}
	if err := os.Remove(signing); err != nil {
		t.Fatal(err)
	}
	if err := n.Notify(t.Context(), job(17, engine.NoticeTrigger)); err == nil || actions.Final(err) {
		t.Errorf("without the signing secret: %v, want an error worth another attempt", err)
	}
}

func TestWhatTheEndpointAnswersDecidesWhetherToTryAgain(t *testing.T) {
	for _, c := range []struct {
		fault receiver.Fault
		taken bool
		final bool
		after time.Duration
	}{
		{fault: receiver.Fault{}, taken: true},
		{fault: receiver.Fault{Kind: receiver.Status, Status: 200, Body: "thanks"}, taken: true},
		{fault: receiver.Fault{Kind: receiver.Garbage}, taken: true},
		{fault: receiver.Fault{Kind: receiver.Status, Status: 301}, final: true},
		{fault: receiver.Fault{Kind: receiver.Status, Status: 302}},
		{fault: receiver.Fault{Kind: receiver.Status, Status: 307}},
		{fault: receiver.Fault{Kind: receiver.Status, Status: 308}, final: true},
		{fault: receiver.Fault{Kind: receiver.Status, Status: 400}, final: true},
		{fault: receiver.Fault{Kind: receiver.Status, Status: 401}, final: true},
		{fault: receiver.Fault{Kind: receiver.Status, Status: 404}, final: true},
		{fault: receiver.Fault{Kind: receiver.Status, Status: 408}},
		{fault: receiver.Fault{Kind: receiver.Status, Status: 422}, final: true},
		{fault: receiver.Fault{Kind: receiver.Status, Status: 425}},
		{fault: receiver.Fault{Kind: receiver.Status, Status: 429, RetryAfter: "11"}, after: 11 * time.Second},
		{fault: receiver.Fault{Kind: receiver.Status, Status: 500}},
		{fault: receiver.Fault{Kind: receiver.Status, Status: 503, RetryAfter: "3"}, after: 3 * time.Second},
		{fault: receiver.Fault{Kind: receiver.Drop}},
		{fault: receiver.Fault{Kind: receiver.Lost}},
	} {
		r := start(t, receiver.Options{})
		r.Script(receiver.Tickets, c.fault)
		err := notifier(t, webhook.Options{URL: r.TicketURL()}).Notify(t.Context(), job(17, engine.NoticeTrigger))
		if (err == nil) != c.taken || actions.Final(err) != c.final || actions.RetryAfter(err) != c.after {
			t.Errorf("%+v gives %v: final %v, after %v; want taken %v, final %v, after %v",
				c.fault, err, actions.Final(err), actions.RetryAfter(err), c.taken, c.final, c.after)
		}
	}
}

func TestARedirectIsNotFollowedEvenByAClientThatWould(t *testing.T) {
	var elsewhere int
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { elsewhere++ }))
	defer other.Close()
	here := httptest.NewServer(http.RedirectHandler(other.URL, http.StatusTemporaryRedirect))
	defer here.Close()
	for _, client := range []*http.Client{nil, {}} {
		err := notifier(t, webhook.Options{URL: here.URL, Client: client}).Notify(t.Context(), job(17, engine.NoticeTrigger))
		var refusal *webhook.Refusal
		if !errors.As(err, &refusal) || refusal.StatusCode != 307 {
			t.Errorf("a redirect gives %v", err)
		}
	}
	if elsewhere != 0 {
		t.Errorf("%d requests followed the redirect", elsewhere)
	}
}

func TestARefusalKeepsOneKiBOfItsBody(t *testing.T) {
	r := start(t, receiver.Options{})
	r.Script(receiver.Tickets, receiver.Fault{Kind: receiver.Status, Status: 422, Body: "project is archived " + strings.Repeat("x", 4096)})
	err := notifier(t, webhook.Options{URL: r.TicketURL()}).Notify(t.Context(), job(17, engine.NoticeTrigger))
	var refusal *webhook.Refusal
	if !errors.As(err, &refusal) || len(refusal.Body) > 1024 || len(refusal.Body) < 1000 || !strings.HasPrefix(refusal.Body, "project is archived") {
		t.Errorf("the refusal is %v", err)
	}
}

func TestARetryRepeatsTheBodyByteForByte(t *testing.T) {
	r := start(t, receiver.Options{})
	n := notifier(t, webhook.Options{URL: r.TicketURL(), SigningSecret: secret.New(canary)})
	r.Script(receiver.Tickets, receiver.Fault{Kind: receiver.Status, Status: 500})
	if err := n.Notify(t.Context(), job(17, engine.NoticeTrigger)); err == nil {
		t.Fatal("a 500 was taken for a success")
	}
	if err := n.Notify(t.Context(), job(17, engine.NoticeTrigger)); err != nil {
		t.Fatal(err)
	}
	q := r.Requests()
	if len(q) != 2 || len(q[0].Body) == 0 || !bytes.Equal(q[0].Body, q[1].Body) || q[0].Header.Get("Idempotency-Key") != q[1].Header.Get("Idempotency-Key") {
		t.Errorf("requests are\n%s\nand\n%s", q[0].Body, q[1].Body)
	}
}

func TestADeadlineKeepsItsCauseAndIsTriedAgain(t *testing.T) {
	r := start(t, receiver.Options{})
	r.Script(receiver.Tickets, receiver.Fault{Kind: receiver.Hang})
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	err := notifier(t, webhook.Options{URL: r.TicketURL()}).Notify(ctx, job(17, engine.NoticeTrigger))
	if !errors.Is(err, context.DeadlineExceeded) || actions.Final(err) {
		t.Errorf("a hanging endpoint gives %v", err)
	}
}

func TestNoSecretShowsInWhatIsSaid(t *testing.T) {
	// An endpoint that says back all it was told.
	echo := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		w.WriteHeader(http.StatusBadRequest)
		_ = json.NewEncoder(w).Encode(map[string]any{"url": req.URL.String(), "header": req.Header})
		_, pass, _ := req.BasicAuth()
		_, _ = w.Write([]byte(pass))
	}))
	defer echo.Close()
	gone := httptest.NewServer(nil)
	gone.Close()
	basic := config.HTTPClientConfig{BasicAuth: &config.BasicAuth{Username: "u", Password: canary + "-password"}}
	bearer := config.HTTPClientConfig{Authorization: &config.Authorization{Type: "Bearer", Credentials: canary + "-token"}}
	for _, opts := range []webhook.Options{
		{URL: echo.URL, HTTP: basic, SigningSecret: secret.New(canary)},
		{URL: echo.URL, HTTP: bearer, SigningSecret: secret.New(canary)},
		{URL: gone.URL + "/" + canary + "?token=" + canary, HTTP: bearer},
	} {
		n := notifier(t, opts)
		err := n.Notify(t.Context(), job(17, engine.NoticeTrigger))
		if err == nil {
			t.Fatal("no error")
		}
		if s := err.Error() + fmt.Sprintf("%+v %+v %#v", err, n, *n); strings.Contains(s, canary) {
			t.Errorf("a secret shows in %s", s)
		}
	}
	if _, err := webhook.New(webhook.Options{URL: "ftp://x/" + canary}); err == nil || strings.Contains(err.Error(), canary) {
		t.Errorf("a wrong URL gives %v", err)
	}
}
