package readiness

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/modeshift/modeshift/engine"
)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

const day = 24 * time.Hour

// ready is a service of which every row says yes.
func ready() Subject {
	return Subject{
		Policy: &engine.Policy{
			Scope: "checkout", Owner: "team-payments", Runbook: "https://runbooks.example.com/checkout",
			Modes:      []engine.ModeRule{{Name: "normal"}, {Name: "degraded", MaxDuration: 4 * time.Hour}, {Name: "failover", Beside: true}},
			Conditions: []engine.Condition{{Name: "shed.when", Digest: "c1"}, {Name: "recover.when", Digest: "c2"}, {Name: "fail-over.verify", Digest: "c3"}},
			Transitions: []engine.Transition{
				{Name: "shed", From: []engine.Mode{"normal"}, To: "degraded", When: 0, Severity: engine.SeverityPage},
				{Name: "recover", From: []engine.Mode{"degraded"}, To: "normal", When: 1},
				{Name: "fail-over", From: []engine.Mode{"degraded"}, To: "failover", When: 0,
					Gate:     &engine.Gate{Groups: []engine.Group{{Role: "oncall", Count: 1}, {Role: "lead", Count: 1}}, To: []engine.Group{{Role: "commander", Count: 1}}},
					Playbook: engine.Playbook{Steps: []engine.Step{{Name: "repoint", Destructive: true, Undo: true}}, Verify: 3}},
				{Name: "fail-back", From: []engine.Mode{"failover"}, To: "degraded", When: 1},
			},
		},
		Needs: []Need{{Signal: `error_ratio("availability", "5m")`, Conditions: []string{"shed.when", "recover.when"}, Counted: true}, {Signal: `sli("p99")`, Conditions: []string{"fail-over.verify"}}},
		Facts: &Facts{
			Scope: "checkout", Conditions: map[string]engine.Digest{"shed.when": "c1", "recover.when": "c2", "fail-over.verify": "c3"},
			Modes: []Record{{Mode: "degraded", Drill: &Stay{Left: noon.Add(-10 * day), To: "normal", Ended: EndedDone}}, {Mode: "failover", Drill: &Stay{Left: noon.Add(-90 * day), To: "degraded", Ended: EndedDone}}},
			Whole: true, Receivers: []Receiver{{engine.SeverityPage, "pagerduty"}},
			Roles: []Holders{{"commander", 1}, {"lead", 1}, {"oncall", 2}, {"operator", 1}},
			Gates: []Asked{{Transition: "fail-over", Groups: []engine.Group{{Role: "oncall", Count: 1}, {Role: "lead", Count: 1}}}}, Instances: Following{Known: 20, Applied: 20},
			Telemetry: Telemetry{Bears: Yes, Signals: []Sighting{
				{Signal: `error_ratio("availability", "5m")`, Seen: Yes, Traffic: &Traffic{Window: "5m", Least: 100, Share: 0.97}}, {Signal: `sli("p99")`, Seen: Yes}}},
		},
		NoServer: "no server answers", Now: noon,
	}
}

func row(t *testing.T, r Report, criterion string) Row {
	t.Helper()
	for _, row := range r.Rows {
		if row.Criterion == criterion {
			return row
		}
	}
	t.Fatalf("there is no row %q", criterion)
	return Row{}
}

func TestAServiceThatLacksNothingIsReady(t *testing.T) {
	s := ready()
	r := Judge(s)
	if r.Answer != Yes || r.Scope != "checkout" || len(r.Rows) != 14 {
		t.Fatalf("%+v", r)
	}
	for _, row := range r.Rows {
		if row.Why == "" || row.Mend != "" {
			t.Errorf("%+v", row)
		}
	}
}

