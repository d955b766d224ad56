package shop

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// server is an HTTP server with /metrics beside its own handler.
type server struct {
	address string
	http    *http.Server
	done    sync.WaitGroup
	failed  error // guarded by done
}

// serve listens and serves h. name says in an error who it was.
func serve(name, listen string, h http.Handler, reg *prometheus.Registry) (*server, error) {
	if listen == "" {
		listen = "127.0.0.1:0"
	}
	l, err := net.Listen("tcp", listen)
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(reg, promhttp.HandlerOpts{}))
	mux.Handle("/", h)
	s := &server{address: l.Addr().String(), http: &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}}
	s.done.Go(func() {
		if err := s.http.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			s.failed = fmt.Errorf("%s stopped serving: %w", name, err)
		}
	})
	return s, nil
}

// URL is where it is served: "http://127.0.0.1:41234".
func (s *server) URL() string { return "http://" + s.address }

// Address is its host:port, as a scrape target names it.
func (s *server) Address() string { return s.address }

func (s *server) stop(ctx context.Context) error {
	err := s.http.Shutdown(ctx)
	if err != nil {
		err = errors.Join(err, s.http.Close())
	}
	s.done.Wait()
	return errors.Join(err, s.failed)
}
