package api_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/modeshift/modeshift/engine/api"
	"github.com/modeshift/modeshift/engine/secret"
)

// busyServer turns so many requests away, and remembers when each came.
type busyServer struct {
	refusals int
	status   int
	after    string // Retry-After
	came     []time.Time
}

func (b *busyServer) RoundTrip(r *http.Request) (*http.Response, error) {
	b.came = append(b.came, time.Now())
	resp := &http.Response{StatusCode: http.StatusOK, Status: "200 OK", Header: http.Header{}, Request: r, Body: io.NopCloser(strings.NewReader(`{"scopes":[],"events":[]}`))}
	if len(b.came) <= b.refusals {
		resp.StatusCode, resp.Status = b.status, http.StatusText(b.status)
		if b.after != "" {
			resp.Header.Set("Retry-After", b.after)
		}
	}
	return resp, nil
}

func TestAReadIsTriedAgainWhenTheServerSaysWhenAndAWriteIsNot(t *testing.T) {
	read := func(ctx context.Context, c *api.Client) error {
		_, err := c.Scopes(ctx)
		return err
	}
	write := func(ctx context.Context, c *api.Client) error {
		_, err := c.Unpin(ctx, "checkout", "drill")
		return err
	}
	for _, c := range []struct {
		name   string
		server busyServer
		do     func(context.Context, *api.Client) error
		time   time.Duration // that the caller has; 0: no bound
		asked  int
		took   time.Duration
		fails  bool
	}{
		{"once too often", busyServer{refusals: 1, status: 429, after: "3"}, read, 0, 2, 3 * time.Second, false},
		{"a server that is busy twice", busyServer{refusals: 2, status: 503, after: "5"}, read, 0, 3, 10 * time.Second, false},
		{"a server that stays busy", busyServer{refusals: 9, status: 503, after: "5"}, read, 0, 3, 10 * time.Second, true},
		{"as long as anybody waits", busyServer{refusals: 1, status: 503, after: "10"}, read, 0, 2, 10 * time.Second, false},
		{"longer than anybody waits", busyServer{refusals: 1, status: 503, after: "11"}, read, 0, 1, 0, true},
		{"longer than the caller has", busyServer{refusals: 1, status: 503, after: "5"}, read, 5 * time.Second, 1, 0, true},
		{"a little less than the caller has", busyServer{refusals: 1, status: 503, after: "5"}, read, 5*time.Second + 1, 2, 5 * time.Second, false},
		{"a server that does not say when", busyServer{refusals: 1, status: 503}, read, 0, 1, 0, true},
		{"a date, which modeshift does not send", busyServer{refusals: 1, status: 503, after: "Thu, 26 Nov 2026 12:00:00 GMT"}, read, 0, 1, 0, true},
		{"a write", busyServer{refusals: 1, status: 429, after: "3"}, write, 0, 1, 0, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				client, err := api.NewClient("http://modeshift.test", secret.New("x"), &c.server)
				if err != nil {
					t.Fatal(err)
				}
				ctx := t.Context()
				if c.time > 0 {
					var cancel context.CancelFunc
					ctx, cancel = context.WithTimeout(ctx, c.time)
					defer cancel()
				}
				began := time.Now()
				err = c.do(ctx, client)
				if (err != nil) != c.fails || len(c.server.came) != c.asked || time.Since(began) != c.took {
					t.Errorf("asked %d times in %v: %v", len(c.server.came), time.Since(began), err)
				}
				var e *api.Error
				if c.fails && (!errors.As(err, &e) || e.Status() != c.server.status) {
					t.Errorf("the caller is told %v", err)
				}
			})
		})
	}
}

func TestWhoeverGivesUpDoesNotWaitForTheServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := busyServer{refusals: 9, status: 429, after: "5"}
		client, err := api.NewClient("http://modeshift.test", secret.New("x"), &server)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		began := time.Now()
		if _, err := client.Scopes(ctx); err == nil || time.Since(began) != time.Second || len(server.came) != 1 {
			t.Errorf("after %v, asked %d times: %v", time.Since(began), len(server.came), err)
		}
	})
}
