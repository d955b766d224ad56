package web_test

import (
	"context"
	"crypto/sha256"
	"io"
	"log/slog"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/modeshift/modeshift/engine"
	"github.com/modeshift/modeshift/engine/approval"
	"github.com/modeshift/modeshift/engine/approval/approvaltest"
	"github.com/modeshift/modeshift/engine/web"
)

// visitors are who has a token; the token is the name.
type visitors struct {
	mu   sync.Mutex // guards what follows
	list map[string]web.Visitor
}

func (v *visitors) find(sum [sha256.Size]byte) (web.Visitor, bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for token, visitor := range v.list {
		if sha256.Sum256([]byte(token)) == sum {
			return visitor, true
		}
	}
	return web.Visitor{}, false
}

func (v *visitors) remove(token string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	delete(v.list, token)
}

// site is the pages over a world with a gate.
type site struct {
	*httptest.Server
	world    *approvaltest.World
	visitors *visitors
	logs     *strings.Builder
	targets  approval.Targets // of steps that have a selector
}

func open(t *testing.T, change func(*web.Options)) *site {
	t.Helper()
	all := func(engine.Scope) bool { return true }
	s := &site{world: approvaltest.New(t), logs: &strings.Builder{}, visitors: &visitors{list: map[string]web.Visitor{
		"canary-bob":       {Actor: engine.Actor{Principal: "bob-laptop", Person: "bob"}, Roles: []string{"oncall"}, Sees: all},
		"canary-bob-phone": {Actor: engine.Actor{Principal: "bob-phone", Person: "bob"}, Roles: []string{"lead"}, Sees: all},
		"canary-carol":     {Actor: engine.Actor{Principal: "carol"}, Roles: []string{"lead", "oncall"}, Sees: all},
		"canary-viewer":    {Actor: engine.Actor{Principal: "viewer"}, Roles: []string{"viewer"}, Sees: all},
		"canary-elsewhere": {Actor: engine.Actor{Principal: "eve"}, Roles: []string{"lead"}, Sees: func(s engine.Scope) bool { return s == "payments" }},
	}}}
	desk := approval.New(approval.Options{Loop: s.world, Log: s.world, Describe: approvaltest.Describe, Now: s.world.Now,
		Targets: func(context.Context, engine.Scope, engine.Targets) approval.Targets { return s.targets },
		Budget: func(context.Context, engine.Scope) []approval.Budget {
			return []approval.Budget{{SLO: "availability", Remaining: 0.42, Burn: 21.5, Lasts: 14*time.Hour + 4*time.Minute}, {SLO: "latency", Unknown: "no traffic"}}
		}})
	opts := web.Options{Desk: desk, Visitor: s.visitors.find, Now: s.world.Now, Logger: slog.New(slog.NewTextHandler(s.logs, &slog.HandlerOptions{Level: slog.LevelDebug}))}
	if change != nil {
		change(&opts)
	}
	pages, err := web.New(opts)
	if err != nil {
		t.Fatal(err)
	}
	s.Server = httptest.NewServer(pages.Handler())
	t.Cleanup(s.Close)
	return s
}

// browser is one person's: it keeps cookies, follows no redirects, and sends what browsers send.
type browser struct {
	t    *testing.T
	site *site
	http *http.Client
	page string // the last one
	resp *http.Response
}

func (s *site) browser(t *testing.T) *browser {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	return &browser{t: t, site: s, http: &http.Client{Jar: jar, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}}
}

func (b *browser) do(method, path string, form url.Values, header http.Header) int {
	b.t.Helper()
	var body io.Reader
	if form != nil {
		body = strings.NewReader(form.Encode())
	}
	r, err := http.NewRequestWithContext(b.t.Context(), method, b.site.URL+path, body)
	if err != nil {
		b.t.Fatal(err)
	}
	if form != nil {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.Header.Set("Sec-Fetch-Site", "same-origin")
		r.Header.Set("Origin", b.site.URL)
	}
	for name, values := range header {
		r.Header[name] = values
	}
	if b.resp, err = b.http.Do(r); err != nil {
		b.t.Fatal(err)
	}
	text, err := io.ReadAll(b.resp.Body)
	if err != nil {
		b.t.Fatal(err)
	}
	if err := b.resp.Body.Close(); err != nil {
		b.t.Fatal(err)
	}
	b.page = string(text)
	return b.resp.StatusCode
}

