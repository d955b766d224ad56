package api

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/modeshift/modeshift/engine"
	"github.com/modeshift/modeshift/engine/explain"
	"github.com/modeshift/modeshift/engine/report"
)

// How much of the log one report reads, however long it is: of the scope's stream so many events before the change and so many from
// it on, and of the fleet's so many either way.
const (
	reportBefore = 5000
	reportAfter  = 5000
	reportFleet  = 1000
)

// BurnHistory is an optional ability of Budgets: to tell how the budgets of a scope went over a span, by what is known and corrected
// now, in the order of the rule file. What nobody can tell any more is not known.
type BurnHistory interface {
	Burned(scope engine.Scope, q BurnQuestion) []Burned
}

// BurnQuestion asks how budgets stood at two instants, and burned in a span in at most so many steps.
type BurnQuestion struct {
	Before, After time.Time
	From, To      time.Time
	Steps         int
}

// Burned is how one budget went. After has the series. To is up to when the ledger goes in each: in a period of the calendar, not its end.
type Burned struct{ Before, After Budget }

// PostMortem is the draft of one.
type PostMortem struct{ report.Report }

// Schema describes what programs look for.
func (PostMortem) Schema(r huma.Registry) *huma.Schema {
	const name = "PostMortem"
	if _, there := r.Map()[name]; !there {
		text, list, when := huma.TypeString, huma.TypeArray, "date-time"
		things := func(doc string) *huma.Schema {
			return &huma.Schema{Type: list, Description: doc, Items: &huma.Schema{Type: huma.TypeObject, AdditionalProperties: true}}
		}
		s := &huma.Schema{
			Type:        huma.TypeObject,
			Description: "The draft of a post-mortem, from the log and the ledger alone.",
			Properties: map[string]*huma.Schema{
				"scope":      {Type: text},
				"change":     {Type: text, Description: "that was asked for; a proposal, where none came of it"},
				"made":       {Type: text, Format: when},
				"transition": {Type: text, Description: "missing for a directive only"},
				"from":       {Type: text}, "to": {Type: text},
				"outcome": {Type: text, Description: "what became of it, as explain has it"},
				"why":     {Type: text}, "decided": {Type: text, Description: "by whom"},
				"owner": {Type: text}, "runbook": {Type: text},
				"began":     {Type: text, Format: when, Description: "the first sign of it"},
				"left":      {Type: text, Format: when, Description: "when the scope left home; missing when it did not"},
				"ended":     {Type: text, Format: when, Description: "missing while it is not over"},
				"open":      {Type: huma.TypeBoolean, Description: "it is not over"},
				"home":      {Type: text, Description: "the mode that the stay left"},
				"modes":     things("the time in each mode, in order"),
				"changes":   things("the changes of the stay and the proposals that came to nothing, each with how long its parts took"),
				"incidents": things("what people were told"),
				"timeline":  things("its events, oldest first"),
				"people":    things("who did what"),
				"budgets":   things("each error budget before and after, and how it burned"),
				"answers":   things("the five questions of a post-mortem, each with the events that the answer rests on, and with what a person has to write"),
				"left_out":  {Type: list, Items: &huma.Schema{Type: text}, Description: "what was not read or is not shown, and why"},
			},
			Required: []string{"scope", "change", "made", "from", "to", "outcome", "why", "decided", "began", "open", "modes", "changes", "incidents", "timeline", "people", "budgets", "answers", "left_out"},
		}
		s.PrecomputeMessages()
		r.Map()[name] = s
	}
	return &huma.Schema{Ref: "#/components/schemas/" + name}
}

func (a *API) registerReport(h huma.API) {
	register(a, h, RoleViewer, huma.Operation{
		OperationID: "report-change", Method: http.MethodGet, Path: "/scopes/{scope}/changes/{change}/report", Summary: "Draft the post-mortem of a change",
		Description: "The stay that it belongs to, from its first sign until the scope is back: timeline, people, error budgets, and five questions answered as far as the log can.",
		Errors:      []int{http.StatusNotFound},
	}, a.report)
}

func (a *API) report(ctx context.Context, in *explainInput) (*body[PostMortem], error) {
	v, err := a.view(in.Scope)
	if err != nil {
		return nil, err
	}
	scope, id := v.State.Scope, engine.ChangeID(in.Change)
	input := report.Input{Change: id, Now: time.Now().UTC(), Policies: a.policies()}
	var number engine.Version
	if of, n, ok := explain.Number(id); ok && of == scope {
		number = min(n, v.State.Version) // what comes later is a mistake, and near the newest
	}
	first := max(number, reportBefore) - reportBefore // the version before the first event that is read
	last := min(v.State.Version, max(number, first)+reportAfter)
	if input.Events, err = a.readStream(ctx, scope, first, last); err != nil {
		return nil, err
	}
	input.More = last < v.State.Version
	if n := len(input.Events); n > 0 && input.Events[0].Version > first+1 {
		input.LeftOut = append(input.LeftOut, fmt.Sprintf("the history of %s before %d was archived", scope, input.Events[0].Version))
	}
	if i, found := slices.BinarySearchFunc(input.Events, number, func(e engine.Event, v engine.Version) int { return cmp.Compare(e.Version, v) }); found {
		if input.Fleet, input.FleetMore, err = a.fleetAround(ctx, input.Events[i].At); err != nil {
			return nil, err
		}
	}
	r, err := report.Make(input)
	var unknown *report.Unknown
	if errors.As(err, &unknown) {
		return nil, problem(http.StatusNotFound, CodeNotFound, unknown.Error())
	}
	if err != nil {
		return nil, err
	}
	a.weigh(&r)
	return &body[PostMortem]{PostMortem{r}}, nil
}

