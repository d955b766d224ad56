package webhook

import (
	"cmp"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/modeshift/modeshift/actions/notice"
	"github.com/modeshift/modeshift/engine"
)

// maxChat is how long a message may be, in bytes. Slack cuts at 40,000 characters, Mattermost at 16,383; nobody reads that much.
const maxChat = 4000

// message is what incoming webhooks of chats take: Slack's, and those that took its form over (Mattermost, Rocket.Chat, Google
// Chat, Zulip).
type message struct {
	Text string `json:"text"`
}

// escaped is what Slack asks of text, which is full of < and & in conditions: else <!channel> in a reason would call everybody.
// Source: Slack, "Formatting text for app surfaces", escaping text.
var escaped = strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;")

// chat writes a job's body for a chat. The same job always gives the same bytes.
func (n *Notifier) chat(job engine.Job) ([]byte, error) {
	it := job.Notice
	if it == nil {
		return nil, fmt.Errorf("webhook: job %s has no notice", job.ID)
	}
	what := map[engine.NoticeAction]string{engine.NoticeTrigger: string(it.Severity), engine.NoticeUpdate: string(it.Severity) + ", more", engine.NoticeResolve: string(it.Severity) + ", over"}[it.Action]
	if what == "" {
		return nil, fmt.Errorf("webhook: no such action of a notice: %q", it.Action)
	}
	scope := cmp.Or(it.Details.Scope, it.Event.Stream)
	lines := []string{fmt.Sprintf("[%s] %s", what, cmp.Or(notice.Line(it.Summary, maxSummary), notice.Line(string(scope)+": "+string(it.Incident), maxSummary)))}
	if why := notice.Line(it.Event.Reason.Text, maxSummary); why != "" && it.Action == engine.NoticeTrigger && !strings.Contains(lines[0], why) {
		lines = append(lines, why)
	}
	about := []string{string(it.Incident)}
	for _, fact := range []string{it.Details.Owner, it.Details.Runbook, cmp.Or(notice.AnswerAt(n.opts.ApprovalsURL, it), n.statusURL(scope))} {
		if fact != "" {
			about = append(about, notice.Line(fact, maxSummary))
		}
	}
	lines = append(lines, strings.Join(about, " · "))
	return json.Marshal(message{Text: escaped.Replace(notice.Cut(strings.Join(lines, "\n"), maxChat))})
}

// statusURL is where people see how a scope is.
func (n *Notifier) statusURL(scope engine.Scope) string {
	if n.opts.StatusURL != nil {
		return n.opts.StatusURL(scope)
	}
	return n.opts.ExternalURL
}
