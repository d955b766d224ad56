package server

import (
	"crypto/tls"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/modeshift/modeshift/actions/flags"
	"github.com/modeshift/modeshift/actions/flags/flagdsync"
	"github.com/modeshift/modeshift/engine"
)

func TestHowFlagsAreServedIsChecked(t *testing.T) {
	for _, c := range []struct {
		text, want string // want is a part of the error; empty: there is none
	}{
		{"{sync_listen: 127.0.0.1:8015, rate_limit: 50, max_streams: 100}", ""},
		{"{sync_listen: localhost:8015}", ""},
		{"{}", ""},
		{"{sync_listen: 0.0.0.0:8015}", "flags.sync_listen: 0.0.0.0:8015 can be reached from elsewhere"},
		{`{sync_listen: ":8015"}`, "flags.sync_listen: :8015 can be reached from elsewhere"},
		{"{sync_listen: \"8015\"}", "flags.sync_listen: \"8015\" is not host:port"},
		{"{rate_limit: -1}", "flags.rate_limit: -1"},
		{"{max_streams: 0}", "flags.max_streams: 0 streams"},
		{"{sync_lisen: 127.0.0.1:8015}", "sync_lisen"},
	} {
		path := filepath.Join(t.TempDir(), "modeshift.yaml")
		put(t, path, "rules: [rules/]\nprometheus: [{name: main, url: http://127.0.0.1:1}]\nflags: "+c.text+"\n")
		cfg, err := LoadConfig(path)
		if err == nil {
			err = cfg.Validate()
		}
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.text, err, c.want)
		}
	}
	with := DefaultConfig()
	with.Rules, with.Prometheus, with.TokensFile, with.Flags.SyncListen = []string{"x"}, []Source{{Name: "main", URL: "http://127.0.0.1:1"}}, "tokens.yaml", ":8015"
	if err := with.Validate(); err != nil {
		t.Errorf("with tokens anybody may reach it: %v", err)
	}
}

// guarded is a server whose readers need a token, with flagd's protocol.
func guarded(t *testing.T, change func(*Config)) func(t *testing.T) (*Server, func() error) {
	t.Helper()
	dir := t.TempDir()
	put(t, filepath.Join(dir, "rules", "shop.yaml"), service("shop", "degraded"))
	put(t, filepath.Join(dir, "rules", "cart.yaml"), service("cart", "degraded"))
	put(t, filepath.Join(dir, "tokens.yaml"), entry("root", "admin", "")+entry("shop-instance", "instance", "shop")+entry("two", "instance", "shop, cart")+entry("viewer", "viewer", "shop"))
	cfg := testConfig(t, filepath.Join(dir, "rules"))
	cfg.TokensFile, cfg.Flags.SyncListen = filepath.Join(dir, "tokens.yaml"), "127.0.0.1:0"
	change(&cfg)
	return func(t *testing.T) (*Server, func() error) {
		t.Helper()
		return serve(t, Options{Config: cfg, Logger: slog.New(slog.DiscardHandler)})
	}
}

func TestTheAddressOfAnEventStreamHoldsAfterARestart(t *testing.T) {
	start := guarded(t, func(*Config) {})
	address := func(s *Server) (tag, uri string) {
		q := httptest.NewRequest(http.MethodPost, flags.Path, strings.NewReader(`{"context":{"service":"shop"}}`))
		q.Header.Set("Authorization", "Bearer shop-instance")
		w := httptest.NewRecorder()
		s.http.Handler.ServeHTTP(w, q)
		var body struct {
			EventStreams []struct {
				Endpoint struct {
					RequestURI string `json:"requestUri"`
				} `json:"endpoint"`
			} `json:"eventStreams"`
		}
		if err := json.Unmarshal(w.Body.Bytes(), &body); err != nil || len(body.EventStreams) != 1 {
			t.Fatalf("%d %s", w.Code, w.Body)
		}
		return w.Header().Get("ETag"), body.EventStreams[0].Endpoint.RequestURI
	}
	s, stop := start(t)
	tag, uri := address(s)
	if strings.Contains(uri, "shop-instance") {
		t.Errorf("the token is in %s", uri)
	}
	if info, err := os.Stat(filepath.Join(s.opts.Config.Data, FlagsKeyFile)); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the key's file: %v, %v", info, err)
	}
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	s, stop = start(t)
	defer func() {
		if err := stop(); err != nil {
			t.Error(err)
		}
	}()
	if again, same := address(s); again != tag || same != uri {
		t.Errorf("after the restart: %s %s, before: %s %s", again, same, tag, uri)
	}
}

