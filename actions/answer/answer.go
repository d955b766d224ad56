// Package answer reads what an HTTP target says: how long it wants to be left alone, what it objects to, and why it could
// not be reached. Nothing it returns shows a URL's path or query, which are secrets with many receivers.
package answer

import (
	"cmp"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/modeshift/modeshift/actions/notice"
	"github.com/modeshift/modeshift/engine/secret"
)

// RetryAfter is how long the answer asks to wait, counted from now; 0 when it does not say, or says it wrongly, or the time
// is over. Source: RFC 9110, section 10.2.3: seconds or a date.
func RetryAfter(h http.Header, now time.Time) time.Duration {
	v := strings.TrimSpace(h.Get("Retry-After"))
	if v == "" {
		return 0
	}
	if n, err := strconv.ParseInt(v, 10, 64); err == nil {
		// More than a day is no advice any more; the bound keeps the product from overflowing.
		return time.Duration(min(max(n, 0), 86400)) * time.Second
	}
	if at, err := http.ParseTime(v); err == nil {
		return min(max(0, at.Sub(now)), 24*time.Hour)
	}
	return 0
}

// Temporary reports whether a status says that the same request may succeed later.
func Temporary(status int) bool {
	switch status {
	case http.StatusRequestTimeout, http.StatusTooEarly, http.StatusTooManyRequests:
		return true
	}
	return status >= 500
}

// Excerpt is the beginning of a body as text of at most max bytes, without the secrets.
func Excerpt(body []byte, max int, secrets ...secret.Secret) string {
	// The secrets go first: cutting could leave half of one.
	return notice.Line(secret.Scrub(string(body), secrets...), max)
}

// Sent are the secrets a request carried, so that an answer that repeats them can be cleaned: tokens, passwords, signatures,
// whatever a header holds that is not plainly harmless; and path and query, which "cannot POST /hooks/…" repeats.
func Sent(req *http.Request) []secret.Secret {
	if req == nil {
		return nil
	}
	out := inURL(req.URL)
	for name, values := range req.Header {
		switch http.CanonicalHeaderKey(name) {
		case "Accept", "Accept-Encoding", "Connection", "Content-Length", "Content-Type", "Idempotency-Key", "User-Agent":
			continue
		}
		for _, v := range values {
			out = append(out, secret.New(v))
			scheme, rest, ok := strings.Cut(v, " ")
			if !ok {
				continue
			}
			out = append(out, secret.New(rest))
			if !strings.EqualFold(scheme, "Basic") {
				continue
			}
			if plain, err := base64.StdEncoding.DecodeString(rest); err == nil {
				_, password, _ := strings.Cut(string(plain), ":")
				out = append(out, secret.New(string(plain)), secret.New(password))
			}
		}
	}
	// The longest first, so that the whole of a header goes before a part of it is looked for.
	// Fewer than four bytes keep nothing secret, and taking them out would make the text unreadable.
	out = slices.DeleteFunc(out, func(s secret.Secret) bool { return len(s.Reveal()) < 4 })
	slices.SortFunc(out, func(a, b secret.Secret) int {
		return cmp.Or(len(b.Reveal())-len(a.Reveal()), strings.Compare(a.Reveal(), b.Reveal()))
	})
	return out
}

// inURL are the parts of a URL that may be secrets, as a whole and one by one.
func inURL(u *url.URL) (out []secret.Secret) {
	if u == nil {
		return nil
	}
	for _, text := range []string{u.RequestURI(), u.Path, u.EscapedPath(), u.RawQuery} {
		out = append(out, secret.New(text))
	}
	parts := append(strings.Split(u.Path, "/"), strings.Split(u.EscapedPath(), "/")...)
	for _, values := range u.Query() {
		parts = append(parts, values...)
		for _, v := range values {
			parts = append(parts, url.QueryEscape(v))
		}
	}
	for _, p := range parts {
		if len(p) >= 8 { // "hooks" and "v2" are words that a message may need
			out = append(out, secret.New(p))
		}
	}
	return out
}

// Unreachable is the error of a request that got no answer, without the URL that net/http puts into it and without the secrets.
// The cause can still be found with errors.Is and errors.As.
func Unreachable(host string, err error, secrets ...secret.Secret) error {
	var u *url.Error
	for errors.As(err, &u) {
		err = u.Err
	}
	return fmt.Errorf("reach %s: %w", host, secret.Clean(err, secrets...))
}
