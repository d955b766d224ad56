package outline_test

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/modeshift/modeshift/engine/outline"
	"github.com/modeshift/modeshift/engine/server"
	"github.com/modeshift/modeshift/rules"
)

// edited is an edit of strict for each key of the rule language, as `rules schema` has them.
var edited = map[string][2]string{
	"a-rule-file labels":      {"owner: team-shop\n", "owner: team-shop\nlabels: {team: shop}\n"},
	"a-rule-file owner":       {"owner: team-shop\n", "owner: team-till\n"},
	"a-rule-file runbook":     {"runbooks.example/shop", "runbooks.example/till"},
	"a-rule-file parent":      {"parent: mall\n", ""},
	"a-rule-file automation":  {"automation: suggest\n", "automation: off\n"},
	"a-rule-file flapping":    {"flapping: {changes: 4, within: 2h}\n", ""},
	"a-rule-file escalation":  {"lease: 10m\n", "lease: 10m\nescalation: [{severity: exec, burn_rate: 9, for: 30m}]\n"},
	"a-rule-file stuck_after": {"stuck_after: 30m", "stuck_after: 25m"},
	"a-rule-file source":      {"source: main\n", "source: other\n"},
	"a-rule-file evaluate":    {"source: main\n", "source: main\nevaluate: recorded\n"},
	"a-rule-file slos":        {rolling, ""},
	"a-rule-file slis":        {"slis:\n", "slis:\n  - {name: p50, query: 'max(latency50)'}\n"},
	"a-rule-file schedules":   {"schedules:\n", "schedules:\n  - {name: night, cron: \"0 2 * * *\", duration: 1h}\n"},
	"a-rule-file modes":       {"  - name: contained\n", "  - name: contained\n  - name: closed\n"},
	"a-rule-file transitions": {shed, ""},
	"a-rule-file flags":       {"flags: {recommendations: {owner: team-shop}}\n", ""},
	"a-rule-file allow":       {"allow: [{code: no-way-out, why: it is looked at}]\n", ""},
	"a-rule-file instances":   {"instances: {min_applied: 99%, grace: 20s, page_above: 1%}\n", ""},
	"a-rule-file lease":       {"lease: 10m\non_loss: degraded\n", "on_loss: hold\n"},
	"a-rule-file on_loss":     {"on_loss: degraded", "on_loss: read-only"},

	"an-SLO name":        {"  - name: rolling\n", "  - name: rolled\n"},
	"an-SLO objective":   {"objective: 99.9", "objective: 99.8"},
	"an-SLO description": {"    objective: 99.9\n", "    objective: 99.9\n    description: shoppers see no errors\n"},
	"an-SLO labels":      {"    objective: 99.9\n", "    objective: 99.9\n    labels: {team: till}\n"},
	"an-SLO sli":         {"events: {error_query: 'sum(rate(r_errors_total[{{.window}}]))', total_query: 'sum(rate(r_requests_total[{{.window}}]))'}", "raw: {error_ratio_query: 'avg_over_time(r_ratio[{{.window}}])'}"},
	"an-SLO alerting":    {"alerting: {name: Rolling", "alerting: {name: Rolled"},
	"an-SLO period":      {"period: 7d", "period: 14d"},
	"an-SLO calendar":    {"calendar: month", "calendar: quarter"},
	"an-SLO timezone":    {"calendar: month", "calendar: month\n    timezone: Europe/Berlin"},
	"an-SLO max_age":     {"    max_age: 2m", "    max_age: 1m"},
	"an-SLO source":      {"    source: pair\n    agree", "    source: other\n    agree"},
	"an-SLO agree":       {"    agree: 2\n", ""},
	"an-SLO evaluate":    {"    period: 7d\n", "    period: 7d\n    evaluate: recorded\n"},
	"an-SLO windows":     {", {severity: ticket, long: 1d, short: 2h, factor: 3}", ", {severity: ticket, long: 1d, short: 2h, factor: 3}, {severity: ticket, long: 3d, short: 6h, factor: 1}"},
	"an-SLO escalation":  {"    escalation: [{severity: exec, burn_rate: 8, for: 30m}]\n", ""},
	"an-SLO min_events":  {"min_events: 10", "min_events: 9"},
	"an-SLO no_traffic":  {"    period: 7d\n", "    period: 7d\n    no_traffic: good\n"},

	"sli events":             {"{events: {error_query: 'sum(rate(r_errors_total[{{.window}}]))', total_query: 'sum(rate(r_requests_total[{{.window}}]))'}}", "{raw: {error_ratio_query: 'avg_over_time(r_ratio[{{.window}}])'}}"},
	"sli raw":                {"{events: {error_query: 'sum(rate(r_errors_total[{{.window}}]))', total_query: 'sum(rate(r_requests_total[{{.window}}]))'}}", "{raw: {error_ratio_query: 'avg_over_time(r_ratio[{{.window}}])'}}"},
	"raw error_ratio_query":  {"{events: {error_query: 'sum(rate(r_errors_total[{{.window}}]))', total_query: 'sum(rate(r_requests_total[{{.window}}]))'}}", "{raw: {error_ratio_query: 'avg_over_time(r_ratio[{{.window}}])'}}"},
	"events error_query":     {"r_errors_total", "r_faults_total"},
	"events total_query":     {"r_requests_total", "r_calls_total"},
	"alerting name":          {"name: Shop,", "name: Till,"},
	"alerting labels":        {"name: Shop,", "name: Shop, labels: {team: till},"},
	"alerting annotations":   {"name: Shop,", "name: Shop, annotations: {title: it burns},"},
	"alerting page_alert":    {"name: Rolling, page_alert: {}", "name: Rolling, page_alert: {disable: true}"},
	"alerting ticket_alert":  {"page_alert: {}, ticket_alert: {}", "page_alert: {}, ticket_alert: {disable: true}"},
	"page_alert disable":     {"name: Rolling, page_alert: {}", "name: Rolling, page_alert: {disable: true}"},
	"page_alert labels":      {"page_alert: {}", "page_alert: {labels: {team: till}}"},
	"page_alert annotations": {"page_alert: {}", "page_alert: {annotations: {title: it burns}}"},

	"ticket_alert disable":     {"page_alert: {}, ticket_alert: {}", "page_alert: {}, ticket_alert: {disable: true}"},
	"ticket_alert labels":      {"ticket_alert: {}", "ticket_alert: {labels: {team: till}}"},
	"ticket_alert annotations": {"ticket_alert: {}", "ticket_alert: {annotations: {title: it burns}}"},

	"a-window severity":       {"{severity: page, long: 6h", "{severity: ticket, long: 6h"},
	"a-window long":           {"long: 1h", "long: 2h"},
	"a-window short":          {"short: 5m", "short: 6m"},
	"a-window factor":         {"factor: 14.4", "factor: 14"},
	"an-escalation severity":  {"escalation: [{severity: exec,", "escalation: [{severity: page,"},
	"an-escalation burn_rate": {"burn_rate: 8", "burn_rate: 7"},
	"an-escalation for":       {"burn_rate: 8, for: 30m", "burn_rate: 8, for: 20m"},
	"an-escalation window":    {"burn_rate: 8, for: 30m", "burn_rate: 8, for: 30m, window: 1h"},

	"an-SLI name":         {"slis:\n", "slis:\n  - {name: p50, query: 'max(latency50)'}\n"},
	"an-SLI query":        {"max(latency)", "min(latency)"},
	"an-SLI unit":         {"query: 'max(latency)'", "unit: seconds, query: 'max(latency)'"},
	"an-SLI max_age":      {"'max(latency)', max_age: 2m", "'max(latency)', max_age: 1m"},
	"an-SLI source":       {"source: pair, agree", "source: other, agree"},
	"an-SLI agree":        {"source: pair, agree: 2", "source: pair"},
	"a-schedule name":     {"schedules:\n", "schedules:\n  - {name: night, cron: \"0 2 * * *\", duration: 1h}\n"},
	"a-schedule cron":     {"0 2 * * SUN", "0 2 * * SAT"},
	"a-schedule duration": {"duration: 2h, timezone", "duration: 1h, timezone"},
	"a-schedule timezone": {", timezone: Europe/Berlin", ""},

	"a-mode name":         {"  - name: contained\n", "  - name: contained\n  - name: closed\n"},
	"a-mode beside":       {"    beside: true\n", ""},
	"a-mode flags":        {"recommendations: false", "recommendations: true"},
	"a-mode min_duration": {"min_duration: 5m", "min_duration: 6m"},
	"a-mode max_duration": {"max_duration: 4h", "max_duration: 3h"},
	"a-mode on_expiry":    {"    on_expiry: {propose: back}\n", ""},
	"a-mode drill_every":  {"drill_every: 30d", "drill_every: 20d"},
	"a-mode stuck_after":  {"stuck_after: 20m", "stuck_after: 15m"},
	"a-mode unavailable":  {"  - name: contained\n", "  - name: contained\n    unavailable: {message: back soon}\n"},
	"a-mode imposes":      {"imposes: contained", "imposes: read-only"},
	"a-mode slos":         {"    slos: {availability: {pause: true}}\n", ""},
	"a-mode suppress":     {"    suppress: {slos: [monthly], severities: [page]}\n", ""},
	"on_expiry propose":   {"    on_expiry: {propose: back}\n", "    on_expiry: page\n"},

	"an-SLO-of-a-mode pause":  {"{availability: {pause: true}}", "{availability: {pause: false}}"},
	"suppress slos":           {"suppress: {slos: [monthly]", "suppress: {slos: [rolling]"},
	"suppress severities":     {"severities: [page]}", "severities: [page, ticket]}"},
	"unavailable message":     {"  - name: contained\n", "  - name: contained\n    unavailable: {message: back soon}\n"},
	"unavailable retry_after": {"  - name: contained\n", "  - name: contained\n    unavailable: {message: back soon, retry_after: 5m}\n"},

	"a-transition name":        {"  - name: shed\n", "  - name: drop\n"},
	"a-transition from":        {"from: [normal, read-only]", "from: [normal]"},
	"a-transition to":          {"to: failover\n", "to: contained\n"},
	"a-transition when":        {`"10m") > 0.1`, `"10m") > 0.2`},
	"a-transition for":         {"for: 1m\n", "for: 2m\n"},
	"a-transition severity":    {"severity: page\n", "severity: ticket\n"},
	"a-transition approval":    {"    approval: {groups: [{role: oncall, count: 1}], within: 15m}\n", "    approval: {groups: [{role: oncall, count: 2}], within: 15m}\n"},
	"a-transition actions":     {"      - name: announce\n        webhook: {url: \"https://chat.example/announce\"}\n", ""},
	"a-transition publish":     {"to: failover\n", "to: failover\n    publish: last\n"},
	"a-transition rollout":     {"    rollout: {waves: [5, 25, 100], pause: 1m, verify: 'sli(\"p99\") < 0.5'}\n", ""},
	"a-transition verify":      {"    verify: sli(\"p99\") < 0.5\n", ""},
	"a-transition on_failure":  {"    on_failure: hold\n", ""},
	"a-transition until":       {"    until: '!schedule(\"migration\")'\n", ""},
	"a-transition undo":        {"    undo: entry\n", ""},
	"a-transition retry_after": {"retry_after: 2h", "retry_after: 3h"},

	"an-approval groups":    {"{role: oncall, count: 2}, {role: lead, count: 1}", "{role: oncall, count: 2}"},
	"an-approval within":    {"within: 15m, otherwise: page", "within: 14m, otherwise: page"},
	"an-approval otherwise": {", otherwise: page", ""},
	"an-approval to":        {"to: [{role: chief, count: 2}]", "to: [{role: head, count: 2}]"},
	"a-group role":          {"{role: lead, count: 1}", "{role: head, count: 1}"},
	"a-group count":         {"{role: lead, count: 1}", "{role: lead, count: 2}"},

	"an-action name":         {"      - name: announce\n", "      - name: say\n"},
	"an-action destructive":  {"      - name: announce\n", "      - name: announce\n        destructive: true\n        irreversible: true\n"},
	"an-action why":          {"the cache fills again", "nobody looks there"},
	"an-action undo":         {"        undo: {webhook: {url: \"https://dns.example/repoint\", json: {to: eu-1}}}\n", "        irreversible: true\n"},
	"an-action irreversible": {"        undo: {webhook: {url: \"https://dns.example/repoint\", json: {to: eu-1}}}\n", "        irreversible: true\n"},
	"an-action attempts":     {"attempts: 2", "attempts: 1"},
	"an-action timeout":      {"        attempts: 2\n", "        attempts: 2\n        timeout: 40s\n"},
	"an-action targets":      {"max: 3}", "max: 2}"},
	"an-action webhook":      {"json: {to: eu-2}", "json: {to: eu-3}"},
	"an-undo webhook":        {"json: {to: eu-1}", "json: {to: eu-3}"},
	"targets query":          {"query: up == 0", "query: up == 1"},
	"targets label":          {"label: instance", "label: pod"},
	"targets source":         {"label: instance", "label: instance, source: other"},
	"targets max":            {"max: 3}", "max: 2}"},
	"a-rollout waves":        {"waves: [5, 25, 100]", "waves: [5, 20, 100]"},
	"a-rollout pause":        {"pause: 1m", "pause: 2m"},
	"a-rollout verify":       {"verify: 'sli(\"p99\") < 0.5'", "verify: 'sli(\"p99\") < 0.4'"},

	"the-declaration-of-a-flag description": {"{owner: team-shop}", "{owner: team-shop, description: what others bought}"},
	"the-declaration-of-a-flag owner":       {"{owner: team-shop}", "{owner: team-till}"},
	"the-declaration-of-a-flag level":       {"{owner: team-shop}", "{owner: team-shop, level: 2}"},
	"the-declaration-of-a-flag expires":     {"{owner: team-shop}", "{owner: team-shop, expires: 2027-03-01}"},
	"the-declaration-of-a-flag tested":      {"{owner: team-shop}", "{owner: team-shop, tested: 2026-03-01}"},
	"the-declaration-of-a-flag saves":       {"{owner: team-shop}", "{owner: team-shop, saves: a third of the load}"},
	"a-finding-that-is-allowed code":        {"code: no-way-out", "code: no-runbook"},
	"a-finding-that-is-allowed why":         {"why: it is looked at", "why: it was looked at"},

	"instances min_applied": {"min_applied: 99%", "min_applied: 98%"},
	"instances grace":       {"grace: 20s", "grace: 10s"},
	"instances page_above":  {"page_above: 1%", "page_above: 2%"},
	"flapping changes":      {"changes: 4", "changes: 3"},
	"flapping within":       {"within: 2h}", "within: 3h}"},
}

