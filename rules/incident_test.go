package rules_test

import (
	"math/rand/v2"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/modeshift/modeshift/rules"
	"github.com/modeshift/modeshift/test/inputs"
)

// shops are the services that incidents may be of.
func shops(t *testing.T) *rules.Set {
	t.Helper()
	slo := func(name string) string {
		return "  - name: " + name + "\n    objective: 99.9\n    sli: {events: {error_query: 'sum(rate(e{job=\"x\"}[{{.window}}]))', total_query: 'sum(rate(t{job=\"x\"}[{{.window}}]))'}}\n    alerting: {name: X}\n"
	}
	set, err := rules.Load([]rules.File{
		{Name: "checkout.yaml", Data: []byte("version: prometheus/v1\nservice: checkout\nslos:\n" + slo("availability") + slo("latency"))},
		{Name: "search.yaml", Data: []byte("version: prometheus/v1\nservice: search\nslos:\n" + slo("availability"))},
	}, rules.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return set
}

func TestIncidentsAreReadAlikeFromCSVAndFromYAML(t *testing.T) {
	set := shops(t)
	csv := "service, start, end, slo, severity, note\n" +
		"search,2026-11-03T16:00:00+01:00,2026-11-03T16:20:00+01:00,,ticket,\n" +
		"checkout,2026-11-03T14:05:00Z,2026-11-03T14:50:00Z,latency,,\"slow, said \"\"all\"\"\"\n"
	list := "- {service: search, start: 2026-11-03T16:00:00+01:00, end: 2026-11-03T16:20:00+01:00, severity: ticket}\n" +
		"- {service: checkout, start: 2026-11-03T14:05:00Z, end: \"2026-11-03T14:50:00Z\", slo: latency, note: 'slow, said \"all\"'}\n"
	for name, text := range map[string]string{"i.csv": csv, "i.CSV": "\uFEFF" + csv, "i.yaml": list, "i.yml": "incidents:\n" + list} {
		found, err := rules.ReadIncidents(rules.File{Name: name, Data: []byte(text)}, set)
		if err != nil || len(found) != 2 {
			t.Errorf("%s: %v, %v", name, found, err)
			continue
		}
		a, b := found[0], found[1]
		at := time.Date(2026, 11, 3, 14, 5, 0, 0, time.UTC)
		if a.Service != "checkout" || a.SLO != "latency" || a.Severity != "page" || !a.Start.Equal(at) || a.End.Sub(a.Start) != 45*time.Minute || a.Note != `slow, said "all"` {
			t.Errorf("%s: the first is %+v", name, a)
		}
		if b.Service != "search" || b.SLO != "" || b.Severity != "ticket" || b.Start.Sub(at) != 55*time.Minute || b.Start.Location() != time.UTC {
			t.Errorf("%s: the second is %+v", name, b)
		}
	}
}

func TestABadFileOfIncidentsSaysWhereWhatAndHowToMendIt(t *testing.T) {
	set := shops(t)
	for _, tc := range []struct{ name, text, want string }{
		{"i.csv", "", "i.csv: the file is empty"},
		{"i.csv", "service,start,end\n", "i.csv: the file names no incident"},
		{"i.csv", "checkout,2026-11-03T14:05:00Z,2026-11-03T14:50:00Z\n", "i.csv:1:1: the first line is no header"},
		{"i.csv", "service,start,finish\n", `i.csv:1:15: unknown key "finish" of the header`},
		{"i.csv", "service,start,end,serverity\n", `i.csv:1:19: unknown key "serverity" of the header`},
		{"i.csv", "service,start,end,serverity\n", `did you mean "severity"?`},
		{"i.csv", "service,start\n", `i.csv:1:1: the header needs "end"`},
		{"i.csv", "service,start,end,end\n", `i.csv:1:19: column "end" is there twice`},
		{"i.csv", "service,start,end\nchekout,2026-11-03T14:05:00Z,2026-11-03T14:50:00Z\n", `i.csv:2:1: no rule file declares service "chekout"`},
		{"i.csv", "service,start,end\nchekout,2026-11-03T14:05:00Z,2026-11-03T14:50:00Z\n", `did you mean "checkout"?`},
		{"i.csv", "service,start,end\ncheckout,2026-11-03 14:05,2026-11-03T14:50:00Z\n", `i.csv:2:10: the start is "2026-11-03 14:05", which is not a time`},
		{"i.csv", "service,start,end\ncheckout,2026-11-03T14:05:00Z\n", `i.csv:2:1: an incident needs "end"`},
		{"i.csv", "service,start,end\ncheckout,2026-11-03T14:05:00Z,,x\n", "i.csv:2:32: the row has 4 fields, and the header names 3"},
		{"i.csv", "service,start,end\ncheckout,2026-11-03T14:05:00Z,2026-11-03T14:05:00Z\n", "i.csv:2:31: the incident ends at 2026-11-03T14:05:00Z, which is not after its start"},
		{"i.csv", "service,start,end,note\ncheckout,2026-11-03T14:05:00Z,2026-11-03T14:50:00Z,said \"no\"\n", "i.csv:2:57: not CSV"},
		{"i.csv", "service,start,end\ncheckout,2026-11-03T14:05:00Z,2026-11-03T14:50:00Z\ncheckout,2026-11-03T14:05:00Z,2026-11-03T14:50:00Z\n", "i.csv:3:1: the same incident is on line 2 already"},
		{"i.csv", "service,note,start,end\ncheckout,Straße ä,2026-11-03,2026-11-03T14:50:00Z\n", "i.csv:2:19: the start is"},
		{"i.yaml", "# none\n", "i.yaml: the file holds nothing but comments"},
		{"i.yaml", "[]\n", "i.yaml: the file names no incident"},
		{"i.yaml", "checkout\n", "i.yaml:1:1: a file of incidents must be a list"},
		{"i.yaml", "incident: []\n", `i.yaml:1:1: unknown key "incident" of a file of incidents`},
		{"i.yaml", "- {service: checkout, start: 2026-11-03T14:05:00Z, end: 2026-11-03T14:50:00Z, slo: latecy}\n", `i.yaml:1:84: checkout has no SLO "latecy"`},
		{"i.yaml", "- {service: checkout, start: 2026-11-03T14:05:00Z, end: 2026-11-03T14:50:00Z, slo: latecy}\n", `did you mean "latency"?`},
		{"i.yaml", "- {service: checkout, start: 2026-11-03T14:05:00Z, end: 2026-11-03T14:50:00Z, severity: pages}\n", `i.yaml:1:89: severity cannot be "pages"`},
		{"i.yaml", "- {service: checkout, start: 12, end: 2026-11-03T14:50:00Z}\n", "i.yaml:1:30: the start must be a string"},
	} {
		_, err := rules.ReadIncidents(rules.File{Name: tc.name, Data: []byte(tc.text)}, set)
		if err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%q:\n%v\nwant: %s", tc.text, err, tc.want)
		}
	}
}

