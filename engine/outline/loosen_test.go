package outline_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/modeshift/modeshift/engine/outline"
	"github.com/modeshift/modeshift/engine/server"
	"github.com/modeshift/modeshift/rules"
)

// strict is a service that says all there is to be loosened.
const strict = `version: modeshift/v1
service: shop
owner: team-shop
runbook: https://runbooks.example/shop
parent: mall
automation: suggest
source: main
flapping: {changes: 4, within: 2h}
stuck_after: 30m
instances: {min_applied: 99%, grace: 20s, page_above: 1%}
lease: 10m
on_loss: degraded
slos:
  - name: availability
    objective: 99.9
    source: pair
    agree: 2
    min_events: 10
    max_age: 2m
    sli: {events: {error_query: 'sum(rate(errors_total[{{.window}}]))', total_query: 'sum(rate(requests_total[{{.window}}]))'}}
    escalation: [{severity: exec, burn_rate: 8, for: 30m}]
    windows: [{severity: page, long: 1h, short: 5m, factor: 14.4}, {severity: page, long: 6h, short: 30m, factor: 6}, {severity: ticket, long: 1d, short: 2h, factor: 3}]
    alerting: {name: Shop, page_alert: {}, ticket_alert: {}}
  - name: monthly
    objective: 99
    calendar: month
    sli: {events: {error_query: 'sum(rate(m_errors_total[{{.window}}]))', total_query: 'sum(rate(m_requests_total[{{.window}}]))'}}
    alerting: {name: Monthly, labels: {team: shop}, page_alert: {}, ticket_alert: {disable: true}}
  - name: rolling
    objective: 99
    period: 7d
    sli: {events: {error_query: 'sum(rate(r_errors_total[{{.window}}]))', total_query: 'sum(rate(r_requests_total[{{.window}}]))'}}
    alerting: {name: Rolling, page_alert: {}, ticket_alert: {disable: true}}
allow: [{code: no-way-out, why: it is looked at}]
flags: {recommendations: {owner: team-shop}}
slis:
  - {name: p99, query: 'max(latency)', max_age: 2m, source: pair, agree: 2}
schedules:
  - {name: migration, cron: "0 2 * * SUN", duration: 2h, timezone: Europe/Berlin}
modes:
  - name: normal
  - name: degraded
    flags: {recommendations: false}
    min_duration: 5m
    max_duration: 4h
    drill_every: 30d
    on_expiry: {propose: back}
    stuck_after: 20m
    imposes: contained
  - name: shut
  - name: read-only
    unavailable: {message: back soon}
    max_duration: 2h
    slos: {availability: {pause: true}}
    suppress: {slos: [monthly], severities: [page]}
  - name: contained
  - name: failover
    beside: true
transitions:
  - name: shed
    from: [normal, read-only]
    to: degraded
    when: error_ratio("availability", "10m") > 0.1
    for: 1m
    severity: page
    retry_after: 2h
    verify: sli("p99") < 0.5
    on_failure: hold
  - name: recover
    from: [degraded]
    to: normal
    when: error_ratio("availability", "10m") < 0.01 && dwell() > duration("10m") && !alert("Deploying")
    for: 10m
    undo: entry
    rollout: {waves: [5, 25, 100], pause: 1m, verify: 'sli("p99") < 0.5'}
  - name: back
    from: [degraded]
    to: normal
    when: sli("p99") < 0.1
    approval: {groups: [{role: oncall, count: 1}], within: 15m}
  - name: migrate
    from: [normal]
    to: read-only
    when: schedule("migration")
    until: '!schedule("migration")'
  - name: fail-over
    from: [degraded]
    to: failover
    when: burning("availability", "page") && burn_rate("availability", "1h") > 500.0
    approval: {groups: [{role: oncall, count: 2}, {role: lead, count: 1}], within: 15m, otherwise: page}
    actions:
      - name: announce
        webhook: {url: "https://chat.example/announce"}
      - name: repoint
        webhook: {url: "https://dns.example/repoint", json: {to: eu-2}}
        destructive: true
        attempts: 2
        undo: {webhook: {url: "https://dns.example/repoint", json: {to: eu-1}}}
      - name: fence
        webhook: {url: "https://dns.example/fence", json: {hosts: "{{.targets}}"}}
        destructive: true
        irreversible: true
        targets: {query: up == 0, label: instance, max: 3}
      - name: clear
        webhook: {url: "https://cache.example/shop", method: DELETE}
        destructive: false
        why: the cache fills again
  - name: contain
    from: [degraded]
    to: contained
    when: sli("p99") > 5.0
    approval: {groups: [{role: oncall, count: 1}], within: 15m, otherwise: escalate, to: [{role: chief, count: 2}]}
`

