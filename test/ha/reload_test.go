package ha

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/modeshift/modeshift/engine"
	"github.com/modeshift/modeshift/engine/api"
	"github.com/modeshift/modeshift/test/promtest"
)

// owned is a service with an owner, by which a test sees which text is in force.
func owned(name, owner string) string {
	return fmt.Sprintf(`version: modeshift/v1
service: %s
owner: %s
slis: [{name: errors, query: 'max(%s_errors)', unit: ratio, max_age: 10m}]
modes: [{name: normal}, {name: degraded}]
transitions:
  - {name: shed, from: [normal], to: degraded, when: 'sli("errors") > 0.5'}
  - {name: recover, from: [degraded], to: normal, when: 'sli("errors") < 0.5'}
`, name, owner, name)
}

// spoilt is owned with a condition that asks for what is not declared.
func spoilt(name, owner string) string {
	return strings.Replace(owned(name, owner), `sli("errors") > 0.5`, `sli("erorrs") > 0.5`, 1)
}

// inPlace opens the files there are and writes over them.
func inPlace(t *testing.T, s *site, files map[string]string) {
	for name, text := range files {
		write(t, s.rules(name), text)
	}
}

// renamed puts other files in their place, as editors do.
func renamed(t *testing.T, s *site, files map[string]string) {
	for name, text := range files {
		beside := s.rules("." + name + ".new")
		write(t, beside, text)
		if err := os.Rename(beside, s.rules(name)); err != nil {
			t.Fatal(err)
		}
	}
}

