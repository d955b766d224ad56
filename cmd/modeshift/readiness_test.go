package main

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/modeshift/modeshift/engine/api"
	"github.com/modeshift/modeshift/engine/readiness"
	"github.com/modeshift/modeshift/engine/secret"
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

func TestAServerThatIsBusyIsAskedAgain(t *testing.T) {
	asked := 0
	busy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if asked++; asked < 3 {
			w.WriteHeader([]int{http.StatusServiceUnavailable, http.StatusTooManyRequests}[asked-1])
			return
		}
		_, _ = w.Write([]byte(`{"scope": "checkout", "mode": "normal"}`)) // the client says when it is gone
	}))
	defer busy.Close()
	client, err := api.NewClient(busy.URL, secret.Secret{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if f, err := known(client, "checkout"); err != nil || f.Mode != "normal" || asked != 3 {
		t.Errorf("%+v, %v after %d requests", f, err, asked)
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
