package report

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/modeshift/modeshift/engine"
	"github.com/modeshift/modeshift/engine/explain"
)

// What Markdown and HTML show alike.

// Fact is a line with a name.
type Fact struct {
	Name, Text string
	Code       bool // as the rule file has it
}

// Title names the story in a line.
func (r *Report) Title() string {
	return fmt.Sprintf("%s, %s → %s (%s)", r.Scope, r.From, r.To, r.Change)
}

// Facts are the head of the report.
func (r *Report) Facts() []Fact {
	facts := []Fact{{Name: "Scope", Text: string(r.Scope)}}
	if r.Owner != "" {
		facts[0].Text += ", of " + r.Owner
	}
	add := func(name, text string) { facts = append(facts, Fact{Name: name, Text: text}) }
	add("Change", fmt.Sprintf("%s: %s → %s (%s)", r.Change, r.From, r.To, cmp.Or(r.Transition, r.Via)))
	add("Outcome", string(r.Outcome))
	if r.Open {
		add("Under way", fmt.Sprintf("this is not over: what follows was so at %s", stamp(r.Made)))
	}
	add("Decided by", r.Decided)
	add("Why", r.Why)
	add("First sign", stamp(r.Began))
	end := r.Ended
	if r.Open {
		end = r.Made
	}
	switch {
	case r.Left.IsZero() && r.Open:
		add("Lasted", explain.Lasted(end.Sub(r.Began))+" so far")
	case r.Left.IsZero():
		add("Ended", fmt.Sprintf("%s, after %s; the mode did not change", stamp(end), explain.Lasted(end.Sub(r.Began))))
	case r.Open:
		add("Out of "+string(r.Home), fmt.Sprintf("since %s: %s so far", stamp(r.Left), between(r.Left, end)))
	default:
		add("Out of "+string(r.Home), fmt.Sprintf("%s, from %s to %s", between(r.Left, end), stamp(r.Left), stamp(end)))
	}
	var told []string
	for _, i := range r.Incidents {
		told = append(told, fmt.Sprintf("%s %s", i.Severity, i.ID))
	}
	if len(told) > 0 {
		add("People were told", strings.Join(told, ", "))
	}
	if r.Runbook != "" {
		add("Runbook", r.Runbook)
	}
	return facts
}

// Facts are what is told of one change.
func (c *Change) Facts() []Fact {
	var facts []Fact
	add := func(name, format string, args ...any) {
		facts = append(facts, Fact{Name: name, Text: fmt.Sprintf(format, args...)})
	}
	by := cmp.Or(c.Transition, c.Via)
	if c.Position != "" {
		by += ", " + c.Position
	}
	add("Transition", "%s", by)
	if c.Condition != "" {
		facts = append(facts, Fact{"Condition", c.Condition, true})
	}
	add("Decided by", "%s", c.By)
	add("Why", "%s", c.Why)
	if !c.Proposed.IsZero() {
		add("Proposed", "%s", stamp(c.Proposed))
	}
	if !c.Started.IsZero() {
		text := stamp(c.Started)
		if !c.Proposed.IsZero() {
			text += ", after waiting " + explain.Lasted(c.Waited.Duration()) + " for people"
		}
		add("Started", "%s", text)
	}
	switch {
	case !c.Applied.IsZero():
		add("In force", "at %d of %d instances, %s after its start", c.Acked, max(c.Acked, c.Instances), between(c.Started, c.Applied))
	case !c.Published.IsZero() && c.Instances == 0:
		add("In force", "nobody knows: no instance was connected")
	}
	for _, w := range c.Waves {
		text := fmt.Sprintf("%d %%, %s, told at %s", w.Share, plural(w.Instances, "instance"), stamp(w.At))
		if !w.Applied.IsZero() {
			text += ", applied " + between(w.At, w.Applied) + " later"
		}
		if w.Why != "" {
			text += ", held for " + explain.Lasted(w.Held.Duration()) + ": " + w.Why
		}
		add(fmt.Sprintf("Wave %d", w.Number), "%s", text)
	}
	for _, s := range c.Steps {
		name := "Step " + s.Step
		if s.Undo {
			name = "Undo of " + s.Step
		}
		var tries []string
		for _, t := range s.Attempts {
			text := cmp.Or(string(t.Outcome), "awaited")
			if t.Outcome != "" {
				text += " after " + explain.Lasted(t.Took.Duration())
			}
			if t.Answer != "" {
				text += " (" + t.Answer + ")"
			}
			tries = append(tries, text)
		}
		add(name, "%s", strings.Join(tries, "; then "))
	}
	if !c.Ended.IsZero() {
		from := cmp.Or(c.Started, c.Proposed)
		add(sentence(string(c.Outcome)), "%s, %s after it %s", stamp(c.Ended), between(from, c.Ended), began(c))
	}
	add("Decided again", "%s", c.Replay)
	return facts
}

