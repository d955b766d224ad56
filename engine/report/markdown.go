package report

import (
	"cmp"
	"fmt"
	"io"
	"regexp"
	"strings"
	"time"

	"github.com/modeshift/modeshift/engine/explain"
)

// toWrite marks what a person has to write.
const toWrite = "To be written by a person"

// markdown is written to until writing fails.
type markdown struct {
	w   io.Writer
	err error
}

func (d *markdown) line(format string, args ...any) {
	if d.err == nil {
		_, d.err = fmt.Fprintf(d.w, format+"\n", args...)
	}
}

// row writes a row of a table.
func (d *markdown) row(cells ...string) { d.line("| %s |", strings.Join(cells, " | ")) }

func (d *markdown) table(header ...string) {
	d.line("")
	d.row(header...)
	rule := make([]string, len(header))
	for i := range rule {
		rule[i] = "---"
	}
	d.row(rule...)
}

// md is text from outside as Markdown shows it literally: nobody's reason makes a table, a link, a tag or a heading. Conditions stay
// readable as they are: what cannot be mistaken for anything else is left alone.
func md(text string) string {
	return tag.ReplaceAllString(entity.ReplaceAllString(escaper.Replace(explain.OneLine(text)), `\&$1`), `\<$1`)
}

var (
	escaper = strings.NewReplacer(`\`, `\\`, "|", `\|`, "*", `\*`, "`", "\\`", "[", `\[`, "]", `\]`, "~", `\~`)
	entity  = regexp.MustCompile(`&(#?\w+;)`)
	tag     = regexp.MustCompile(`<([A-Za-z/!?])`)
)

// code is text from outside in a span of code, which nothing in it can end.
func code(text string) string {
	text = strings.ReplaceAll(explain.OneLine(text), "|", `\|`)
	if text == "" {
		return ""
	}
	fence := "`"
	for strings.Contains(text, fence) {
		fence += "`"
	}
	if len(fence) > 1 {
		return fence + " " + text + " " + fence
	}
	return fence + text + fence
}

func refs(list []Ref) string {
	words := make([]string, len(list))
	for i, r := range list {
		words[i] = string(r)
	}
	return strings.Join(words, ", ")
}

// Markdown writes the report for people who go on writing.
func (r *Report) Markdown(w io.Writer) error {
	d := &markdown{w: w}
	d.line("# Post-mortem (draft): %s", md(r.Title()))
	d.line("")
	for _, f := range r.Facts() {
		d.line("- **%s:** %s", f.Name, md(f.Text))
	}
	for _, n := range r.LeftOut {
		d.line("- **Left out:** %s", md(n))
	}
	d.line("")
	d.line("Drafted from the log and the ledger at %s. Names such as `%s/12` are events: `modeshift history %[2]s` shows them.", stamp(r.Made), md(string(r.Scope)))
	d.line("")
	d.line("## Summary")
	d.line("")
	d.line("> **%s:** what users noticed, what caused it, and what will be done so that it does not come again.", toWrite)

	d.line("")
	d.line("## Five questions")
	for i, a := range r.Answers {
		d.line("")
		d.line("### %d. %s", i+1, a.Question)
		d.line("")
		if a.Verdict != "" {
			d.line("**%s.** %s", sentence(string(a.Verdict)), md(a.Short))
		} else {
			d.line("%s", md(sentence(a.Short)))
		}
		if len(a.Says) > 0 {
			d.line("")
		}
		for _, f := range a.Says {
			on := ""
			if len(f.Events) > 0 {
				on = " (" + md(refs(f.Events)) + ")"
			}
			d.line("- %s%s%s", f.Mark.sign(), md(f.Text), on)
		}
		if a.Ask != "" {
			d.line("")
			d.line("> **%s:** %s", toWrite, a.Ask)
		}
	}

	d.line("")
	d.line("## Modes")
	d.line("")
	d.line("%s", aboutModes)
	d.table("Mode", "From", "To", "Lasted", "By")
	for _, b := range r.Modes {
		d.row(md(string(b.Mode)), stamp(b.From), stamp(b.To), between(b.From, b.To), md(cmp.Or(string(b.Change), "before")))
	}
	r.markdownBudgets(d)
	r.markdownChanges(d)

	d.line("")
	d.line("## Who did what")
	d.line("")
	if len(r.People) == 0 {
		d.line("Nobody: all of it was automation.")
	}
	for _, p := range r.People {
		why := ""
		if p.Why != "" {
			why = ": " + md(p.Why)
		}
		d.line("- %s **%s**: %s%s (%s)", stamp(p.At), md(p.Who), md(p.Did), why, md(string(p.Event)))
	}

	d.line("")
	d.line("## Timeline")
	d.table("Time (UTC)", "After", "What", "Why", "By", "Event")
	for _, m := range r.Timeline {
		d.row(stamp(m.At), after(m.After), md(m.What), md(m.Why), md(m.By), md(string(m.Event)))
	}
	return d.err
}

func (r *Report) markdownBudgets(d *markdown) {
	d.line("")
	d.line("## Error budgets")
	if len(r.Budgets) == 0 {
		d.line("")
		d.line("Nothing is known of any error budget of %s.", md(string(r.Scope)))
		return
	}
	d.table("SLO", "Objective", "Period", "Left before", "Left after", "The ledger goes up to")
	for i := range r.Budgets {
		b := &r.Budgets[i]
		d.row(md(b.SLO), md(b.objective()), md(b.Period), md(b.Before.String()), md(b.after()), goesTo(b))
	}
	for i := range r.Budgets {
		b := &r.Budgets[i]
		if !r.Charted(b) {
			continue
		}
		d.line("")
		d.line("### How %s burned", md(b.SLO))
		d.table("Time (UTC)", "Over", "Burn rate", "Mode", "From")
		rows, more := r.rows(b)
		for _, row := range rows {
			d.row(row.Time, row.Over, row.Rate, md(row.Mode), md(row.From))
		}
		if more > 0 {
			d.line("")
			d.line("%d further rows are left out; `modeshift report %s -o json` has them.", more, md(string(r.Change)))
		}
	}
}

func (r *Report) markdownChanges(d *markdown) {
	d.line("")
	d.line("## Changes of this stay")
	for i := range r.Changes {
		c := &r.Changes[i]
		d.line("")
		d.line("### %s: %s → %s, %s", md(string(c.ID)), md(string(c.From)), md(string(c.To)), c.Outcome)
		d.line("")
		for _, f := range c.Facts() {
			text := md(f.Text)
			if f.Code {
				text = code(f.Text)
			}
			d.line("- **%s:** %s", f.Name, text)
		}
	}
}

// sign is a mark before a finding.
func (m Mark) sign() string {
	switch m {
	case Good:
		return "✓ "
	case Bad:
		return "✗ "
	case Unclear:
		return "? "
	}
	return ""
}

// sentence begins with a capital letter.
func sentence(s string) string {
	if s == "" {
		return s
	}
	return strings.ToUpper(s[:1]) + s[1:]
}

func after(s Seconds) string {
	d := s.Duration()
	if d < 0 {
		return "before"
	}
	return "+" + explain.Lasted(d.Round(time.Millisecond))
}
