package receiver

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/modeshift/modeshift/engine/secret"
)

// pageEvent is an event of PagerDuty's Events API v2. Members that must be text are read as anything, so that a wrong type is
// answered as the violation it is. Source: PagerDuty, Events API v2, "Send an alert event".
type pageEvent struct {
	RoutingKey any `json:"routing_key"`
	Action     any `json:"event_action"`
	DedupKey   any `json:"dedup_key"`
	Client     any `json:"client"`
	ClientURL  any `json:"client_url"`
	Payload    *struct {
		Summary   any `json:"summary"`
		Source    any `json:"source"`
		Severity  any `json:"severity"`
		Timestamp any `json:"timestamp"`
		Component any `json:"component"`
		Group     any `json:"group"`
		Class     any `json:"class"`
	} `json:"payload"`
	Links  []struct{ Href, Text any }     `json:"links"`
	Images []struct{ Src, Href, Alt any } `json:"images"`
}

// invalid is how the API answers what it does not take: a flat body.
func invalid(errs ...string) reply {
	return reply{
		status: http.StatusBadRequest, why: strings.Join(errs, "; "),
		body: map[string]any{"status": "invalid event", "message": "Event object is invalid", "errors": errs},
	}
}

// checker collects violations.
type checker struct{ errs []string }

func (c *checker) fault(format string, args ...any) {
	c.errs = append(c.errs, fmt.Sprintf(format, args...))
}

// text returns a member that has to be text of at most max characters; 0: of any length.
func (c *checker) text(name string, v any, required bool, max int) string {
	if v == nil {
		if required {
			c.fault("'%s' is missing or blank", name)
		}
		return ""
	}
	s, ok := v.(string)
	switch {
	case !ok:
		c.fault("'%s' is not a string", name)
	case required && strings.TrimSpace(s) == "":
		c.fault("'%s' is missing or blank", name)
	case max > 0 && utf8.RuneCountInString(s) > max:
		c.fault("'%s' is longer than %d characters", name, max)
	}
	return s
}

func (c *checker) link(name string, v any, schemes ...string) {
	s := c.text(name, v, true, 0)
	if u, err := url.Parse(s); s != "" && (err != nil || u.Host == "" || !slices.Contains(schemes, u.Scheme)) {
		c.fault("'%s' is not a URL", name)
	}
}

// page takes one page event.
func (r *Receiver) page(_ *http.Request, body []byte) reply {
	var e pageEvent
	if err := json.Unmarshal(body, &e); err != nil {
		return invalid("JSON cannot be parsed: " + err.Error())
	}
	var c checker
	if key := c.text("routing_key", e.RoutingKey, true, 0); key != "" && len(key) != 32 {
		c.fault("'routing_key' has %d characters instead of 32", len(key))
	} else if key != "" && len(r.opts.RoutingKeys) > 0 && !slices.Contains(r.opts.RoutingKeys, secret.New(key)) {
		c.fault("'routing_key' is not known")
	}
	action := c.text("event_action", e.Action, true, 0)
	key := c.text("dedup_key", e.DedupKey, action == "acknowledge" || action == "resolve", 255)
	c.text("client", e.Client, false, 0)
	if e.ClientURL != nil {
		c.link("client_url", e.ClientURL, "http", "https")
	}
	var links []string
	for i, l := range e.Links {
		c.link(fmt.Sprintf("links[%d].href", i), l.Href, "http", "https")
		c.text(fmt.Sprintf("links[%d].text", i), l.Text, false, 0)
		links = append(links, fmt.Sprint(l.Href))
	}
	for i, m := range e.Images {
		c.link(fmt.Sprintf("images[%d].src", i), m.Src, "https")
	}
	taken := Event{Target: Pages, Action: action, Key: key, Links: links, Body: body}
	switch action {
	case "trigger":
		p := e.Payload
		if p == nil {
			c.fault("'payload' is missing")
			break
		}
		taken.Summary = c.text("payload.summary", p.Summary, true, 1024)
		taken.Source = c.text("payload.source", p.Source, true, 0)
		taken.Severity = c.text("payload.severity", p.Severity, true, 0)
		if s := taken.Severity; s != "" && !slices.Contains([]string{"critical", "error", "warning", "info"}, s) {
			c.fault("'payload.severity' is not one of critical, error, warning, info")
		}
		if s := c.text("payload.timestamp", p.Timestamp, false, 0); s != "" {
			if _, err := time.Parse(time.RFC3339Nano, s); err != nil {
				c.fault("'payload.timestamp' is not ISO 8601")
			}
		}
		c.text("payload.component", p.Component, false, 0)
		c.text("payload.group", p.Group, false, 0)
		c.text("payload.class", p.Class, false, 0)
	case "acknowledge", "resolve", "":
	default:
		c.fault("'event_action' is not one of trigger, acknowledge, resolve")
	}
	if len(c.errs) > 0 {
		return invalid(c.errs...)
	}
	if !r.underLimit() {
		return reply{
			status: http.StatusTooManyRequests, after: "60", why: "too many events in 60 seconds",
			body: map[string]string{"status": "throttle exceeded", "message": "Requests for this service are arriving too quickly. Please retry later."},
		}
	}
	taken.Key = r.makeKey(key)
	r.record(taken)
	return reply{
		status: http.StatusAccepted,
		body:   map[string]string{"status": "success", "message": "Event processed", "dedup_key": taken.Key},
	}
}

// underLimit counts a page against PerMinute.
func (r *Receiver) underLimit() bool {
	if r.opts.PerMinute <= 0 {
		return true
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Now()
	r.sent = slices.DeleteFunc(r.sent, func(at time.Time) bool { return now.Sub(at) >= time.Minute })
	if len(r.sent) >= r.opts.PerMinute {
		return false
	}
	r.sent = append(r.sent, now)
	return true
}
