package webhook_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/modeshift/modeshift/actions"
	"github.com/modeshift/modeshift/actions/webhook"
	"github.com/modeshift/modeshift/engine"
	"github.com/modeshift/modeshift/test/receiver"
)

func TestAChatGetsAMessageThatNamesTheIncidentAndWhereToLook(t *testing.T) {
	r := start(t, receiver.Options{})
	n := notifier(t, webhook.Options{URL: r.ChatURL(), Chat: true, ExternalURL: "https://modeshift.example", Log: "1f00"})
	for i, action := range []engine.NoticeAction{engine.NoticeTrigger, engine.NoticeUpdate, engine.NoticeResolve} {
		if err := n.Notify(t.Context(), job(engine.Version(17+i), action)); err != nil {
			t.Fatal(err)
		}
	}
	var got []string
	for _, q := range r.Requests() {
		var m struct{ Text string }
		if err := json.Unmarshal(q.Body, &m); err != nil {
			t.Fatal(err)
		}
		got = append(got, m.Text)
	}
	const about = "checkout-17 · team-payments · https://runbooks.example/checkout · https://modeshift.example"
	want := []string{
		"[ticket] checkout: budget burns slowly\n3 &lt; burn rate\n" + about,
		"[ticket, more] checkout: budget burns slowly\n" + about,
		"[ticket, over] checkout: budget burns slowly\n" + about,
	}
	if strings.Join(got, "\n\n") != strings.Join(want, "\n\n") {
		t.Errorf("the messages are\n%s\nwant\n%s", strings.Join(got, "\n\n"), strings.Join(want, "\n\n"))
	}
}

func TestAMessageCallsNobodyAndIsNotEndless(t *testing.T) {
	r := start(t, receiver.Options{})
	n := notifier(t, webhook.Options{URL: r.ChatURL(), Chat: true})
	j := job(17, engine.NoticeTrigger)
	j.Notice.Summary = "<!channel> & <@U123> " + strings.Repeat("é", 9000)
	j.Notice.Details.Runbook = strings.Repeat("x", 9000)
	if err := n.Notify(t.Context(), j); err != nil {
		t.Fatal(err)
	}
	text := r.Events()[0].Summary
	if !strings.HasPrefix(text, "[ticket] &lt;!channel&gt; &amp; &lt;@U123&gt; é") || len(text) > 5000 {
		t.Errorf("%d bytes: %.100s", len(text), text)
	}
}

func TestAChatThatIsGoneIsNotAskedAgain(t *testing.T) {
	r := start(t, receiver.Options{})
	r.Script(receiver.Chats, receiver.Fault{Kind: receiver.Status, Status: 404, Body: "no_service"})
	n := notifier(t, webhook.Options{URL: r.ChatURL(), Chat: true})
	if err := n.Notify(t.Context(), job(17, engine.NoticeTrigger)); !actions.Final(err) || !strings.Contains(err.Error(), "no_service") {
		t.Errorf("%v", err)
	}
}
