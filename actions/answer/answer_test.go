package answer_test

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/modeshift/modeshift/actions/answer"
)

func TestRetryAfterIsSecondsOrADate(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		value string
		want  time.Duration
	}{
		{"", 0},
		{"0", 0},
		{"30", 30 * time.Second},
		{" 30 ", 30 * time.Second},
		{"-5", 0},
		{"soon", 0},
		{"1.5", 0},
		{"99999999999999", 24 * time.Hour},
		{"Sun, 01 Mar 2026 12:01:00 GMT", time.Minute},
		{"Sun, 01 Mar 2026 11:59:00 GMT", 0},
		{"Sun, 01 Mar 2099 11:59:00 GMT", 24 * time.Hour},
	} {
		if got := answer.RetryAfter(http.Header{"Retry-After": {c.value}}, now); got != c.want {
			t.Errorf("Retry-After %q is %v, want %v", c.value, got, c.want)
		}
	}
}

func TestWhatAnAnswerRepeatsOfTheRequestsHeadersIsTakenOut(t *testing.T) {
	req, err := http.NewRequest(http.MethodPost, "http://x.example/", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.SetBasicAuth("user", "passw0rd")
	req.Header.Set("X-Token", "t0ken")
	req.Header.Set("Content-Type", "application/json")
	body := "not allowed: " + req.Header.Get("Authorization") + " passw0rd t0ken application/json"
	got := answer.Excerpt([]byte(body), 1024, answer.Sent(req)...)
	if want := "not allowed: <secret> <secret> <secret> application/json"; got != want {
		t.Errorf("excerpt is %q, want %q", got, want)
	}
}

func TestWhatAnAnswerRepeatsOfTheRequestsURLIsTakenOut(t *testing.T) {
	req, err := http.NewRequest(http.MethodPost, "http://x.example/hooks/s3cr3t-path%2Fx?key=s3cr3t-key&v=2", nil)
	if err != nil {
		t.Fatal(err)
	}
	for body, want := range map[string]string{
		"Cannot POST /hooks/s3cr3t-path%2Fx?key=s3cr3t-key&v=2": "Cannot POST <secret>",
		"no hook at /hooks/s3cr3t-path/x":                       "no hook at <secret>",
		"no hook named s3cr3t-path%2Fx, key s3cr3t-key":         "no hook named <secret>, key <secret>",
		"of our hooks, version 2 of the API":                    "of our hooks, version 2 of the API",
	} {
		if got := answer.Excerpt([]byte(body), 1024, answer.Sent(req)...); got != want {
			t.Errorf("%q is shown as %q, want %q", body, got, want)
		}
	}
}

func TestAnUnreachableTargetIsNamedByItsHostAlone(t *testing.T) {
	err := answer.Unreachable("hooks.example", &url.Error{Op: "Post", URL: "https://hooks.example/s3cret?t=0ken", Err: context.DeadlineExceeded})
	if strings.Contains(err.Error(), "s3cret") || strings.Contains(err.Error(), "0ken") {
		t.Errorf("the error shows the URL: %v", err)
	}
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("the cause is lost: %v", err)
	}
}