func (b *browser) get(path string) int { b.t.Helper(); return b.do("GET", path, nil, nil) }

func (b *browser) signIn(token string) *browser {
	b.t.Helper()
	if status := b.do("POST", "/approvals/sign-in", url.Values{"token": {token}}, nil); status != http.StatusSeeOther {
		b.t.Fatalf("sign in as %s: %d %s", token, status, b.page)
	}
	return b
}

var hidden = regexp.MustCompile(`<input type="hidden" name="(form|digest)" value="([^"]*)">`)

// form is what the last page's form would send.
func (b *browser) form(verdict, reason string) url.Values {
	b.t.Helper()
	f := url.Values{"verdict": {verdict}, "reason": {reason}}
	for _, m := range hidden.FindAllStringSubmatch(b.page, -1) {
		f.Set(m[1], m[2])
	}
	if f.Get("form") == "" || f.Get("digest") == "" {
		b.t.Fatalf("the page has no form:\n%s", b.page)
	}
	return f
}

// shows checks that the last page has all of some texts.
func (b *browser) shows(texts ...string) {
	b.t.Helper()
	for _, text := range texts {
		if !strings.Contains(b.page, text) {
			b.t.Errorf("the page (%d) does not show %q:\n%s", b.resp.StatusCode, text, main(b.page))
		}
	}
}

func main(page string) string {
	if at := strings.Index(page, "<main"); at >= 0 {
		return page[at:]
	}
	return page
}

func path(p engine.Proposal) string { return "/approvals/" + string(p.ID) }

func TestAProposalIsReadAndApprovedOnThePhone(t *testing.T) {
	s := open(t, nil)
	p := s.world.Propose(t)
	b := s.browser(t)
	if got := b.get(path(p)); got != 401 {
		t.Fatalf("signed out: %d", got)
	}
	b.shows("Sign in", `name="id" value="`+string(p.ID)+`"`)
	if got := b.do("POST", "/approvals/sign-in", url.Values{"token": {" canary-bob\n"}, "id": {string(p.ID)}}, nil); got != 303 || b.resp.Header.Get("Location") != path(p) {
		t.Fatalf("%d to %s", got, b.resp.Header.Get("Location"))
	}
	if got := b.get("/approvals"); got != 200 {
		t.Fatal(got)
	}
	b.shows("1 proposal waits", `href="`+path(p)+`"`, "15 min left")
	if got := b.get(path(p)); got != 200 {
		t.Fatal(got)
	}
	b.shows("checkout: degraded → failover", "14 h 4 min left", "42 % of the budget", "burns 21.5 times", "cannot tell: no traffic",
		"1 × oncall and 1 × lead", "POST https://dns.internal/repoint to=eu-2 key=CHANGE/repoint", "POST https://dns.internal/repoint to=eu-1",
		"cannot be undone", "checkout.yaml:41:5", "burn_rate(&#34;availability&#34;, &#34;5m&#34;) &gt; 14.4", "21.5", string(p.Digest), "2026-03-01 12:15:15 UTC", "automation")
	if got := b.do("POST", path(p), b.form("yes", "the region is lost"), nil); got != 303 || b.resp.Header.Get("Location") != path(p) {
		t.Fatalf("%d: %s", got, b.page)
	}
	b.get(path(p))
	b.shows("You said yes", "the region is lost", "Missing: 1 × lead")

	c := s.browser(t).signIn("canary-carol")
	c.get(path(p))
	if got := c.do("POST", path(p), c.form("yes", "agreed"), nil); got != 303 {
		t.Fatalf("%d: %s", got, c.page)
	}
	c.get(path(p))
	c.shows("Approved, and started", "checkout-", "under way", "bob (oncall), carol (lead)")
	if strings.Contains(c.page, `name="verdict"`) {
		t.Error("an ended proposal still has its form")
	}
	v, _ := s.world.View("checkout")
	if v.State.Change == nil || v.State.Target != "failover" {
		t.Errorf("%+v", v.State)
	}
	if strings.Contains(s.logs.String(), "canary") {
		t.Errorf("a token is in the log: %s", s.logs)
	}
}

