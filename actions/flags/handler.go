package flags

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"mime"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/modeshift/modeshift/engine"
	"github.com/modeshift/modeshift/engine/limit"
)

// Path is where the protocol lives; a handler serves it and what is below.
const Path = "/ofrep/v1/evaluate/flags"

// maxBody is the size of a context above which a request is refused, in bytes: as flagd has it.
const maxBody = 1_000_000

// The error codes of OFREP.
const (
	codeParse    = "PARSE_ERROR"
	codeContext  = "INVALID_CONTEXT"
	codeNotFound = "FLAG_NOT_FOUND"
	codeGeneral  = "GENERAL"
)

// The keys of a context that matter.
const (
	contextService  = "service"      // names the scope
	contextInstance = "instance"     // names the instance
	contextKey      = "targetingKey" // OpenFeature's own: names it too
)

// inactivity is how many seconds a page may be in the background before its client lets the stream go, as JSON.
const inactivity = "120"

// Handler serves Path and what is below, and StreamPath.
func Handler(source Source, opts Options) *OFREP {
	opts.complete()
	h := &OFREP{opts: opts, log: opts.Logger, book: newBook(source, opts.Meta), stopped: make(chan struct{}), limit: limit.New(opts.Rate, max(10, 2*opts.Rate), maxClients)}
	if opts.Guard != nil {
		h.tickets = newTickets(opts.TicketKey.Reveal())
	}
	return h
}

// OFREP is the handler of OpenFeature's Remote Evaluation Protocol. It is safe for concurrent use.
type OFREP struct {
	opts    Options
	log     *slog.Logger
	book    *book
	limit   *limit.Buckets // nil: none
	tickets *tickets       // nil: nobody needs one
	streams atomic.Int64

	stopped chan struct{} // closed by Close
	stop    sync.Once
}

// Close ends all event streams and opens none any more, which http.Server's Shutdown would wait for. Flags are evaluated on.
func (h *OFREP) Close() { h.stop.Do(func() { close(h.stopped) }) }

// Streams is the number of event streams that are open.
func (h *OFREP) Streams() int { return int(h.streams.Load()) }

// failure is an error's answer. Key is there for single flags only.
type failure struct {
	status  int
	after   time.Duration // of 429 and 503: when to try again
	Key     string        `json:"key,omitempty"`
	Code    string        `json:"errorCode,omitempty"`
	Details string        `json:"errorDetails"`
}

// asker is who asks, and for what.
type asker struct {
	reader   string // as Guard calls it
	scope    engine.Scope
	instance string
	client   string
}

