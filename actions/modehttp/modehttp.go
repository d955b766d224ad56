// Package modehttp tells the callers of an HTTP service which mode it is in, and refuses them in modes that say so.
package modehttp

import (
	"encoding/json"
	"io"
	"net/http"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/modeshift/modeshift/actions/agent"
)

// Header names the mode in each answer. It is absent while there is no mode.
const Header = "X-Service-Mode"

// Source says what is in force. An agent.Agent is one.
type Source interface {
	Current() *agent.State
}

// Options are what a middleware may be told besides.
type Options struct {
	// Exempt are paths that are answered in every mode, such as those of health checks: a service that refuses its callers has
	// to stay alive for whoever restarts it. One that ends in a slash stands for everything below too.
	Exempt []string
}

// Middleware wraps handlers. Each answer has Header; where the mode in force says that the service does not answer, that is a 503 with the
// mode's message and its Retry-After: problem+json for callers that take JSON, else plain text.
func Middleware(source Source, opts Options) func(http.Handler) http.Handler {
	exempt := slices.Clone(opts.Exempt)
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			s := source.Current()
			if s.Mode != "" {
				w.Header().Set(Header, string(s.Mode))
			}
			if s.Unavailable == nil || isExempt(exempt, r.URL.Path) {
				next.ServeHTTP(w, r)
				return
			}
			refuse(w, r, s)
		})
	}
}

// isExempt goes by the clean path: with /healthz/ exempt, /healthz/../orders is not.
func isExempt(exempt []string, asked string) bool {
	clean := path.Clean("/" + asked)
	return slices.ContainsFunc(exempt, func(e string) bool {
		return clean == e || strings.HasSuffix(e, "/") && strings.HasPrefix(clean+"/", e)
	})
}

func refuse(w http.ResponseWriter, r *http.Request, s *agent.State) {
	h := w.Header()
	if after := s.Unavailable.RetryAfterSeconds; after > 0 {
		h.Set("Retry-After", strconv.FormatInt(after, 10))
	}
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	if !takesJSON(r) {
		h.Set("Content-Type", "text/plain; charset=utf-8")
		w.WriteHeader(http.StatusServiceUnavailable)
		_, _ = io.WriteString(w, s.Unavailable.Message+"\n") // a caller that is gone needs no answer
		return
	}
	h.Set("Content-Type", "application/problem+json")
	w.WriteHeader(http.StatusServiceUnavailable)
	_ = json.NewEncoder(w).Encode(struct { // likewise
		Title  string `json:"title"`
		Status int    `json:"status"`
		Detail string `json:"detail"`
		Mode   string `json:"mode"`
	}{"Service Unavailable", http.StatusServiceUnavailable, s.Unavailable.Message, string(s.Mode)})
}

// takesJSON reports whether the caller named JSON among what it takes. How much it prefers others is not asked: either is fine.
func takesJSON(r *http.Request) bool {
	return slices.ContainsFunc(r.Header.Values("Accept"), func(v string) bool { return strings.Contains(v, "json") })
}