func TestARefusalEndsIt(t *testing.T) {
	s := open(t, nil)
	p := s.world.Propose(t)
	b := s.browser(t).signIn("canary-bob")
	b.get(path(p))
	if got := b.do("POST", path(p), b.form("no", "only a drill"), nil); got != 303 {
		t.Fatalf("%d: %s", got, b.page)
	}
	b.get(path(p))
	b.shows("Refused by bob", "only a drill")
}

func TestAnAnswerThatDoesNotCountSaysWhyAndShowsTheFactsAgain(t *testing.T) {
	for name, c := range map[string]struct {
		token  string
		before func(*testing.T, *site, engine.Proposal)
		form   func(url.Values)
		status int
		says   string
		log    string
	}{
		"no reason":         {"canary-bob", nil, func(f url.Values) { f.Set("reason", " \n") }, 422, "Say why", "ApprovalRefused"},
		"no verdict":        {"canary-bob", nil, func(f url.Values) { f.Del("verdict") }, 422, "Choose approve or refuse", ""},
		"a reason too long": {"canary-bob", nil, func(f url.Values) { f.Set("reason", strings.Repeat("x", 2001)) }, 422, "at most 2000", ""},
		"no UTF-8":          {"canary-bob", nil, func(f url.Values) { f.Set("reason", "\xff\xfe") }, 422, "at most 2000", ""},
		"a forged form":     {"canary-bob", nil, func(f url.Values) { f.Set("form", "x") }, 403, "not one of your present sign-in", ""},
		"no form token":     {"canary-bob", nil, func(f url.Values) { f.Del("form") }, 403, "not one of your present sign-in", ""},
		"a stale digest":    {"canary-bob", nil, func(f url.Values) { f.Set("digest", strings.Repeat("0", 64)) }, 409, "has changed since you looked", "ApprovalRefused"},
		"no digest":         {"canary-bob", nil, func(f url.Values) { f.Del("digest") }, 409, "has changed since you looked", "ApprovalRefused"},
		"not recorded": {"canary-bob", func(_ *testing.T, s *site, _ engine.Proposal) {
			s.world.Fail(approvaltest.Unavailable("the disk is full"))
		}, nil, 503, "the disk is full", ""},
		"expired meanwhile": {"canary-bob", func(_ *testing.T, s *site, _ engine.Proposal) { s.world.Advance(15 * time.Minute) }, nil, 409, "came to an end before: checkout-8 expired", "ProposalExpired ApprovalRefused"},
		"taken back meanwhile": {"canary-bob", func(t *testing.T, s *site, p engine.Proposal) {
			s.world.Do(t, engine.Actor{Principal: "dave"}, &engine.CancelRequested{Change: p.ID, Reason: "over"})
		}, nil, 409, "came to an end before", "ProposalWithdrawn ApprovalRefused"},
		"a second click": {"canary-bob", func(t *testing.T, s *site, p engine.Proposal) {
			s.world.Do(t, engine.Actor{Principal: "bob-laptop", Person: "bob"}, &engine.ReviewGiven{Proposal: p.ID, Digest: p.Digest, Yes: true, Roles: []string{"oncall"}, Reason: "go"})
		}, nil, 403, "You have said yes already", "ApprovalGranted ApprovalRefused"},
		"another token of the same person": {"canary-bob-phone", func(t *testing.T, s *site, p engine.Proposal) {
			s.world.Do(t, engine.Actor{Principal: "bob-laptop", Person: "bob"}, &engine.ReviewGiven{Proposal: p.ID, Digest: p.Digest, Yes: true, Roles: []string{"oncall"}, Reason: "go"})
		}, nil, 403, "You have said yes already", "ApprovalGranted ApprovalRefused"},
	} {
		t.Run(name, func(t *testing.T) {
			s := open(t, nil)
			p := s.world.Propose(t)
			b := s.browser(t).signIn(c.token)
			b.get(path(p))
			f := b.form("yes", "the region is lost")
			before := s.world.Version()
			if c.before != nil {
				c.before(t, s, p)
			}
			if c.form != nil {
				c.form(f)
			}
			if got := b.do("POST", path(p), f, nil); got != c.status {
				t.Errorf("%d, want %d", got, c.status)
			}
			b.shows("Not done.", c.says, "checkout: degraded → failover")
			if got := s.world.Kinds(before); got != c.log {
				t.Errorf("the log got %q, want %q", got, c.log)
			}
			if !strings.HasPrefix(c.says, "came") && c.status != 422 && !strings.Contains(b.page, "the region is lost") && strings.Contains(b.page, "<textarea") {
				t.Error("the reason typed before is lost")
			}
		})
	}
}