func TestAllFaultsOfAFileOfIncidentsComeInOneRun(t *testing.T) {
	_, err := rules.ReadIncidents(rules.File{Name: "i.csv", Data: []byte("service,start,end\nx,y,z\nsearch,2026-11-03T14:05:00Z,never\n")}, shops(t))
	if err == nil {
		t.Fatal("it is taken")
	}
	for _, want := range []string{"i.csv:2:1: ", "i.csv:2:3: ", "i.csv:2:5: ", "i.csv:3:29: "} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("no %q in\n%v", want, err)
		}
	}
}

func FuzzAFileOfIncidentsIsReadOrRefused(f *testing.F) {
	for _, in := range incidentTexts {
		f.Add(in[0], in[1])
	}
	f.Fuzz(func(t *testing.T, name, text string) { readsIncidents(t, name, text) })
}

func TestManyFilesOfIncidentsAreReadOrRefused(t *testing.T) {
	t.Parallel()
	inputs.Each(t, incidentTexts, func(t *testing.T, _ *rand.Rand, in []string) string { return readsIncidents(t, in[0], in[1]) })
}

var incidentTexts = [][]string{
	{"i.csv", "service,start,end\ncheckout,2026-11-03T14:05:00Z,2026-11-03T14:50:00Z\n"},
	{"i.csv", "service,start,end,slo,severity,note\ncheckout,2026-11-03T14:05:00Z,2026-11-03T14:50:00Z,availability,ticket,\"a, b\"\n"},
	{"i.yaml", "- {service: checkout, start: 2026-11-03T14:05:00Z, end: 2026-11-03T14:50:00Z}\n"},
}

// readsIncidents reads a file of incidents where nobody declares a service, and returns what was said.
func readsIncidents(t *testing.T, name, text string) string {
	t.Helper()
	found, err := rules.ReadIncidents(rules.File{Name: name, Data: []byte(text)})
	if err == nil && len(found) > 0 {
		t.Errorf("%q: incidents of services that nobody declares: %v", text, found)
	}
	if err != nil {
		return regexp.MustCompile(`"[^"]*"|\d+`).ReplaceAllString(err.Error(), "")
	}
	return ""
}
