package api

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
)

// Healthy answers as long as the program can answer at all. What it says of the outside world is Ready's.
func Healthy() http.Handler {
	return reading(func(w http.ResponseWriter) { say(w, http.StatusOK, "modeshift is alive.\n") })
}

// Ready answers 200 when all checks hold, else 503 and a line for each that does not.
func Ready(checks func() []Check) http.Handler {
	return reading(func(w http.ResponseWriter) {
		var wrong strings.Builder
		for _, c := range checks() {
			if !c.OK {
				fmt.Fprintf(&wrong, "not ready: %s: %s\n", c.Name, c.Detail)
			}
		}
		if wrong.Len() > 0 {
			say(w, http.StatusServiceUnavailable, wrong.String())
			return
		}
		say(w, http.StatusOK, "modeshift is ready.\n")
	})
}

// Reload calls reload for an admin's POST or PUT, as often as m lets it, and answers with what came of it, and with what it says
// besides. Pages of other origins are refused.
func Reload(tokens *Tokens, m *Limiter, reload func(context.Context) (string, error)) http.Handler {
	do := tokens.Require(RoleAdmin, m, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		said, err := reload(r.Context())
		if err != nil {
			say(w, http.StatusInternalServerError, "not reloaded, what was in force stays in force:\n"+err.Error()+"\n"+said)
			return
		}
		say(w, http.StatusOK, "reloaded\n"+said)
	}))
	return http.NewCrossOriginProtection().Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodPost && r.Method != http.MethodPut {
			w.Header().Set("Allow", "POST, PUT")
			say(w, http.StatusMethodNotAllowed, "reloading takes POST or PUT\n")
			return
		}
		do.ServeHTTP(w, r)
	}))
}

func reading(serve func(http.ResponseWriter)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			w.Header().Set("Allow", "GET, HEAD")
			say(w, http.StatusMethodNotAllowed, "this takes GET\n")
			return
		}
		serve(w)
	})
}

func say(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	_, _ = io.WriteString(w, text) // the reader is gone: nobody is left to be told
}
