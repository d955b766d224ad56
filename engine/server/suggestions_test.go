package server

import (
	"errors"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/modeshift/modeshift/engine"
	"github.com/modeshift/modeshift/rules"
	"github.com/modeshift/modeshift/test/receiver"
)

func at(t *testing.T, text string) time.Time {
	t.Helper()
	v, err := time.Parse(time.RFC3339, text)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func TestThePeriodOfASummaryLiesBetweenTwoInstantsOfItsSchedule(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ cron, zone, now, from, to string }{
		{"0 9 * * MON", "UTC", "2026-11-23T09:00:00Z", "2026-11-16T09:00:00Z", "2026-11-23T09:00:00Z"},           // at its very instant
		{"0 9 * * MON", "UTC", "2026-11-23T08:59:59Z", "2026-11-09T09:00:00Z", "2026-11-16T09:00:00Z"},           // and a second before it
		{"0 9 * * MON", "UTC", "2026-11-29T23:00:00Z", "2026-11-16T09:00:00Z", "2026-11-23T09:00:00Z"},           // missed, and told all week
		{"0 9 * * MON", "Europe/Berlin", "2026-10-26T08:00:00Z", "2026-10-19T07:00:00Z", "2026-10-26T08:00:00Z"}, // a week of 169 hours
		{"0 9 1 * *", "UTC", "2026-03-15T00:00:00Z", "2026-02-01T09:00:00Z", "2026-03-01T09:00:00Z"},
	} {
		s, err := rules.NewRecurrence(c.cron, time.Minute, c.zone)
		if err != nil {
			t.Fatal(err)
		}
		if from, to, ok := lastTwo(s, at(t, c.now)); !ok || !from.Equal(at(t, c.from)) || !to.Equal(at(t, c.to)) {
			t.Errorf("%s in %s at %s: %v to %v", c.cron, c.zone, c.now, from, to)
		}
	}
}

const hesitant = `version: modeshift/v1
service: shop
owner: team-shop
automation: suggest
modes: [{name: normal}, {name: degraded}]
transitions: [{name: shed, from: [normal], to: degraded, when: 'dwell() > duration("1s")'}]
`

func TestWhatAutomationWouldHaveDoneIsTicketedOnceAWeekAlsoAfterARestart(t *testing.T) {
	t.Parallel()
	dir, data, r := t.TempDir(), t.TempDir(), people(t)
	put(t, filepath.Join(dir, "shop.yaml"), hesitant)
	put(t, filepath.Join(dir, "cart.yaml"), strings.Replace(service("cart", "degraded"), "service: cart", "service: cart\nautomation: suggest", 1)) // nothing would have been done
	cfg := testConfig(t, dir)
	cfg.Data = data
	cfg.Receivers.Ticket = &Receiver{Webhook: &Webhook{URL: r.TicketURL()}}
	// The instants are ahead, so that the server itself, which looks too, has nothing to tell.
	monday := time.Now().UTC().Truncate(24*time.Hour).AddDate(0, 0, 14)
	for monday.Weekday() != time.Monday {
		monday = monday.AddDate(0, 0, -1)
	}
	monday = monday.Add(9 * time.Hour)
	tickets := func() (list []receiver.Event) {
		for _, e := range r.Events() {
			if e.Target == receiver.Tickets {
				list = append(list, e)
			}
		}
		return list
	}
	run := func(check func(s *Server, look func(now time.Time))) {
		s, stop := serve(t, Options{Config: cfg, Logger: slog.New(slog.DiscardHandler)})
		defer func() {
			if err := stop(); err != nil {
				t.Error(err)
			}
		}()
		schedule, err := cfg.Suggestions.schedule()
		if err != nil {
			t.Fatal(err)
		}
		w := weekly{server: s, schedule: schedule, severity: s.suggestionsTo(), quiet: map[engine.Scope]time.Time{}}
		check(s, func(now time.Time) { w.tell(t.Context(), now) })
		if len(w.quiet) != 1 || w.quiet["cart"].IsZero() {
			t.Errorf("nothing was to be told of %v; want cart alone", w.quiet)
		}
	}
	run(func(s *Server, look func(time.Time)) {
		within(t, "the suggestion", func() bool { v, _ := s.loop.View("shop"); return len(v.State.Withheld) == 1 })
		look(monday)
		look(monday.Add(time.Hour))
		within(t, "the ticket", func() bool { return len(tickets()) == 1 })
	})
	run(func(s *Server, look func(time.Time)) {
		look(monday.Add(2 * time.Hour))
		look(monday.AddDate(0, 0, 7)) // a week later it is still ready, and that is told
		look(monday)                  // the clock was set back
		within(t, "the second ticket", func() bool { return len(tickets()) == 2 })
		if v, _ := s.loop.View("shop"); !v.State.SuggestionsTold.Equal(monday.AddDate(0, 0, 7)) {
			t.Errorf("told up to %v", v.State.SuggestionsTold)
		}
		events, err := s.store.Read(t.Context(), "shop", 0, 0)
		told := 0
		for _, e := range events {
			if _, is := e.Fact.(engine.SuggestionsTold); is {
				told++
			}
		}
		if err != nil || told != 2 {
			t.Errorf("told %d times, %v", told, err)
		}
	})
	if got := tickets(); len(got) != 2 || got[0].Key == got[1].Key || got[0].Severity != "ticket" ||
		!strings.Contains(got[0].Summary, "shop: automation only suggests; since ") || !strings.Contains(got[0].Summary, "it would have moved once: normal → degraded (shed)") {
		t.Errorf("%+v", got)
	}
}

func TestSuggestionsAreToldToWhoeverIsThere(t *testing.T) {
	t.Parallel()
	chat, desk := &Receiver{Chat: &Chat{URL: "https://chat.example"}}, &Receiver{Webhook: &Webhook{URL: "https://desk.example"}}
	for _, c := range []struct {
		receivers Receivers
		want      engine.Severity
	}{
		{Receivers{Info: chat, Ticket: desk}, engine.SeverityInfo},
		{Receivers{Ticket: desk}, engine.SeverityTicket},
		{Receivers{Page: desk, Exec: desk}, ""}, // nobody is woken for it
	} {
		s := Server{opts: Options{Config: Config{Receivers: c.receivers}}}
		if got := s.suggestionsTo(); got != c.want {
			t.Errorf("%+v: %q, want %q", c.receivers, got, c.want)
		}
	}
	for text, want := range map[string]string{
		"": "", "suggestions: {cron: off}": "", "suggestions: {timezone: Europe/Berlin}": "", "suggestions: {cron: '30 8 * * TUE', timezone: America/New_York}": "",
		"suggestions: {cron: 'now and then'}": "suggestions: cron needs 5 fields",
		"suggestions: {timezone: Berlin}":     `suggestions: there is no timezone "Berlin"`,
		"suggestions: {cron: '0 9 30 2 *'}":   `suggestions: "0 9 30 2 *" never comes`,
		"suggestions: {every: week}":          "unknown key every",
	} {
		path := filepath.Join(t.TempDir(), "modeshift.yaml")
		put(t, path, "rules: [rules]\nprometheus: [{name: main, url: http://127.0.0.1:9090}]\n"+text+"\n")
		cfg, err := LoadConfig(path)
		err = errors.Join(err, cfg.Validate())
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
	}
}