// parents stand above it.
const parents = `version: modeshift/v1
service: mall
modes: [{name: normal}, {name: closed}]
`

// loosened is an edit of strict for each row of the table: looser one way, and not the other.
var loosened = map[string][2]string{
	"automation":       {"automation: suggest", "automation: on"},
	"owner-gone":       {"owner: team-shop\n", ""},
	"runbook-gone":     {"runbook: https://runbooks.example/shop\n", ""},
	"parent":           {"parent: mall\n", ""},
	"finding-allowed":  {"allow: [", "allow: [{code: unreachable-mode, why: it is entered by hand}, "},
	"flapping-more":    {"changes: 4", "changes: 5"},
	"flapping-shorter": {"within: 2h}", "within: 1h}"},
	"stuck-later":      {"stuck_after: 30m", "stuck_after: 40m"},
	"min-applied":      {"min_applied: 99%", "min_applied: 90%"},
	"grace":            {"grace: 20s", "grace: 30s"},
	"page-above":       {"page_above: 1%", "page_above: 2%"},
	"lease":            {"lease: 10m", "lease: 20m"},

	"slo-removed":      {rolling, ""},
	"objective-higher": {"objective: 99.9", "objective: 99.92"},
	"factor-lower":     {"factor: 14.4", "factor: 14"},
	"objective":        {"objective: 99.9", "objective: 99.5"},
	"period":           {"period: 7d", "period: 28d"},
	"min-events":       {"min_events: 10", "min_events: 11"},
	"min-events-fewer": {"min_events: 10", "min_events: 9"},
	"no-traffic":       {"min_events: 10", "min_events: 10\n    no_traffic: good"},
	"slo-max-age":      {"    max_age: 2m", "    max_age: 3m"},
	"slo-agree":        {"    agree: 2\n", ""},

	"tier-removed":    {"name: Shop, page_alert: {}, ticket_alert: {}", "name: Shop, page_alert: {}, ticket_alert: {disable: true}"},
	"pair-removed":    {", {severity: page, long: 6h, short: 30m, factor: 6}", ""},
	"factor":          {"factor: 14.4", "factor: 15"},
	"window-long":     {"long: 1h", "long: 50m"},
	"window-later":    {"long: 1h", "long: 2h"},
	"window-short":    {"short: 30m", "short: 20m"},
	"cadence":         {"short: 2h", "short: 4h"},
	"escalation-gone": {"escalation: [{severity: exec, burn_rate: 8, for: 30m}]", "escalation: []"},
	"escalation-when": {"burn_rate: 8", "burn_rate: 9"},
	"escalation-for":  {"burn_rate: 8, for: 30m", "burn_rate: 8, for: 40m"},

	"sli-max-age": {"query: 'max(latency)', max_age: 2m", "query: 'max(latency)', max_age: 3m"},
	"sli-agree":   {"source: pair, agree: 2", "source: pair"},

	"schedule-shorter": {"duration: 2h, timezone", "duration: 1h, timezone"},
	"schedule-longer":  {"duration: 2h, timezone", "duration: 3h, timezone"},

	"mode-quiet":       {"  - name: contained\n", "  - name: contained\n  - {name: hushed, max_duration: 1h, suppress: {slos: [monthly], severities: [page]}}\n"},
	"mode-removed":     {"  - name: shut\n", ""},
	"ranked":           {"  - name: failover\n    beside: true\n", "  - name: failover\n"},
	"unavailable":      {"  - name: contained\n", "  - name: contained\n    unavailable: {message: back soon}\n"},
	"unavailable-gone": {"    unavailable: {message: back soon}\n", ""},
	"pause":            {"slos: {availability: {pause: true}}", "slos: {availability: {pause: true}, rolling: {pause: true}}"},
	"suppress":         {"severities: [page]}", "severities: [page, ticket]}"},
	"imposes":          {"    imposes: contained\n", ""},
	"min-duration":     {"min_duration: 5m", "min_duration: 4m"},
	"max-duration":     {"max_duration: 4h", "max_duration: 5h"},
	"on-expiry":        {"on_expiry: {propose: back}", "on_expiry: page"},
	"mode-stuck-later": {"    stuck_after: 20m\n", ""},
	"drill-rarer":      {"drill_every: 30d", "drill_every: 60d"},
	"beside":           {"  - name: contained\n", "  - name: contained\n    beside: true\n"},
	"flag":             {"flags: {recommendations: false}", "flags: {}"},

	"transition-added":      {"  - name: fail-over\n", "  - {name: too, from: [contained], to: normal, when: sli(\"p99\") < 0.1}\n  - name: fail-over\n"},
	"transition-quiet":      {"  - name: fail-over\n", "  - {name: too, from: [normal], to: read-only, when: schedule(\"migration\")}\n  - name: fail-over\n"},
	"transition-removed":    {shed, ""},
	"from-wider":            {"from: [degraded]\n    to: contained", "from: [degraded, normal]\n    to: contained"},
	"from-narrower":         {"from: [normal, read-only]", "from: [normal]"},
	"when-window":           {`"10m") > 0.1`, `"5m") > 0.1`},
	"when-sooner":           {`"10m") < 0.01`, `"10m") < 0.02`},
	"when-later":            {`"10m") > 0.1`, `"10m") > 0.2`},
	"when-longer":           {`"10m") > 0.1`, `"20m") > 0.1`},
	"for-shorter":           {"for: 10m", "for: 9m"},
	"for-longer":            {"for: 1m", "for: 2m"},
	"severity":              {"severity: page\n", "severity: ticket\n"},
	"gate-new":              {"    verify: sli(\"p99\") < 0.5\n", "    verify: sli(\"p99\") < 0.5\n    approval: {groups: [{role: oncall}], within: 15m}\n"},
	"gate-removed":          {"    when: sli(\"p99\") > 5.0\n    approval: {groups: [{role: oncall, count: 1}], within: 15m, otherwise: escalate, to: [{role: chief, count: 2}]}\n", "    when: sli(\"p99\") > 5.0\n"},
	"gate-around":           {"  - name: fail-over\n", "  - {name: too, from: [degraded], to: contained, when: sli(\"p99\") > 9.0}\n  - name: fail-over\n"},
	"gate-around-within":    {"  - name: fail-over\n", "  - {name: too, from: [degraded], to: contained, when: sli(\"p99\") > 9.0 && dwell() > duration(\"1m\"), approval: {groups: [{role: oncall, count: 1}], within: 20m}}\n  - name: fail-over\n"},
	"gate-around-otherwise": {"  - name: fail-over\n", "  - {name: too, from: [degraded], to: normal, when: sli(\"p99\") < 0.1 && dwell() > duration(\"1m\"), approval: {groups: [{role: oncall, count: 1}], within: 15m, otherwise: page}}\n  - name: fail-over\n"},
	"gate-around-to":        {"  - name: fail-over\n", "  - {name: too, from: [degraded], to: contained, when: sli(\"p99\") > 9.0 && dwell() > duration(\"1m\"), approval: {groups: [{role: oncall, count: 1}], within: 15m, otherwise: escalate, to: [{role: chief, count: 1}]}}\n  - name: fail-over\n"},
	"gate-within":           {"within: 15m, otherwise: page", "within: 20m, otherwise: page"},
	"gate-people":           {"{role: oncall, count: 2}", "{role: oncall, count: 1}"},
	"gate-otherwise":        {"within: 15m}", "within: 15m, otherwise: page}"},
	"gate-to":               {"{role: chief, count: 2}", "{role: chief, count: 1}"},
	"retry-after":           {"retry_after: 2h", "retry_after: 90m"},
	"retry-later":           {"retry_after: 2h", "retry_after: 3h"},
	"undo-entry-new":        {"from: [degraded]\n    to: contained\n", "from: [degraded]\n    to: contained\n    undo: entry\n"},
	"on-failure-hold":       {"    undo: entry\n", "    undo: entry\n    on_failure: hold\n"},
	"rollout-slower":        {"    verify: sli(\"p99\") < 0.5\n", "    verify: sli(\"p99\") < 0.5\n    rollout: {waves: [50, 100]}\n"},
	"undo-entry":            {"    undo: entry\n", ""},
	"on-failure":            {"on_failure: hold", "on_failure: undo"},
	"verify-gone":           {"    verify: sli(\"p99\") < 0.5\n", ""},
	"verify":                {"verify: sli(\"p99\") < 0.5", "verify: sli(\"p99\") < 0.6"},
	"rollout-gone":          {"    rollout: {waves: [5, 25, 100], pause: 1m, verify: 'sli(\"p99\") < 0.5'}\n", ""},
	"rollout-waves":         {"waves: [5, 25, 100]", "waves: [5, 30, 100]"},
	"rollout-pause":         {"pause: 1m", "pause: 50s"},
	"rollout-verify-gone":   {", pause: 1m, verify: 'sli(\"p99\") < 0.5'", ", pause: 1m"},
	"rollout-verify":        {"verify: 'sli(\"p99\") < 0.5'", "verify: 'sli(\"p99\") < 0.6'"},

	"destructive-added": {"      - name: repoint\n", "      - {name: drop, webhook: {url: \"https://dns.example/drop\"}, destructive: true, irreversible: true}\n      - name: repoint\n"},
	"step-added":        {"      - name: clear\n", "      - {name: say, webhook: {url: \"https://chat.example/say\"}}\n      - name: clear\n"},
	"step-removed":      {"      - name: announce\n        webhook: {url: \"https://chat.example/announce\"}\n", ""},
	"destructive":       {"      - name: announce\n", "      - name: announce\n        destructive: true\n        irreversible: true\n"},
	"harmless":          {"        destructive: true\n        attempts: 2\n", "        destructive: false\n        attempts: 2\n"},
	"irreversible":      {"      - name: announce\n", "      - name: announce\n        destructive: true\n        irreversible: true\n"},
	"undo-gone":         {"        undo: {webhook: {url: \"https://dns.example/repoint\", json: {to: eu-1}}}\n", "        irreversible: true\n"},
	"attempts":          {"attempts: 2", "attempts: 3"},
	"keyed":             {"json: {to: eu-2}", "keyed: false, json: {to: eu-2}"},
	"targets-max":       {"max: 3", "max: 4"},
}

