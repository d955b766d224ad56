package rules

import (
	"strings"
	"testing"
	"time"

	"github.com/modeshift/modeshift/engine"
)

// burner is a file with a page and a ticket tier; ESCALATION stands for what the SLO says, TOP for what the file says.
const burner = `version: modeshift/v1
service: checkout
TOP
slos:
  - name: availability
    objective: 99.9
    ESCALATION
    sli:
      events:
        error_query: sum(rate(errors_total[{{.window}}]))
        total_query: sum(rate(requests_total[{{.window}}]))
    alerting: {name: CheckoutAvailability}
`

func burning(top, slo string) string {
	return strings.NewReplacer("TOP", top, "ESCALATION", slo).Replace(burner)
}

func TestWhatTellsAnIncidentFurtherIsTheFilesUnlessTheSLOSaysOtherwise(t *testing.T) {
	exec := Options{Receivers: map[engine.Severity]bool{engine.SeverityPage: true, engine.SeverityTicket: true, engine.SeverityExec: true}}
	onCall := Options{Receivers: map[engine.Severity]bool{engine.SeverityPage: true, engine.SeverityTicket: true}}
	const usual = `page: exec 30m0s burn_rate("availability", "5m") > 8.0`
	for _, c := range []struct {
		name     string
		opts     Options
		top, slo string
		want     []string
	}{
		{"a server that has nobody for it is as it was", onCall, "", "", nil},
		{"a check without a server too", Options{}, "", "", nil},
		{"with somebody for it a page goes there by itself", exec, "", "", []string{usual}},
		{"a file may say that none does", exec, "escalation: []", "", nil},
		{"an SLO may say that none does", exec, "", "escalation: []", nil},
		{"a file says of all SLOs", exec, "escalation: [{severity: exec, burn_rate: 20.5, for: 1h}]", "", []string{`page: exec 1h0m0s burn_rate("availability", "5m") > 20.5`}},
		{"an SLO says of itself, and only that holds", exec, "escalation: [{severity: exec, burn_rate: 20.5, for: 1h}]",
			"escalation: [{severity: page, burn_rate: 2, for: 6h, window: 1h}]", []string{`ticket: page 6h0m0s burn_rate("availability", "1h") > 2.0`}},
		{"a ticket goes by its own shortest window", exec, "", "escalation: [{severity: page, burn_rate: 2, for: 6h}, {severity: exec, burn_rate: 8, for: 30m}]",
			[]string{usual, `ticket: page 6h0m0s burn_rate("availability", "2h") > 2.0`}},
		{"what is asked for and nobody is there for is kept, and says so", onCall, "", "escalation: [{severity: exec, burn_rate: 8, for: 30m}]", []string{usual + " nobody"}},
	} {
		s := mustLoad(t, c.opts, burning(c.top, c.slo)).Services[0]
		var got []string
		for _, a := range s.Policy.Alerts {
			if e := a.Escalation; e != nil {
				text := strings.Join([]string{string(a.Severity) + ":", string(e.Severity), e.For.String(), s.Policy.Conditions[e.Condition].Text}, " ")
				if e.Nobody {
					text += " nobody"
				}
				got = append(got, text)
				if name := "slo/availability/" + string(a.Severity) + "/" + string(e.Severity); s.Policy.Conditions[e.Condition].Name != name || s.Policy.Conditions[e.Condition].Digest == "" {
					t.Errorf("%s: the condition is %+v", c.name, s.Policy.Conditions[e.Condition])
				}
			}
		}
		if strings.Join(got, "\n") != strings.Join(c.want, "\n") {
			t.Errorf("%s:\n%s", c.name, strings.Join(got, "\n"))
		}
	}
}

func TestAnEscalationAsksForNoWindowThatItsTierDoesNot(t *testing.T) {
	s := mustLoad(t, Options{}, burning("", "escalation: [{severity: exec, burn_rate: 8, for: 30m}]")).Services[0]
	page, further := s.Conditions[0].Signals(), s.Conditions[1].Signals()
	if s.Conditions[1].Name != "slo/availability/page/exec" || len(further) != 1 {
		t.Fatalf("%s asks for %v", s.Conditions[1].Name, further)
	}
	for _, sig := range page {
		if sig == further[0] {
			return
		}
	}
	t.Errorf("%v is none of %v: it costs a query of its own", further[0], page)
}

