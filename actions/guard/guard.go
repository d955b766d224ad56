package guard

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"syscall"
	"time"
)

// Options say what may be called and how much it may take. The zero value calls public addresses only.
type Options struct {
	Allow Allow
	// Resolver finds addresses; nil: the system's.
	Resolver *net.Resolver
	// TLS is the client's side of TLS; nil: Go's defaults. It is cloned.
	TLS *tls.Config
	// Proxy is asked to make the calls; nil: none. What the environment says of proxies is never looked at.
	Proxy *url.URL
	// MaxRedirects is how many redirects are followed; 0: none, the redirect itself is the answer.
	MaxRedirects int
	// DialTimeout is for one connection and Timeout for a whole call, body included; 0: 10 s and 30 s.
	DialTimeout, Timeout time.Duration
	// MaxBytes is how much of an answer's body may be read, uncompressed; 0: 1 MiB. What goes beyond is ErrTooLong.
	MaxBytes int64
}

// ErrTooLong is what reading an answer's body ends in when it is longer than Options.MaxBytes.
var ErrTooLong = errors.New("the answer is too long")

// Refused says that an address may not be called. Nothing was sent to it.
type Refused struct {
	Host string // as it was asked for
	Addr netip.Addr
	Why  string // what the address is
}

func (e *Refused) Error() string {
	if !e.Addr.IsValid() {
		return fmt.Sprintf("%s may not be called: %s", e.Host, e.Why)
	}
	return fmt.Sprintf("%s may not be called: %s is %s; if that is meant, allow it in the server's configuration", e.Host, e.Addr, e.Why)
}

// Dialer returns a function that connects by TCP, for http.Transport and its like. It refuses with a *Refused in the error.
func Dialer(opts Options) func(ctx context.Context, network, address string) (net.Conn, error) {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		name, _, err := net.SplitHostPort(address)
		if err != nil {
			return nil, err
		}
		switch network {
		case "tcp", "tcp4", "tcp6":
		default:
			return nil, &Refused{Host: name, Why: network + " is not TCP"}
		}
		d := net.Dialer{
			Timeout:  cmp.Or(opts.DialTimeout, 10*time.Second),
			Resolver: opts.Resolver,
			// Here the address is final: the socket exists and nothing was sent yet.
			ControlContext: func(_ context.Context, _, to string, _ syscall.RawConn) error {
				at, err := netip.ParseAddrPort(to)
				if err != nil {
					return &Refused{Host: name, Why: "its address cannot be read"}
				}
				if why := opts.Allow.judge(name, at.Addr()); why != "" {
					return &Refused{Host: name, Addr: at.Addr(), Why: why}
				}
				return nil
			},
		}
		return d.DialContext(ctx, network, address)
	}
}

// Client returns a client whose every connection goes through Dialer.
//
// Each request has a connection of its own. A request on a connection that was kept may be sent again behind the caller's
// back when that connection turns out to be dead, and then nobody can say how often it was sent; and an address that was
// allowed once would be called for as long as its connection lives.
func Client(opts Options) *http.Client {
	t := &http.Transport{
		DialContext:            Dialer(opts),
		TLSClientConfig:        opts.TLS.Clone(),
		TLSHandshakeTimeout:    cmp.Or(opts.DialTimeout, 10*time.Second),
		DisableKeepAlives:      true,
		MaxResponseHeaderBytes: 64 << 10,
	}
	if opts.Proxy != nil {
		t.Proxy = http.ProxyURL(opts.Proxy)
	}
	return &http.Client{
		Transport: &bounded{t, cmp.Or(opts.MaxBytes, 1<<20)},
		Timeout:   cmp.Or(opts.Timeout, 30*time.Second),
		CheckRedirect: func(req *http.Request, via []*http.Request) error {
			switch {
			case len(via) > opts.MaxRedirects && opts.MaxRedirects > 0:
				return fmt.Errorf("more than %d redirects", opts.MaxRedirects)
			case opts.MaxRedirects == 0:
				return http.ErrUseLastResponse
			case via[0].URL.Scheme == "https" && req.URL.Scheme != "https":
				return errors.New("a redirect leads from https to " + req.URL.Scheme)
			}
			return nil
		},
	}
}

// bounded keeps answers from being longer than max bytes.
type bounded struct {
	next *http.Transport
	max  int64
}

func (b *bounded) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := b.next.RoundTrip(req)
	if err == nil {
		resp.Body = &boundedBody{resp.Body, b.max}
	}
	return resp, err
}

// CloseIdleConnections is for http.Client.CloseIdleConnections.
func (b *bounded) CloseIdleConnections() { b.next.CloseIdleConnections() }

type boundedBody struct {
	io.ReadCloser
	left int64
}

// Read gives at most what is left. Only a byte beyond that is too much, so one is asked for.
func (b *boundedBody) Read(p []byte) (int, error) {
	if b.left < 0 {
		return 0, ErrTooLong
	}
	if int64(len(p)) > b.left+1 {
		p = p[:b.left+1]
	}
	n, err := b.ReadCloser.Read(p)
	if int64(n) > b.left {
		n, b.left = int(b.left), -1
		return n, ErrTooLong
	}
	b.left -= int64(n)
	return n, err
}
