package mutant

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/modeshift/modeshift/rules"
)

const shop = `version: modeshift/v1
service: shop
slos:
  - name: availability
    objective: 99.9
    sli:
      events:
        error_query: sum(rate(r_total{job="shop",code=~"5.."}[{{.window}}]))
        total_query: sum(rate(r_total{job="shop"}[{{.window}}]))
    alerting: {name: A, page_alert: {}, ticket_alert: {disable: true}}
    windows:
      - {severity: page, long: 1h, short: 5m, factor: 14.4}
    min_events: 100
slis:
  - {name: p99, query: 'max(latency{job="shop"}) / 1000'}
modes: [{name: normal}, {name: degraded, min_duration: 5m}, {name: read-only}]
transitions:
  - name: shed
    from: [normal]
    to: degraded
    when: burning("availability", "page") && sli("p99") > 0.5 # 0.5 s
    severity: page
  - name: recover
    from: [degraded]
    to: normal
    when: '!burning("availability", "page") && burn_rate("availability", "5m") < 1.0'
    for: 10m
`

func of(t testing.TB, text string) []Mutant {
	t.Helper()
	list, err := Of([]rules.File{{Name: "shop.yaml", Data: []byte(text)}}, rules.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// Of several documents each has its own names, and its own modes to take one for another.
func TestAChangeIsNamedByItsOwnDocument(t *testing.T) {
	second := strings.NewReplacer("service: shop", "service: cart", "name: availability", "name: success", `"availability"`, `"success"`,
		"name: shed", "name: lose", "degraded", "worse", "name: normal", "name: usual", "[normal]", "[usual]", "to: normal", "to: usual").Replace(shop)
	alone, both := of(t, second), of(t, shop+"---\n"+second)
	first := of(t, shop)
	if len(both) != len(first)+len(alone) {
		t.Fatalf("%d mutants of two documents, and of each alone %d and %d", len(both), len(first), len(alone))
	}
	for i := range both {
		want := slices.Concat(first, alone)[i]
		if m := &both[i]; m.Where != want.Where || m.Was != want.Was || m.Is != want.Is {
			t.Errorf("%s, want it to be %s: %s → %s", m, want.Where, want.Was, want.Is)
		}
	}
}

func TestAFileIsChangedInAllWaysOnceEach(t *testing.T) {
	var got strings.Builder
	list := of(t, shop)
	for i := range list {
		fmt.Fprintln(&got, list[i].Kind, list[i].String())
	}
	want := `objective shop.yaml:5:16: SLO availability: objective: 99.9 → 99
matcher shop.yaml:8:42: SLO availability: sli events error_query: = → !=
matcher shop.yaml:8:54: SLO availability: sli events error_query: =~ → !~
matcher shop.yaml:9:42: SLO availability: sli events total_query: = → !=
window shop.yaml:12:32: SLO availability: windows long: 1h → 2h
window shop.yaml:12:32: SLO availability: windows long: 1h → 30m
window shop.yaml:12:43: SLO availability: windows short: 5m → 10m
window shop.yaml:12:43: SLO availability: windows short: 5m → 2m30s
factor shop.yaml:12:55: SLO availability: windows factor: 14.4 → 28.8
factor shop.yaml:12:55: SLO availability: windows factor: 14.4 → 7.2
number shop.yaml:13:17: SLO availability: min_events: 100 → 200
matcher shop.yaml:15:40: SLI p99: query: = → !=
operator shop.yaml:15:50: SLI p99: query: / → *
number shop.yaml:15:52: SLI p99: query: 1000 → 2000
for shop.yaml:16:56: mode degraded: min_duration: 5m → 10m
for shop.yaml:16:56: mode degraded: min_duration: 5m → 2m30s
mode shop.yaml:20:9: transition shed: to: degraded → read-only
operator shop.yaml:21:43: transition shed: when: && → ||
operator shop.yaml:21:57: transition shed: when: > → <=
boundary shop.yaml:21:57: transition shed: when: > → >=
number shop.yaml:21:59: transition shed: when: 0.5 → 1.0
number shop.yaml:21:59: transition shed: when: 0.5 → 0.25
severity shop.yaml:22:15: transition shed: severity: page → ticket
mode shop.yaml:24:12: transition recover: from: degraded → read-only
operator shop.yaml:26:12: transition recover: when: ! left out
operator shop.yaml:26:45: transition recover: when: && → ||
window shop.yaml:26:75: transition recover: when: 5m → 10m
operator shop.yaml:26:80: transition recover: when: < → >=
boundary shop.yaml:26:80: transition recover: when: < → <=
number shop.yaml:26:82: transition recover: when: 1.0 → 2.0
number shop.yaml:26:82: transition recover: when: 1.0 → 0.5
for shop.yaml:27:10: transition recover: for: 10m → 20m
for shop.yaml:27:10: transition recover: for: 10m → 5m
`
	if got.String() != want {
		t.Errorf("the mutants are\n%s\nwant\n%s", &got, want)
	}
}

func TestAMutantDiffersInOnePlaceOfItsTextAndLoads(t *testing.T) {
	for _, m := range of(t, shop) {
		lines, changed := strings.Split(shop, "\n"), strings.Split(string(m.File.Data), "\n")
		if len(lines) != len(changed) {
			t.Fatalf("%s has %d lines", &m, len(changed))
		}
		for i := range lines {
			if i != m.Line-1 {
				if lines[i] != changed[i] {
					t.Errorf("%s changes line %d too", &m, i+1)
				}
				continue
			}
			at := m.Column - 1
			if lines[i][at:at+len(m.Was)] != m.Was || changed[i] != lines[i][:at]+m.Is+lines[i][at+len(m.Was):] {
				t.Errorf("%s:\n%s\n%s", &m, lines[i], changed[i])
			}
		}
		if _, err := rules.Load([]rules.File{m.File}, rules.Options{}); err != nil {
			t.Errorf("%s: %v", &m, err)
		}
	}
}

func TestWhatMeansTheSameIsNoMutant(t *testing.T) {
	seen := map[string]string{}
	for _, m := range of(t, shop) {
		set, err := rules.Load([]rules.File{m.File}, rules.Options{})
		if err != nil {
			t.Fatal(err)
		}
		if other := seen[string(set.Digest)]; other != "" {
			t.Errorf("%s means the same as %s", &m, other)
		}
		seen[string(set.Digest)] = m.String()
	}
	whole, err := rules.Load([]rules.File{{Name: "shop.yaml", Data: []byte(shop)}}, rules.Options{})
	if err != nil || seen[string(whole.Digest)] != "" {
		t.Errorf("%s is no change, %v", seen[string(whole.Digest)], err)
	}
}

func TestEqualFilesHaveEqualMutants(t *testing.T) {
	a, b := of(t, shop), of(t, shop)
	for i := range a {
		if a[i].String() != b[i].String() || !bytes.Equal(a[i].File.Data, b[i].File.Data) {
			t.Errorf("%s and %s", &a[i], &b[i])
		}
	}
}

func TestFilesAreChangedEachAmongTheOthers(t *testing.T) {
	files := []rules.File{
		{Name: "shop.yaml", Data: []byte(shop)},
		{Name: "sub.yaml", Data: []byte(`version: modeshift/v1
service: sub
parent: shop
modes: [{name: normal}, {name: low}]
transitions:
  - {name: down, from: [normal], to: low, when: mode("shop") == "degraded"}
  - {name: up, from: [low], to: normal, when: mode("shop") == "normal", for: 1m}
`)}}
	list, err := Of(files, rules.Options{})
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]bool{}
	for i := range list {
		if files[list[i].Index].Name != list[i].File.Name {
			t.Errorf("%s is not file %d", &list[i], list[i].Index)
		}
		found[list[i].String()] = true
	}
	if !found[`sub.yaml:6:62: transition down: when: == → !=`] || len(list) < 30 {
		t.Errorf("%d mutants: %v", len(list), found)
	}
}

func TestFilesThatDoNotLoadHaveNoMutants(t *testing.T) {
	if list, err := Of([]rules.File{{Name: "a.yaml", Data: []byte("version: modeshift/v1\n")}}, rules.Options{}); err == nil || len(list) > 0 {
		t.Errorf("%v, %v", list, err)
	}
}

func BenchmarkOf(b *testing.B) {
	for b.Loop() {
		of(b, shop)
	}
}
