package server

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/prometheus/common/config"

	"github.com/modeshift/modeshift/actions"
	"github.com/modeshift/modeshift/actions/pagerduty"
	"github.com/modeshift/modeshift/actions/webhook"
	"github.com/modeshift/modeshift/engine"
)

// notifiers makes the configured receivers, by severity.
func (s *Server) notifiers() (map[engine.Severity]actions.Notifier, error) {
	routes := map[engine.Severity]actions.Notifier{}
	for severity, r := range s.opts.Config.Receivers.bySeverity() {
		if r == nil {
			continue // Run says so
		}
		n, err := r.notifier(s.externalURL(), nil)
		if err != nil {
			return nil, fmt.Errorf("receivers.%s: %w", severity, err)
		}
		routes[severity] = n
	}
	who := s.opts.Config.Receivers
	if asked := cmp.Or(who.Approvals, who.Page); asked != nil {
		n, err := newAsker(asked, who.Approvals == nil, s.externalURL(), s.store.Read)
		if err != nil {
			return nil, fmt.Errorf("receivers.approvals: %w", err)
		}
		routes[engine.SeverityAsk] = n
	}
	return routes, nil
}

// notifier makes the way to a receiver; links lead to external. client is used where it is set.
func (r *Receiver) notifier(external string, client *http.Client) (actions.Notifier, error) {
	if r.PagerDuty != nil {
		return pagerduty.New(pagerduty.Options{
			Endpoint: r.PagerDuty.URL, RoutingKey: r.PagerDuty.RoutingKey, RoutingKeyFile: r.PagerDuty.RoutingKeyFile,
			HTTP: config.DefaultHTTPClientConfig, Client: client, ExternalURL: external,
		})
	}
	return webhook.New(webhook.Options{
		URL: r.Webhook.URL, SigningSecretFile: r.Webhook.HMACSecretFile,
		HTTP: httpConfig(r.Webhook.HTTPConfig), Client: client, ExternalURL: external,
	})
}

// client makes the HTTP client of a receiver.
func (r *Receiver) client(name string) (*http.Client, error) {
	if r.PagerDuty != nil {
		return config.NewClientFromConfig(config.DefaultHTTPClientConfig, name)
	}
	return config.NewClientFromConfig(httpConfig(r.Webhook.HTTPConfig), name)
}

// bySeverity names the receivers; nil where none is configured.
func (r Receivers) bySeverity() map[engine.Severity]*Receiver {
	return map[engine.Severity]*Receiver{engine.SeverityPage: r.Page, engine.SeverityTicket: r.Ticket}
}

// externalURL is how people reach the server.
func (s *Server) externalURL() string {
	if u := s.opts.Config.ExternalURL; u != "" {
		return u
	}
	return s.URL()
}

func httpConfig(c *config.HTTPClientConfig) config.HTTPClientConfig {
	if c == nil {
		return config.DefaultHTTPClientConfig
	}
	return *c
}

// logIncident is the one incident that is not in the log when people are told of it, because the log is what is broken. Its
// identity is fixed, so that two servers with the same trouble page once.
const logIncident engine.IncidentID = "log"

// directs counts the notices that go around the store.
type directs struct{ wg sync.WaitGroup }

// logFault pages when the log cannot be written, and resolves that when it can be again.
func (s *Server) logFault(err error) {
	n := engine.Notice{
		Action: engine.NoticeTrigger, Incident: logIncident, Severity: engine.SeverityPage,
		Details: engine.Details{Scope: engine.Fleet},
		Event:   engine.Event{Stream: engine.Fleet, At: time.Now().UTC(), Fact: engine.LogRecovered{}},
	}
	if err != nil {
		s.metrics.logWritable.Set(0)
		n.Summary = "the log cannot be written: modes hold, nothing new is decided: " + err.Error()
		n.Event.Reason = engine.Reason{Code: engine.CodeLogFault, Text: err.Error()}
	} else {
		s.metrics.logWritable.Set(1)
		n.Action, n.Summary = engine.NoticeResolve, "the log can be written again"
		n.Event.Reason = engine.Reason{Code: engine.CodeLogFault, Text: n.Summary}
	}
	s.direct.wg.Go(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Hour)
		defer cancel()
		if err := s.runner.Direct(ctx, n); err != nil {
			s.log.Error("nobody could be told that the log cannot be written", "error", err)
		}
	})
}

// wait gives notices under way until ctx ends to be delivered.
func (d *directs) wait(ctx context.Context) {
	done := make(chan struct{})
	go func() {
		d.wg.Wait()
		close(done)
	}()
	select {
	case <-done:
	case <-ctx.Done():
	}
}
