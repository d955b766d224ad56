package rules

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/modeshift/modeshift/engine"
)

const pausingFile = `version: modeshift/v1
service: checkout
slos:
  - name: latency
    objective: 99
    sli: {raw: {error_ratio_query: "avg_over_time(slow[{{.window}}])"}}
    alerting: {name: Slow}
  - name: availability
    objective: 99.9
    sli: {raw: {error_ratio_query: "avg_over_time(down[{{.window}}])"}}
    alerting: {name: Down}
schedules: [{name: migration, cron: "0 2 * * SUN", duration: 2h, timezone: Europe/Berlin}]
modes:
  - name: normal
  - name: read-only
    PAUSE
transitions:
  - name: migrate
    from: [normal]
    to: read-only
    when: schedule("migration")
    until: '!schedule("migration")'
`

func TestAModeThatAScheduleEntersAndEndsMayPause(t *testing.T) {
	digests := map[string]string{}
	for line, want := range map[string]string{
		"flags: {}":                       "",
		"slos: {latency: {pause: false}}": "",
		"slos: {latency: {pause: true}}":  "latency",
		"slos: {latency: {pause: true}, availability: {pause: true}}": "availability latency",
	} {
		p := mustLoad(t, Options{}, strings.Replace(pausingFile, "PAUSE", line, 1)).Services[0].Policy
		if got := strings.Join(p.Modes[1].Pause, " "); got != want {
			t.Errorf("%s: pauses %q", line, got)
		}
		if before, known := digests[want]; known && before != string(p.Digest) {
			t.Errorf("%s: two digests for one meaning", line)
		}
		digests[want] = string(p.Digest)
	}
	if all := slices.Sorted(func(yield func(string) bool) {
		for _, d := range digests {
			if !yield(d) {
				return
			}
		}
	}); len(slices.Compact(all)) != 3 {
		t.Errorf("the digest does not tell what is paused: %v", digests)
	}
}

func TestAModeKeepsQuietWhatItSays(t *testing.T) {
	digests := map[engine.Digest]string{}
	for line, want := range map[string]string{
		"flags: {}": "",
		"suppress: {slos: [latency], severities: [page]}":                        "[latency] [page]",
		"suppress: {slos: [latency, latency], severities: [page, ticket, page]}": "[latency] [page ticket]",
		"suppress: {slos: [latency, availability], severities: [ticket]}":        "[availability latency] [ticket]",
	} {
		p := mustLoad(t, Options{}, strings.Replace(pausingFile, "PAUSE", line, 1)).Services[0].Policy
		got := ""
		if q := p.Modes[1].Suppress; q != nil {
			got = fmt.Sprint(q.SLOs, " ", q.Severities)
		}
		if got != want {
			t.Errorf("%s: %q", line, got)
		}
		if other, same := digests[p.Digest]; same {
			t.Errorf("%s has the digest of %s", line, other)
		}
		digests[p.Digest] = line
	}
}

func TestAPauseThatNeverComesIsDoubted(t *testing.T) {
	text := strings.Replace(pausingFile, "PAUSE", "slos: {latency: {pause: true}}\n    max_duration: 1h", 1)
	set, faults := load(t, Options{}, text[:strings.Index(text, "transitions:")])
	if len(faults.Errors()) > 0 || len(set.Warnings) != 1 || !strings.Contains(set.Warnings[0].Message, "no transition leads to read-only, so it never pauses anything") {
		t.Errorf("%v, %v", faults, set.Warnings)
	}
	if set := mustLoad(t, Options{}, text); len(set.Warnings) > 0 {
		t.Errorf("with a transition: %v", set.Warnings)
	}
}
