package modehttp_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/modeshift/modeshift/actions/agent"
	"github.com/modeshift/modeshift/actions/modehttp"
	"github.com/modeshift/modeshift/engine"
)

type fixed agent.State

func (f *fixed) Current() *agent.State { return (*agent.State)(f) }

func TestAnAnswerSaysTheModeAndAModeMayRefuseToAnswer(t *testing.T) {
	closed := &engine.Unavailable{Message: "back at six", RetryAfterSeconds: 2}
	for name, c := range map[string]struct {
		state      fixed
		path       string
		accept     string
		status     int
		mode       string
		retryAfter string
		body       string
	}{
		"no mode":                      {fixed{}, "/", "", 200, "", "", "hello"},
		"a mode":                       {fixed{Mode: "normal"}, "/", "", 200, "normal", "", "hello"},
		"a mode that refuses":          {fixed{Mode: "maintenance", Unavailable: closed}, "/", "", 503, "maintenance", "2", "back at six\n"},
		"it does not say for how long": {fixed{Mode: "maintenance", Unavailable: &engine.Unavailable{Message: "x"}}, "/", "", 503, "maintenance", "", "x\n"},
		"a caller that takes JSON": {fixed{Mode: "maintenance", Unavailable: closed}, "/", "application/json", 503, "maintenance", "2",
			`{"title":"Service Unavailable","status":503,"detail":"back at six","mode":"maintenance"}` + "\n"},
		"an exempt path":          {fixed{Mode: "maintenance", Unavailable: closed}, "/healthz", "", 200, "maintenance", "", "hello"},
		"below an exempt path":    {fixed{Mode: "maintenance", Unavailable: closed}, "/-/ready", "", 200, "maintenance", "", "hello"},
		"an exempt folder":        {fixed{Mode: "maintenance", Unavailable: closed}, "/-", "", 200, "maintenance", "", "hello"},
		"a path that begins so":   {fixed{Mode: "maintenance", Unavailable: closed}, "/healthzy", "", 503, "maintenance", "2", "back at six\n"},
		"below one that ends":     {fixed{Mode: "maintenance", Unavailable: closed}, "/healthz/orders", "", 503, "maintenance", "2", "back at six\n"},
		"out of an exempt folder": {fixed{Mode: "maintenance", Unavailable: closed}, "/-/../orders", "", 503, "maintenance", "2", "back at six\n"},
	} {
		t.Run(name, func(t *testing.T) {
			h := modehttp.Middleware(&c.state, modehttp.Options{Exempt: []string{"/healthz", "/-/"}})(
				http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "hello") }))
			r := httptest.NewRequest(http.MethodGet, "/", nil)
			r.URL.Path = c.path
			if c.accept != "" {
				r.Header.Set("Accept", c.accept)
			}
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r)
			if w.Code != c.status || w.Header().Get(modehttp.Header) != c.mode || w.Header().Get("Retry-After") != c.retryAfter || w.Body.String() != c.body {
				t.Errorf("got %d %v %q", w.Code, w.Header(), w.Body)
			}
		})
	}
}
