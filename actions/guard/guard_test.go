package guard_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/modeshift/modeshift/actions/guard"
)

func allow(t *testing.T, entries ...string) guard.Allow {
	t.Helper()
	a, err := guard.ParseAllow(entries)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func get(c *http.Client, url string) (int, string, error) {
	resp, err := c.Get(url)
	if err != nil {
		return 0, "", err
	}
	defer func() { _ = resp.Body.Close() }() // read to its end
	b, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(b), err
}

// counted is a server on loopback that counts who reaches it.
func counted(t *testing.T, h http.HandlerFunc) (*httptest.Server, *atomic.Int64) {
	t.Helper()
	var n atomic.Int64
	s := httptest.NewUnstartedServer(h)
	s.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			n.Add(1)
		}
	}
	s.Start()
	t.Cleanup(s.Close)
	return s, &n
}

func ok(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ok") }

// names is a DNS server on UDP. Each name has answers, which come in turn, the last one for ever; an answer is addresses of
// either kind between spaces.
type names struct {
	mu      sync.Mutex
	answers map[string][]string // guarded by mu
	asked   map[asked]int       // guarded by mu; queries
}

type asked struct {
	name string
	kind uint16
}

// The types of questions. Source: RFC 1035, section 3.2.2; RFC 3596, section 2.1.
const (
	typeA    = 1
	typeAAAA = 28
)

// resolver starts the server and returns a resolver that asks it.
func resolver(t *testing.T, answers map[string][]string) (*net.Resolver, *names) {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	n := &names{answers: answers, asked: map[asked]int{}}
	var wg sync.WaitGroup
	wg.Go(func() {
		buf := make([]byte, 512)
		for {
			size, from, err := conn.ReadFrom(buf)
			if err != nil {
				return // closed
			}
			if reply := n.reply(buf[:size]); reply != nil {
				if _, err := conn.WriteTo(reply, from); err != nil {
					t.Error(err)
				}
			}
		}
	})
	t.Cleanup(func() { _ = conn.Close(); wg.Wait() })
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "udp", conn.LocalAddr().String())
	}}, n
}

// reply answers a query of one question. Source: RFC 1035, section 4.1.
func (n *names) reply(query []byte) []byte {
	var labels []string
	at := 12
	for at < len(query) && query[at] != 0 {
		labels = append(labels, string(query[at+1:at+1+int(query[at])]))
		at += 1 + int(query[at])
	}
	end := at + 5
	if end > len(query) {
		return nil
	}
	kind := binary.BigEndian.Uint16(query[at+1:])
	name := strings.ToLower(strings.Join(labels, "."))
	n.mu.Lock()
	defer n.mu.Unlock()
	out := append([]byte{}, query[:2]...)
	out = append(out, 0x81, 0x80, 0, 1, 0, 0, 0, 0, 0, 0)
	out = append(out, query[12:end]...)
	list := n.answers[name]
	if len(list) == 0 || kind != typeA && kind != typeAAAA {
		return out
	}
	turn := asked{name, kind}
	for text := range strings.FieldsSeq(list[min(n.asked[turn], len(list)-1)]) {
		if ip := netip.MustParseAddr(text); ip.Is4() == (kind == typeA) {
			out[7]++
			out = append(out, 0xc0, 12, 0, byte(kind), 0, 1, 0, 0, 0, 0, 0, byte(ip.BitLen()/8))
			out = append(out, ip.AsSlice()...)
		}
	}
	n.asked[turn]++
	return out
}

func (n *names) count(name string) int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.asked[asked{name, typeA}]
}

// both is a server on loopback of either kind, at one port, that counts who reaches it. Where there is no IPv6 it is of the one.
func both(t *testing.T) (port string, reached *atomic.Int64) {
	t.Helper()
	server, reached := counted(t, ok)
	port = server.URL[strings.LastIndex(server.URL, ":")+1:]
	six, err := net.Listen("tcp", "[::1]:"+port)
	if err != nil {
		t.Logf("without IPv6: %v", err)
		return port, reached
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := six.Accept()
			if err != nil {
				return // closed
			}
			reached.Add(1)
			_ = c.Close() // there is nothing to say
		}
	})
	t.Cleanup(func() { _ = six.Close(); wg.Wait() })
	return port, reached
}

