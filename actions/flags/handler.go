package flags

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/modeshift/modeshift/engine"
)

// Path is where the protocol lives; a handler serves it and what is below.
const Path = "/ofrep/v1/evaluate/flags"

// maxBody is the size of a context above which a request is refused, in bytes: as flagd has it.
const maxBody = 1_000_000

// The error codes of OFREP.
const (
	codeParse      = "PARSE_ERROR"
	codeContext    = "INVALID_CONTEXT"
	codeNotFound   = "FLAG_NOT_FOUND"
	codeGeneral    = "GENERAL"
	contextService = "service" // the key of the context that names the scope
)

// Source returns a scope as it is now; false when no rule file ever declared it. engine.Fleet is no service: it is not
// asked for.
type Source func(engine.Scope) (engine.View, bool)

// Options are what a handler may be told besides.
type Options struct {
	// Authorize says whether a request may read a scope's flags: status 0 lets it pass, else 401 or 403 and the detail are
	// the answer. It is asked twice: with an empty scope before the body is read, and with the scope. Nil: anybody may.
	Authorize func(r *http.Request, scope engine.Scope) (status int, detail string)
	// Origins are the origins whose pages may read flags, such as https://shop.example.com; "*" stands for all.
	Origins []string
	// Fetched, where set, hears of each reader that now has a directive: it got the flags, or was told that what it has is
	// still right. client is the request's User-Agent, as the client wrote it. It must be quick and safe for concurrent use.
	Fetched func(scope engine.Scope, revision engine.Version, client string)
	// Logger is for what goes wrong; nil: slog.Default.
	Logger *slog.Logger
}

// Handler serves Path and what is below. It is safe for concurrent use.
func Handler(source Source, opts Options) http.Handler {
	h := &handler{source: source, opts: opts, log: opts.Logger}
	if h.log == nil {
		h.log = slog.Default()
	}
	return h
}

type handler struct {
	source Source
	opts   Options
	log    *slog.Logger
}

// failure is an error's answer. Key is there for single flags only.
type failure struct {
	status  int
	Key     string `json:"key,omitempty"`
	Code    string `json:"errorCode,omitempty"`
	Details string `json:"errorDetails"`
}

func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h.allowOrigin(w, r)
	key, single, found := route(r)
	switch {
	case !found:
		h.fail(w, failure{status: http.StatusNotFound, Details: "there are POST " + Path + " and POST " + Path + "/{key}"})
	case r.Method == http.MethodOptions:
		h.preflight(w, r)
	case r.Method != http.MethodPost:
		w.Header().Set("Allow", "POST, OPTIONS")
		h.fail(w, failure{status: http.StatusMethodNotAllowed, Details: "flags are evaluated by POST"})
	case single:
		h.single(w, r, key)
	default:
		h.bulk(w, r)
	}
}

// route finds the flag's key in the path. It goes by the escaped path, so that a key may hold a slash.
func route(r *http.Request) (key string, single, found bool) {
	rest, ours := strings.CutPrefix(r.URL.EscapedPath(), Path)
	if !ours {
		return "", false, false
	}
	if rest == "" || rest == "/" {
		return "", false, true
	}
	rest, ours = strings.CutPrefix(rest, "/")
	key, err := url.PathUnescape(rest)
	return key, true, ours && err == nil && !strings.Contains(rest, "/")
}

func (h *handler) single(w http.ResponseWriter, r *http.Request, key string) {
	scope, f := h.scope(w, r)
	if f == nil {
		var v engine.View
		if v, f = h.find(scope, http.StatusNotFound, codeNotFound); f == nil {
			e, there := evaluate(v, key)
			if there {
				m := metadataOf(v)
				e.Metadata = &m
				h.fetched(r, v)
				h.answer(w, http.StatusOK, e)
				return
			}
			f = &failure{status: http.StatusNotFound, Code: codeNotFound, Details: fmt.Sprintf("service %q has no flag %q", scope, key)}
		}
	}
	if f.Code != "" {
		f.Key = key
	}
	h.fail(w, *f)
}