// incomparable is an edit for each row of what counts as looser whichever way it changed, because nobody can tell.
var incomparable = map[string][2]string{
	"modes-rank":        {"  - name: contained\n  - name: failover\n    beside: true\n", "  - name: failover\n    beside: true\n"},
	"transitions-order": {recoverPart + back, back + recoverPart},
	"tier-label":        {"{team: shop}", "{team: till}"},
	"on-loss":           {"on_loss: degraded", "on_loss: hold"},
	"alerts-source":     {"source: main\n", "source: other\n"},
	"calendar":          {"calendar: month", "calendar: week"},
	"slo-query":         {"rate(errors_total[", "rate(faults_total["},
	"slo-recorded":      {"    period: 7d\n", "    period: 7d\n    evaluate: recorded\n"},
	"slo-source":        {"    source: pair\n", "    source: other\n"},
	"sli-query":         {"max(latency)", "min(latency)"},
	"sli-source":        {"source: pair, agree", "source: other, agree"},
	"schedule-cron":     {"0 2 * * SUN", "0 3 * * SUN"},
	"schedule-timezone": {"Europe/Berlin", "Europe/London"},
	"to":                {"to: failover\n", "to: contained\n"},
	"when-rewritten":    {`when: error_ratio("availability", "10m") > 0.1`, `when: burn_rate("availability", "10m") > 0.1`},
	"until":             {"until: '!schedule(\"migration\")'", "until: '!schedule(\"migration\") && dwell() > duration(\"1m\")'"},
	"publish":           {"    when: burning(\"availability\", \"page\") && burn_rate(\"availability\", \"1h\") > 500.0\n", "    when: burning(\"availability\", \"page\") && burn_rate(\"availability\", \"1h\") > 500.0\n    publish: last\n"},
	"steps-order":       {repoint + fence, fence + repoint},
	"why":               {"the cache fills again", "nobody looks there"},
	"undo-other":        {"json: {to: eu-1}", "json: {to: eu-3}"},
	"does":              {"json: {to: eu-2}", "json: {to: eu-3}"},
	"targets":           {"query: up == 0", "query: up == 1"},
}