func began(c *Change) string {
	if c.Started.IsZero() {
		return "was proposed"
	}
	return "started"
}

func (b *Budget) objective() string {
	if b.Objective == "" {
		return "not known"
	}
	return b.Objective + " %"
}

// after is what is left, and of which period.
func (b *Budget) after() string {
	if b.Renewed && b.After.Known {
		return b.After.String() + " of a new period"
	}
	return b.After.String()
}

func goesTo(b *Budget) string {
	if b.After.At.IsZero() {
		return "not known"
	}
	return stamp(b.After.At)
}

// aboutModes says what a band is.
const aboutModes = "What instances were told, from the first of them on: in a roll-out by waves the others followed later."

// Row is a line of the table beside a chart.
type Row struct {
	Time, Over, Rate, Mode, From string
	Clock                        string // the time without its day, where all are of one

	at time.Time
}

// when says of which day rows are, and gives each its clock.
func when(rows []Row) string {
	if len(rows) == 0 {
		return ""
	}
	day := func(t time.Time) string { return t.UTC().Format(time.DateOnly) }
	first, last := rows[0].at, rows[len(rows)-1].at
	form := "15:04:05"
	text := "on " + day(first)
	if day(first) != day(last) {
		form, text = "2 Jan 15:04:05", "from "+day(first)+" to "+day(last)
	}
	for i := range rows {
		rows[i].Clock = rows[i].at.UTC().Format(form)
	}
	return text
}

// maxRows is how many of them a table has; the data has all.
const maxRows = 60

// rows are what the chart of b shows, in words, and how many further ones are left out.
func (r *Report) rows(b *Budget) (rows []Row, more int) {
	for _, p := range b.Burn {
		row := Row{Time: stamp(p.From), Over: explain.Lasted(p.To.Sub(p.From)), Rate: "not known", Mode: string(r.modeAt(p.From)), From: "ledger", at: p.From}
		switch {
		case p.Known >= 0.999:
			row.Rate = number(p.Rate)
		case p.Known > 0:
			row.Rate = fmt.Sprintf("%s (%s of it is known)", number(p.Rate), percent(p.Known))
		}
		rows = append(rows, row)
	}
	for _, s := range b.Seen {
		row := Row{Time: stamp(s.At), Over: s.Window, Rate: number(s.Rate), Mode: string(r.modeAt(s.At)), From: string(s.Event), at: s.At}
		if s.Unknown != "" {
			row.Rate = "unknown: " + s.Unknown
		}
		rows = append(rows, row)
	}
	slices.SortStableFunc(rows, func(a, b Row) int { return a.at.Compare(b.at) })
	if len(rows) > maxRows {
		// Readings that decisions rest on are worth more than the buckets in between.
		keep := []Row{}
		room := maxRows - len(b.Seen)
		every := 1
		if room > 0 {
			every = (len(b.Burn) + room - 1) / room
		}
		n := 0
		for _, row := range rows {
			if row.From == "ledger" {
				if n++; room <= 0 || (n-1)%every != 0 {
					continue
				}
			}
			keep = append(keep, row)
		}
		keep = keep[:min(len(keep), maxRows)]
		return keep, len(rows) - len(keep)
	}
	return rows, 0
}

// describe says in a sentence what the chart of b shows, for who does not see it.
func (r *Report) describe(b *Budget) string {
	top, at := 0.0, time.Time{}
	mode := engine.Mode("")
	for _, p := range b.Burn {
		if p.Known > 0 && p.Rate > top {
			top, at, mode = p.Rate, p.From, r.modeAt(p.From)
		}
	}
	for _, s := range b.Seen {
		if s.Unknown == "" && s.Rate > top {
			top, at, mode = s.Rate, s.At, r.modeAt(s.At)
		}
	}
	if top == 0 {
		return fmt.Sprintf("Burn rate of %s: nothing that is known of it is above 0.", b.SLO)
	}
	text := fmt.Sprintf("Burn rate of %s: at most %s, at %s", b.SLO, number(top), stamp(at))
	if mode != "" {
		text += fmt.Sprintf(", in mode %s", mode)
	}
	return text + ". The table has every number."
}

// outcomeClass is how an outcome looks.
func outcomeClass(o explain.Outcome) string {
	switch o {
	case explain.Done:
		return "good"
	case explain.Stuck, explain.Undone, explain.Expired, explain.Undoing:
		return "bad"
	}
	return "plain"
}