// unedited are keys that say nothing which could change by itself, each with the reason.
var unedited = map[string]string{
	"a-rule-file version": "another version is another language",
	"a-rule-file service": "another name is another service",
}

// A new key of the rule language has an edit here, and is shown: what nobody reads of a change has passed in silence.
func TestWhateverTheLanguageSaysIsComparedByName(t *testing.T) {
	kinds, err := server.FormKinds()
	if err != nil {
		t.Fatal(err)
	}
	var language struct {
		Defs map[string]struct {
			Properties map[string]any `json:"properties"`
		} `json:"$defs"`
	}
	if err := json.Unmarshal(rules.Schema(kinds), &language); err != nil {
		t.Fatal(err)
	}
	left := maps.Clone(edited)
	before := compiled(t, strict)
	for def, shape := range language.Defs {
		if strings.HasSuffix(def, "a-Sloth-file") {
			continue // its keys are those of a file of our own
		}
		for key := range shape.Properties {
			name := def + " " + key
			if kinds[key] != nil && key != "webhook" || unedited[name] != "" {
				continue // one kind of action stands for all of them
			}
			t.Run(name, func(t *testing.T) {
				edit, ok := edited[name]
				delete(left, name)
				if !ok || !strings.Contains(strict, edit[0]) || edit[0] == edit[1] {
					t.Fatalf("no edit for it: %q", edit)
				}
				after := compiled(t, strings.Replace(strict, edit[0], edit[1], 1))
				got := outline.Compare(before, after)
				if decides := before.Digest != after.Digest; !decides && slices.ContainsFunc(got, func(d outline.Difference) bool {
					return !outline.Same(before.Entry(d.Kind, d.Name), after.Entry(d.Kind, d.Name))
				}) {
					t.Errorf("it decides something, and the digest is the same: %+v", got)
				}
				if len(got) == 0 || slices.ContainsFunc(got, func(d outline.Difference) bool { return d.Field == "rules" }) {
					t.Errorf("it is not shown: %+v", got)
				}
			})
		}
	}
	for name := range left {
		t.Errorf("an edit for %q, which the language does not have", name)
	}
}