func (h *handler) bulk(w http.ResponseWriter, r *http.Request) {
	scope, f := h.scope(w, r)
	var v engine.View
	if f == nil {
		v, f = h.find(scope, http.StatusBadRequest, codeContext)
	}
	if f != nil {
		h.fail(w, *f)
		return
	}
	body, err := encode(evaluateAll(v))
	if err != nil {
		h.broken(w, err)
		return
	}
	// The tag is made of the content, so it survives a restart and changes with nothing else: not with the term alone
	// unless the answer tells it, and it does.
	sum := sha256.Sum256(body)
	tag := `"` + base64.RawURLEncoding.EncodeToString(sum[:18]) + `"`
	header := w.Header()
	header.Set("ETag", tag)
	header.Set("Cache-Control", "no-store") // a POST is not cached anyhow; proxies have been seen to try
	h.fetched(r, v)
	if matches(r.Header.Values("If-None-Match"), tag) {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	h.write(w, http.StatusOK, body)
}

// matches reports whether an If-None-Match names the tag. The comparison is the weak one (RFC 9110, 13.1.2): a proxy that
// compresses may have made the tag weak on its way.
func matches(headers []string, tag string) bool {
	for _, header := range headers {
		for candidate := range strings.SplitSeq(header, ",") {
			candidate = strings.TrimSpace(candidate)
			if candidate == "*" || strings.TrimPrefix(candidate, "W/") == tag {
				return true
			}
		}
	}
	return false
}

// scope reads the request's body and finds the service it is about.
func (h *handler) scope(w http.ResponseWriter, r *http.Request) (engine.Scope, *failure) {
	if f := h.permit(w, r, ""); f != nil {
		return "", f
	}
	if kind := r.Header.Get("Content-Type"); kind != "" {
		media, _, err := mime.ParseMediaType(kind)
		if err != nil || (media != "application/json" && !strings.HasSuffix(media, "+json")) {
			return "", &failure{status: http.StatusUnsupportedMediaType, Details: "the body has to be application/json"}
		}
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &large):
		return "", &failure{status: http.StatusRequestEntityTooLarge, Details: fmt.Sprintf("the body may have %d bytes", maxBody)}
	case err != nil:
		return "", &failure{status: http.StatusBadRequest, Code: codeParse, Details: "the body did not arrive whole"}
	}
	var request struct {
		Context map[string]any `json:"context"`
	}
	if len(bytes.TrimSpace(body)) > 0 {
		if err := json.Unmarshal(body, &request); err != nil {
			return "", &failure{status: http.StatusBadRequest, Code: codeParse, Details: "the body is not a JSON object with a context: " + err.Error()}
		}
	}
	service, _ := request.Context[contextService].(string) // anything but a string is as good as none
	if service == "" {
		return "", &failure{status: http.StatusBadRequest, Code: codeContext,
			Details: `the context has to say which service asks: "service": "NAME", as its rule file has it`}
	}
	scope := engine.Scope(service)
	return scope, h.permit(w, r, scope)
}

func (h *handler) permit(w http.ResponseWriter, r *http.Request, scope engine.Scope) *failure {
	if h.opts.Authorize == nil {
		return nil
	}
	status, detail := h.opts.Authorize(r, scope)
	if status == 0 {
		return nil
	}
	if status == http.StatusUnauthorized {
		w.Header().Set("WWW-Authenticate", `Bearer realm="modeshift"`)
	}
	return &failure{status: status, Details: detail}
}

func (h *handler) find(scope engine.Scope, status int, code string) (engine.View, *failure) {
	if scope != engine.Fleet {
		if v, there := h.source(scope); there {
			return v, nil
		}
	}
	return engine.View{}, &failure{status: status, Code: code, Details: fmt.Sprintf("there is no service %q", scope)}
}

func (h *handler) fetched(r *http.Request, v engine.View) {
	if h.opts.Fetched != nil {
		h.opts.Fetched(v.State.Scope, v.State.Directive.Revision, r.UserAgent())
	}
}

func (h *handler) fail(w http.ResponseWriter, f failure) { h.answer(w, f.status, f) }

func (h *handler) answer(w http.ResponseWriter, status int, v any) {
	body, err := encode(v)
	if err != nil {
		h.broken(w, err)
		return
	}
	h.write(w, status, body)
}

// broken answers when a flag's value does not encode, which rules that loaded cannot bring about.
func (h *handler) broken(w http.ResponseWriter, err error) {
	h.log.Error("flags do not encode", "error", err)
	h.write(w, http.StatusInternalServerError, []byte(`{"errorCode":"`+codeGeneral+`","errorDetails":"the flags do not encode; the server's log says why"}`))
}

func (h *handler) write(w http.ResponseWriter, status int, body []byte) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	_, _ = w.Write(body) // the reader is gone: nobody is left to be told
}

func encode(v any) ([]byte, error) {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	err := enc.Encode(v)
	return buf.Bytes(), err
}

// allowOrigin lets the pages of a listed origin see the answer and its tag.
func (h *handler) allowOrigin(w http.ResponseWriter, r *http.Request) {
	if len(h.opts.Origins) == 0 {
		return
	}
	w.Header().Add("Vary", "Origin")
	if origin := r.Header.Get("Origin"); origin != "" && h.allowed(origin) {
		w.Header().Set("Access-Control-Allow-Origin", origin)
		w.Header().Set("Access-Control-Expose-Headers", "ETag, Retry-After")
	}
}

func (h *handler) allowed(origin string) bool {
	return slices.Contains(h.opts.Origins, "*") || slices.Contains(h.opts.Origins, origin)
}

// preflight answers a browser that asks before it sends JSON and a token. Credentials of the browser's own, cookies, are
// never allowed: there are none.
func (h *handler) preflight(w http.ResponseWriter, r *http.Request) {
	if h.allowed(r.Header.Get("Origin")) {
		w.Header().Set("Access-Control-Allow-Methods", "POST")
		w.Header().Set("Access-Control-Allow-Headers", "Authorization, Content-Type, If-None-Match, X-API-Key")
		w.Header().Set("Access-Control-Max-Age", "3600")
	}
	w.Header().Set("Allow", "POST, OPTIONS")
	w.WriteHeader(http.StatusNoContent)
}