// Pieces of strict.
var (
	rolling     = between("  - name: rolling\n", "slis:\n")
	shed        = between("  - name: shed\n", "  - name: recover\n")
	repoint     = between("      - name: repoint\n", "      - name: fence\n")
	recoverPart = between("  - name: recover\n", "  - name: back\n")
	back        = between("  - name: back\n", "  - name: migrate\n")
	fence       = between("      - name: fence\n", "      - name: clear\n")
)

func between(from, to string) string {
	_, rest, _ := strings.Cut(strict, from)
	piece, _, _ := strings.Cut(rest, to)
	return from + piece
}

// compiled is the outline of a service.
func compiled(t *testing.T, text string) *outline.Service {
	t.Helper()
	kinds, err := server.FormKinds()
	if err != nil {
		t.Fatal(err)
	}
	set, err := rules.Load([]rules.File{{Name: "shop.yaml", Data: []byte(text)}, {Name: "mall.yaml", Data: []byte(parents)}},
		rules.Options{Kinds: kinds, Sources: map[string]int{"main": 1, "pair": 2, "other": 2}, Places: true})
	if err != nil {
		t.Fatal(err)
	}
	return set.Service("shop").Outline()
}

// codes are the rows that mark a difference.
func codes(before, after *outline.Service) (out []string) {
	for _, d := range outline.Compare(before, after) {
		for _, m := range d.Loosens {
			out = append(out, m.Code)
		}
	}
	return out
}

