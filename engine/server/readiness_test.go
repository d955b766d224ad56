package server

import (
	"context"
	"fmt"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/modeshift/modeshift/engine"
	"github.com/modeshift/modeshift/engine/api"
	"github.com/modeshift/modeshift/engine/readiness"
	"github.com/modeshift/modeshift/engine/secret"
	"github.com/modeshift/modeshift/rules"
)

// drillable is a service with a gate that two people are asked at, of whom there is one.
const drillable = `version: modeshift/v1
service: shop
slis: [{name: errors, query: max(shop_errors)}]
modes: [{name: normal}, {name: degraded}, {name: failover, beside: true}]
transitions:
  - {name: shed, from: [normal], to: degraded, when: 'sli("errors") > 0.5'}
  - {name: recover, from: [degraded], to: normal, when: 'sli("errors") < 0.5'}
  - name: fail-over
    from: [degraded]
    to: failover
    when: sli("errors") > 0.9
    approval: {groups: [{role: oncall, count: 1}, {role: lead, count: 1}], within: 15m}
`

func TestTheServerKnowsWhatReadinessRestsOn(t *testing.T) {
	r := people(t)
	cfg := testConfig(t)
	dir := t.TempDir()
	put(t, filepath.Join(dir, "shop.yaml"), drillable)
	put(t, filepath.Join(dir, "tokens.yaml"), entry("token-ann", "oncall, lead", "shop")+entry("token-root", "admin", "'*'"))
	cfg.Rules, cfg.TokensFile = []string{filepath.Join(dir, "shop.yaml")}, filepath.Join(dir, "tokens.yaml")
	paging(&cfg, r)
	s, _ := runServer(t, cfg, nil)
	client, err := api.NewClient(s.URL(), secret.New("token-root"), nil)
	if err != nil {
		t.Fatal(err)
	}
	within(t, "the first tick", func() bool { return s.present.Load() != nil })
	for _, mode := range []engine.Mode{"degraded", "normal"} {
		if _, err := client.Set(t.Context(), "shop", api.SetRequest{Mode: mode, Reason: "drill"}); err != nil {
			t.Fatal(err)
		}
	}
	f, err := client.Readiness(t.Context(), "shop")
	if err != nil {
		t.Fatal(err)
	}
	if f.Scope != "shop" || f.Mode != "normal" || !f.Whole || f.Since.IsZero() || len(f.Conditions) != 3 {
		t.Errorf("%+v", f)
	}
	if len(f.Modes) != 2 || f.Modes[0].Drill == nil || f.Modes[0].Drill.Out != "recover" || f.Modes[1].Last != nil {
		t.Errorf("drills: %+v", f.Modes)
	}
	if want := []readiness.Receiver{{Severity: engine.SeverityPage, Kind: "pagerduty"}}; !reflect.DeepEqual(f.Receivers, want) {
		t.Errorf("receivers: %+v", f.Receivers)
	}
	if want := []readiness.Holders{{Role: "admin", People: 1}, {Role: "lead", People: 1}, {Role: "oncall", People: 1}}; !reflect.DeepEqual(f.Roles, want) {
		t.Errorf("roles: %+v", f.Roles)
	}
	if len(f.Gates) != 1 || f.Gates[0].Transition != "fail-over" || f.Gates[0].Short != "lead" {
		t.Errorf("gates: %+v", f.Gates)
	}
	if len(f.Telemetry.Signals) != 1 || f.Telemetry.Signals[0].Seen != readiness.CannotTell || !strings.Contains(f.Telemetry.Signals[0].Why, "connection refused") ||
		f.Telemetry.Bears != readiness.CannotTell {
		t.Errorf("telemetry: %+v", f.Telemetry)
	}
	// What the server says of its conditions is of the file's, whatever interval it evaluates them at.
	files, err := rules.ReadFiles(cfg.Rules...)
	if err != nil {
		t.Fatal(err)
	}
	set, err := rules.Load(files, rules.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range set.Services[0].Policy.Conditions {
		if f.Conditions[c.Name] != c.Digest {
			t.Errorf("%s is another condition at the server", c.Name)
		}
	}
}

// A stream may be long: it is read page by page from its end, and no further than to its beginning.
func TestADrillIsFoundFarBackInTheLog(t *testing.T) {
	dir := t.TempDir()
	put(t, filepath.Join(dir, "shop.yaml"), drillable)
	s := running(t, filepath.Join(dir, "shop.yaml"))
	ann := engine.Actor{Principal: "ann"}
	for _, mode := range []engine.Mode{"degraded", "normal"} {
		if _, err := s.loop.Submit(t.Context(), "shop", ann, &engine.SetRequested{Mode: mode, Reason: "drill"}); err != nil {
			t.Fatal(err)
		}
	}
	for i := range drillPage / 2 {
		if _, err := s.loop.Submit(t.Context(), "shop", ann, &engine.FreezeRequested{Reason: fmt.Sprint("no ", i)}); err != nil {
			t.Fatal(err)
		}
		if _, err := s.loop.Submit(t.Context(), "shop", ann, &engine.UnfreezeRequested{Reason: "done"}); err != nil {
			t.Fatal(err)
		}
	}
	v, _ := s.loop.View("shop")
	if v.State.Version <= drillPage {
		t.Fatalf("the log has %d events", v.State.Version)
	}
	var f readiness.Facts
	if err := s.drills(t.Context(), v, time.Now(), &f); err != nil {
		t.Fatal(err)
	}
	if !f.Whole || len(f.Modes) != 2 || f.Modes[0].Drill == nil || f.Modes[0].Drill.In != "shed" {
		t.Errorf("%+v", f)
	}
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.drills(cancelled, v, time.Now(), &f); err == nil {
		t.Error("a log that cannot be read is no log without drills")
	}
}

func TestASourceThatIsNotThereTellsNothing(t *testing.T) {
	set, err := rules.Load([]rules.File{{Name: "shop.yaml", Data: []byte(drillable)}}, rules.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for _, url := range []string{"http://127.0.0.1:1", "127.0.0.1:1"} {
		if _, err := Telemetry(t.Context(), "", url, set); err == nil {
			t.Errorf("%s was asked", url)
		}
	}
	if n := Needs(set.Services[0]); len(n) != 1 || n[0].Signal != `sli("errors")` || n[0].Counted || len(n[0].Conditions) != 3 {
		t.Errorf("%+v", n)
	}
}