func TestWhatChangedMeanwhileIsShownAndAskedAgain(t *testing.T) {
	s := open(t, nil)
	p := s.world.Propose(t)
	b := s.browser(t).signIn("canary-bob")
	b.get(path(p))
	f := b.form("yes", "the region is lost")
	s.world.Change(t, func(p *engine.Policy) {
		tr := &p.Transitions[0]
		tr.Digest, tr.Playbook.Steps = "t1-new", []engine.Step{{Name: "wipe", Kind: "exec", Destructive: true, Irreversible: true, Spec: "wipe everything"}}
	})
	if got := b.do("POST", path(p), f, nil); got != 409 {
		t.Errorf("%d", got)
	}
	b.shows("has changed since you looked", "wipe everything", "the region is lost")
	fresh := b.form("yes", "still right")
	if fresh.Get("digest") == f.Get("digest") {
		t.Error("the old digest is asked again")
	}
	if got := b.do("POST", path(p), fresh, nil); got != 303 {
		t.Errorf("answered again: %d %s", got, b.page)
	}
}

func TestAReviewCapturedOnThePageCannotBeReplayed(t *testing.T) {
	s := open(t, nil)
	first := s.world.Propose(t)
	b := s.browser(t).signIn("canary-bob")
	b.get(path(first))
	captured := b.form("yes", "go")
	if got := b.do("POST", path(first), captured, nil); got != 303 {
		t.Fatal(got)
	}
	s.world.Do(t, engine.Actor{Principal: "dave"}, &engine.CancelRequested{Change: first.ID, Reason: "over"})
	s.world.Observe(t, engine.False)
	s.world.Change(t, func(p *engine.Policy) { p.Transitions[0].Digest = "t1-other" })
	second := s.world.Propose(t)
	for at, want := range map[string]int{path(first): 409, path(second): 403} {
		if got := b.do("POST", at, captured, nil); got != want {
			t.Errorf("replayed to %s: %d", at, got)
		}
	}
	// By somebody else, with the form of the one it was taken from.
	if got := s.browser(t).signIn("canary-carol").do("POST", path(second), captured, nil); got != 403 {
		t.Errorf("by another session: %d", got)
	}
	if v, _ := s.world.View("checkout"); len(v.State.Proposals) != 1 || len(v.State.Proposals[0].Votes) != 0 {
		t.Errorf("%+v", v.State.Proposals)
	}
}

// The rules are the same and so is the mode: the next proposal has the digest of the one before.
func TestAReviewOfAProposalIsNoneOfTheNextThatIsJustLikeIt(t *testing.T) {
	s := open(t, nil)
	first := s.world.Propose(t)
	b := s.browser(t).signIn("canary-bob")
	b.get(path(first))
	captured := b.form("yes", "go")
	s.world.Do(t, engine.Actor{Principal: "dave"}, &engine.CancelRequested{Change: first.ID, Reason: "over"})
	s.world.Observe(t, engine.False)
	second := s.world.Propose(t)
	if second.ID == first.ID || second.Digest != first.Digest {
		t.Fatalf("%+v is not just like %+v", second, first)
	}
	if got := b.do("POST", path(second), captured, nil); got != 403 {
		t.Errorf("replayed to the next one: %d", got)
	}
	b.shows("about another proposal", "Your answer was not recorded")
	if got := b.do("POST", path(first), captured, nil); got != 409 {
		t.Errorf("replayed to the one that is over: %d", got)
	}
	if v, _ := s.world.View("checkout"); len(v.State.Proposals) != 1 || len(v.State.Proposals[0].Votes) != 0 {
		t.Errorf("%+v", v.State.Proposals)
	}
	b.get(path(second))
	if got := b.do("POST", path(second), b.form("yes", "looked again"), nil); got != 303 {
		t.Errorf("looked at and answered: %d", got)
	}
}

