package server

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/modeshift/modeshift/actions/flags"
	"github.com/modeshift/modeshift/engine"
	"github.com/modeshift/modeshift/engine/loop"
	"github.com/modeshift/modeshift/engine/roster"
	"github.com/modeshift/modeshift/engine/secret"
)

// FlagsKeyFile holds what signs the addresses of OFREP's event streams, in the data folder; mode 0600. Without it clients
// that follow would all have to fetch a new address after a restart.
const FlagsKeyFile = "flags-key"

// FlagServing says how OpenFeature's clients get their flags, beside OFREP, which is where the API is.
type FlagServing struct {
	// SyncListen is host:port of flagd's sync protocol (gRPC); empty: it is not served. flagd's own is 8015.
	SyncListen string `yaml:"sync_listen"`
	// RateLimit is how many OFREP requests a second one client may send, a token at an address being one; 0: no limit. A
	// limit protects the server from a client that loops, and may leave instances behind their mode: it is no way to save
	// work.
	RateLimit float64 `yaml:"rate_limit"`
	// MaxStreams bounds the readers that follow at once, in each of the two protocols.
	MaxStreams int `yaml:"max_streams"`
}

// readers is what readers of flags are told: in a wave, whoever goes by an instance's name what that instance is, and all others
// what those in no wave yet are.
type readers struct {
	*loop.Loop
	roster *roster.Roster
}

// Told implements flags.Source.
func (r readers) Told(scope engine.Scope, name string) engine.Told {
	if t, any := r.roster.Told(scope, name); any {
		return t
	}
	v, _ := r.View(scope)
	return engine.Told{Scope: scope, Directive: v.State.Directive}
}

// Wave implements flags.Source.
func (r readers) Wave(scope engine.Scope) []string { return r.roster.Wave(scope) }

// Changed implements flags.Source: it is the table of instances that says who is told what, and it follows the loop.
func (r readers) Changed() <-chan struct{} { return r.roster.Changed() }

// listenSync takes the port of flagd's sync protocol, if there is one.
func (s *Server) listenSync() (err error) {
	address := s.opts.Config.Flags.SyncListen
	if address == "" {
		return nil
	}
	if s.syncListener, err = listen(context.Background(), address); err != nil {
		return fmt.Errorf("listen on %s for flagd: %w; choose another address under flags.sync_listen", address, err)
	}
	return nil
}

// openFlags makes what serves directives as feature flags. A server that only this machine can reach and that has no tokens
// of its own lets anybody read them: what they say is no secret there, and an instance needs no set-up. Else an instance's
// token is needed.
func (s *Server) openFlags(cert *tls.Certificate) error {
	cfg := &s.opts.Config
	m := s.metrics
	opts := flags.Options{
		Origins: cfg.Origins, Rate: cfg.Flags.RateLimit, MaxStreams: cfg.Flags.MaxStreams, Logger: s.log,
		Fetched: func(f flags.Fetch) { m.flagsFetched.WithLabelValues(string(f.Scope), f.Via).Inc() },
		Limited: m.flagsLimited.Inc, Meta: s.flagMeta,
	}
	if cfg.TokensFile != "" {
		key, err := openFlagsKey(filepath.Join(cfg.Data, FlagsKeyFile))
		if err != nil {
			return err
		}
		opts.Guard, opts.TicketKey = s.tokens, key
	}
	source := readers{s.loop, s.roster}
	s.ofrep = flags.Handler(source, opts)
	m.streams("ofrep", s.ofrep.Streams)
	if s.syncListener != nil {
		if opts.Guard != nil {
			opts.Default = s.tokens.Only // a flagd that says no selector means the one scope its token is for
		}
		s.sync = flags.NewSync(source, opts, cert)
		m.streams("flagd", s.sync.Streams)
	}
	return nil
}

// serveSync serves flagd's sync protocol, if it is wanted.
func (s *Server) serveSync(context.Context) error {
	if s.sync == nil {
		return nil
	}
	return s.sync.Serve(s.syncListener)
}

// stopSync ends serveSync, beside what else is being stopped: a client that does not read may take all of the time there is.
func (s *Server) stopSync(ctx context.Context) (over <-chan struct{}) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		if s.sync != nil {
			s.sync.Stop(ctx)
		}
	}()
	return done
}

// SyncAddr is where flagd's sync protocol is served: host:port; empty: nowhere.
func (s *Server) SyncAddr() string {
	if s.syncListener == nil {
		return ""
	}
	return s.syncListener.Addr().String()
}

// openFlagsKey reads the key and makes it when there is none.
func openFlagsKey(path string) (secret.Secret, error) {
	key, err := secret.Read(path)
	if errors.Is(err, fs.ErrNotExist) {
		bits := make([]byte, 32)
		_, _ = rand.Read(bits) // it never fails
		key = secret.New(hex.EncodeToString(bits))
		err = writeFile(path, []byte(key.Reveal()+"\n"))
	}
	if err != nil {
		return key, fmt.Errorf("the key of flags' event streams: %w; remove %s to have a new one made", err, path)
	}
	return key, nil
}

// streams tells at each scrape how many readers of flags follow.
func (m *metrics) streams(via string, count func() int) {
	m.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "modeshift_flags_streams", Help: "Readers of flags that follow their changes.", ConstLabels: prometheus.Labels{"via": via},
	}, func() float64 { return float64(count()) }))
}
