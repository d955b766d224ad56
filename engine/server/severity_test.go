package server

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/modeshift/modeshift/engine"
	"github.com/modeshift/modeshift/engine/secret"
	"github.com/modeshift/modeshift/examples/prometheus"
	"github.com/modeshift/modeshift/test/receiver"
)

const burner = `version: modeshift/v1
service: shop
slos:
  - name: availability
    objective: 99
    sli: {raw: {error_ratio_query: 'vector(0.5) + 0 * sum_over_time(vector(1)[{{.window}}:1s])'}}
    windows: [{severity: page, long: 10s, short: 5s, factor: 10}]
    escalation: [{severity: exec, burn_rate: 8, for: 2s}]
    alerting: {name: A, ticket_alert: {disable: true}}
`

func TestAPageThatBurnsOnReachesAnotherReceiverAndBothHearOfItsEnd(t *testing.T) {
	t.Parallel()
	p, err := prometheus.Start(prometheus.Options{Dir: t.TempDir(), Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Stop(context.Background()); err != nil {
			t.Error(err)
		}
	})
	dir, onCall, board := t.TempDir(), people(t), people(t)
	put(t, filepath.Join(dir, "shop.yaml"), burner)
	s := runningWith(t, slog.New(slog.DiscardHandler), func(cfg *Config) {
		cfg.Rules, cfg.Prometheus[0].URL = []string{dir}, p.URL()
		paging(cfg, onCall)
		cfg.Receivers.Exec = &Receiver{PagerDuty: &PagerDuty{RoutingKey: secret.New(strings.Repeat("0b", 16)), URL: board.URL()}}
	})
	within(t, "the escalation", func() bool { return len(board.Alerts()) == 1 })
	page, told := onCall.Alerts()[0], board.Alerts()[0]
	if told.Key != page.Key || told.Opened.Sub(page.Opened) < 2*time.Second || told.Severity != "critical" || !strings.Contains(told.Summary, "goes on burning") {
		t.Errorf("the page %+v was told further as %+v", page, told)
	}
	within(t, "the note in the page", func() bool { return len(onCall.Alerts()[0].Notes) == 1 })
	put(t, filepath.Join(dir, "shop.yaml"), "version: modeshift/v1\nservice: shop\nmodes: [{name: normal}, {name: degraded}]\n")
	within(t, "the end at both", func() bool { return !onCall.Alerts()[0].Resolved.IsZero() && !board.Alerts()[0].Resolved.IsZero() })
	if v, _ := s.loop.View("shop"); len(v.State.Incidents) != 0 || len(onCall.Alerts()) != 1 || len(board.Alerts()) != 1 {
		t.Errorf("%+v, %+v, %+v", v.State.Incidents, onCall.Alerts(), board.Alerts())
	}
}

func TestAnInformationalChangeIsAMessageWhereAChatIsConfigured(t *testing.T) {
	t.Parallel()
	const rules = `version: modeshift/v1
service: shop
modes: [{name: normal}, {name: degraded}]
transitions: [{name: tune, from: [normal], to: degraded, when: 'dwell() > duration("1s")'}]
`
	dir, r := t.TempDir(), people(t)
	put(t, filepath.Join(dir, "shop.yaml"), rules)
	address := filepath.Join(t.TempDir(), "chat.url")
	put(t, address, r.ChatURL()+"\n")
	runningWith(t, slog.New(slog.DiscardHandler), func(cfg *Config) {
		cfg.Rules = []string{dir}
		cfg.Receivers.Info = &Receiver{Chat: &Chat{URLFile: address}}
	})
	within(t, "the message", func() bool { return len(r.Events()) == 1 })
	if e := r.Events()[0]; e.Target != receiver.Chats || !strings.HasPrefix(e.Summary, `[info] shop: normal → degraded (tune): dwell() &gt; duration("1s") is true`) {
		t.Errorf("%+v", e)
	}

	// Without one it is in the log, and no notice is owed to anybody.
	s := running(t, dir)
	within(t, "the change", func() bool { v, _ := s.loop.View("shop"); return v.State.Mode == "degraded" })
	if counts, err := s.store.JobCounts(t.Context()); err != nil || counts.Owed+counts.Failed+counts.Leased != 0 {
		t.Errorf("%+v, %v", counts, err)
	}
}

func TestReceiversAreReadBySeverityAndKind(t *testing.T) {
	path := filepath.Join(t.TempDir(), "modeshift.yaml")
	const rest = "rules: [rules]\nprometheus: [{name: main, url: http://127.0.0.1:9090}]\n"
	for text, want := range map[string]string{
		"receivers: {info: {chat: {url: https://hooks.example.com/T0/B0}}, exec: {pagerduty: {routing_key_file: board.key}}}": "",
		"receivers: {info: {chat: {url_file: chat.url}}}":                                                                     "",
		"receivers: {info: {chat: {}}}":                                                                                       "receivers.info.chat: exactly one of url and url_file is needed",
		"receivers: {info: {chat: {url: a, url_file: b}}}":                                                                    "receivers.info.chat: exactly one of url and url_file is needed",
		"receivers: {info: {chat: {url: chat.example}}}":                                                                      "receivers.info.chat.url: ",
		"receivers: {exec: {chat: {url: https://a.example}, webhook: {url: https://b.example}}}":                              "receivers.exec: exactly one of pagerduty, webhook and chat is needed",
		"receivers: {loud: {chat: {url: https://a.example}}}":                                                                 "modeshift.yaml:3: unknown key loud",
	} {
		put(t, path, rest+text+"\n")
		cfg, err := LoadConfig(path)
		if err == nil {
			err = cfg.Validate()
		}
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
		if r := cfg.Receivers.Info; want == "" && r.Chat.URLFile != "" && r.Chat.URLFile != filepath.Join(filepath.Dir(path), "chat.url") {
			t.Errorf("%s is read from %s", text, r.Chat.URLFile)
		}
	}
	cfg := testConfig(t, path)
	cfg.Receivers.Info = &Receiver{Chat: &Chat{URLFile: filepath.Join(t.TempDir(), "gone")}}
	put(t, path, service("shop", "degraded"))
	if _, err := New(t.Context(), Options{Config: cfg, Logger: slog.New(slog.DiscardHandler)}); err == nil || !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "receivers."+string(engine.SeverityInfo)+": chat.url_file") {
		t.Errorf("without its address: %v", err)
	}
}
