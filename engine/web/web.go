package web

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/modeshift/modeshift/engine"
	"github.com/modeshift/modeshift/engine/approval"
)

// Path is where the pages live.
const Path = "/approvals"

const (
	maxForm   = 32 << 10 // bytes of a form; the longest legitimate one is a reason of 2,000 characters, encoded
	maxReason = 2000     // characters
	maxToken  = 1000     // bytes
)

// Visitor is whoever signed in.
type Visitor struct {
	Actor engine.Actor
	Roles []string
	Sees  func(engine.Scope) bool
}

// Options say what the pages are for. Desk and Visitor are needed.
type Options struct {
	Desk *approval.Desk
	// Visitor finds whose token has a SHA-256. It is asked with each request.
	Visitor func([sha256.Size]byte) (Visitor, bool)
	// Admit says how long a request has to wait because its client asks too often; 0: not at all. v is nil where nobody is signed
	// in; answers says that it may be the answer to a proposal. nil: nobody waits.
	Admit func(r *http.Request, v *Visitor, answers bool) time.Duration
	// ExternalURL is how people reach the server; with https the cookie is for https alone. Empty: as the request came.
	ExternalURL string
	Logger      *slog.Logger     // nil: slog.Default
	Now         func() time.Time // nil: time.Now
}

// Web serves the pages. It is safe for concurrent use.
type Web struct {
	opts     Options
	log      *slog.Logger
	https    bool
	sessions *sessions
	handler  http.Handler
}

// New prepares the pages.
func New(opts Options) (*Web, error) {
	if opts.Desk == nil || opts.Visitor == nil {
		return nil, errors.New("web: Desk and Visitor are needed")
	}
	if opts.Now == nil {
		opts.Now = time.Now
	}
	if opts.Logger == nil {
		opts.Logger = slog.Default()
	}
	w := &Web{opts: opts, log: opts.Logger, sessions: newSessions(opts.Now)}
	guard := http.NewCrossOriginProtection()
	if opts.ExternalURL != "" {
		u, err := url.Parse(opts.ExternalURL)
		if err != nil || u.Host == "" {
			return nil, fmt.Errorf("web: %q is not a URL", opts.ExternalURL)
		}
		w.https = u.Scheme == "https"
		// A proxy in front may not hand on the name that people typed.
		if err := guard.AddTrustedOrigin(u.Scheme + "://" + u.Host); err != nil {
			return nil, fmt.Errorf("web: %w", err)
		}
	}
	guard.SetDenyHandler(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		w.say(rw, r, http.StatusForbidden, view{Error: "This form came from another site. Nothing was changed: open the page here and answer there."})
	}))
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+Path, w.list)
	mux.HandleFunc("GET "+Path+"/{id}", w.show)
	mux.HandleFunc("POST "+Path+"/{id}", w.answer)
	mux.HandleFunc("POST "+Path+"/sign-in", w.signIn)
	mux.HandleFunc("POST "+Path+"/sign-out", w.signOut)
	w.handler = limited(guard.Handler(w.admitted(mux)))
	return w, nil
}

// Handler serves Path and everything below it.
func (w *Web) Handler() http.Handler { return w.handler }

// limited bounds what a request may send and sets the headers that hold for every answer.
func limited(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Cache-Control", "no-store")
		h.Set("X-Frame-Options", "DENY")
		h.Set("X-Content-Type-Options", "nosniff")
		// Not no-referrer: with that, browsers send Origin: null with the page's own forms, which over plain HTTP, where they
		// send no Sec-Fetch-Site, could not be told from a foreign page's. Other sites get no referrer by this either.
		h.Set("Referrer-Policy", "same-origin")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("Permissions-Policy", "camera=(), microphone=(), geolocation=()")
		r.Body = http.MaxBytesReader(w, r.Body, maxForm)
		next.ServeHTTP(w, r)
	})
}

