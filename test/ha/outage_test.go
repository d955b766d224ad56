package ha

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/modeshift/modeshift/engine"
	"github.com/modeshift/modeshift/engine/api"
	"github.com/modeshift/modeshift/test/promtest"
	"github.com/modeshift/modeshift/test/receiver"
)

// watched is a service whose one SLO decides both ways, so that an answer taken for good or for bad moves it. traffic is
// the metric it counts.
func watched(traffic string) string {
	return fmt.Sprintf(`version: modeshift/v1
service: shop
slos:
  - name: availability
    objective: 99
    sli:
      events:
        error_query: sum(rate(%[1]s{code="500"}[{{.window}}]))
        total_query: sum(rate(%[1]s[{{.window}}]))
    alerting: {page_alert: {disable: true}, ticket_alert: {disable: true}}
modes: [{name: normal}, {name: degraded}]
transitions:
  - {name: shed, from: [normal], to: degraded, when: 'burn_rate("availability", "6s") > 10.0'}
  - {name: recover, from: [degraded], to: normal, when: 'burn_rate("availability", "3s") < 1.0'}
`, traffic)
}

// blindAfter is how long a source may be out of sight before somebody is paged, in these tests.
const blindAfter = 3 * time.Second

// outages are what a Prometheus can do to its readers. Each is a want of sight.
var outages = []struct {
	name  string
	begin func(*proxy)
	end   func(*proxy)
	why   engine.Why
}{
	{"refused", func(p *proxy) { p.refuse() }, func(p *proxy) { p.listen() }, engine.WhyFailed},
	{"503", spoiled(say(http.StatusServiceUnavailable, "no upstream")), mended, engine.WhyFailed},
	{"hanging", spoiled(hang), mended, engine.WhyTimeout},
	{"empty", spoiled(say(http.StatusOK, `{"status":"success","data":{"resultType":"vector","result":[]}}`)), mended, engine.WhyAbsent},
	{"NaN", spoiled(say(http.StatusOK, `{"status":"success","data":{"resultType":"scalar","result":[1,"NaN"]}}`)), mended, engine.WhyNotFinite},
	{"partial warnings", spoiled(partly), mended, engine.WhyPartial},
}

func spoiled(f fault) func(*proxy) { return func(p *proxy) { p.spoil(f) } }

func mended(p *proxy) { p.spoil(nil) }

// states are the modes an outage can come in, and what keeps the shop there.
var states = []struct {
	mode    engine.Mode
	traffic string
}{{"normal", "good_total"}, {"degraded", "bad_total"}}

// traffic pushes a minute of the past and until: ten requests a second, of which half fail or none does.
func traffic(p *promtest.Prometheus, metric string, until time.Time, failing bool) {
	now := time.Now().Truncate(time.Second)
	good, bad := 10.0, 0.0
	if failing {
		good, bad = 5, 5
	}
	series := func(code string, perSecond float64) promtest.Series {
		s := promtest.Series{Metric: fmt.Sprintf("%s{code=%q}", metric, code)}
		value := 1000.0
		for at := now.Add(-time.Minute); at.Before(now.Add(ahead)); at = at.Add(time.Second) {
			if at.Before(until) {
				value += perSecond
			}
			s.Samples = append(s.Samples, promtest.Sample{At: at, Value: value})
		}
		return s
	}
	p.Push(series("200", good), series("500", bad))
}

