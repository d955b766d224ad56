package rules

import (
	"net/url"
	"regexp"
	"strings"
	"unicode"
)

// hidden stands for what is not shown.
const hidden = "…"

// telling are the names under which secrets stand.
var telling = regexp.MustCompile(`(?i)token|secret|passw|credential|api[-_]?key|private|signature|auth`)

// run is a run of letters that addresses and tokens are made of.
var run = regexp.MustCompile(`[A-Za-z0-9_\-+]{16,}`)

// veiled leaves out of a specification what may be a secret: the values of headers and variables, of members whose names say so,
// and of addresses all but where they lead. Where a file is named that holds one, the name is no secret.
func veiled(key string, v any) any {
	switch v := v.(type) {
	case map[string]any:
		out := make(map[string]any, len(v))
		for k, m := range v {
			if key == "headers" || key == "env" {
				m = hidden
			}
			out[k] = veiled(k, m)
		}
		return out
	case []any:
		out := make([]any, len(v))
		for i, m := range v {
			out[i] = veiled(key, m)
		}
		return out
	case string:
		if telling.MatchString(key) && !strings.HasSuffix(key, "_file") {
			return hidden
		}
		return veiledText(v)
	}
	if telling.MatchString(key) {
		return hidden
	}
	return v
}

// veiledText leaves out of a text what looks like a token, and of an address what may hold one.
func veiledText(s string) string {
	if u, err := url.Parse(s); err == nil && u.Host != "" && (u.Scheme == "http" || u.Scheme == "https") {
		tail := ""
		if u.User != nil || u.RawQuery != "" || u.Fragment != "" {
			u.User, u.RawQuery, u.Fragment, tail = nil, "", "", "?"+hidden
		}
		return u.Scheme + "://" + u.Host + random(u.Path) + tail
	}
	return random(s)
}

// random leaves out words in which letters and digits are mixed, as nobody writes them and programs draw them.
func random(s string) string {
	return run.ReplaceAllStringFunc(s, func(w string) string {
		letters := strings.IndexFunc(w, unicode.IsLetter) >= 0
		digits := 0
		for _, c := range w {
			if unicode.IsDigit(c) {
				digits++
			}
		}
		if letters && digits >= 3 {
			return hidden
		}
		return w
	})
}