func (h *OFREP) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h.allowOrigin(w, r)
	if r.URL.Path == StreamPath {
		h.serveStream(w, r)
		return
	}
	key, single, found := route(r)
	switch {
	case !found:
		h.fail(w, failure{status: http.StatusNotFound, Details: "there are POST " + Path + ", POST " + Path + "/{key} and GET " + StreamPath})
	case r.Method == http.MethodOptions:
		h.preflight(w, r, http.MethodPost)
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

func (h *OFREP) single(w http.ResponseWriter, r *http.Request, key string) {
	who, f := h.asker(w, r)
	if f == nil {
		var s *sheet
		if s, f = h.find(who.scope, http.StatusNotFound, codeNotFound); f == nil {
			g := s.group(who.instance)
			if e, there := s.evaluate(g, key); there {
				e.Metadata = merged(e.Metadata, from(g.told))
				h.fetched(who, g)
				h.answer(w, http.StatusOK, e)
				return
			}
			f = &failure{status: http.StatusNotFound, Code: codeNotFound, Details: fmt.Sprintf("service %q has no flag %q", who.scope, clipped(key))}
		}
	}
	if f.Code != "" {
		f.Key = key
	}
	h.fail(w, *f)
}

// bulk answers all flags. Clients that were told of a change send what they heard of it as flagConfigEtag and
// flagConfigLastModified, for servers that would answer from a cache. This one answers from what is told now, always: they
// are taken and not needed.
func (h *OFREP) bulk(w http.ResponseWriter, r *http.Request) {
	who, f := h.asker(w, r)
	var s *sheet
	if f == nil {
		s, f = h.find(who.scope, http.StatusBadRequest, codeContext)
	}
	if f != nil {
		h.fail(w, *f)
		return
	}
	g := s.group(who.instance)
	body, content, err := s.bulk(g)
	if err != nil {
		h.broken(w, err)
		return
	}
	stream := h.streamURI(who, content)
	tag := quoted(content, stream)
	header := w.Header()
	header.Set("ETag", tag)
	header.Set("Cache-Control", "no-store") // a POST is not cached anyhow; proxies have been seen to try
	h.fetched(who, g)
	if matches(r.Header.Values("If-None-Match"), tag) {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	h.write(w, http.StatusOK, slices.Concat(body, []byte(`,"eventStreams":[{"type":"sse","endpoint":{"requestUri":`), quote(stream),
		[]byte(`},"inactivityDelaySec":`+inactivity+"}]}\n")))
}

// quoted is the tag of an answer: of what it says, so that it survives a restart, and of where its event stream is. The
// second half matters when a ticket runs out: a client that got a 304 then would keep the address it has, which opens
// nothing any more.
func quoted(content, stream string) string {
	return `"` + content + "." + digest([]byte(stream))[:8] + `"`
}

// quote writes a text as JSON, without making & unreadable.
func quote(text string) []byte {
	b, _ := encode(text) // a string always encodes
	return bytes.TrimSpace(b)
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

// asker reads the request's body and finds out who asks, and whether they may.
func (h *OFREP) asker(w http.ResponseWriter, r *http.Request) (asker, *failure) {
	who := asker{client: r.UserAgent()}
	f := h.admit(r, &who)
	if f != nil {
		return who, f
	}
	if kind := r.Header.Get("Content-Type"); kind != "" && kind != "application/json" {
		media, _, err := mime.ParseMediaType(kind)
		if err != nil || (media != "application/json" && !strings.HasSuffix(media, "+json")) {
			return who, &failure{status: http.StatusUnsupportedMediaType, Details: "the body has to be application/json"}
		}
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &large):
		return who, &failure{status: http.StatusRequestEntityTooLarge, Details: fmt.Sprintf("the body may have %d bytes", maxBody)}
	case err != nil:
		return who, &failure{status: http.StatusBadRequest, Code: codeParse, Details: "the body did not arrive whole"}
	}
	var request struct {
		Context map[string]json.RawMessage `json:"context"`
	}
	if len(bytes.TrimSpace(body)) > 0 {
		if err := json.Unmarshal(body, &request); err != nil {
			return who, &failure{status: http.StatusBadRequest, Code: codeParse, Details: "the body is not a JSON object with a context: " + err.Error()}
		}
	}
	who.instance = cmp.Or(text(request.Context[contextInstance]), text(request.Context[contextKey]))
	return who, h.permit(&who, engine.Scope(text(request.Context[contextService])))
}

// text is a string; anything else is as good as none.
func text(raw json.RawMessage) (s string) {
	if len(raw) > 1 && raw[0] == '"' {
		_ = json.Unmarshal(raw, &s) // it was read once already
	}
	return s
}

// admit finds out whose credential the request carries, before more of it is read.
func (h *OFREP) admit(r *http.Request, who *asker) *failure {
	if h.opts.Guard != nil {
		reader, status, detail := h.opts.Guard.Reader(credential(r.Header))
		if status != 0 {
			return &failure{status: status, Details: detail}
		}
		who.reader = reader
	}
	return h.hold(r, who)
}

// maxClients bounds the memory that clients can take by being many.
const maxClients = 100_000

// hold refuses a client that asks too often.
func (h *OFREP) hold(r *http.Request, who *asker) *failure {
	if h.limit == nil {
		return nil
	}
	host, _, _ := net.SplitHostPort(r.RemoteAddr) // one token may be that of many instances
	if wait := h.limit.Take(who.reader+" "+host, time.Now()); wait > 0 {
		if h.opts.Limited != nil {
			h.opts.Limited()
		}
		return &failure{status: http.StatusTooManyRequests, after: wait, Details: "too many requests; the event stream tells of changes without being asked"}
	}
	return nil
}

// credential is what a request carries: Authorization: Bearer, or X-API-Key.
func credential(h http.Header) string {
	scheme, token, found := strings.Cut(h.Get("Authorization"), " ")
	if found && strings.EqualFold(scheme, "Bearer") {
		return strings.TrimSpace(token)
	}
	return h.Get("X-API-Key")
}

// permit finds the scope that is asked for and whether the reader may read it.
func (h *OFREP) permit(who *asker, scope engine.Scope) *failure {
	if scope == "" && h.opts.Default != nil {
		scope, _ = h.opts.Default(who.reader)
	}
	if scope == "" {
		return &failure{status: http.StatusBadRequest, Code: codeContext,
			Details: `the context has to say which service asks: "service": "NAME", as its rule file has it`}
	}
	who.scope = scope
	if h.opts.Guard == nil {
		return nil
	}
	if status, detail := h.opts.Guard.May(who.reader, scope); status != 0 {
		return &failure{status: status, Details: detail}
	}
	return nil
}

func (h *OFREP) find(scope engine.Scope, status int, code string) (*sheet, *failure) {
	if s, there := h.book.open(scope); there {
		return s, nil
	}
	return nil, &failure{status: status, Code: code, Details: fmt.Sprintf("there is no service %q", clipped(string(scope)))}
}

// clipped keeps what a client sent from filling a message.
func clipped(s string) string {
	if len(s) > 100 {
		s = s[:100] + "…"
	}
	return strings.ToValidUTF8(s, "?")
}

func (h *OFREP) fetched(who asker, g *group) {
	if h.opts.Fetched != nil {
		h.opts.Fetched(Fetch{who.scope, g.told.Revision, who.instance, who.client, ViaOFREP})
	}
}

func (h *OFREP) fail(w http.ResponseWriter, f failure) {
	if f.status == http.StatusUnauthorized {
		w.Header().Set("WWW-Authenticate", `Bearer realm="modeshift"`)
	}
	if f.after > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(int(math.Ceil(f.after.Seconds()))))
	}
	h.answer(w, f.status, f)
}