// fleetAround reads the fleet's events about an instant, and says whether there are more behind them. The stream is long and has an event
// for most minutes, so the place is searched for.
func (a *API) fleetAround(ctx context.Context, at time.Time) (events []engine.Event, more bool, err error) {
	fleet, ok := a.opts.Loop.View(engine.Fleet)
	if !ok {
		return nil, false, nil
	}
	low, high := engine.Version(0), fleet.State.Version // of the last event before the instant
	for low < high {
		middle := low + (high-low+1)/2
		page, err := a.opts.Log.Read(ctx, engine.Fleet, middle-1, 1)
		if err != nil {
			return nil, false, fmt.Errorf("read the history of the fleet: %w", err)
		}
		// Where the beginning was archived, what is read comes later than was asked for.
		if len(page) == 0 || page[0].At.After(at) {
			high = middle - 1
		} else {
			low = middle
		}
	}
	last := min(low+reportFleet, fleet.State.Version)
	events, err = a.readStream(ctx, engine.Fleet, max(low, reportFleet)-reportFleet, last)
	return events, last < fleet.State.Version, err
}

// policies is how the rules of a digest are found, each once: what is told of one request needs the same few many times, and they are
// looked for in a file.
func (a *API) policies() explain.Policies {
	kept, ok := a.opts.Log.(Policies)
	if !ok {
		return func(engine.Scope, engine.Digest) []engine.Policy { return nil }
	}
	type key struct {
		scope  engine.Scope
		digest engine.Digest
	}
	found := map[key][]engine.Policy{}
	return func(scope engine.Scope, digest engine.Digest) []engine.Policy {
		k := key{scope, digest}
		if _, is := found[k]; !is {
			found[k] = kept.Policies(scope, digest)
		}
		return found[k]
	}
}

// readStream reads the events after a version up to another, some at a time.
func (a *API) readStream(ctx context.Context, scope engine.Scope, after, last engine.Version) ([]engine.Event, error) {
	var events []engine.Event
	for after < last {
		page, err := a.opts.Log.Read(ctx, scope, after, int(min(explainPage, last-after)))
		if err != nil {
			return nil, fmt.Errorf("read the history of %s: %w", scope, err)
		}
		// Where the beginning was archived, a page begins and ends later than was asked for.
		page = slices.DeleteFunc(page, func(e engine.Event) bool { return e.Version > last })
		if len(page) == 0 {
			break
		}
		events, after = append(events, page...), page[len(page)-1].Version
	}
	return events, nil
}

// reportSteps is how many pieces of time a chart has at most.
const reportSteps = 120

// weigh adds to a report what the ledger knows.
func (a *API) weigh(r *report.Report) {
	history, ok := a.opts.Budgets.(BurnHistory)
	if !ok {
		r.LeftOut = append(r.LeftOut, "this server keeps no error budgets")
		r.Weigh(nil)
		return
	}
	q := BurnQuestion{Before: r.Began, After: r.Made, Steps: reportSteps}
	q.From, q.To = r.Span()
	// A bucket is read some minutes after its end: the one in which the story ended counts, if it is there yet.
	if later := r.Ended.Add(10 * time.Minute); !r.Open && later.Before(q.After) {
		q.After = later
	}
	var budgets []report.Budget
	for _, b := range history.Burned(r.Scope, q) {
		step := time.Duration(b.After.Step)
		out := report.Budget{SLO: b.After.SLO, Objective: b.After.Objective, Period: b.After.Period, Before: leftOf(b.Before), After: leftOf(b.After), Step: report.Seconds(step.Seconds()),
			Renewed: b.After.From.After(b.Before.To)}
		for _, p := range b.After.Series {
			out.Burn = append(out.Burn, report.Burn{From: p.At, To: p.At.Add(step), Known: p.Known, Rate: p.Burn})
		}
		budgets = append(budgets, out)
	}
	r.Weigh(budgets)
}

// leftOf is what a budget said.
func leftOf(b Budget) report.Left {
	return report.Left{At: b.To, Known: b.Known, Unknown: b.Unknown, Remaining: b.Remaining}
}

// Report drafts the post-mortem of a change, or of a proposal.
func (c *Client) Report(ctx context.Context, scope engine.Scope, id engine.ChangeID) (PostMortem, error) {
	var out PostMortem
	return out, c.get(ctx, scopePath(scope, "/changes/"+url.PathEscape(string(id))+"/report"), nil, &out)
}