func TestEveryRowMarksItsDifferenceOneWayAndNotTheOther(t *testing.T) {
	before := compiled(t, strict)
	for _, r := range outline.Rules {
		t.Run(r.Code, func(t *testing.T) {
			edit, oneWay := loosened[r.Code]
			if !oneWay {
				edit = incomparable[r.Code]
			}
			if r.Code == "service-removed" {
				if got := codes(before, nil); !slices.Equal(got, []string{r.Code}) {
					t.Errorf("there: %v", got)
				}
				if got := codes(nil, before); len(got) > 0 {
					t.Errorf("back: %v", got)
				}
				return
			}
			if !strings.Contains(strict, edit[0]) || edit[0] == edit[1] {
				t.Fatalf("no edit for it: %q", edit)
			}
			text := strings.Replace(strict, edit[0], edit[1], 1)
			if r.Code == "modes-rank" {
				text = strings.Replace(text, "  - name: degraded\n    flags", "  - name: contained\n  - name: degraded\n    flags", 1)
			}
			after := compiled(t, text)
			if got := codes(before, after); !slices.Contains(got, r.Code) {
				t.Errorf("there: %v\n%+v", got, outline.Compare(before, after))
			}
			if got := codes(after, before); slices.Contains(got, r.Code) == oneWay {
				t.Errorf("back: %v", got)
			}
		})
	}
}

