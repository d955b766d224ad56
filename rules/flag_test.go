package rules

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

const flagged = `version: modeshift/v1
service: shop
owner: team-shop
flags:
  recommendations: {owner: team-reco, expires: 2027-03-01, tested: 2026-11-01, level: 3, saves: 40 % of CPU, description: What others bought.}
  writes: {tested: 2026-11-01}
modes:
  - name: normal
    flags: {recommendations: true, writes: true}
  - name: degraded
    flags: {recommendations: false, writes: true}
`

func warningsOf(t *testing.T, now time.Time, text string) string {
	t.Helper()
	var out []string
	for _, w := range mustLoad(t, Options{Now: now}, text).Warnings {
		out = append(out, w.Summary()+" = "+w.Hint)
	}
	return strings.Join(out, "\n")
}

func on(day string) time.Time {
	at, err := time.Parse(time.RFC3339, day+"T12:00:00Z")
	if err != nil {
		panic(err)
	}
	return at
}

func TestFlagsAreDeclaredWithTheirService(t *testing.T) {
	s := mustLoad(t, Options{}, flagged).Services[0]
	want := Flag{Name: "recommendations", Description: "What others bought.", Owner: "team-reco", Level: 3, Saves: "40 % of CPU", Position: "a.yaml:5:3",
		Expires: time.Date(2027, 3, 1, 0, 0, 0, 0, time.UTC), Tested: time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)}
	if len(s.Flags) != 2 || s.Flags[0] != want || s.Flag("writes") != &s.Flags[1] || s.Flag("nothing") != nil {
		t.Errorf("%+v", s.Flags)
	}
	if FlagKind(&s.Policy, "writes") != "boolean" || FlagKind(&s.Policy, "nothing") != "" {
		t.Error("the type of a flag")
	}
	if got := warningsOf(t, on("2026-11-26"), flagged); got != "" {
		t.Errorf("warned:\n%s", got)
	}
	// What is said of a flag decides nothing, and whoever writes down a test changes no rule.
	again := mustLoad(t, Options{}, strings.ReplaceAll(flagged, "2026-11-01", "2026-11-20")).Services[0]
	if again.Digest != s.Digest || again.Flags[0] == s.Flags[0] {
		t.Error("the day of a test is in the digest, or is not read")
	}
}

func TestFlagsThatNobodyLooksAfterAreWarnedAbout(t *testing.T) {
	const fresh = "2027-02-01" // of both, where the other one is not the point
	for _, c := range []struct {
		now     string
		replace []string
		want    string
	}{
		{"2027-03-01", []string{"2026-11-01", fresh}, ""},
		{"2027-03-02", []string{"2026-11-01", fresh}, "a.yaml:5:48: warning: the flag recommendations was to be gone after 2027-03-01 = " +
			"remove it and what it switches, or let team-reco set another day"},
		{"2027-03-02", []string{"2026-11-01", fresh, "owner: team-reco, ", ""}, "a.yaml:5:30: warning: the flag recommendations was to be gone after 2027-03-01 = " +
			"remove it and what it switches, or let team-shop set another day"},
		{"2026-11-26", []string{" tested: 2026-11-01,", ""}, "a.yaml:5:3: warning: nobody says when the flag recommendations was tested last = " +
			"shift to a mode that sets it, see that it works, and write `tested: 2026-11-26`"},
		{"2026-11-26", []string{"{tested: 2026-11-01}", "{tested: 2026-08-27}"}, "a.yaml:6:20: warning: the flag writes was tested last on 2026-08-27, 91 days ago = " +
			"shift to a mode that sets it, see that it works, and write `tested: 2026-11-26`"},
		{"2026-11-26", []string{"{tested: 2026-11-01}", "{tested: 2026-08-29}"}, ""},
		{"2026-11-26", []string{"{tested: 2026-11-01}", "{tested: 2026-11-27}"}, ""},
		{"2026-11-26", []string{"{tested: 2026-11-01}", "{tested: 2027-11-01}"}, "a.yaml:6:20: warning: the flag writes was tested on 2027-11-01, and that day has not come = " +
			"write the day on which somebody saw it work"},
	} {
		text := strings.NewReplacer(c.replace...).Replace(flagged)
		if got := warningsOf(t, on(c.now), text); got != c.want {
			t.Errorf("on %s with %q: warned:\n%s\nwant:\n%s", c.now, c.replace, got, c.want)
		}
		if without := warningsOf(t, time.Time{}, text); without != "" {
			t.Errorf("without a day it warns: %s", without)
		}
	}
}

