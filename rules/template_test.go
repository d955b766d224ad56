package rules

import (
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"
)

// What narrows is narrowed where waves are verified, and stands for all instances everywhere else.
func TestOnlyTheVerificationOfARolloutIsNarrowed(t *testing.T) {
	s := mustLoad(t, Options{}, `version: modeshift/v1
service: checkout
slos:
  - name: availability
    objective: 99.9
    sli: {raw: {error_ratio_query: 'avg(avg_over_time(ratio{pod=~"{{.instances}}"}[{{.window}}]))'}}
    alerting: {name: A}
  - name: whole
    objective: 99.9
    sli: {raw: {error_ratio_query: 'avg(avg_over_time(ratio[{{.window}}]))'}}
    alerting: {page_alert: {disable: true}, ticket_alert: {disable: true}}
slis:
  - {name: p99, query: 'max(latency{pod=~"{{.instances}}:80"})'}
modes: [{name: normal}, {name: degraded}]
transitions:
  - name: shed
    from: [normal]
    to: degraded
    when: sli("p99") > 1.0 && burn_rate("availability", "5m") > 1.0
    verify: sli("p99") < 1.0
    rollout:
      waves: [5, 100]
      verify: >-
        sli("p99") < 1.0 && !burning("availability", "page") && error_ratio("availability", "1m") < 0.1 &&
        error_ratio("whole", "1m") < 0.1 && budget_remaining("availability") > 0.0 && !alert("X")
`).Services[0]
	for _, c := range s.Conditions {
		for _, sig := range c.Signals() {
			want := c.Name == "shed.rollout" && (sig.Kind == SignalSLI || sig.Kind == SignalSLO && sig.Name == "availability")
			if sig.Narrowed != want {
				t.Errorf("%s: %+v", c.Name, sig)
			}
		}
	}
	slo, sli := s.SLO("availability"), s.SLI("p99")
	all, total := slo.Queries(5 * time.Minute)
	some, none := slo.QueriesOn(5*time.Minute, []string{"a.b", "", "c"})
	got := fmt.Sprint(all, total, " ", some, none, " ", sli.Query, " ", sli.QueryOn([]string{"a.b", "c"}))
	if want := `avg(avg_over_time(ratio{pod=~".*"}[5m])) avg(avg_over_time(ratio{pod=~"a\\.b|c"}[5m])) max(latency{pod=~"(?:.*):80"}) max(latency{pod=~"(?:a\\.b|c):80"})`; got != want {
		t.Errorf("got %s\nwant %s", got, want)
	}
	if errors, _ := slo.QueriesOn(time.Minute, []string{""}); errors != "" || sli.QueryOn(nil) != "" {
		t.Error("queries of no instances")
	}
	if errors, _ := s.SLO("whole").QueriesOn(time.Minute, []string{"a"}); errors != "" || s.SLO("whole").Narrows() {
		t.Error("an SLO narrows that says nothing of instances")
	}
	if strings.Contains(fmt.Sprint(s.Selectors), probeInstances) {
		t.Errorf("selectors %v", s.Selectors)
	}
}

// A pattern that happens to be the one for all instances is another query.
func TestADigestTellsWhereInstancesStand(t *testing.T) {
	digests := map[string]string{}
	for _, query := range []string{
		`x{a=~".*",b=~".*"}`, `x{a=~"{{.instances}}",b=~".*"}`, `x{a=~".*",b=~"{{.instances}}"}`, `x{a=~"{{.instances}}",b=~"{{.instances}}"}`,
		`x{a=~"{{.instances}}:80",b=~".*"}`,
	} {
		s := mustLoad(t, Options{}, "version: modeshift/v1\nservice: checkout\nslis: [{name: x, query: '"+query+"'}]\nslos: []\n").Services[0]
		if other, taken := digests[string(s.Digest)]; taken {
			t.Errorf("%s has the digest of %s", query, other)
		}
		digests[string(s.Digest)] = query
	}
	one := mustLoad(t, Options{}, "version: modeshift/v1\nservice: checkout\nslis: [{name: x, query: 'x{a=~\"{{.instances}}\"}'}]\nslos: []\n").Digest
	two := mustLoad(t, Options{}, "version: modeshift/v1\nservice: checkout\nslis:\n  - name: x\n    query: |\n      x{ a =~ '{{- $.instances -}}' } # here\nslos: []\n").Digest
	if one != two {
		t.Error("the way the string is written is in the digest")
	}
}

func FuzzAPatternMatchesTheNamesAndNothingElse(f *testing.F) {
	for _, s := range []string{"a", "a.b", "a|b", ".*", `\d`, "a\"b`'", "\n", "é", "[", "(?i)", "\xff", "x-1"} {
		f.Add(s, "axb")
	}
	f.Fuzz(func(t *testing.T, name, other string) {
		name, other = strings.ToValidUTF8(name, "\uFFFD"), strings.ToValidUTF8(other, "\uFFFD")
		pattern := patternOf([]string{name, "z"})
		if strings.ContainsAny(pattern, "\"'`\n\r\x00") {
			t.Errorf("%q in %q", pattern, name)
		}
		re, err := regexp.Compile("^(?:" + pattern + ")$")
		if err != nil {
			t.Fatalf("%q: %v", name, err)
		}
		if re.MatchString(name) != (name != "") || other != name && other != "z" && re.MatchString(other) || !re.MatchString("z") {
			t.Errorf("%q made of %q", pattern, name)
		}
	})
}

// What is cut without a template's parser is what the parser makes of it, to the byte at which each piece begins.
func TestPlainTemplatesAreCutAsTheParserCutsThem(t *testing.T) {
	parts := []string{"{{.window}}", "{{.instances}}", "{{ .window }}", "{{/* */}}", "{", "}", "}}", "{{", "rate(x[", "é", "\n"}
	names := []string{windowName, instancesName}
	plain, others := 0, 0
	var try func(text string, depth int)
	try = func(text string, depth int) {
		got, starts, ok := cut(text, names)
		r := &reader{src: newSource("a.yaml", text)}
		q := &query{node: &node{kind: yaml.ScalarNode, tag: "!!str", value: text, line: 1, column: 1}}
		r.parsed(q, "the query", names)
		if !ok {
			others++
		} else if plain++; !reflect.DeepEqual(got, q.template) || !slices.Equal(starts, q.starts) {
			t.Errorf("%q: %q from %v, and the parser: %q from %v %v", text, got.pieces, starts, q.template.pieces, q.starts, r.diags)
		}
		for _, p := range parts {
			if depth > 0 {
				try(text+p, depth-1)
			}
		}
	}
	try("", 4)
	if plain < 1000 || others < 1000 {
		t.Errorf("%d are cut, %d are not: hardly a test", plain, others)
	}
}
