package demo

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/modeshift/modeshift/engine/secret"
	"github.com/modeshift/modeshift/examples/prometheus"
	"github.com/modeshift/modeshift/examples/shop"
	"github.com/modeshift/modeshift/test/receiver"
)

// stage is what every story needs: a Prometheus, a receiver of pages, people and modeshift itself.
type stage struct {
	dir      string // the configuration, rules and data of modeshift
	pager    *receiver.Receiver
	people   people
	prom     *promClient
	month    bool // the Prometheus knows of last month
	promURL  string
	scraper  *prometheus.Server // nil: the Prometheus is somebody else's
	mode     Modeshift
	api      *apiClient
	teardown []func(context.Context) error // in the order things were started
}

// open makes the folder and starts the receiver. What has been started when it, or what follows, returns an error is ended by stop.
func (s *stage) open(t *teller) (err error) {
	if s.dir, err = os.MkdirTemp("", "modeshift-demo-"); err != nil {
		return err
	}
	s.finally(func(context.Context) error { return os.RemoveAll(s.dir) })
	if s.pager, err = receiver.Start("127.0.0.1:0", receiver.Options{OnEvent: t.notice, RoutingKeys: []secret.Secret{secret.New(routingKey)}}); err != nil {
		return err
	}
	s.finally(func(context.Context) error { return s.pager.Close() })
	return nil
}

// measure starts Prometheus. Of the past it knows only where it is the embedded one.
func (s *stage) measure(o Options, jobs []prometheus.Job, past []prometheus.Past) (err error) {
	var stop func(context.Context) error
	if s.month = o.Prometheus == nil; s.month {
		p, err := prometheus.Start(prometheus.Options{Interval: scrapeEvery, Jobs: jobs, Past: past, PastFor: 30 * 24 * time.Hour})
		if err != nil {
			return err
		}
		s.promURL, s.scraper, stop = p.URL(), p, p.Stop
	} else if s.promURL, stop, err = o.Prometheus(jobs); err != nil {
		return err
	}
	s.finally(stop)
	if s.prom, err = newPromClient(s.promURL); err != nil {
		return err
	}
	s.finally(s.prom.close)
	return nil
}

// visit sends visitors, until the stage ends.
func (s *stage) visit(ctx context.Context, visitors ...func(context.Context)) {
	loading, leave := context.WithCancel(context.WithoutCancel(ctx))
	var all sync.WaitGroup
	for _, come := range visitors {
		all.Go(func() { come(loading) })
	}
	s.finally(func(context.Context) error { leave(); all.Wait(); return nil })
}

// lead starts modeshift with the rules of some scopes.
func (s *stage) lead(ctx context.Context, o Options, rules map[string][]byte) error {
	file, err := s.configure(rules)
	if err != nil {
		return err
	}
	if s.mode, err = o.Start(ctx, file); err != nil {
		return fmt.Errorf("start modeshift: %w", err)
	}
	s.finally(s.mode.Stop)
	s.api = newAPIClient(s.mode.URL(), s.people.admin)
	s.finally(s.api.close)
	return nil
}

// follow has instances follow their mode.
func (s *stage) follow(shops []*shop.Shop) error {
	for _, i := range shops {
		if err := i.Follow(s.mode.URL(), s.people.shop.token); err != nil {
			return err
		}
	}
	return nil
}

// finally has stop called when the stage ends, before what was started earlier.
func (s *stage) finally(stop func(context.Context) error) { s.teardown = append(s.teardown, stop) }

// stop ends everything, in reverse order. Something that cannot be ended keeps nothing else from being ended.
func (s *stage) stop(ctx context.Context) error {
	var errs []error
	for i := len(s.teardown) - 1; i >= 0; i-- {
		errs = append(errs, s.teardown[i](ctx))
	}
	s.teardown = nil
	return errors.Join(errs...)
}

// routingKey has the form of a PagerDuty integration key, and is none: only this process's receiver takes it.
const routingKey = "demo0demo0demo0demo0demo0demo0de"

// configure writes modeshift's configuration and the rules of scopes, and returns the configuration's path.
func (s *stage) configure(scopes map[string][]byte) (string, error) {
	rules := filepath.Join(s.dir, "rules")
	if err := os.Mkdir(rules, 0o700); err != nil {
		return "", err
	}
	for scope, text := range scopes {
		if err := os.WriteFile(filepath.Join(rules, scope+".rules.yaml"), text, 0o600); err != nil {
			return "", err
		}
	}
	file := filepath.Join(s.dir, "modeshift.yaml")
	text := fmt.Sprintf(`# Written by modeshift demo; gone when it ends.
rules: [rules/]
data: data
listen: 127.0.0.1:0
tokens_file: %q

instances: {heartbeat: 1s}

evaluation:
  interval: 1s # 15s where windows are minutes
  blind_after: 30s

prometheus:
  - name: demo
    url: %q

receivers:
  page:
    pagerduty: {routing_key: %q, url: %q}
  ticket:
    webhook: {url: %q}

actions:
  webhook:
    allow: [127.0.0.1] # what is not public is called only when it is named, such as the router of the shop's gateways
`, filepath.Base(s.people.file), s.promURL, routingKey, s.pager.URL(), s.pager.TicketURL())
	return file, os.WriteFile(file, []byte(text), 0o600)
}