func TestFlagdIsServedWithTheServersTokensAndItsTLS(t *testing.T) {
	dir := t.TempDir()
	certFile, keyFile := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	pool := certificate(t, certFile, keyFile)
	s, stop := guarded(t, func(cfg *Config) { cfg.TLS = &TLS{CertFile: certFile, KeyFile: keyFile} })(t)
	defer func() {
		if err := stop(); err != nil {
			t.Error(err)
		}
	}()
	conn, err := grpc.NewClient(s.SyncAddr(), grpc.WithTransportCredentials(credentials.NewTLS(&tls.Config{RootCAs: pool})))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }() // the server may have closed it
	client := flagdsync.NewFlagSyncServiceClient(conn)
	for _, c := range []struct {
		token, selector string
		want            codes.Code
	}{
		{"shop-instance", "flagSetId=shop", codes.OK},
		{"shop-instance", "", codes.OK}, // its token is for one scope: that is the one it means
		{"shop-instance", "flagSetId=cart", codes.PermissionDenied},
		{"two", "", codes.InvalidArgument},
		{"two", "flagSetId=cart", codes.OK},
		{"root", "flagSetId=cart", codes.OK},
		{"root", "flagSetId=nobody", codes.NotFound},
		{"viewer", "flagSetId=shop", codes.PermissionDenied},
		{"guessed", "flagSetId=shop", codes.Unauthenticated},
	} {
		ctx := metadata.AppendToOutgoingContext(t.Context(), "authorization", "Bearer "+c.token, "flagd-selector", c.selector)
		got, err := client.FetchAllFlags(ctx, &flagdsync.FetchAllFlagsRequest{})
		if status.Code(err) != c.want || err == nil && !strings.Contains(got.GetFlagConfiguration(), `"defaultVariant":"normal"`) {
			t.Errorf("%s selects %q: %v, %v; want %v", c.token, c.selector, got, err, c.want)
		}
	}
}

func TestReadersThatNameThemselvesAtRandomAddNoSeries(t *testing.T) {
	dir := t.TempDir()
	put(t, filepath.Join(dir, "shop.yaml"), service("shop", "degraded"))
	s := runningWith(t, slog.New(slog.DiscardHandler), func(cfg *Config) { cfg.Rules, cfg.Flags.RateLimit = []string{dir}, 1e6 })
	ask := func(i int, scope engine.Scope) {
		body := fmt.Sprintf(`{"context":{"service":%q,"instance":"i%d","targetingKey":"k%d"}}`, scope, i, i)
		q := httptest.NewRequest(http.MethodPost, flags.Path+"/mode", strings.NewReader(body))
		q.Header.Set("User-Agent", fmt.Sprint("client ", i))
		s.ofrep.ServeHTTP(httptest.NewRecorder(), q)
	}
	series := func() int {
		return strings.Count(get(t, http.DefaultClient, s.URL()+"/metrics", "").text, "\nmodeshift_")
	}
	ask(0, "shop")
	before := series()
	for i := range 50_000 {
		ask(i, "shop")
		ask(i, engine.Scope(fmt.Sprint("scope", i)))
	}
	if after := series(); after > before+5 { // a tick may have added its own
		t.Errorf("%d series, and %d after 100,000 names", before, after)
	}
}
