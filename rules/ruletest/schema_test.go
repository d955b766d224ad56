package ruletest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/modeshift/modeshift/engine/server"
	"github.com/modeshift/modeshift/rules"
)

// schemaRules are two services, so that things may be said of each by its scope.
const schemaRules = `version: modeshift/v1
service: checkout
slos:
  - name: availability
    objective: 99.9
    sli:
      events:
        error_query: sum(rate(http_requests_total{job="checkout",code=~"5.."}[{{.window}}]))
        total_query: sum(rate(http_requests_total{job="checkout"}[{{.window}}]))
    alerting: {name: CheckoutAvailability, page_alert: {}, ticket_alert: {}}
modes:
  - {name: normal, flags: {recommendations: true}}
  - {name: degraded, flags: {recommendations: false}}
transitions:
  - name: shed
    from: [normal]
    to: degraded
    when: burning("availability", "page")
    approval: {groups: [{role: oncall}], within: 15m}
    actions:
      - {name: repoint, targets: {query: bad > 0, max: 2}, webhook: {url: "https://dns.example.com/", json: {to: "{{.targets}}"}}, undo: {webhook: {url: "https://dns.example.com/"}}}
  - {name: recover, from: [degraded], to: normal, when: '!burning("availability", "page")'}
---
version: modeshift/v1
service: search
modes: [{name: normal}, {name: degraded}]
transitions: [{name: follow, from: [normal], to: degraded, when: mode("checkout") == "degraded"}]
`

// schemaTests has every key of a test file, and every way to write what can be written in several.
const schemaTests = `rule_files: [rules.yaml]
evaluation: {interval: 15s, query_offset: 0s, blind_after: 5m}
interval: 30s
start: 2026-01-05T00:00:00Z
tests:
  - name: everything that can be said
    interval: 1m
    until: 2h
    instances: {checkout: [a, b], search: []}
    input_series:
      - {series: 'up{job="search"}', values: 1}
      - {series: bad, values: 0+1x10 _x2 stale}
    scenarios:
      - {name: partial-outage, slo: checkout/availability, at: 10m, for: 10m, share: 0.2, background: 0.0001, before: 1d, after: 1h, rate: 30, scrape: 30s}
      - {name: spike-train, slo: availability, at: 0, every: 10m, spike: 1m}
    steps:
      - {at: 1m, approve: shed, scope: checkout, by: ann, role: oncall, reason: it burns, blind: true}
      - {at: 1m, reject: shed, role: [oncall, lead], refused: true}
      - {at: 1m, set: degraded, scope: search, role: operator, for: 5m, via: follow, directive_only: true, force: false}
      - {at: 1m, unpin: search}
      - {at: 1m, freeze: fleet, for: 5m}
      - {at: 1m, unfreeze: fleet, refused: not_frozen}
      - {at: 1m, cancel: shed, scope: checkout}
      - {at: 1m, undo: shed}
      - {at: 1m, settle: shed, as: undone}
      - {action: repoint, at: 0, scope: checkout, undo: true, fails: 1, unknown: 2, takes: 30s, never: false}
      - {targets: repoint, at: 1m, found: [a]}
    expect:
      - {at: 0s, mode: {checkout: normal, search: normal}, flags: {checkout: {recommendations: true}}}
      - {between: [0s, 1m], incidents: {checkout: []}, proposals: {checkout: [shed]}, withheld: {checkout: {recover: min_duration}}}
      - {during: [5m, 7m], reason: {checkout: condition}, notices: {checkout: {page: 1, ticket: 0, exec: 0, ask: 1, info: 2}}}
      - {never: [5m, 7m], incidents: {checkout: [page slo availability, page too long degraded]}}
      - {at: 1m, readings: {checkout: {'burning("availability", "page")': unknown, 'dwell() > duration("1m")': true}}}
      - {at: 1m, readings: {checkout: ['dwell() > duration("1m")']}}
`

// alone has one service, so that its scope need not be named.
const alone = `rule_files: [alone.yaml]
tests:
  - name: of one service
    instances: [a]
    expect:
      - {at: 0s, mode: normal, incidents: [], proposals: [], withheld: {}, reason: added, flags: {recommendations: true}, notices: {page: 0}}
      - {at: 1m, readings: {'dwell() > duration("1m")': false}}
      - {at: 1m, readings: ['dwell() < duration("1h")']}
`