// renamed is strict, or what became of it, with another name for every transition.
func renamed(text string) string {
	for _, name := range []string{"shed", "recover", "back", "migrate", "fail-over", "contain"} {
		text = strings.Replace(text, "  - name: "+name+"\n", "  - name: "+name+"-anew\n", 1)
	}
	return strings.Replace(text, "{propose: back}", "{propose: back-anew}", 1)
}

// A transition with another name is the same one: what became of its gate, its waves and its steps is marked all the same, and no
// more than that.
func TestAnotherNameHidesNothing(t *testing.T) {
	before := compiled(t, strict)
	if got := codes(before, compiled(t, renamed(strict))); len(got) > 0 {
		t.Errorf("of names alone: %v", got)
	}
	for _, r := range outline.Rules {
		edit, oneWay := loosened[r.Code]
		if !oneWay {
			edit = incomparable[r.Code]
		}
		if r.Code == "to" || r.Code == "when-rewritten" { // it is another transition then, and not under another name
			continue
		}
		if edit[0] == edit[1] || r.Kind != outline.KindTransition && r.Kind != outline.KindAction && r.Kind != outline.KindMode {
			continue
		}
		t.Run(r.Code, func(t *testing.T) {
			text := strings.Replace(strict, edit[0], edit[1], 1)
			same, other := compiled(t, text), compiled(t, renamed(text))
			if want, got := codes(before, same), codes(before, other); !slices.Equal(got, want) {
				t.Errorf("there: %v, want %v\n%+v", got, want, outline.Compare(before, other))
			}
			if want, got := codes(same, before), codes(other, before); !slices.Equal(got, want) {
				t.Errorf("back: %v, want %v", got, want)
			}
		})
	}
}

// Under another condition it is another transition, and the gate that was there is none the less the one of that way.
func TestAGateIsNotGotAroundByAnotherWay(t *testing.T) {
	before := compiled(t, strict)
	for _, c := range []struct {
		name       string
		transition string
		edit       [2]string
		want       string
	}{
		{"as many people are asked", "fail-over", [2]string{"", ""}, ""},
		{"more people are asked", "fail-over", [2]string{"{role: oncall, count: 2}", "{role: oncall, count: 3}"}, ""},
		{"one fewer is asked", "fail-over", [2]string{"{role: oncall, count: 2}", "{role: oncall, count: 1}"}, "gate-around"},
		{"one role is not asked", "fail-over", [2]string{", {role: lead, count: 1}", ""}, "gate-around"},
		{"a yes counts for longer", "fail-over", [2]string{"within: 15m, otherwise: page", "within: 20m, otherwise: page"}, "gate-around-within"},
		{"a yes counts for less long", "fail-over", [2]string{"within: 15m, otherwise: page", "within: 10m, otherwise: page"}, ""},
		{"it goes on after its time", "back", [2]string{"within: 15m}", "within: 15m, otherwise: page}"}, "gate-around-otherwise"},
		{"it is denied after its time", "fail-over", [2]string{", otherwise: page", ""}, ""},
		{"fewer are asked after its time", "contain", [2]string{"{role: chief, count: 2}", "{role: chief, count: 1}"}, "gate-around-to"},
		{"more are asked after its time", "contain", [2]string{"{role: chief, count: 2}", "{role: chief, count: 3}"}, ""},
		{"it starts elsewhere", "fail-over", [2]string{"from: [degraded]\n    to: failover", "from: [contained]\n    to: failover"}, ""},
		{"it leads elsewhere", "fail-over", [2]string{"to: failover\n", "to: read-only\n"}, ""},
	} {
		if !strings.Contains(strict, c.edit[0]) {
			t.Fatalf("no edit for it: %q", c.edit)
		}
		text := strings.Replace(strict, c.edit[0], c.edit[1], 1)
		head, tail, _ := strings.Cut(text, "  - name: "+c.transition+"\n")
		tail = strings.Replace(tail, "    when: ", "    when: dwell() > duration(\"1m\") && ", 1)
		after := compiled(t, strings.Replace(head, "{propose: back}", "page", 1)+"  - name: over\n"+tail)
		got := slices.DeleteFunc(codes(before, after), func(code string) bool { return !strings.HasPrefix(code, "gate-") })
		if want := strings.Fields(c.want); !slices.Equal(got, want) {
			t.Errorf("%s: %v, want %v", c.name, got, want)
		}
	}
}