// Declaring one flag says that flags are declared: a name that is wrong on either side shows.
func TestDeclarationsAndModesAreComparedByName(t *testing.T) {
	text := strings.Replace(flagged, "  writes: {tested", "  wrties: {tested", 1)
	want := "a.yaml:6:3: warning: no mode sets the flag wrties = did you mean \"writes\"?\n" +
		"a.yaml:9:36: warning: the flag writes is not declared, and others are = did you mean \"wrties\"?"
	if got := warningsOf(t, time.Time{}, text); got != want {
		t.Errorf("warned:\n%s", got)
	}
	text = strings.Replace(flagged, "flags: {recommendations: true, writes: true}", "flags: {recommendations: true, writes: true, region: eu-1}", 1)
	if got := warningsOf(t, time.Time{}, text); got != "a.yaml:9:50: warning: the flag region is not declared, and others are = write under `flags:` at the top: region: {owner: …, expires: …, tested: …}" {
		t.Errorf("warned:\n%s", got)
	}
	for _, none := range []string{"", "flags: {}\n"} {
		start, end := strings.Index(flagged, "flags:"), strings.Index(flagged, "modes:")
		if got := warningsOf(t, on("2030-01-01"), flagged[:start]+none+flagged[end:]); got != "" {
			t.Errorf("a file that declares none is warned:\n%s", got)
		}
	}
}

// Clients have the type of a flag built in: a file that changes it does not replace the one in force, whatever else it says.
func TestAFlagDoesNotChangeItsType(t *testing.T) {
	values := map[string]string{"boolean": "false", "number": "2", "string": "'2'", "object": "{limit: 2}"}
	text := func(value string) string {
		if value == "" {
			return "version: modeshift/v1\nservice: shop\nmodes:\n  - name: normal\n  - {name: degraded, min_duration: 1m}\n"
		}
		return "version: modeshift/v1\nservice: shop\nmodes:\n  - name: normal\n  - {name: degraded, flags: {limit: " + value + "}}\n"
	}
	const other = "version: modeshift/v1\nservice: other\nowner: %s\nmodes: [{name: normal}, {name: degraded}]\n"
	for was, old := range values {
		last := mustLoad(t, Options{}, text(old), fmt.Sprintf(other, "a"))
		for is, value := range values {
			set, diags := reload(t, last, Options{}, text(value), fmt.Sprintf(other, "b"))
			shop := set.Service("shop")
			if set.Service("other").Policy.Owner != "b" {
				t.Error("another service does not reload")
			}
			if was == is {
				if diags != nil || shop.Problem != "" {
					t.Errorf("%s to %s: %v", was, is, diags)
				}
				continue
			}
			want := fmt.Sprintf("a.yaml:5:37: flag limit is %s here, and %s in the rules in force", article(is), article(was))
			if len(diags) != 1 || diags[0].Summary() != want || diags[0].Hint == "" || shop.Problem != want || FlagKind(&shop.Policy, "limit") != was {
				t.Errorf("%s to %s: %v; in force: %+v", was, is, diags, shop.Policy.Modes)
			}
			// It stays so for as long as the file is wrong, and comes back with it.
			set, _ = reload(t, set, Options{}, text(value))
			if FlagKind(&set.Service("shop").Policy, "limit") != was {
				t.Errorf("%s to %s: in force after another reload", was, is)
			}
			if set, diags = reload(t, set, Options{}, text(old)); diags != nil || set.Service("shop").Problem != "" {
				t.Errorf("%s again: %v", was, diags)
			}
			// The way to another type is a revision without the flag.
			set, _ = reload(t, set, Options{}, text(""))
			if set, diags = reload(t, set, Options{}, text(value)); diags != nil || FlagKind(&set.Service("shop").Policy, "limit") != is {
				t.Errorf("%s to %s by way of none: %v", was, is, diags)
			}
		}
	}
}