func TestAForeignPageCannotAnswer(t *testing.T) {
	s := open(t, nil)
	p := s.world.Propose(t)
	b := s.browser(t).signIn("canary-bob")
	b.get(path(p))
	f := b.form("yes", "go")
	before := s.world.Version()
	for name, header := range map[string]http.Header{
		"another site":             {"Sec-Fetch-Site": {"cross-site"}, "Origin": {"https://evil.example.com"}},
		"another host of the site": {"Sec-Fetch-Site": {"same-site"}, "Origin": {"https://other.example.com"}},
		"an old browser":           {"Sec-Fetch-Site": nil, "Origin": {"https://evil.example.com"}},
		"a sandboxed frame":        {"Sec-Fetch-Site": nil, "Origin": {"null"}},
	} {
		if got := b.do("POST", path(p), f, header); got != 403 {
			t.Errorf("%s: %d", name, got)
		}
		b.shows("came from another site")
		if got := s.browser(t).do("POST", "/approvals/sign-in", url.Values{"token": {"canary-bob"}}, header); got != 403 {
			t.Errorf("signing in from %s: %d", name, got)
		}
	}
	if got := s.browser(t).do("POST", path(p), f, nil); got != 401 {
		t.Errorf("without a session: %d", got)
	}
	for _, query := range []string{"?" + f.Encode(), "?verdict=yes"} {
		if got := b.get(path(p) + query); got != 200 {
			t.Errorf("GET: %d", got)
		}
	}
	if s.world.Version() != before {
		t.Errorf("something was recorded: %s", s.world.Kinds(before))
	}
	if got := b.do("POST", path(p), f, http.Header{"Sec-Fetch-Site": nil}); got != 303 {
		t.Errorf("its own page in a browser over plain HTTP: %d", got)
	}
}

func TestASessionIsNeverOneThatWasPlanted(t *testing.T) {
	s := open(t, nil)
	p := s.world.Propose(t)
	b := s.browser(t)
	u, err := url.Parse(s.URL)
	if err != nil {
		t.Fatal(err)
	}
	b.http.Jar.SetCookies(u, []*http.Cookie{{Name: "modeshift", Value: "planted", Path: "/"}})
	b.signIn("canary-bob")
	cookies := b.http.Jar.Cookies(u)
	if len(cookies) != 1 || cookies[0].Value == "planted" || len(cookies[0].Value) < 40 {
		t.Errorf("cookies: %+v", cookies)
	}
	planted := s.browser(t)
	planted.http.Jar.SetCookies(u, []*http.Cookie{{Name: "modeshift", Value: "planted", Path: "/"}})
	if got := planted.get(path(p)); got != 401 {
		t.Errorf("the planted one opens: %d", got)
	}
	// Signing in again ends the session before.
	old := cookies[0].Value
	b.signIn("canary-carol")
	planted.http.Jar.SetCookies(u, []*http.Cookie{{Name: "modeshift", Value: old, Path: "/"}})
	if got := planted.get(path(p)); got != 401 {
		t.Errorf("the session before still opens: %d", got)
	}
}

func TestTheCookieIsForThisHostAndNoScript(t *testing.T) {
	for external, secure := range map[string]bool{"": false, "https://modeshift.example.com": true, "http://modeshift.example.com": false} {
		s := open(t, func(o *web.Options) { o.ExternalURL = external })
		b := s.browser(t).signIn("canary-bob")
		c := b.resp.Cookies()[0]
		if !c.HttpOnly || c.SameSite != http.SameSiteStrictMode || c.Secure != secure || c.Path != "/" || c.Domain != "" || (c.Name == "__Host-modeshift") != secure {
			t.Errorf("%q: %+v", external, c)
		}
	}
}

