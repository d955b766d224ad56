package convert

import (
	"strings"

	"github.com/modeshift/modeshift/engine"
	"github.com/modeshift/modeshift/rules"
)

// severityWords are what people call what wakes somebody, and what waits for the morning.
var severityWords = map[string]engine.Severity{
	"page": engine.SeverityPage, "critical": engine.SeverityPage, "sev1": engine.SeverityPage, "p1": engine.SeverityPage,
	"ticket": engine.SeverityTicket, "warning": engine.SeverityTicket, "low": engine.SeverityTicket,
}

// severity finds out what a word of a file means. What nobody told is an error: a ticket in place of a page is an outage that
// nobody hears of.
func (im *importer) severity(n rules.Node) (engine.Severity, bool) {
	word, ok := n.Text("the severity")
	if !ok {
		return "", false
	}
	if s := im.opts.Severities[word]; s != "" {
		return s, true
	}
	s, ok := severityWords[strings.ToLower(word)]
	if !ok {
		n.Errorf("say it: --severity "+word+"=page or --severity "+word+"=ticket", "a severity %q may be a page or a ticket", word)
	}
	return s, ok
}