// Whichever kind of address a name turns to, and whatever public ones are beside it.
func TestANameThatMeansAnotherAddressOfEitherKindIsRefused(t *testing.T) {
	port, reached := both(t)
	for name, answers := range map[string][]string{
		"six.example":     {"2606:4700:4700::1111", "::1"},
		"turns.example":   {"93.184.216.34", "::1"},
		"back.example":    {"2606:4700:4700::1111", "127.0.0.1"},
		"two.example":     {"93.184.216.34 2606:4700:4700::1111", "127.0.0.1 ::1"},
		"mapped.example":  {"2606:4700:4700::1111", "::ffff:127.0.0.1"},
		"nat64.example":   {"2606:4700:4700::1111", "64:ff9b::7f00:1"},
		"compat.example":  {"2606:4700:4700::1111", "::7f00:1"},
		"unique.example":  {"2606:4700:4700::1111", "fd00:ec2::254"},
		"private.example": {"93.184.216.34 2606:4700:4700::1111", "10.0.0.1 fd00::1"},
	} {
		res, _ := resolver(t, map[string][]string{name: answers})
		if ips, err := res.LookupHost(t.Context(), name); err != nil || !strings.Contains(answers[0], ips[0]) {
			t.Fatalf("%s: the first look finds %v, %v", name, ips, err)
		}
		_, _, err := get(guard.Client(guard.Options{Resolver: res}), "http://"+name+":"+port+"/")
		var refused *guard.Refused
		if !errors.As(err, &refused) || refused.Host != name || !strings.Contains(answers[1], refused.Addr.String()) && name != "mapped.example" {
			t.Errorf("%s: the call ends in %v", name, err)
		}
	}
	// One address may be called and the other may not: the other is not called, whatever becomes of the first.
	for name, answer := range map[string]string{"mixed.example": "93.184.216.34 ::1", "xedmi.example": "2606:4700:4700::1111 127.0.0.1"} {
		res, _ := resolver(t, map[string][]string{name: {answer}})
		if _, _, err := get(guard.Client(guard.Options{Resolver: res, Timeout: time.Second}), "http://"+name+":"+port+"/"); err == nil {
			t.Errorf("%s: the call went through", name)
		}
	}
	if reached.Load() != 0 {
		t.Errorf("%d connections were made", reached.Load())
	}
}

func TestANameThatMeansAnotherAddressTheSecondTimeIsRefused(t *testing.T) {
	server, reached := counted(t, ok)
	res, dns := resolver(t, map[string][]string{"rebind.example": {"93.184.216.34", "127.0.0.1"}})
	// Who looks first finds a public address.
	if ips, err := res.LookupHost(t.Context(), "rebind.example"); err != nil || ips[0] != "93.184.216.34" {
		t.Fatalf("the first look finds %v, %v", ips, err)
	}
	u, err := url.Parse(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	_, _, err = get(guard.Client(guard.Options{Resolver: res}), "http://rebind.example:"+u.Port()+"/")
	var refused *guard.Refused
	if !errors.As(err, &refused) || refused.Host != "rebind.example" || refused.Addr != netip.MustParseAddr("127.0.0.1") {
		t.Errorf("the call ends in %v", err)
	}
	if n := dns.count("rebind.example"); n != 2 {
		t.Errorf("the name was looked up %d times, so the call did not look for itself once", n)
	}
	if reached.Load() != 0 {
		t.Error("a connection was made")
	}
}

func TestANameOnTheAllowListMayBeAtHomeButNotAtTheMetadataService(t *testing.T) {
	server, reached := counted(t, ok)
	u, err := url.Parse(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	res, _ := resolver(t, map[string][]string{"dns.internal": {"127.0.0.1", "169.254.169.254"}, "other.internal": {"127.0.0.1"}})
	c := guard.Client(guard.Options{Resolver: res, Allow: allow(t, "dns.internal")})
	if _, body, err := get(c, "http://dns.internal:"+u.Port()); err != nil || body != "ok" {
		t.Errorf("the allowed name gives %q, %v", body, err)
	}
	var refused *guard.Refused
	if _, _, err := get(c, "http://dns.internal:"+u.Port()); !errors.As(err, &refused) || refused.Why != "a cloud's metadata service" {
		t.Errorf("at the metadata service it gives %v", err)
	}
	if _, _, err := get(c, "http://other.internal:"+u.Port()); !errors.As(err, &refused) || refused.Host != "other.internal" {
		t.Errorf("another name gives %v", err)
	}
	if n := reached.Load(); n != 1 {
		t.Errorf("%d connections were made, want 1", n)
	}
}

func TestLoopbackIsRefusedByAddressAndAllowedByBlock(t *testing.T) {
	server, reached := counted(t, ok)
	port := server.URL[strings.LastIndex(server.URL, ":"):]
	for _, host := range []string{"127.0.0.1", "[::ffff:127.0.0.1]", "0.0.0.0", "localhost"} {
		_, _, err := get(guard.Client(guard.Options{}), "http://"+host+port)
		var refused *guard.Refused
		if !errors.As(err, &refused) {
			t.Errorf("%s gives %v", host, err)
		}
	}
	if reached.Load() != 0 {
		t.Error("a connection was made")
	}
	if status, body, err := get(guard.Client(guard.Options{Allow: allow(t, "127.0.0.0/8")}), server.URL); status != 200 || body != "ok" || err != nil {
		t.Errorf("the allowed block gives %d, %q, %v", status, body, err)
	}
}

func TestARedirectIsTheAnswerUnlessRedirectsAreFollowed(t *testing.T) {
	server, _ := counted(t, func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/next", http.StatusFound) })
	opts := guard.Options{Allow: allow(t, "127.0.0.1")}
	if status, _, err := get(guard.Client(opts), server.URL); status != http.StatusFound || err != nil {
		t.Errorf("the redirect gives %d, %v", status, err)
	}
	opts.MaxRedirects = 2
	if _, _, err := get(guard.Client(opts), server.URL); err == nil || !strings.Contains(err.Error(), "more than 2 redirects") {
		t.Errorf("redirects for ever give %v", err)
	}
}

func TestEachRedirectIsJudgedForItself(t *testing.T) {
	inner, reached := counted(t, ok)
	port := inner.URL[strings.LastIndex(inner.URL, ":"):]
	outer, _ := counted(t, func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "http://"+r.URL.Query().Get("to")+port, http.StatusTemporaryRedirect)
	})
	c := guard.Client(guard.Options{Allow: allow(t, "127.0.0.1"), MaxRedirects: 3})
	var refused *guard.Refused
	for _, to := range []string{"127.0.0.2", "[::ffff:127.0.0.2]", "169.254.169.254"} {
		if _, _, err := get(c, outer.URL+"?to="+url.QueryEscape(to)); !errors.As(err, &refused) {
			t.Errorf("a redirect to %s gives %v", to, err)
		}
	}
	if reached.Load() != 0 {
		t.Error("a connection was made")
	}
	if status, body, err := get(c, outer.URL+"?to=127.0.0.1"); status != 200 || body != "ok" || err != nil {
		t.Errorf("an allowed redirect gives %d, %q, %v", status, body, err)
	}
}

func TestARedirectDoesNotLeaveTLS(t *testing.T) {
	plain, reached := counted(t, ok)
	secure := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, plain.URL, http.StatusFound) }))
	t.Cleanup(secure.Close)
	pool := x509.NewCertPool()
	pool.AddCert(secure.Certificate())
	c := guard.Client(guard.Options{Allow: allow(t, "127.0.0.1"), MaxRedirects: 3, TLS: &tls.Config{RootCAs: pool}})
	if _, _, err := get(c, secure.URL); err == nil || !strings.Contains(err.Error(), "from https to http") {
		t.Errorf("the redirect gives %v", err)
	}
	if reached.Load() != 0 {
		t.Error("a connection was made")
	}
}