// swapped lets one link point to another folder, as Kubernetes does with a ConfigMap: rules/a.yaml → ..data/a.yaml,
// rules/..data → ..1.
func swapped(t *testing.T, s *site, files map[string]string) {
	folder := s.rules(fmt.Sprintf("..%d", time.Now().UnixNano()))
	if err := os.Mkdir(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	data := s.rules("..data")
	for name, text := range files {
		write(t, filepath.Join(folder, name), text)
	}
	if err := os.Symlink(filepath.Base(folder), data+".new"); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(data+".new", data); err != nil {
		t.Fatal(err)
	}
	for name := range files {
		link := s.rules(name)
		if st, err := os.Lstat(link); err == nil && st.Mode()&os.ModeSymlink != 0 {
			continue
		}
		if err := os.RemoveAll(link); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(filepath.Join("..data", name), link); err != nil {
			t.Fatal(err)
		}
	}
}

// gauge pushes a value that holds from now on.
func gauge(p *promtest.Prometheus, metric string, value float64) {
	p.Push(promtest.Series{Metric: metric, Samples: []promtest.Sample{{At: time.Now(), Value: value}}})
}

func TestARuleFileThatTurnsBadLeavesItsServiceOnItsOldRules(t *testing.T) {
	t.Parallel()
	for _, way := range []struct {
		name string
		put  func(*testing.T, *site, map[string]string)
	}{{"written in place", inPlace}, {"renamed over", renamed}, {"behind a link that is swapped", swapped}} {
		t.Run(way.name, func(t *testing.T) {
			t.Parallel()
			prometheus := promtest.Start(t, promtest.Options{})
			gauge(prometheus, "shop_errors", 0)
			gauge(prometheus, "cart_errors", 0)
			s := newSite(t, prometheus.URL, newReceiver(t), "{interval: 250ms, blind_after: 1m}", nil)
			way.put(t, s, map[string]string{"shop.yaml": owned("shop", "team-1"), "cart.yaml": owned("cart", "team-1")})
			stop := s.serve(t)
			c := s.client(t)
			const metric = "modeshift_rules_last_reload_successful"
			if got := s.metric(metric); got != "1" {
				t.Fatalf("%s is %s with good files", metric, got)
			}

			way.put(t, s, map[string]string{"shop.yaml": spoilt("shop", "team-2"), "cart.yaml": owned("cart", "team-2")})
			eventually(t, "the reload", func() bool { return s.metric(metric) == "0" && scope(t, c, "cart").Owner == "team-2" })
			const reason = "erorrs"
			place := filepath.Join("rules", "shop.yaml") + ":7:"
			// One log line tells it without the picture of the line, status and API with it.
			if log := s.log(); !strings.Contains(log, reason) || !strings.Contains(log, place) {
				t.Errorf("the log does not say why:\n%s", log)
			}
			badly := func() {
				t.Helper()
				shop := scope(t, c, "shop")
				if shop.Owner != "team-1" || !strings.Contains(shop.RulesProblem, reason) || !strings.Contains(shop.RulesProblem, place) {
					t.Errorf("shop is owned by %q, its problem is %q; want the old rules and %s…%s", shop.Owner, shop.RulesProblem, place, reason)
				}
				if cart := scope(t, c, "cart"); cart.Owner != "team-2" || cart.RulesProblem != "" {
					t.Errorf("cart is owned by %q, its problem is %q; want the new rules", cart.Owner, cart.RulesProblem)
				}
				st, err := c.Status(t.Context())
				if err != nil || len(st.RulesProblems) != 1 || st.RulesProblems[0].Scope != "shop" || !strings.Contains(st.RulesProblems[0].Problem, reason) {
					t.Errorf("the API's status says %+v, %v", st.RulesProblems, err)
				}
				if !st.Ready {
					t.Errorf("not ready, though every service has rules: %+v", st.Checks)
				}
				for _, args := range [][]string{{"status"}, {"status", "shop"}} {
					if out, code := s.modeshift(t, args...); code != 0 || !strings.Contains(out, reason) || !strings.Contains(out, place) {
						t.Errorf("%v exits %d and says\n%s", args, code, out)
					}
				}
				if out, _ := s.modeshift(t, "status", "cart"); strings.Contains(out, reason) {
					t.Errorf("cart is blamed for it:\n%s", out)
				}
				if got := s.metric(metric); got != "0" {
					t.Errorf("%s is %s", metric, got)
				}
			}
			badly()

			// The old rules are not only shown, they decide.
			gauge(prometheus, "shop_errors", 1)
			eventually(t, "shop in degraded by its old rules", func() bool { return scope(t, c, "shop").Mode == "degraded" })

			stop()
			stop = s.serve(t)
			badly()
			gauge(prometheus, "shop_errors", 0)
			eventually(t, "shop in normal by its old rules, after a restart", func() bool { return scope(t, c, "shop").Mode == "normal" })

			way.put(t, s, map[string]string{"shop.yaml": owned("shop", "team-3"), "cart.yaml": owned("cart", "team-3")})
			eventually(t, "the mended rules", func() bool { return s.metric(metric) == "1" && wellOwned(scope(t, c, "shop"), "team-3") })
			if cart := scope(t, c, "cart"); !wellOwned(cart, "team-3") {
				t.Errorf("cart is owned by %q, its problem is %q", cart.Owner, cart.RulesProblem)
			}
			if out, code := s.modeshift(t, "status"); code != 0 || strings.Contains(out, "RULES") {
				t.Errorf("status exits %d and still complains:\n%s", code, out)
			}
			stop()
			if retired := facts[engine.ScopeRetired](s.events(t, "")); len(retired) > 0 {
				t.Errorf("%d scopes were retired on the way", len(retired))
			}
		})
	}
}

func wellOwned(sc api.Scope, owner string) bool { return sc.Owner == owner && sc.RulesProblem == "" }

func TestARuleFileThatIsNoYAMLRetiresNobody(t *testing.T) {
	t.Parallel()
	prometheus := promtest.Start(t, promtest.Options{})
	s := newSite(t, prometheus.URL, newReceiver(t), "{interval: 250ms, blind_after: 1m}",
		map[string]string{"shop.yaml": owned("shop", "team-1"), "cart.yaml": owned("cart", "team-1")})
	stop := s.serve(t)
	c := s.client(t)
	// Half a file: not even the name of its service can be read.
	write(t, s.rules("shop.yaml"), "version: modeshift/v1\nservice: {")
	eventually(t, "the reload", func() bool { return s.metric("modeshift_rules_last_reload_successful") == "0" })
	if sc := scope(t, c, "shop"); sc.Retired || sc.Owner != "team-1" || sc.Mode != "normal" || sc.RulesProblem == "" {
		t.Errorf("shop: %+v", sc)
	}
	// A file that is gone is another matter: that is how a service is retired.
	if err := os.Remove(s.rules("shop.yaml")); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the end of shop", func() bool { return scope(t, c, "shop").Retired })
	if sc := scope(t, c, "cart"); sc.Retired || sc.RulesProblem != "" {
		t.Errorf("cart: %+v", sc)
	}
	stop()
}