// A file of SLOs alone gets modes: there was nothing of theirs to loosen, but for what is new in itself. The way back is looser in
// what is lost, and says nothing of what has no meaning without modes.
func TestModesForAScopeThatHadNoneLoosenNothingOfModes(t *testing.T) {
	top, rest, _ := strings.Cut(strict, "flapping:")
	_, rest, _ = strings.Cut(rest, "slos:\n")
	without, _, _ := strings.Cut(top+"slos:\n"+rest, "modes:\n")
	some := func(modes, transitions string) *outline.Service {
		return compiled(t, without+"modes:\n"+modes+"transitions:\n"+transitions)
	}
	const (
		two     = "  - name: normal\n  - name: degraded\n    flags: {recommendations: false}\n"
		shedTwo = "  - {name: shed, from: [normal], to: degraded, when: sli(\"p99\") > 1.0}\n"
		recover = "  - {name: recover, from: [degraded], to: normal, when: sli(\"p99\") < 0.5}\n"
	)
	before := compiled(t, without)
	for _, c := range []struct {
		name        string
		after       *outline.Service
		there, back []string
	}{
		{"two modes", some(two, shedTwo+recover), nil, []string{"on-loss", "transition-removed"}},
		{"all there is", compiled(t, strict), []string{"mode-quiet", "transition-quiet", "destructive-added", "destructive-added"},
			[]string{"on-loss", "transition-removed", "transition-removed", "transition-removed"}},
		{"a way aside", some(two+"  - {name: failover, beside: true}\n", shedTwo+"  - {name: fail-over, from: [degraded], to: failover, when: sli(\"p99\") > 5.0}\n"),
			[]string{"transition-added"}, []string{"on-loss", "transition-removed"}},
		{"a mode that pauses", some(two+"  - {name: read-only, slos: {rolling: {pause: true}}}\n", shedTwo), []string{"mode-quiet"}, []string{"on-loss", "transition-removed"}},
	} {
		if got := codes(before, c.after); !slices.Equal(got, c.there) {
			t.Errorf("%s, there: %v, want %v", c.name, got, c.there)
		}
		if got := codes(c.after, before); !slices.Equal(got, c.back) {
			t.Errorf("%s, back: %v, want %v", c.name, got, c.back)
		}
	}
}

func TestTheTableHasNoRowTwiceAndNoEditWithoutOne(t *testing.T) {
	seen := map[string]bool{}
	for _, r := range outline.Rules {
		if seen[r.Code] || r.Why == "" {
			t.Errorf("%q is there twice, or says nothing", r.Code)
		}
		seen[r.Code] = true
	}
	for _, edits := range []map[string][2]string{loosened, incomparable} {
		for code := range edits {
			if !seen[code] {
				t.Errorf("an edit for %q, which is no row", code)
			}
		}
	}
}