func TestAnAnswerHasALimitInBytes(t *testing.T) {
	server, _ := counted(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, strings.Repeat("x", len(r.URL.Path)-1))
	})
	c := guard.Client(guard.Options{Allow: allow(t, "127.0.0.1"), MaxBytes: 100})
	for _, n := range []int{0, 99, 100} {
		if _, body, err := get(c, server.URL+"/"+strings.Repeat("x", n)); err != nil || len(body) != n {
			t.Errorf("%d bytes give %d, %v", n, len(body), err)
		}
	}
	if _, body, err := get(c, server.URL+"/"+strings.Repeat("x", 101)); !errors.Is(err, guard.ErrTooLong) || len(body) != 100 {
		t.Errorf("101 bytes give %d, %v", len(body), err)
	}
}

func TestACallEndsInTime(t *testing.T) {
	hang := make(chan struct{})
	server, _ := counted(t, func(http.ResponseWriter, *http.Request) { <-hang })
	t.Cleanup(func() { close(hang) })
	c := guard.Client(guard.Options{Allow: allow(t, "127.0.0.1"), Timeout: 50 * time.Millisecond})
	_, _, err := get(c, server.URL)
	var timeout net.Error
	if !errors.As(err, &timeout) || !timeout.Timeout() {
		t.Errorf("a call that hangs gives %v", err)
	}
}

func TestEveryCallHasAConnectionOfItsOwn(t *testing.T) {
	server, reached := counted(t, ok)
	c := guard.Client(guard.Options{Allow: allow(t, "127.0.0.1")})
	for range 3 {
		if _, _, err := get(c, server.URL); err != nil {
			t.Fatal(err)
		}
	}
	if n := reached.Load(); n != 3 {
		t.Errorf("3 calls made %d connections", n)
	}
}

func TestOnlyTCPIsDialled(t *testing.T) {
	for _, network := range []string{"unix", "udp"} {
		_, err := guard.Dialer(guard.Options{})(t.Context(), network, "127.0.0.1:1")
		var refused *guard.Refused
		if !errors.As(err, &refused) {
			t.Errorf("%s gives %v", network, err)
		}
	}
}