func TestAnEscalationIsInTheDigest(t *testing.T) {
	seen := map[engine.Digest]string{}
	for _, e := range []string{"", "escalation: [{severity: exec, burn_rate: 8, for: 30m}]", "escalation: [{severity: exec, burn_rate: 8, for: 31m}]",
		"escalation: [{severity: exec, burn_rate: 8.5, for: 30m}]", "escalation: [{severity: exec, burn_rate: 8, for: 30m, window: 30m}]"} {
		d := mustLoad(t, Options{}, burning("", e)).Services[0].Digest
		if other, same := seen[d]; same {
			t.Errorf("%q has the digest of %q", e, other)
		}
		seen[d] = e
	}
	if silent, none := mustLoad(t, Options{}, burning("", "")), mustLoad(t, Options{}, burning("escalation: []", "")); silent.Digest != none.Digest {
		t.Error("none without a word and none by word differ")
	}
}

func TestWhatIsWrongWithAnEscalationIsSaidAtItsPlace(t *testing.T) {
	for slo, want := range map[string]string{
		"escalation: exec":                                                                                            "7:17: escalation must be a list",
		"escalation: [exec]":                                                                                          "7:18: an escalation must be a mapping",
		"escalation: [{severity: exec, burn_rate: 8}]":                                                                `7:18: an escalation needs "for"`,
		"escalation: [{severity: ticket, burn_rate: 8, for: 1h}]":                                                     `7:29: severity cannot be "ticket"`,
		"escalation: [{severity: exec, burn_rate: 0, for: 1h}]":                                                       "7:46: burn_rate must be above zero",
		"escalation: [{severity: exec, burn_rate: x, for: 1h}]":                                                       "7:46: burn_rate must be a number",
		"escalation: [{severity: exec, burn_rate: 8, for: soon}]":                                                     "7:54: for is \"soon\"",
		"escalation: [{severity: exec, burn_rate: 8, for: 1h, above: 3}]":                                             `7:58: unknown key "above"`,
		"escalation: [{severity: exec, burn_rate: 8, for: 1h, window: 60d}]":                                          "7:66: the window 60d of SLO availability is longer than its period (30d)",
		"escalation: [{severity: exec, burn_rate: 8, for: 1h}, {severity: exec, burn_rate: 9, for: 1h}]":              "7:70: exec is there twice",
		"escalation: [{severity: exec, burn_rate: 8, for: 1h}]\n    alerting: {page_alert: {disable: true}, name: a}": "7:29: SLO availability has no page tier",
	} {
		file := burning("", slo)
		if strings.Contains(slo, "alerting:") {
			file = strings.Replace(file, "    alerting: {name: CheckoutAvailability}\n", "", 1)
		}
		if _, faults := load(t, Options{}, file); !strings.Contains(faults.Error(), want) {
			t.Errorf("%s:\n%v", slo, faults)
		}
	}
	for slo, want := range map[string]string{
		"escalation: [{severity: exec, burn_rate: 1000, for: 1h}]": "a burn rate of 1000 cannot be reached",
		"escalation: [{severity: exec, burn_rate: 8, for: 1h}]":    "nobody is told: the server has no receiver for exec",
	} {
		set, err := Load([]File{{Name: "a.yaml", Data: []byte(burning("", slo))}}, Options{Receivers: map[engine.Severity]bool{}})
		if err != nil || len(set.Warnings) == 0 || !strings.Contains(set.Warnings.Error(), want) {
			t.Errorf("%s: %v, %v", slo, set.Warnings, err)
		}
	}
	// What is usual and cannot come about is not worth a word: nobody wrote it.
	lax := strings.Replace(burning("", ""), "99.9", "80", 1)
	set, err := Load([]File{{Name: "a.yaml", Data: []byte(lax)}}, Options{Receivers: map[engine.Severity]bool{engine.SeverityExec: true}})
	if err != nil || strings.Contains(set.Warnings.Error(), "burn rate of 8") || set.Services[0].Policy.Alerts[0].Escalation != nil {
		t.Errorf("%v, %v", set.Warnings, err)
	}
}

func TestASlothFileEscalatesAsIsUsual(t *testing.T) {
	sloth := strings.Replace(burning("", ""), "modeshift/v1", "prometheus/v1", 1)
	s := mustLoad(t, Options{Receivers: map[engine.Severity]bool{engine.SeverityExec: true}}, sloth).Services[0]
	if e := s.Policy.Alerts[0].Escalation; e == nil || e.Severity != engine.SeverityExec || e.For != 30*time.Minute {
		t.Errorf("%+v", e)
	}
}
