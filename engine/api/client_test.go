package api_test

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/modeshift/modeshift/engine/api"
	"github.com/modeshift/modeshift/engine/secret"
)

func newClient(t *testing.T, server string) *api.Client {
	t.Helper()
	c, err := api.NewClient(server, secret.New("x"), nil)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestNoServerCanBeToldFromAServerThatRefuses(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := listener.Addr().String()
	if err := listener.Close(); err != nil {
		t.Fatal(err)
	}
	_, err = newClient(t, "http://"+address).Scopes(t.Context())
	if !errors.Is(err, api.ErrNoServer) || !strings.Contains(err.Error(), address) || !strings.Contains(err.Error(), "refused") {
		t.Errorf("nobody listens: %v", err)
	}

	hangup := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }))
	defer hangup.Close()
	if _, err = newClient(t, hangup.URL).Scopes(t.Context()); !errors.Is(err, api.ErrNoServer) {
		t.Errorf("the connection is closed: %v", err)
	}

	release := make(chan struct{})
	slow := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-release }))
	defer slow.Close()
	defer close(release)
	late := errors.New("too late")
	ctx, cancel := context.WithTimeoutCause(t.Context(), 20*time.Millisecond, late)
	defer cancel()
	if _, err = newClient(t, slow.URL).Scopes(ctx); !errors.Is(err, late) || errors.Is(err, api.ErrNoServer) {
		t.Errorf("the caller had no time left: %v", err)
	}
}

func TestAnAnswerThatIsNotModeshiftsIsToldAsSuch(t *testing.T) {
	for name, c := range map[string]struct {
		serve http.HandlerFunc
		says  string
	}{
		"a page":        {func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("<html>")) }, "not modeshift's"},
		"a proxy's 502": {func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "Bad Gateway", http.StatusBadGateway) }, "502 Bad Gateway"},
		"a problem of no sort": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/problem+json")
			w.WriteHeader(418)
			_, _ = w.Write([]byte("{"))
		}, "418"},
	} {
		t.Run(name, func(t *testing.T) {
			s := httptest.NewServer(c.serve)
			defer s.Close()
			_, err := newClient(t, s.URL).Scopes(t.Context())
			if err == nil || errors.Is(err, api.ErrNoServer) || !strings.Contains(err.Error(), c.says) {
				t.Errorf("got %v, want …%s…", err, c.says)
			}
		})
	}
}

func TestTheTokenIsNotCarriedToAnotherServer(t *testing.T) {
	carried := make(chan string, 1)
	other := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { carried <- r.Header.Get("Authorization") }))
	defer other.Close()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, other.URL+r.URL.Path, http.StatusTemporaryRedirect)
	}))
	defer s.Close()
	if _, err := newClient(t, s.URL).Scopes(t.Context()); err == nil || apiError(t, err).Status() != 307 {
		t.Errorf("a redirect: %v", err)
	}
	select {
	case token := <-carried:
		t.Errorf("the other server was asked, with %q", token)
	default:
	}
}

func TestAnAddressThatIsNoServersIsRefusedAtOnce(t *testing.T) {
	for _, server := range []string{"", "localhost:9095", "ftp://x", "http://", "http://user:pass@host", "http://a b", "://"} {
		if _, err := api.NewClient(server, secret.Secret{}, nil); err == nil {
			t.Errorf("%q is taken for a server", server)
		} else if strings.Contains(err.Error(), "pass@") {
			t.Errorf("the password is repeated: %v", err)
		}
	}
	if _, err := api.NewClient("https://modeshift.example.com/behind/a/prefix/", secret.Secret{}, nil); err != nil {
		t.Error(err)
	}
}

func TestHealthIsPublicAndReadinessSaysWhatIsMissing(t *testing.T) {
	checks := []api.Check{{Name: "rules", OK: true}, {Name: "log", OK: true}}
	mux := http.NewServeMux()
	mux.Handle("/-/healthy", api.Healthy())
	mux.Handle("/-/ready", api.Ready(func() []api.Check { return checks }))
	ask := func(method, path string) (int, string) {
		w := httptest.NewRecorder()
		mux.ServeHTTP(w, httptest.NewRequest(method, path, nil))
		return w.Code, w.Body.String()
	}
	if status, _ := ask("GET", "/-/healthy"); status != 200 {
		t.Errorf("healthy: %d", status)
	}
	if status, text := ask("GET", "/-/ready"); status != 200 {
		t.Errorf("ready: %d %s", status, text)
	}
	checks[1] = api.Check{Name: "log", Detail: "the disk is full"}
	if status, text := ask("GET", "/-/ready"); status != 503 || text != "not ready: log: the disk is full\n" {
		t.Errorf("not ready: %d %q", status, text)
	}
	if status, _ := ask("GET", "/-/healthy"); status != 200 {
		t.Errorf("healthy while not ready: %d", status)
	}
	if status, _ := ask("POST", "/-/ready"); status != 405 {
		t.Errorf("POST: %d", status)
	}
}

func TestOnlyAnAdminReloadsAndNeverByGet(t *testing.T) {
	var calls int
	var fault error
	h := api.Reload(testTokens(t), nil, func(context.Context) (string, error) { calls++; return "shop is on now\n", fault })
	ask := func(method, bearer string, header http.Header) (int, string) {
		r := httptest.NewRequest(method, "/-/reload", nil)
		for name, values := range header {
			r.Header[name] = values
		}
		if bearer != "" {
			r.Header.Set("Authorization", "Bearer "+secretOf(bearer))
		}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		return w.Code, w.Body.String()
	}
	for _, c := range []struct {
		method, bearer string
		header         http.Header
		status         int
	}{
		{"GET", "admin", nil, 405}, {"POST", "", nil, 401}, {"POST", "operator-all", nil, 403},
		{"POST", "admin", http.Header{"Sec-Fetch-Site": {"cross-site"}}, 403},
	} {
		if status, text := ask(c.method, c.bearer, c.header); status != c.status {
			t.Errorf("%s as %q: %d %s, want %d", c.method, c.bearer, status, text, c.status)
		}
	}
	if calls != 0 {
		t.Fatalf("%d reloads by those who may not", calls)
	}
	for _, method := range []string{"POST", "PUT"} {
		if status, text := ask(method, "admin", nil); status != 200 {
			t.Errorf("%s: %d %s", method, status, text)
		}
	}
	fault = errors.New("checkout.yaml:3:5: unknown key")
	if status, text := ask("POST", "admin", nil); status != 500 || !strings.Contains(text, "checkout.yaml:3:5") || calls != 3 {
		t.Errorf("a bad file: %d %s after %d calls", status, text, calls)
	}
}
