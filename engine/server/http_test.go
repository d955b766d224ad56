package server

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/modeshift/modeshift/engine/api"
	"github.com/modeshift/modeshift/engine/loop"
	"github.com/modeshift/modeshift/engine/secret"
)

// entry is a line of a tokens file.
func entry(token, roles, scopes string) string {
	return fmt.Sprintf("- {sha256: %s, principal: %s, roles: [%s], scopes: [%s]}\n", api.HashToken(secret.New(token)), token, roles, scopes)
}

func TestAReloadIsForAdminsWhoAskByPost(t *testing.T) {
	dir := t.TempDir()
	put(t, filepath.Join(dir, "rules", "shop.yaml"), service("shop", "degraded"))
	tokens := filepath.Join(dir, "tokens.yaml")
	put(t, tokens, entry("root", "admin", "")+entry("ann", "operator", `"*"`))
	s := runningWith(t, slog.New(slog.DiscardHandler), func(cfg *Config) {
		cfg.Rules, cfg.TokensFile = []string{filepath.Join(dir, "rules")}, tokens
	})
	// A token that is added shows whether files were read again: nothing but a reload does that.
	put(t, tokens, entry("root", "admin", "")+entry("ann", "operator", `"*"`)+entry("bob", "viewer", `"*"`))
	bob := func() int { return get(t, http.DefaultClient, s.URL()+"/api/v1/scopes", "bob").status }
	for _, c := range []struct {
		name, method, token string
		want                int
	}{
		{"nobody", http.MethodPost, "", http.StatusUnauthorized},
		{"a stranger", http.MethodPost, "eve", http.StatusUnauthorized},
		{"an operator", http.MethodPost, "ann", http.StatusForbidden},
		{"an admin who only looks", http.MethodGet, "root", http.StatusMethodNotAllowed},
	} {
		if got := ask(t, http.DefaultClient, c.method, s.URL()+"/-/reload", c.token, ""); got.status != c.want {
			t.Errorf("%s: %d %s, want %d", c.name, got.status, got.text, c.want)
		}
		if got := bob(); got != http.StatusUnauthorized {
			t.Fatalf("%s: the files were read again", c.name)
		}
	}
	if got := ask(t, http.DefaultClient, http.MethodPost, s.URL()+"/-/reload", "root", ""); got.status != http.StatusOK || bob() != http.StatusOK {
		t.Errorf("an admin: %d %s, and bob is answered %d", got.status, got.text, bob())
	}
	put(t, filepath.Join(dir, "rules", "shop.yaml"), service("shop", "degraded")+"ownr: x\n")
	if got := ask(t, http.DefaultClient, http.MethodPost, s.URL()+"/-/reload", "root", ""); got.status != http.StatusInternalServerError || !strings.Contains(got.text, "shop.yaml:4:1") {
		t.Errorf("a file with a fault: %d %s", got.status, got.text)
	}
}

func TestATokenMayDoWhatItsRolesSayInItsScopes(t *testing.T) {
	dir := t.TempDir()
	put(t, filepath.Join(dir, "rules", "shop.yaml"), service("shop", "degraded"))
	put(t, filepath.Join(dir, "rules", "cart.yaml"), service("cart", "degraded"))
	tokens := filepath.Join(dir, "tokens.yaml")
	put(t, tokens, entry("root", "admin", "")+entry("shop-operator", "operator", "shop")+entry("shop-viewer", "viewer", "shop")+
		entry("shop-instance", "instance", "shop"))
	s := runningWith(t, slog.New(slog.DiscardHandler), func(cfg *Config) {
		cfg.Rules, cfg.TokensFile = []string{filepath.Join(dir, "rules")}, tokens
	})
	if _, err := os.Stat(filepath.Join(s.opts.Config.Data, AdminTokenFile)); err == nil {
		t.Error("an admin token is made though there is a tokens file")
	}
	const (
		show   = "GET /api/v1/scopes/shop"
		other  = "GET /api/v1/scopes/cart"
		change = "POST /api/v1/scopes/shop/freeze"
		all    = "POST /api/v1/scopes/fleet/freeze"
		flag   = "POST /ofrep/v1/evaluate/flags/mode"
	)
	bodies := map[string]string{change: `{"reason":"drill"}`, all: `{"reason":"drill"}`, flag: `{"context":{"service":"shop"}}`}
	want := map[string]map[string]int{
		"":              {show: 401, other: 401, change: 401, all: 401, flag: 401},
		"eve":           {show: 401, other: 401, change: 401, all: 401, flag: 401},
		"shop-instance": {show: 403, other: 403, change: 403, all: 403, flag: 200},
		"shop-viewer":   {show: 200, other: 403, change: 403, all: 403, flag: 403},
		"shop-operator": {show: 200, other: 403, change: 200, all: 403, flag: 403},
		"root":          {show: 200, other: 200, change: 200, all: 200, flag: 200},
	}
	for token, codes := range want {
		for request, code := range codes {
			method, path, _ := strings.Cut(request, " ")
			if got := ask(t, http.DefaultClient, method, s.URL()+path, token, bodies[request]); got.status != code {
				t.Errorf("%q: %s: %d %s, want %d", token, request, got.status, got.text, code)
			}
		}
	}
	if got := ask(t, http.DefaultClient, http.MethodPost, s.URL()+"/ofrep/v1/evaluate/flags/mode", "shop-instance", `{"context":{"service":"cart"}}`); got.status != http.StatusForbidden {
		t.Errorf("an instance of shop asks for cart's flags: %d %s", got.status, got.text)
	}
	for _, path := range []string{"/-/healthy", "/metrics"} { // for probes, which have no token
		if got := get(t, http.DefaultClient, s.URL()+path, ""); got.status != http.StatusOK {
			t.Errorf("%s: %d", path, got.status)
		}
	}
}