func TestASessionEnds(t *testing.T) {
	for name, end := range map[string]func(*testing.T, *site, *browser){
		"signed out": func(t *testing.T, _ *site, b *browser) {
			form := hidden.FindStringSubmatch(b.page)[2]
			if got := b.do("POST", "/approvals/sign-out", url.Values{"form": {form}}, nil); got != 303 {
				t.Errorf("%d", got)
			}
		},
		"its token was taken back": func(_ *testing.T, s *site, _ *browser) { s.visitors.remove("canary-bob") },
		"not used for an hour":     func(_ *testing.T, s *site, _ *browser) { s.world.Advance(time.Hour) },
		"older than a shift": func(t *testing.T, s *site, b *browser) {
			for range 14 {
				s.world.Advance(50 * time.Minute)
				b.get("/approvals")
			}
			s.world.Advance(20 * time.Minute)
		},
		"pushed out by ten others of the same token": func(t *testing.T, s *site, _ *browser) {
			for range 10 {
				s.world.Advance(time.Second)
				s.browser(t).signIn("canary-bob")
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := open(t, nil)
			p := s.world.Propose(t)
			other := s.browser(t).signIn("canary-carol")
			b := s.browser(t).signIn("canary-bob")
			if got := b.get(path(p)); got != 200 {
				t.Fatal(got)
			}
			f := b.form("yes", "go")
			u, err := url.Parse(s.URL)
			if err != nil {
				t.Fatal(err)
			}
			cookies := b.http.Jar.Cookies(u)
			end(t, s, b)
			b.http.Jar.SetCookies(u, cookies) // whoever kept the cookie has nothing of it
			before := s.world.Version()
			if got := b.do("POST", path(p), f, nil); got != 401 {
				t.Errorf("an answer afterwards: %d", got)
			}
			if got := b.get(path(p)); got != 401 {
				t.Errorf("afterwards: %d", got)
			}
			if s.world.Version() != before {
				t.Error("something was recorded")
			}
			if strings.HasPrefix(name, "pushed") || name == "signed out" {
				if got := other.get(path(p)); got != 200 {
					t.Errorf("somebody else's session: %d", got)
				}
			}
		})
	}
}

func TestGuessingTokensIsSlow(t *testing.T) {
	s := open(t, nil)
	b := s.browser(t)
	for i := range 10 {
		if got := b.do("POST", "/approvals/sign-in", url.Values{"token": {"guess"}}, nil); got != 403 {
			t.Fatalf("guess %d: %d", i, got)
		}
	}
	if got := b.do("POST", "/approvals/sign-in", url.Values{"token": {"canary-bob"}}, nil); got != 429 || b.resp.Header.Get("Retry-After") == "" {
		t.Errorf("after ten guesses: %d", got)
	}
	s.world.Advance(time.Minute)
	b.signIn("canary-bob")
}

func TestSigningInLeadsNowhereElse(t *testing.T) {
	s := open(t, nil)
	for _, id := range []string{"https://evil.example.com", "//evil.example.com/x-1", "../x", "\\\\evil", "javascript:alert(1)", "x"} {
		b := s.browser(t)
		if got := b.do("POST", "/approvals/sign-in", url.Values{"token": {"canary-bob"}, "id": {id}}, nil); got != 303 {
			t.Fatal(got)
		}
		if to := b.resp.Header.Get("Location"); !strings.HasPrefix(to, "/approvals") || strings.HasPrefix(to, "/approvals//") {
			t.Errorf("%q leads to %q", id, to)
		}
	}
}

