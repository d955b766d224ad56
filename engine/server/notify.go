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
	"github.com/modeshift/modeshift/actions/notice"
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
		n, err := r.notifier(s.identity, s.externalURL(), approvalsAt(s.externalURL()), nil)
		if err != nil {
			return nil, fmt.Errorf("receivers.%s: %w", severity, err)
		}
		routes[severity] = n
	}
	who := s.opts.Config.Receivers
	if asked := cmp.Or(who.Approvals, who.Page); asked != nil {
		n, err := newAsker(asked, who.Approvals == nil, s.identity, s.externalURL(), s.store.Read)
		if err != nil {
			return nil, fmt.Errorf("receivers.approvals: %w", err)
		}
		routes[engine.SeverityAsk] = n
	}
	return routes, nil
}

// notifier makes the way to a receiver, for the log of that identity; links lead to external, and to
// approvals where there is something to answer. client is used where it is set.
func (r *Receiver) notifier(log, external, approvals string, client *http.Client) (actions.Notifier, error) {
	if r.PagerDuty != nil {
		return pagerduty.New(pagerduty.Options{
			Endpoint: r.PagerDuty.URL, RoutingKey: r.PagerDuty.RoutingKey, RoutingKeyFile: r.PagerDuty.RoutingKeyFile, Log: log,
			HTTP: config.DefaultHTTPClientConfig, Client: client, ExternalURL: external, ApprovalsURL: approvals,
		})
	}
	opts := webhook.Options{Log: log, HTTP: httpConfig(r.http()), Client: client, ExternalURL: external, ApprovalsURL: approvals}
	if r.Chat != nil {
		var err error
		if opts.URL, err = r.Chat.address(); err != nil {
			return nil, fmt.Errorf("chat.url_file: %w", err)
		}
		opts.Chat = true
	} else {
		opts.URL, opts.SigningSecretFile = r.Webhook.URL, r.Webhook.HMACSecretFile
	}
	return webhook.New(opts)
}

// client makes the HTTP client of a receiver.
func (r *Receiver) client(name string) (*http.Client, error) {
	return config.NewClientFromConfig(httpConfig(r.http()), name)
}

// bySeverity names the receivers; nil where none is configured.
func (r Receivers) bySeverity() map[engine.Severity]*Receiver {
	return map[engine.Severity]*Receiver{engine.SeverityExec: r.Exec, engine.SeverityPage: r.Page, engine.SeverityTicket: r.Ticket, engine.SeverityInfo: r.Info}
}

// severities are those that somebody is configured for.
func (r Receivers) severities() map[engine.Severity]bool {
	known := map[engine.Severity]bool{}
	for severity, to := range r.bySeverity() {
		if to != nil {
			known[severity] = true
		}
	}
	return known
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

// directs counts the notices that go around the store.
type directs struct{ wg sync.WaitGroup }

// logFault pages when the log cannot be written, and resolves that when it can be again.
func (s *Server) logFault(err error) {
	n := engine.Notice{
		Action: engine.NoticeTrigger, Incident: notice.LogIncident, Severity: engine.SeverityPage,
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
	s.tell(n)
}

// codeDeciding is the reason of notices about a scope that is not evaluated any more.
const codeDeciding engine.Code = "deciding"

// broken pages when a scope is not evaluated any more because deciding went wrong, and resolves that when it is evaluated
// again. Nothing can be stored of it: its events are what cannot be made. The incident is the scope's, the same each time, so
// that a server that is restarted into the same trouble does not page again.
func (s *Server) broken(scope engine.Scope, err error) {
	n := engine.Notice{
		Action: engine.NoticeTrigger, Incident: engine.IncidentID("deciding/" + string(scope)), Severity: engine.SeverityPage,
		Details: engine.Details{Scope: scope}, Event: engine.Event{Stream: scope, At: time.Now().UTC()},
	}
	if err != nil {
		n.Summary = fmt.Sprintf("%s holds its mode and is not evaluated any more: deciding went wrong: %v", scope, err)
		n.Event.Reason = engine.Reason{Code: codeDeciding, Text: err.Error()}
		n.Event.Fact = engine.IncidentOpened{Incident: engine.Incident{ID: n.Incident, Subject: string(scope), Severity: n.Severity, Opened: n.Event.At}, Summary: n.Summary}
	} else {
		n.Action, n.Summary = engine.NoticeResolve, fmt.Sprintf("%s is evaluated again, or retired", scope)
		n.Event.Reason = engine.Reason{Code: codeDeciding, Text: n.Summary}
		n.Event.Fact = engine.IncidentResolved{Incident: n.Incident, Severity: n.Severity, Subject: string(scope)}
	}
	s.tell(n)
}

// tell delivers a notice that no stored event stands behind.
func (s *Server) tell(n engine.Notice) {
	s.direct.wg.Go(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Hour)
		defer cancel()
		if err := s.runner.Direct(ctx, n); err != nil {
			s.log.Error("nobody could be told", "notice", n.Summary, "error", err)
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
