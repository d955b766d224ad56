package report

import (
	"embed"
	"fmt"
	"html/template"
	"io"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/modeshift/modeshift/engine/explain"
)

//go:embed page.html backtest.html style.html chart.html
var pageFiles embed.FS

// pages escape everything that is shown: names, reasons and answers come from outside.
var pages = template.Must(template.New("").Funcs(template.FuncMap{
	"stamp": stamp, "machine": machine, "between": between, "after": after, "sentence": sentence, "line": explain.OneLine,
	"link": link, "class": outcomeClass, "anchor": anchor, "markWord": markWord, "goesTo": goesTo, "toWrite": func() string { return toWrite }, "aboutModes": func() string { return aboutModes },
	"number": func(i int) int { return i + 1 },
}).ParseFS(pageFiles, "*.html"))

// sheet is what the page is made of.
type sheet struct {
	*Report
	Charts []figure
	shown  map[Ref]bool
}

// Shown reports whether the timeline has an event, so that it can be linked to.
func (s *sheet) Shown(r Ref) bool { return s.shown[r] }

// figure is a chart with its table.
type figure struct {
	SLO    string
	Charts []*chart
	Legend []string
	When   string
	Rows   []Row
	More   int
}

// BudgetRow is a line of the table of budgets.
type BudgetRow struct{ SLO, Objective, Period, Before, After, Until string }

// BudgetRows are the budgets in words.
func (s *sheet) BudgetRows() []BudgetRow {
	rows := make([]BudgetRow, len(s.Budgets))
	for i := range s.Budgets {
		b := &s.Budgets[i]
		rows[i] = BudgetRow{b.SLO, b.objective(), b.Period, b.Before.String(), b.after(), goesTo(b)}
	}
	return rows
}

// HTML writes the report as one file: nothing in it is fetched from anywhere, and no script runs.
func (r *Report) HTML(w io.Writer) error {
	s := &sheet{Report: r, shown: map[Ref]bool{}}
	for _, m := range r.Timeline {
		s.shown[m.Event] = true
	}
	for i := range r.Budgets {
		b := &r.Budgets[i]
		if !r.Charted(b) {
			continue
		}
		f := figure{SLO: b.SLO, Charts: r.draw(b, len(s.Charts)+1)}
		f.Rows, f.More = r.rows(b)
		f.When, f.Legend = when(f.Rows), legend(b)
		s.Charts = append(s.Charts, f)
	}
	if err := pages.ExecuteTemplate(w, "page.html", s); err != nil {
		return fmt.Errorf("write the report: %w", err)
	}
	return nil
}

// legend says what the signs of a chart are.
func legend(b *Budget) []string {
	var words []string
	if slices.ContainsFunc(b.Burn, func(p Burn) bool { return p.Known > 0 }) {
		words = append(words, fmt.Sprintf("━ over each %s, from the ledger", explain.Lasted(b.Step.Duration())))
	}
	for i, w := range b.windows() {
		words = append(words, fmt.Sprintf("%s over %s, read for a decision", shapes[i%len(shapes)].sign, w))
	}
	for _, s := range b.Seen {
		if s.Unknown != "" {
			words = append(words, "✕ unknown when it was read")
			break
		}
	}
	return append(words, "▨ not known to the ledger, or not yet", "┄ at 1 the budget lasts exactly its period")
}

// machine writes an instant for the datetime attribute.
func machine(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// link is an address that may be followed; empty when the text is something else.
func link(text string) string {
	if u, err := url.Parse(text); err == nil && (u.Scheme == "https" || u.Scheme == "http") && u.Host != "" {
		return text
	}
	return ""
}

// anchor is the place of an event in the page.
func anchor(r Ref) string { return "event-" + strings.ReplaceAll(string(r), "/", "-") }

// markWord is a mark for who hears it.
func markWord(m Mark) string {
	switch m {
	case Good:
		return "Good: "
	case Bad:
		return "Not good: "
	case Unclear:
		return "Not clear: "
	}
	return ""
}
