package web

import (
	"embed"
	"encoding/json"
	"fmt"
	"html/template"
	"math"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/modeshift/modeshift/engine"
	"github.com/modeshift/modeshift/engine/approval"
	"github.com/modeshift/modeshift/engine/explain"
)

//go:embed page.html
var files embed.FS

// templates escape everything that is shown: names, reasons and readings come from outside.
var templates = template.Must(template.New("").Funcs(template.FuncMap{
	"clock": clock, "left": left, "groups": groups, "percent": percent, "number": number, "reading": reading,
	"lasts": lasts, "flags": flags, "link": link, "runbook": runbook, "machine": machine,
}).ParseFS(files, "page.html"))

// clock writes an instant for people.
func clock(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05") + " UTC" }

// machine writes an instant for the datetime attribute.
func machine(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// left writes how much time is left.
func left(d time.Duration) string {
	if d < time.Second {
		return "less than 1 s"
	}
	return explain.Lasted(d.Truncate(time.Second)) // never more than there is
}

// groups writes who is asked: 1 × oncall and 1 × lead.
func groups(list []engine.Group) string {
	words := make([]string, len(list))
	for i, g := range list {
		words[i] = fmt.Sprintf("%d × %s", g.Count, g.Role)
	}
	return strings.Join(words, " and ")
}

func percent(share float64) string {
	return strconv.FormatFloat(math.Round(share*1000)/10, 'f', -1, 64) + " %"
}

func number(v float64) string { return strconv.FormatFloat(v, 'g', 4, 64) }

// reading writes a value, or why it is unknown.
func reading(r engine.Reading) string {
	switch {
	case r.Why != "" && r.Detail != "":
		return fmt.Sprintf("unknown: %s (%s)", r.Why, r.Detail)
	case r.Why != "":
		return fmt.Sprintf("unknown: %s", r.Why)
	case r.Text != "":
		return r.Text
	}
	return number(r.Value)
}

// lasts says how long a budget lasts.
func lasts(b approval.Budget) string {
	switch {
	case b.Unknown != "":
		return "cannot tell: " + b.Unknown
	case b.Remaining <= 0:
		return "is spent"
	case b.Endless():
		return "is not being spent now"
	}
	return left(b.Lasts) + " left"
}

func flags(f engine.Flags) string {
	b, err := json.Marshal(f)
	if err != nil {
		return fmt.Sprint(map[string]any(f))
	}
	return string(b)
}

// link is the page of a proposal; of none, the list.
func link(id engine.ChangeID) string {
	if id == "" {
		return Path
	}
	return Path + "/" + url.PathEscape(string(id))
}

// runbook is a link that may be followed; empty when the file names something else.
func runbook(text string) string {
	if u, err := url.Parse(text); err == nil && (u.Scheme == "https" || u.Scheme == "http") && u.Host != "" {
		return text
	}
	return ""
}
