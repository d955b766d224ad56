package receiver

import (
	"encoding/json"
	"net/http"
	"strings"
)

// Posted is what a message did: it is in the chat.
const Posted = "posted"

// chat takes one message, as Slack's incoming webhooks do: an object with a text, answered with ok. A chat keeps no alerts.
func (r *Receiver) chat(_ *http.Request, body []byte) reply {
	var m struct {
		Text any `json:"text"`
	}
	if err := json.Unmarshal(body, &m); err != nil {
		return reply{status: http.StatusBadRequest, why: err.Error(), body: "invalid_payload"}
	}
	text, ok := m.Text.(string)
	if !ok || strings.TrimSpace(text) == "" {
		return reply{status: http.StatusBadRequest, why: "there is no text", body: "no_text"}
	}
	r.delivery.Lock()
	defer r.delivery.Unlock()
	r.note(Event{Target: Chats, Action: "message", Summary: text, Effect: Posted, Body: body})
	return reply{status: http.StatusOK, body: "ok"}
}