// admitted turns away whoever asks too often.
func (w *Web) admitted(next http.Handler) http.Handler {
	return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		var who *Visitor
		if v, _, ok := w.visitor(r); ok {
			who = &v
		}
		if w.opts.Admit == nil {
			next.ServeHTTP(rw, r)
			return
		}
		if wait := w.opts.Admit(r, who, r.Method == http.MethodPost); wait > 0 {
			after := int(math.Ceil(wait.Seconds()))
			rw.Header().Set("Retry-After", strconv.Itoa(after))
			w.say(rw, r, http.StatusTooManyRequests, view{Error: fmt.Sprintf("Too many requests came from you, or from where you are. Nothing was recorded: wait %d s and try again.", after)})
			return
		}
		next.ServeHTTP(rw, r)
	})
}

// visitor finds out who a request comes from.
func (w *Web) visitor(r *http.Request) (Visitor, session, bool) {
	c, err := r.Cookie(w.cookieName(r))
	if err != nil {
		return Visitor{}, session{}, false
	}
	s, open := w.sessions.find(c.Value)
	if !open {
		return Visitor{}, session{}, false
	}
	v, known := w.opts.Visitor(s.token)
	if !known {
		w.sessions.end(c.Value) // the token was taken back
		return Visitor{}, session{}, false
	}
	return v, s, true
}

func (w *Web) secure(r *http.Request) bool { return w.https || r.TLS != nil }

// cookieName is bound to this host where the connection is, so that no other host of the domain can plant one.
func (w *Web) cookieName(r *http.Request) string {
	if w.secure(r) {
		return "__Host-modeshift"
	}
	return "modeshift"
}

func (w *Web) setCookie(rw http.ResponseWriter, r *http.Request, value string, age time.Duration) {
	http.SetCookie(rw, &http.Cookie{
		Name: w.cookieName(r), Value: value, Path: "/", MaxAge: int(age / time.Second),
		HttpOnly: true, SameSite: http.SameSiteStrictMode, Secure: w.secure(r),
	})
}

// form reads a form, or answers why it cannot.
func (w *Web) form(rw http.ResponseWriter, r *http.Request) bool {
	err := r.ParseForm()
	var tooLarge *http.MaxBytesError
	switch {
	case err == nil:
		return true
	case errors.As(err, &tooLarge):
		w.say(rw, r, http.StatusRequestEntityTooLarge, view{Error: fmt.Sprintf("That was too long. A reason has at most %d characters. Nothing was changed.", maxReason)})
	default:
		w.say(rw, r, http.StatusBadRequest, view{Error: "The form could not be read. Nothing was changed."})
	}
	return false
}

func (w *Web) signIn(rw http.ResponseWriter, r *http.Request) {
	if !w.form(rw, r) {
		return
	}
	id := next(r.PostForm.Get("id"))
	addr := address(r)
	if wait, ok := w.sessions.mayTry(addr); !ok {
		rw.Header().Set("Retry-After", strconv.Itoa(int(wait/time.Second)+1))
		w.say(rw, r, http.StatusTooManyRequests, view{SignIn: true, Next: id, Error: "Too many wrong tokens came from here. Wait a minute and try again; the command line (modeshift approve) goes on working."})
		return
	}
	token := strings.TrimSpace(r.PostForm.Get("token"))
	hash := sha256.Sum256([]byte(token))
	v, known := w.opts.Visitor(hash)
	if token == "" || len(token) > maxToken || !known {
		w.sessions.failed(addr)
		w.log.WarnContext(r.Context(), "sign-in refused", "from", r.RemoteAddr)
		w.say(rw, r, http.StatusForbidden, view{SignIn: true, Next: id, Error: "That is not a token this server knows."})
		return
	}
	if c, err := r.Cookie(w.cookieName(r)); err == nil {
		w.sessions.end(c.Value)
	}
	w.setCookie(rw, r, w.sessions.begin(hash), sessionLife)
	w.log.InfoContext(r.Context(), "signed in", "principal", v.Actor.Principal, "from", r.RemoteAddr)
	http.Redirect(rw, r, link(id), http.StatusSeeOther)
}

func (w *Web) signOut(rw http.ResponseWriter, r *http.Request) {
	if !w.form(rw, r) {
		return
	}
	if c, err := r.Cookie(w.cookieName(r)); err == nil {
		if s, open := w.sessions.find(c.Value); open && s.ours(r.PostForm.Get("form"), signingOut) {
			w.sessions.end(c.Value)
		}
	}
	w.setCookie(rw, r, "", -time.Second)
	http.Redirect(rw, r, Path, http.StatusSeeOther)
}