func TestLosingPrometheusChangesNoModeAndPagesOnce(t *testing.T) {
	t.Parallel()
	prometheus := promtest.Start(t, promtest.Options{})
	traffic(prometheus, "good_total", time.Now().Add(ahead), false)
	traffic(prometheus, "bad_total", time.Now().Add(ahead), true)
	for _, state := range states {
		for _, outage := range outages {
			t.Run(outage.name+" in "+string(state.mode), func(t *testing.T) {
				t.Parallel()
				between := newProxy(t, prometheus.URL)
				people := newReceiver(t)
				s := newSite(t, between.url, people, "{interval: 500ms, blind_after: 3s}", map[string]string{"shop.yaml": watched(state.traffic)})
				stop := s.serve(t)
				c := s.client(t)
				eventually(t, "the shop in "+string(state.mode)+", and seen", func() bool {
					sc := scope(t, c, "shop")
					return sc.Mode == state.mode && known(sc)
				})
				version := scope(t, c, "shop").Directive.Revision

				outage.begin(between)
				began := time.Now()
				eventually(t, "the page", func() bool { return len(alerts(people, receiver.Pages, "")) > 0 })
				if early := time.Since(began); early < blindAfter-time.Second {
					t.Errorf("paged %v after sight was lost, blind_after is %v", early, blindAfter)
				}
				if why := unknownFor(scope(t, c, "shop")); why != outage.why {
					t.Errorf("the conditions are unknown for %q, want %q", why, outage.why)
				}
				// As long again, so that a second page or a late change would be seen.
				until := time.Now().Add(blindAfter)
				eventually(t, "ticks while it is blind", func() bool { return scope(t, c, "shop").Observed.After(until) })
				if out, code := s.modeshift(t, "status"); code != 0 || !strings.Contains(out, "BLIND      source main") {
					t.Errorf("status exits %d and does not tell: %s", code, out)
				}
				outage.end(between)
				eventually(t, "the page's end", func() bool {
					pages := alerts(people, receiver.Pages, "")
					return len(pages) > 0 && !pages[0].Resolved.IsZero()
				})
				eventually(t, "sight", func() bool { return known(scope(t, c, "shop")) })

				pages := people.Alerts()
				if len(pages) != 1 || !strings.Contains(pages[0].Summary, "source main cannot be seen") || pages[0].Source != string(engine.Fleet) {
					t.Errorf("alerts %+v, want one about the source", pages)
				}
				if sc := scope(t, c, "shop"); sc.Mode != state.mode || sc.Directive.Revision != version {
					t.Errorf("the shop is in %s at revision %d, was in %s at %d", sc.Mode, sc.Directive.Revision, state.mode, version)
				}
				stop()
				want := 0
				if state.mode == "degraded" {
					want = 1 // on the way to where the outage met it
				}
				if changes := facts[engine.ChangeStarted](s.events(t, "shop")); len(changes) != want {
					t.Errorf("changes %+v, want %d", changes, want)
				}
			})
		}
	}
}

func TestNoTrafficChangesNoModeAndIsNotBlindness(t *testing.T) {
	t.Parallel()
	prometheus := promtest.Start(t, promtest.Options{})
	for _, state := range states {
		t.Run("in "+string(state.mode), func(t *testing.T) {
			t.Parallel()
			metric := strings.TrimSuffix(state.traffic, "_total") + "_ending_total"
			ends := time.Now().Add(8 * time.Second)
			traffic(prometheus, metric, ends, state.mode == "degraded")
			people := newReceiver(t)
			s := newSite(t, prometheus.URL, people, "{interval: 500ms, blind_after: 3s}", map[string]string{"shop.yaml": watched(metric)})
			stop := s.serve(t)
			c := s.client(t)
			eventually(t, "the shop in "+string(state.mode)+", and seen", func() bool {
				sc := scope(t, c, "shop")
				return sc.Mode == state.mode && known(sc)
			})
			eventually(t, "the end of the traffic", func() bool { return unknownFor(scope(t, c, "shop")) == engine.WhyNoTraffic })
			until := time.Now().Add(2 * blindAfter)
			eventually(t, "ticks without traffic", func() bool { return scope(t, c, "shop").Observed.After(until) })
			sc := scope(t, c, "shop")
			if why := unknownFor(sc); sc.Mode != state.mode || why != engine.WhyNoTraffic || len(sc.Blind) > 0 {
				t.Errorf("the shop is in %s, unknown for %q, blind %+v", sc.Mode, why, sc.Blind)
			}
			if pages := people.Alerts(); len(pages) > 0 {
				t.Errorf("people were told: %+v", pages)
			}
			stop()
			if lost := facts[engine.SightLost](s.events(t, "")); len(lost) > 0 {
				t.Errorf("sight was lost: %+v", lost)
			}
		})
	}
}

// known reports whether every condition that was asked is true or false.
func known(sc api.Scope) bool {
	asked := false
	for _, c := range sc.Conditions {
		if c.Asked && c.Truth == engine.Unknown {
			return false
		}
		asked = asked || c.Asked
	}
	return asked
}

// unknownFor is why the first reading that is unknown is.
func unknownFor(sc api.Scope) engine.Why {
	for _, c := range sc.Conditions {
		for _, r := range c.Readings {
			if r.Why != "" {
				return r.Why
			}
		}
	}
	return ""
}