func TestWhatOnesTokenMayNotSeeIsNotThere(t *testing.T) {
	s := open(t, nil)
	p := s.world.Propose(t)
	b := s.browser(t).signIn("canary-elsewhere")
	b.get("/approvals")
	b.shows("Nothing waits")
	before := s.world.Version()
	none := func(what string, status int) {
		t.Helper()
		if status != 404 || strings.Contains(b.page, "repoint") {
			t.Errorf("%s: %d %s", what, status, main(b.page))
		}
	}
	none("a proposal", b.get(path(p)))
	b.get("/approvals")
	form := hidden.FindStringSubmatch(b.page)[2]
	none("an answer", b.do("POST", path(p), url.Values{"form": {form}, "digest": {string(p.Digest)}, "verdict": {"yes"}, "reason": {"x"}}, nil))
	none("nothing of the kind", b.get("/approvals/nonsense"))
	none("no such proposal", b.get("/approvals/checkout-9999"))
	if s.world.Version() != before {
		t.Error("something was recorded")
	}
	v := s.browser(t).signIn("canary-viewer")
	v.get(path(p))
	v.shows("You are not asked", "repoint")
	if strings.Contains(v.page, `name="verdict"`) {
		t.Error("whoever is not asked has a form")
	}
}

func TestNothingFromOutsideBecomesHTML(t *testing.T) {
	const evil = `"><script>alert(1)</script><img src=x onerror=alert(1)>`
	s := open(t, nil)
	s.world.Change(t, func(p *engine.Policy) {
		p.Owner, p.Runbook = evil, "javascript:alert(1)"
		p.Conditions = slices.Clone(p.Conditions)
		p.Conditions[0].Text = evil
		tr := &p.Transitions[0]
		tr.Digest, tr.Position = "evil", evil
		tr.Playbook.Steps = []engine.Step{{Name: evil, Kind: evil, Spec: evil, UndoSpec: evil, Undo: true}}
		tr.Gate = &engine.Gate{Groups: []engine.Group{{Role: "oncall", Count: 1}, {Role: evil, Count: 1}}, Within: time.Hour}
		p.Modes = slices.Clone(p.Modes)
		p.Modes[2].Flags = engine.Flags{evil: evil}
	})
	p := s.world.Propose(t)
	at := s.world.Now().Add(approvaltest.Interval)
	s.world.Advance(approvaltest.Interval)
	s.world.Do(t, engine.Actor{}, &engine.Observed{Instant: at, Prev: at.Add(-approvaltest.Interval), Conditions: []engine.Observation{{Asked: true, Truth: engine.True,
		Readings: []engine.Reading{{Signal: evil, Text: evil, Query: evil, Source: evil}, {Signal: "x", Why: engine.WhyFailed, Detail: evil}}}}})
	s.world.Do(t, engine.Actor{Principal: evil}, &engine.ReviewGiven{Proposal: p.ID, Digest: p.Digest, Yes: true, Roles: []string{"oncall"}, Reason: evil})
	b := s.browser(t).signIn("canary-bob")
	check := func(where string) {
		t.Helper()
		if strings.Contains(b.page, "<script") || strings.Contains(b.page, "<img") || strings.Contains(b.page, `href="javascript:`) {
			t.Errorf("%s: it became HTML:\n%s", where, main(b.page))
		}
		if csp := b.resp.Header.Get("Content-Security-Policy"); !strings.HasPrefix(csp, "default-src 'none'") || strings.Contains(csp, "unsafe") {
			t.Errorf("%s: %q", where, csp)
		}
	}
	b.get(path(p))
	check("a proposal")
	b.shows("&lt;script&gt;")
	f := b.form("yes", evil)
	f.Set("digest", evil)
	b.do("POST", path(p), f, nil)
	check("a refusal")
	b.shows("&lt;script&gt;alert(1)&lt;/script&gt;")
	b.get("/approvals")
	check("the list")
	b.do("POST", "/approvals/sign-in", url.Values{"token": {evil}, "id": {evil}}, nil)
	check("signing in")
	b.get("/approvals/" + url.PathEscape(evil) + "-1")
	check("a proposal that is none")
	f = b.form2(path(p), "no", evil)
	if got := b.do("POST", path(p), f, nil); got != 303 {
		t.Errorf("refused: %d", got)
	}
	b.get(path(p))
	check("an end")
}

// form2 reads a page and returns its form.
func (b *browser) form2(path, verdict, reason string) url.Values {
	b.t.Helper()
	b.get(path)
	return b.form(verdict, reason)
}