// compiledSchema is the schema as an independent validator understands it.
func compiledSchema(t *testing.T) *jsonschema.Schema {
	t.Helper()
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(Schema()))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("schema.json", doc); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile("schema.json")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// both reads a test file as Parse and as the validator do.
func both(t *testing.T, s *jsonschema.Schema, name, text string, see func(string, map[string]bool)) (loads, valid error) {
	t.Helper()
	kinds, err := server.FormKinds()
	if err != nil {
		t.Fatal(err)
	}
	_, loads = Parse(rules.File{Name: name, Data: []byte(text)}, Options{Kinds: kinds, seen: see})
	r, n := rules.NewReader(rules.File{Name: name, Data: []byte(text)}, begins)
	v, ok := r.JSON(n, "a test file")
	if !ok {
		t.Fatalf("%s: %v", name, r.Faults())
	}
	data, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	in, err := jsonschema.UnmarshalJSON(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	return loads, s.Validate(in)
}

// beside writes the rules, and says what a test file beside them is called.
func beside(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	first, _, _ := strings.Cut(schemaRules, "---\n")
	for name, text := range map[string]string{"rules.yaml": schemaRules, "alone.yaml": first} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return filepath.Join(dir, "test.yaml")
}

// What Parse reads and what the schema has are the same mappings with the same keys, and the schema asks for each key that is needed.
func TestTheSchemaKnowsWhatATestFileMaySay(t *testing.T) {
	s, read := compiledSchema(t), map[string]map[string]bool{}
	see := func(what string, keys map[string]bool) { read[what] = maps.Clone(keys) }
	name := beside(t)
	for _, text := range []string{schemaTests, alone} {
		loads, valid := both(t, s, name, text, see)
		if loads != nil || valid != nil {
			t.Errorf("loads: %v\nvalid: %v", loads, valid)
		}
	}
	for _, shape := range shapes() {
		keys := read[shape.What]
		if shape.What == "a step" { // each is read by its verb
			continue
		}
		if keys == nil {
			t.Errorf("the schema has %s, and no test above has one", shape.What)
		}
		for _, k := range shape.Keys {
			needed, known := keys[k.Name]
			switch {
			case !known:
				t.Errorf("the schema has the key %q of %s, and Parse has not", k.Name, shape.What)
			case needed != k.Required:
				t.Errorf("Parse needs the key %q of %s: %v, and the schema asks for it: %v", k.Name, shape.What, needed, k.Required)
			case len(k.About) < 4:
				t.Errorf("the schema does not say what %q of %s is", k.Name, shape.What)
			case !strings.Contains(schemaTests, k.Name+":"):
				t.Errorf("no test above says %q of %s", k.Name, shape.What)
			}
			delete(keys, k.Name)
		}
		for k := range keys {
			t.Errorf("Parse has the key %q of %s, and the schema has not", k, shape.What)
		}
		delete(read, shape.What)
	}
	for what := range read {
		t.Errorf("Parse reads %s, and the schema has none", what)
	}
}

func TestTheSchemaAcceptsTheTestsOfTheExamples(t *testing.T) {
	s := compiledSchema(t)
	names, err := filepath.Glob("../../examples/*/tests/*.yaml")
	if err != nil || len(names) < 4 {
		t.Fatalf("%v: %v", names, err)
	}
	for _, name := range names {
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if loads, valid := both(t, s, name, string(data), nil); loads != nil || valid != nil {
			t.Errorf("%s: loads: %v\nvalid: %v", name, loads, valid)
		}
	}
}

// What is wrong by its form alone the schema shows while it is typed, and Parse refuses it too.
func TestTheSchemaRefusesWhatIsWrongByItsForm(t *testing.T) {
	s, name := compiledSchema(t), beside(t)
	for _, c := range []struct{ old, text string }{
		{"evaluation: {interval: 15s", "evaluation: {intervall: 15s"},
		{"until: 2h", "unti: 2h"},
		{"until: 2h", "until: 2 h"},
		{"name: partial-outage", "name: partial_outage"},
		{"slo: availability, at: 0, ", ""},
		{"approve: shed, scope", "approves: shed, scope"},
		{"approve: shed, scope", "approve: shed, reject: shed, scope"},
		{"approve: shed, scope", "approve: shed, fails: 1, scope"},
		{"{at: 1m, undo: shed}", "{undo: shed}"},
		{"settle: shed, as: undone", "settle: shed, as: gone"},
		{"settle: shed, as: undone", "settle: shed"},
		{"fails: 1", "fails: 0"},
		{"targets: repoint, at: 1m, found: [a]", "targets: repoint, at: 1m"},
		{"between: [0s, 1m]", "between: [0s]"},
		{"between: [0s, 1m]", "between: 1m"},
		{"{at: 1m, readings: {checkout: [", "{readings: {checkout: ["},
		{"- {never: [5m, 7m]", "- {never: [5m, 7m], at: 5m"},
		{"[page slo availability", "[slo availability"},
		{"[page slo availability", "[page objective availability"},
		{"page: 1, ticket: 0", "page: one, ticket: 0"},
		{`"page")': unknown`, `"page")': maybe`},
		{"start: 2026-01-05T00:00:00Z", "start: 5 January 2026"},
		{"rule_files: [rules.yaml]", "rule_files: []"},
	} {
		text := strings.Replace(schemaTests, c.old, c.text, 1)
		if text == schemaTests {
			t.Errorf("%q is not in the tests", c.old)
			continue
		}
		loads, valid := both(t, s, name, text, nil)
		if loads == nil || valid == nil {
			t.Errorf("%s: loads: %v; valid: %v", c.text, loads, valid)
		}
	}
}

// An editor says what is wrong with the step that somebody writes, and not that it is none of eleven.
func TestTheSchemaSaysWhatIsWrongWithThisStep(t *testing.T) {
	s, name := compiledSchema(t), beside(t)
	_, valid := both(t, s, name, strings.Replace(schemaTests, "settle: shed, as: undone", "settle: shed, az: undone", 1), nil)
	text := fmt.Sprintf("%v", valid)
	if !strings.Contains(text, "as") || !strings.Contains(text, "az") || strings.Contains(text, "approve") {
		t.Errorf("%s", text)
	}
}