// certificate writes a self-signed certificate of 127.0.0.1 and its key, and returns who trusts it.
func certificate(t *testing.T, certFile, keyFile string) *x509.CertPool {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Minute), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, &template, &template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	public := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	put(t, certFile, public)
	put(t, keyFile, string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})))
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM([]byte(public)) {
		t.Fatal("the certificate is none")
	}
	return pool
}

func TestTLSIsServedToWhoTrustsTheCertificate(t *testing.T) {
	dir := t.TempDir()
	put(t, filepath.Join(dir, "rules", "shop.yaml"), service("shop", "degraded"))
	certFile, keyFile := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	pool := certificate(t, certFile, keyFile)
	s := runningWith(t, slog.New(slog.DiscardHandler), func(cfg *Config) {
		cfg.Rules, cfg.TLS = []string{filepath.Join(dir, "rules")}, &TLS{CertFile: certFile, KeyFile: keyFile}
	})
	if !strings.HasPrefix(s.URL(), "https://127.0.0.1:") {
		t.Fatalf("it is reached at %s", s.URL())
	}
	client := func(c *tls.Config) *http.Client {
		tr := &http.Transport{TLSClientConfig: c}
		t.Cleanup(tr.CloseIdleConnections)
		return &http.Client{Transport: tr, Timeout: 10 * time.Second}
	}
	trusting := client(&tls.Config{RootCAs: pool})
	token, err := secret.Read(filepath.Join(s.opts.Config.Data, AdminTokenFile))
	if err != nil {
		t.Fatal(err)
	}
	if got := get(t, trusting, s.URL()+"/api/v1/scopes/shop", token.Reveal()); got.status != http.StatusOK || !strings.Contains(got.text, `"normal"`) {
		t.Errorf("who trusts the certificate: %d %s", got.status, got.text)
	}
	fails := func(name, url string, c *http.Client) {
		resp, err := c.Get(url)
		if err == nil {
			_ = resp.Body.Close() // it must not be there
			t.Errorf("%s: answered %d", name, resp.StatusCode)
		}
	}
	fails("who does not trust it", s.URL(), client(&tls.Config{RootCAs: x509.NewCertPool()}))
	fails("who speaks TLS 1.1", s.URL(), client(&tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11}))
	if got := get(t, http.DefaultClient, "http://"+s.Addr()+"/", ""); got.status != http.StatusBadRequest {
		t.Errorf("without TLS: %d %s", got.status, got.text)
	}
}

func TestReadyTurnsFalseWhileEvaluationIsLate(t *testing.T) {
	dir := t.TempDir()
	put(t, filepath.Join(dir, "shop.yaml"), service("shop", "degraded"))
	s := running(t, dir)
	ready := func() answered { return get(t, http.DefaultClient, s.URL()+"/-/ready", "") }
	within(t, "ready", func() bool { return ready().status == http.StatusOK })

	set, problem := s.book.current()
	r := s.inForce(set, problem)
	evaluate, hang := r.Evaluate, make(chan struct{})
	release := sync.OnceFunc(func() { close(hang) })
	t.Cleanup(release)                                                   // the loop ends only when its evaluation does
	r.Evaluate = func(ctx context.Context, tick loop.Tick) loop.Answer { // it does not keep to its deadline
		<-hang
		return evaluate(ctx, tick)
	}
	if err := s.loop.Replace(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	within(t, "not ready", func() bool { return ready().status == http.StatusServiceUnavailable })
	if got := ready(); !strings.HasPrefix(got.text, "not ready: evaluation: the last one was ") || strings.Count(got.text, "\n") != 1 {
		t.Errorf("ready says %q", got.text)
	}
	if got := get(t, http.DefaultClient, s.URL()+"/-/healthy", ""); got.status != http.StatusOK {
		t.Errorf("to restart the program would help nobody: %d %s", got.status, got.text)
	}
	release()
	within(t, "ready again", func() bool { return ready().status == http.StatusOK })
}