func TestEveryAnswerForbidsFramesCachesScriptsAndReferrers(t *testing.T) {
	s := open(t, nil)
	p := s.world.Propose(t)
	b := s.browser(t)
	check := func(where string) {
		t.Helper()
		h := b.resp.Header
		for name, want := range map[string]string{"X-Frame-Options": "DENY", "Cache-Control": "no-store", "Referrer-Policy": "same-origin", "X-Content-Type-Options": "nosniff"} {
			if h.Get(name) != want {
				t.Errorf("%s: %s: %q", where, name, h.Get(name))
			}
		}
		if strings.Contains(b.page, "<html") {
			csp := h.Get("Content-Security-Policy")
			if !strings.Contains(csp, "default-src 'none'") || !strings.Contains(csp, "frame-ancestors 'none'") || !strings.Contains(csp, "form-action 'self'") {
				t.Errorf("%s: %q", where, csp)
			}
			nonce := regexp.MustCompile(`style-src 'nonce-([^']+)'`).FindStringSubmatch(csp)
			if nonce == nil || !strings.Contains(b.page, `<style nonce="`+nonce[1]+`">`) {
				t.Errorf("%s: the style sheet is not the one allowed: %q", where, csp)
			}
			if !strings.Contains(b.page, `<html lang="en">`) || strings.Count(b.page, "<h1>") != 1 {
				t.Errorf("%s: no language or not one heading", where)
			}
			for _, id := range regexp.MustCompile(`<label[^>]* for="([^"]+)"`).FindAllStringSubmatch(b.page, -1) {
				if !strings.Contains(b.page, `id="`+id[1]+`"`) {
					t.Errorf("%s: a label for nothing: %s", where, id[1])
				}
			}
		}
	}
	b.get("/approvals")
	check("signed out")
	b.signIn("canary-bob")
	check("signing in")
	b.get(path(p))
	check("a proposal")
	b.get("/approvals")
	check("the list")
	b.get("/approvals/nothing-77")
	check("nothing")
	b.do("POST", path(p), url.Values{"reason": {strings.Repeat("x", 100_000)}}, nil)
	if b.resp.StatusCode != 413 {
		t.Errorf("oversize: %d", b.resp.StatusCode)
	}
	b.shows("too long")
	b.do("DELETE", path(p), nil, nil)
	check("another method")
}

func TestABlindYesIsAskedForAndGiven(t *testing.T) {
	s := open(t, nil)
	p := s.world.Propose(t)
	bob, carol := s.browser(t).signIn("canary-bob"), s.browser(t).signIn("canary-carol")
	for _, b := range []*browser{bob, carol} {
		f := b.form2(path(p), "yes", "go")
		if strings.Contains(b.page, `name="blind"`) {
			t.Error("a blind yes is asked for while it can be seen")
		}
		if b == carol {
			s.world.Observe(t, engine.Unknown)
		}
		if got := b.do("POST", path(p), f, nil); got != 303 {
			t.Fatalf("%d: %s", got, b.page)
		}
	}
	f := carol.form2(path(p), "yes", "I see it myself")
	carol.shows("cannot be seen now", `name="blind"`, "It has not started")
	f.Set("blind", "yes")
	if got := carol.do("POST", path(p), f, nil); got != 303 {
		t.Fatalf("%d: %s", got, carol.page)
	}
	carol.get(path(p))
	carol.shows("Approved, and started")
}

func TestTwoClicksInTheSameMillisecondCountOnce(t *testing.T) {
	s := open(t, nil)
	p := s.world.Propose(t)
	b := s.browser(t).signIn("canary-bob")
	f := b.form2(path(p), "yes", "go")
	before := s.world.Version()
	statuses := make([]int, 8)
	var wg sync.WaitGroup
	for i := range statuses {
		own := *b // the same cookies
		wg.Go(func() { statuses[i] = own.do("POST", path(p), f, nil) })
	}
	wg.Wait()
	slices.Sort(statuses)
	if !slices.Equal(statuses, []int{303, 403, 403, 403, 403, 403, 403, 403}) {
		t.Errorf("statuses: %v", statuses)
	}
	if got := strings.Count(s.world.Kinds(before), "ApprovalGranted"); got != 1 {
		t.Errorf("%d votes", got)
	}
}