func (h *OFREP) answer(w http.ResponseWriter, status int, v any) {
	body, err := encode(v)
	if err != nil {
		h.broken(w, err)
		return
	}
	h.write(w, status, body)
}

// broken answers when a flag's value does not encode, which rules that loaded cannot bring about.
func (h *OFREP) broken(w http.ResponseWriter, err error) {
	h.log.Error("flags do not encode", "error", err)
	h.write(w, http.StatusInternalServerError, []byte(`{"errorCode":"`+codeGeneral+`","errorDetails":"the flags do not encode; the server's log says why"}`))
}

func (h *OFREP) write(w http.ResponseWriter, status int, body []byte) {
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
func (h *OFREP) allowOrigin(w http.ResponseWriter, r *http.Request) {
	if len(h.opts.Origins) == 0 {
		return
	}
	w.Header().Add("Vary", "Origin")
	if origin := r.Header.Get("Origin"); origin != "" && h.allowed(origin) {
		w.Header().Set("Access-Control-Allow-Origin", origin)
		w.Header().Set("Access-Control-Expose-Headers", "ETag, Retry-After")
	}
}

func (h *OFREP) allowed(origin string) bool {
	return slices.Contains(h.opts.Origins, "*") || slices.Contains(h.opts.Origins, origin)
}

// preflight answers a browser that asks before it sends JSON and a token. Credentials of the browser's own, cookies, are
// never allowed: there are none.
func (h *OFREP) preflight(w http.ResponseWriter, r *http.Request, method string) {
	if h.allowed(r.Header.Get("Origin")) {
		w.Header().Set("Access-Control-Allow-Methods", method)
		w.Header().Set("Access-Control-Allow-Headers", "Authorization, Cache-Control, Content-Type, If-None-Match, Last-Event-ID, X-API-Key")
		w.Header().Set("Access-Control-Max-Age", "3600")
	}
	w.Header().Set("Allow", method+", OPTIONS")
	w.WriteHeader(http.StatusNoContent)
}
