package receiver

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// ticketDocument is what the endpoint reads of a ticket notice; it knows the document from its description, not from the
// code that writes it.
type ticketDocument struct {
	Version  any `json:"version"`
	Action   any `json:"action"`
	Key      any `json:"key"`
	ID       any `json:"id"`
	Severity any `json:"severity"`
	Scope    any `json:"scope"`
	Summary  any `json:"summary"`
	At       any `json:"at"`
}

// ticket takes one ticket notice.
func (r *Receiver) ticket(req *http.Request, body []byte) reply {
	if want := "Bearer " + r.opts.Token.Reveal(); !r.opts.Token.IsZero() &&
		subtle.ConstantTimeCompare([]byte(req.Header.Get("Authorization")), []byte(want)) != 1 {
		return reply{status: http.StatusUnauthorized, why: "wrong token", body: map[string]string{"message": "unauthorized"}}
	}
	if !r.opts.Signing.IsZero() {
		if why := r.checkSignature(req.Header.Get("Modeshift-Signature"), body); why != "" {
			return reply{status: http.StatusForbidden, why: why, body: map[string]string{"message": why}}
		}
	}
	var d ticketDocument
	if err := json.Unmarshal(body, &d); err != nil {
		return invalid("JSON cannot be parsed: " + err.Error())
	}
	var c checker
	if v := c.text("version", d.Version, true, 0); v != "" && v != "1" {
		c.fault("'version' is not 1")
	}
	e := Event{Target: Tickets, Body: body}
	e.Action = c.text("action", d.Action, true, 0)
	if e.Action != "" && !slices.Contains([]string{"open", "update", "resolve"}, e.Action) {
		c.fault("'action' is not one of open, update, resolve")
	}
	e.Key = c.text("key", d.Key, true, 255)
	e.ID = c.text("id", d.ID, true, 0)
	e.Severity = c.text("severity", d.Severity, true, 0)
	e.Source = c.text("scope", d.Scope, true, 0)
	e.Summary = c.text("summary", d.Summary, true, 1024)
	if _, err := time.Parse(time.RFC3339Nano, c.text("at", d.At, true, 0)); err != nil {
		c.fault("'at' is not a time")
	}
	if h := req.Header.Get("Idempotency-Key"); h != e.ID {
		c.fault("the header Idempotency-Key is %q, 'id' is %q", h, e.ID)
	}
	if len(c.errs) > 0 {
		return invalid(c.errs...)
	}

	r.mu.Lock()
	before, seen := r.ids[e.ID]
	if !seen {
		r.ids[e.ID] = body
	}
	r.mu.Unlock()
	switch {
	case seen && !bytes.Equal(before, body):
		return reply{status: http.StatusConflict, why: "another body under a known id", body: map[string]string{"message": "the id was used for something else"}}
	case seen:
		return reply{status: http.StatusOK, body: map[string]string{"result": Repeated}}
	}
	return reply{status: http.StatusCreated, body: map[string]string{"result": r.record(e).Effect}}
}

// checkSignature says what is wrong with a signature; nothing when it is right.
func (r *Receiver) checkSignature(header string, body []byte) string {
	t, rest, _ := strings.Cut(strings.TrimPrefix(header, "t="), ",")
	at, err := strconv.ParseInt(t, 10, 64)
	if err != nil {
		return "no signature"
	}
	if d := time.Since(time.Unix(at, 0)); d.Abs() > 5*time.Minute {
		return "the signature's time is too far away"
	}
	given, err := hex.DecodeString(strings.TrimPrefix(rest, "v1="))
	if err != nil {
		return "no signature"
	}
	mac := hmac.New(sha256.New, []byte(r.opts.Signing.Reveal()))
	_, _ = mac.Write([]byte(t + "." + string(body))) // a hash takes whatever it is given
	if !hmac.Equal(mac.Sum(nil), given) {
		return "wrong signature"
	}
	return ""
}