// Each case takes one thing away from a service that is ready: its row says so, with how to mend it, and no other changes.
func TestEachRowSaysWhatIsMissingAndHowToMendIt(t *testing.T) {
	for _, c := range []struct {
		row    string
		take   func(*Subject)
		answer Answer
		why    string
	}{
		{"owner", func(s *Subject) { s.Policy.Owner = "" }, No, "nobody owns its modes"},
		{"runbook", func(s *Subject) { s.Policy.Runbook = "" }, No, "no mode has a runbook"},
		{"runbook", func(s *Subject) { s.Policy.Runbook = "ask Ann" }, No, "no mode has a runbook"},
		{"automation", func(s *Subject) { s.Policy.Automation = engine.AutomationOff }, No, "off: no transition is judged"},
		{"automation", func(s *Subject) { s.Policy.Automation = engine.AutomationSuggest }, Yes, "suggest: it says what it would do, and starts nothing"},
		{"max_duration", func(s *Subject) { s.Policy.Modes[1].MaxDuration = 0 }, No, "degraded may last for ever, and nobody is told"},
		{"way back", func(s *Subject) { s.Policy.Transitions[3].From = []engine.Mode{"degraded"} }, No, "no transition leads from failover to normal again"},
		{"way back", func(s *Subject) { s.Policy.Transitions[3].From = nil; s.Policy.Transitions[2].Until = 1 }, Yes, "declared from degraded, failover"},
		{"undo", func(s *Subject) { s.Policy.Transitions[2].Playbook.Steps[0].Undo = false }, No, "repoint of fail-over destroys, and is neither taken back nor asked for"},
		{"undo", func(s *Subject) {
			s.Policy.Transitions[2].Playbook.Steps = []engine.Step{{Name: "fence", Destructive: true, Irreversible: true}}
		}, Yes, "destructive steps: 0 with an undo, 1 irreversible behind people"},
		{"verification", func(s *Subject) { s.Policy.Transitions[2].Playbook.Verify = 0 }, No, "fail-over destroys, and nothing says whether it helped"},
		{"verification", func(s *Subject) {
			s.Policy.Transitions[2].Playbook.Verify, s.Policy.Transitions[2].Rollout = 0, &engine.Rollout{Verify: 3}
		}, Yes, "fail-over is verified"},
		{"signals", func(s *Subject) {
			s.Facts.Telemetry.Signals[1] = Sighting{Signal: `sli("p99")`, Seen: No, Why: "absent: no such series"}
		}, No, `sli("p99"): absent: no such series`},
		{"signals", func(s *Subject) { s.Facts.Conditions["fail-over.verify"] = "c4" }, CannotTell, `sli("p99"): the server does not run this file yet`},
		{"signals", func(s *Subject) { // a source that was asked for this very file counts before the server
			s.Telemetry = &Telemetry{Signals: []Sighting{{Signal: `sli("p99")`, Seen: No, Why: "stale"}}}
		}, No, `sli("p99"): stale`},
		{"signals", func(s *Subject) { // and where it cannot tell the server may
			s.Telemetry = &Telemetry{Signals: []Sighting{{Signal: `sli("p99")`, Seen: CannotTell, Why: "another source"}}}
		}, Yes, "2 of 2 seen"},
		{"traffic", func(s *Subject) { s.Facts.Telemetry.Signals[0].Traffic.Share = 0 }, No,
			`error_ratio("availability", "5m"): never the 100 events in 5m it takes to be known, in the last day`},
		{"traffic", func(s *Subject) { s.Facts.Telemetry.Signals[0].Traffic.Why = "timeout" }, CannotTell, `error_ratio("availability", "5m"): timeout`},
		{"traffic", func(*Subject) {}, Yes, "enough to be known for 97 % of the last day, or more"},
		{"traffic", func(s *Subject) { // the least of all is what counts
			s.Needs[1].Counted, s.Facts.Telemetry.Signals[1].Traffic = true, &Traffic{Share: 0.005}
		}, Yes, "enough to be known for 0.5 % of the last day, or more"},
		{"traffic", func(s *Subject) { s.Facts.Telemetry.Signals[0].Traffic = nil }, Yes, "no signal depends on traffic"},
		{"metrics", func(s *Subject) { s.Facts.Telemetry.Bears = No }, No, "no metric tells the mode"},
		{"metrics", func(s *Subject) { s.Facts.Telemetry.Bears = CannotTell }, CannotTell, "a source does not answer"},
		{"metrics", func(s *Subject) { s.Facts.Telemetry.Bears = No; s.Telemetry = &Telemetry{Bears: Yes} }, Yes, "the mode is in the metrics of the service"},
		{"instances", func(s *Subject) { s.Facts.Instances = Following{} }, No, "no instance reports"},
		{"instances", func(s *Subject) { s.Facts.Instances = Following{Known: 20, Applied: 18, Behind: 2} }, No, "of 20 instances 2 do not follow"},
		{"instances", func(s *Subject) { s.Facts.Instances = Following{Known: 20, Applied: 19, Failed: 1} }, No, "of 20 instances 1 do not follow"},
		{"drill", func(s *Subject) { s.Facts.Modes[1].Drill.Left = noon.Add(-90*day - time.Nanosecond) }, No, "failover came back 90 days ago, and is to every 90d"},
		{"drill", func(s *Subject) { s.Drills = map[engine.Mode]time.Duration{"degraded": 9 * day} }, No, "degraded came back 10 days ago, and is to every 9d"},
		{"drill", func(s *Subject) {
			s.Drills = map[engine.Mode]time.Duration{"failover": 120 * day, "degraded": 10 * day}
		}, Yes, "degraded 10 days ago; failover 90 days ago"},
		{"drill", func(s *Subject) { s.Facts.Modes[0] = Record{Mode: "degraded"} }, No, "degraded has not come back by its way back"},
		{"drill", func(s *Subject) {
			s.Facts.Modes[0] = Record{Mode: "degraded", Last: &Stay{Left: noon, Ended: EndedDirective}}
		}, No, "degraded has not come back by its way back, and left last by what is no drill (directive only)"},
		{"drill", func(s *Subject) { // what is older than every drill need not be read
			s.Facts.Modes[0], s.Facts.Whole, s.Facts.Since = Record{Mode: "degraded"}, false, noon.Add(-91*day)
		}, No, "degraded has not come back by its way back"},
		{"drill", func(s *Subject) {
			s.Facts.Modes[0], s.Facts.Whole, s.Facts.Since = Record{Mode: "degraded"}, false, noon.Add(-89*day)
		}, CannotTell, "degraded has not come back since 2025-12-02, where the reading of the log ended"},
		{"pages", func(s *Subject) { s.Facts.Receivers = nil }, No, "nobody is told what is a page"},
		{"pages", func(s *Subject) { s.Policy.Alerts = []engine.Alert{{Severity: engine.SeverityTicket}} }, No, "nobody is told what is a ticket"},
		{"pages", func(s *Subject) { s.Policy.Flap.Changes = 3 }, No, "nobody is told what is a ticket"},
		{"pages", func(s *Subject) { s.Policy.Transitions[0].Severity = engine.SeverityInfo }, Yes, "page to pagerduty"},
		{"approvers", func(s *Subject) { s.Facts.Roles[1].People = 0 }, No, "fail-over asks for 1 of lead, and 0 hold that role"},
		{"approvers", func(s *Subject) { s.Facts.Roles = s.Facts.Roles[1:] }, No, "fail-over asks for 1 of commander, and 0 hold that role"},
		{"approvers", func(s *Subject) { s.Facts.Gates[0].Short = "lead" }, No,
			"fail-over asks for more people than there are: nobody is left for lead when the others have said yes"},
		{"approvers", func(s *Subject) { s.Facts.Gates = nil }, CannotTell, "whether different people hold the roles of fail-over is known once the server runs this file"},
		{"approvers", func(s *Subject) { s.Facts.Gates, s.Facts.Roles[1].People = nil, 2 }, Yes, "enough people for what the brake withholds, fail-over"},
		{"approvers", func(s *Subject) { s.Facts.Roles = s.Facts.Roles[:3] }, No, "what the brake withholds asks for 1 of operator, and 0 hold that role"},
		{"approvers", func(s *Subject) { s.Policy.Transitions = s.Policy.Transitions[1:2] }, Yes, "no transition asks anybody"},
		{"approvers", func(s *Subject) { s.Policy.Transitions[2].Gate = nil }, Yes, "enough people for what the brake withholds"},
		{"instances", func(s *Subject) { s.Facts.Instances, s.Below = Following{}, 3 }, Yes, "none of its own: it stands above 3"},
		{"instances", func(s *Subject) { s.Facts.Instances, s.Facts.Below = Following{}, 2 }, Yes, "none of its own: it stands above 2"},
		{"metrics", func(s *Subject) { s.Facts.Telemetry.Bears, s.Below = No, 3 }, Yes, "none of its own: it stands above 3"},
	} {
		s := ready()
		c.take(&s)
		r := Judge(s)
		got := row(t, r, c.row)
		if got.Answer != c.answer || got.Why != c.why || (got.Mend == "") != (c.answer == Yes) {
			t.Errorf("%s: %+v, want %s: %s", c.row, got, c.answer, c.why)
		}
		if r.Answer != c.answer {
			t.Errorf("%s: in all it is %s", c.row, r.Answer)
		}
		for _, other := range r.Rows {
			if other.Criterion != c.row && other.Answer != Yes {
				t.Errorf("%s: %s is %s too: %s", c.row, other.Criterion, other.Answer, other.Why)
			}
		}
	}
}

// What nobody was asked is never a yes; and what the file says is judged all the same.
func TestWithoutAServerNothingIsReady(t *testing.T) {
	s := ready()
	s.Facts = nil
	r := Judge(s)
	var open []string
	for _, row := range r.Rows {
		if row.Answer != Yes {
			open = append(open, fmt.Sprint(row.Criterion, " ", row.Answer))
			if !strings.Contains(row.Why, "no server answers") && row.Criterion != "traffic" || row.Mend == "" {
				t.Errorf("%+v", row)
			}
		}
	}
	want := "signals cannot tell, traffic cannot tell, metrics cannot tell, instances cannot tell, drill cannot tell, pages cannot tell, approvers cannot tell"
	if got := strings.Join(open, ", "); got != want || r.Answer != CannotTell {
		t.Errorf("%s: %s", r.Answer, got)
	}
	s.Policy.Owner = ""
	if r := Judge(s); r.Answer != No {
		t.Errorf("with a no beside it, it is %s", r.Answer)
	}
}