// What a file leaves out stands for something. To write that down changes nothing, and is no difference without a name.
func TestWritingDownWhatIsMeantAnywayIsNoDifference(t *testing.T) {
	plain := strings.NewReplacer("automation: suggest\n", "", "stuck_after: 30m\ninstances: {min_applied: 99%, grace: 20s, page_above: 1%}\nlease: 10m\non_loss: degraded\n", "",
		"    on_expiry: {propose: back}\n", "").Replace(strict)
	before := compiled(t, plain)
	for _, edit := range [][2]string{
		{"source: main\n", "source: main\nautomation: on\n"},
		{"source: main\n", "source: main\nstuck_after: 30m\n"},
		{"source: main\n", "source: main\ninstances: {min_applied: 99%}\n"},
		{"source: main\n", "source: main\ninstances: {grace: 30s}\n"},
		{"source: main\n", "source: main\ninstances: {page_above: 1%}\n"},
		{"source: main\n", "source: main\non_loss: hold\n"},
		{"source: main\n", "source: main\nevaluate: raw\n"},
		{"source: main\n", "source: main\nescalation: []\n"},
		{"source: main\n", "source: main\nlabels: {}\n"},
		{"    calendar: month\n", "    calendar: month\n    timezone: UTC\n"},
		{"    objective: 99.9\n", "    objective: 99.90\n    no_traffic: unknown\n"},
		{"    period: 7d\n", "    period: 1w\n    max_age: 5m\n"},
		{"    period: 7d\n", "    period: 7d\n    evaluate: raw\n"},
		{"max_duration: 4h\n", "max_duration: 240m\n    on_expiry: page\n"},
		{"max_duration: 2h\n    slos: {", "max_duration: 2h\n    slos: {rolling: {pause: false}, "},
		{"  - name: contained\n", "  - name: contained\n    beside: false\n    flags: {}\n"},
		{"from: [normal]\n", "from: [normal]\n    severity: info\n    for: 0s\n    retry_after: 1h\n    publish: first\n"},
		{"within: 15m}", "within: 900s, otherwise: deny}"},
		{"{role: lead, count: 1}", "{role: lead}"},
		{"        webhook: {url: \"https://chat.example/announce\"}\n", "        webhook: {url: \"https://chat.example/announce\"}\n        attempts: 1\n        timeout: 30s\n        destructive: false\n        irreversible: false\n"},
		{"label: instance, ", ""},
	} {
		if !strings.Contains(plain, edit[0]) {
			t.Fatalf("no edit for it: %q", edit)
		}
		after := compiled(t, strings.Replace(plain, edit[0], edit[1], 1))
		if got := said(before, after); len(got) > 0 || before.Digest != after.Digest {
			t.Errorf("%q: %q", edit[1], got)
		}
	}
}
