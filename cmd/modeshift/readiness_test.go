package main

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/modeshift/modeshift/engine/readiness"
)

func TestTheReadinessTableFitsEightyColumns(t *testing.T) {
	long := strings.Repeat("why it is so, ", 20)
	j := &judged{reports: []readiness.Report{{Scope: "checkout", Answer: readiness.No, Rows: []readiness.Row{
		{Criterion: "max_duration", Answer: readiness.CannotTell, Why: long, Mend: long},
		{Criterion: "runbook", Answer: readiness.Yes, Why: "https://runbooks.example.com/" + strings.Repeat("x", 80)},
		{Criterion: "signals", Answer: readiness.No, Why: "a source says\n\x1b[31mred"},
	}}}}
	var b strings.Builder
	if err := j.print(&b); err != nil {
		t.Fatal(err)
	}
	for _, line := range strings.Split(b.String(), "\n") {
		if n := utf8.RuneCountInString(line); n > 80 && !strings.Contains(line, "https://") || line != strings.TrimRight(line, " ") {
			t.Errorf("%d columns: %q", n, line)
		}
		if strings.ContainsFunc(line, func(r rune) bool { return r < ' ' || r > '~' }) {
			t.Errorf("not every terminal has the letters of %q", line)
		}
	}
	if want := "max_duration  ? cannot tell  why it is so, why it is so,"; !strings.Contains(b.String(), want) {
		t.Errorf("%s\nlacks %q", b.String(), want)
	}
}

func TestOneNoOutweighsWhatCannotBeTold(t *testing.T) {
	for _, c := range []struct {
		answers []readiness.Answer
		want    readiness.Answer
		code    int
	}{
		{[]readiness.Answer{readiness.Yes, readiness.Yes}, readiness.Yes, exitYes},
		{[]readiness.Answer{readiness.Yes, readiness.CannotTell}, readiness.CannotTell, exitCannotTell},
		{[]readiness.Answer{readiness.CannotTell, readiness.Yes}, readiness.CannotTell, exitCannotTell},
		{[]readiness.Answer{readiness.CannotTell, readiness.No, readiness.Yes}, readiness.No, exitNo},
		{[]readiness.Answer{readiness.No, readiness.CannotTell}, readiness.No, exitNo},
	} {
		j := &judged{}
		for _, a := range c.answers {
			j.reports = append(j.reports, readiness.Report{Answer: a})
		}
		if got := j.answer(); got != c.want || report(j.exit(), &strings.Builder{}) != c.code {
			t.Errorf("%v: %s, want %s and exit code %d", c.answers, got, c.want, c.code)
		}
	}
}
