package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/modeshift/modeshift/engine"
	"github.com/modeshift/modeshift/engine/api"
	"github.com/modeshift/modeshift/engine/readiness"
	"github.com/modeshift/modeshift/engine/server"
	"github.com/modeshift/modeshift/rules"
)

// judged is what readiness came to.
type judged struct {
	reports []readiness.Report
	nothing []engine.Scope // that have no transitions: there is nothing to be ready for
}

// judge judges the services of a set. A server that does not answer is no error: what it alone knows cannot be told then. One that
// answers and turns the token away is, because to go on would be to hide that.
func (v *rulesCheckCmd) judge(c *cli, set *rules.Set) (*judged, error) {
	seen := map[engine.Scope]*readiness.Telemetry{}
	if v.Prometheus != "" {
		var err error
		if seen, err = server.Telemetry(context.Background(), v.Source, string(v.Prometheus), set); err != nil {
			return nil, exit(exitCannotTell, "%w; is the URL right, and may this machine reach it?", err)
		}
	}
	client, err := c.dial()
	if err != nil {
		return nil, err
	}
	out := &judged{reports: []readiness.Report{}}
	below := map[engine.Scope]int{}
	for _, service := range set.Services {
		below[service.Policy.Parent]++
	}
	gone := "" // why no server answers: it is not tried again for every service
	for _, service := range set.Services {
		scope := service.Policy.Scope
		if len(service.Policy.Transitions) == 0 {
			out.nothing = append(out.nothing, scope)
			continue
		}
		subject := readiness.Subject{Policy: &service.Policy, Needs: server.Needs(service), Drills: service.Drills, Below: below[scope],
			Telemetry: seen[scope], NoServer: gone, Now: time.Now().UTC()}
		if gone == "" {
			facts, err := known(client, scope)
			var refused *api.Error
			switch {
			case err == nil:
				subject.Facts = &facts
			case !errors.As(err, &refused):
				gone = "no server answers at " + c.Server
				subject.NoServer = gone
			case refused.Status() == http.StatusUnauthorized, refused.Status() == http.StatusForbidden:
				return nil, c.explain(err)
			case refused.Code() == api.CodeUnknownScope:
				subject.NoServer = "the server runs no rules of this service"
			default:
				subject.NoServer = oneLine(err.Error())
			}
		}
		out.reports = append(out.reports, readiness.Judge(subject))
	}
	if len(out.reports) == 0 {
		return nil, exit(exitUsage, "no file declares transitions: there is nothing to be ready for")
	}
	return out, nil
}

// known is what a server knows of a scope.
func known(client *api.Client, scope engine.Scope) (readiness.Facts, error) {
	return patiently(func(ctx context.Context) (readiness.Facts, error) { return client.Readiness(ctx, scope) })
}

// busyPause is how long a server that is busy is left alone where it does not say.
const busyPause = time.Second

// answer is that of all services.
func (j *judged) answer() readiness.Answer {
	all := readiness.Yes
	for _, r := range j.reports {
		if r.Answer == readiness.No || all == readiness.Yes {
			all = r.Answer
		}
	}
	return all
}

// exit is the answer as an exit code.
func (j *judged) exit() error {
	switch j.answer() {
	case readiness.No:
		return &exitError{exitNo, errors.New("")}
	case readiness.CannotTell:
		return &exitError{exitCannotTell, errors.New("")}
	}
	return nil
}

// The columns of the table, which fits a terminal and a phone of 80.
const (
	criterionWidth = 12
	answerWidth    = 13
	textWidth      = 80 - criterionWidth - answerWidth - 4
)

// marks are letters that every terminal has, beside the words.
var marks = map[readiness.Answer]string{readiness.Yes: "+ yes", readiness.No: "- no", readiness.CannotTell: "? cannot tell"}

func (j *judged) print(w io.Writer) error {
	var b strings.Builder
	for _, r := range j.reports {
		counts := map[readiness.Answer]int{}
		for _, row := range r.Rows {
			counts[row.Answer]++
		}
		verdict := map[readiness.Answer]string{readiness.Yes: "ready for automation", readiness.No: "NOT READY for automation",
			readiness.CannotTell: "not known to be ready for automation"}[r.Answer]
		fmt.Fprintf(&b, "%s: %s (%d yes, %d no, %d cannot tell)\n\n", r.Scope, verdict, counts[readiness.Yes], counts[readiness.No], counts[readiness.CannotTell])
		line := func(criterion, answer, text string) {
			b.WriteString(strings.TrimRight(fmt.Sprintf("%-*s  %-*s  %s", criterionWidth, criterion, answerWidth, answer, text), " ") + "\n")
		}
		line("CRITERION", "READY", "WHY, AND HOW TO GET TO YES")
		for _, row := range r.Rows {
			criterion, answer := row.Criterion, marks[row.Answer]
			for _, text := range wrap(oneLine(row.Why), textWidth) {
				line(criterion, answer, text)
				criterion, answer = "", ""
			}
			for i, text := range wrap(oneLine(row.Mend), textWidth-3) {
				line("", "", []string{"-> ", "   "}[min(i, 1)]+text)
			}
		}
		b.WriteByte('\n')
	}
	for _, scope := range j.nothing {
		fmt.Fprintf(&b, "%s: no transitions, so there is nothing to be ready for\n", scope)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// wrap breaks text at spaces into lines of at most so many letters; a longer word, which may be an address, stays whole.
func wrap(text string, width int) (lines []string) {
	line := ""
	for _, word := range strings.Fields(text) {
		if line != "" && utf8.RuneCountInString(line)+1+utf8.RuneCountInString(word) > width {
			lines = append(lines, line)
			line = ""
		}
		line = strings.TrimLeft(line+" "+word, " ")
	}
	if line != "" {
		lines = append(lines, line)
	}
	return lines
}
