package engine

import "fmt"

// Given is what an input held that the events it led to do not say themselves: with it, and with the rules of the event's
// digest, Decide can be run again and has to give the same events. It holds no reading, because no decision rests on one but
// by the truth of its condition, and no secret, because no input holds one.
type Given struct {
	Term        uint64   `json:"term,omitempty"`
	Frozen      string   `json:"frozen,omitempty"`
	Deposed     string   `json:"deposed,omitempty"`
	Recovered   uint64   `json:"recovered,omitempty"`
	Truths      string   `json:"truths,omitempty"` // of Observed: a letter for each condition, as below
	SourceBlind bool     `json:"source_blind,omitempty"`
	Sources     []Sight  `json:"sources,omitempty"` // of SourcesObserved
	Missed      []Window `json:"missed,omitempty"`  // of Observed, TimePassed and AncestorMoved
	// Instances, where there are any.
	Instances  *Instances `json:"instances,omitempty"`
	Above      []Above    `json:"above,omitempty"`
	Brake      *Brake     `json:"brake,omitempty"`      // where some of it was used
	Checkpoint string     `json:"checkpoint,omitempty"` // where a page carries it

	Set      *SetRequested      `json:"set,omitempty"`
	Review   *ReviewGiven       `json:"review,omitempty"`
	Step     *StepReported      `json:"step,omitempty"`
	Targets  *TargetsReported   `json:"targets,omitempty"`
	Cancel   *CancelRequested   `json:"cancel,omitempty"`
	Undo     *UndoRequested     `json:"undo,omitempty"`
	Settle   *SettleRequested   `json:"settle,omitempty"`
	Unpin    *UnpinRequested    `json:"unpin,omitempty"`
	Freeze   *FreezeRequested   `json:"freeze,omitempty"`
	Unfreeze *UnfreezeRequested `json:"unfreeze,omitempty"`

	Correct  *CorrectionRequested `json:"correct,omitempty"`
	Withdraw *WithdrawalRequested `json:"withdraw,omitempty"`

	Heard   *TermHeard        `json:"heard,omitempty"`
	Recover *RecoverRequested `json:"recover,omitempty"`
	Permit  *PermitRequested  `json:"permit,omitempty"`
	Suggest *SuggestionsDue   `json:"suggest,omitempty"`
}

// The letters of Given.Truths.
const (
	letterTrue     = 't'
	letterFalse    = 'f'
	letterUnknown  = 'u' // for want of traffic
	letterBlind    = 'b' // unknown for want of sight
	letterNotAsked = '-'
)

// given is what of an input has to be kept beside its events.
func given(in Input) *Given {
	g := &Given{Term: in.Term, Frozen: in.Frozen, Deposed: in.Deposed, Recovered: in.Recovered, Above: in.Above}
	if in.Brake.Used > 0 { // of an unused one nothing comes
		g.Brake = &in.Brake
	}
	if in.Instances != (Instances{}) {
		g.Instances = &in.Instances
	}
	switch w := in.What.(type) {
	case *Observed:
		letters := make([]byte, len(w.Conditions))
		for i := range w.Conditions {
			letters[i] = w.Conditions[i].letter()
		}
		g.Truths, g.SourceBlind, g.Missed = string(letters), w.SourceBlind, w.Missed
	case *TimePassed:
		g.Missed = w.Missed
	case *AncestorMoved:
		g.Missed = w.Missed
	case *SourcesObserved:
		g.Sources = w.Sources
	case *SetRequested:
		g.Set = w
	case *ReviewGiven:
		g.Review = w
	case *StepReported:
		g.Step = w
	case *TargetsReported:
		g.Targets = w
	case *CancelRequested:
		g.Cancel = w
	case *UndoRequested:
		g.Undo = w
	case *SettleRequested:
		g.Settle = w
	case *UnpinRequested:
		g.Unpin = w
	case *FreezeRequested:
		g.Freeze = w
	case *UnfreezeRequested:
		g.Unfreeze = w
	case *CorrectionRequested:
		g.Correct = w
	case *WithdrawalRequested:
		g.Withdraw = w
	case *TermHeard:
		g.Heard = w
	case *RecoverRequested:
		g.Recover = w
	case *PermitRequested:
		g.Permit = w
	case *SuggestionsDue:
		g.Suggest = w
	}
	return g
}

func (o *Observation) letter() byte {
	switch {
	case !o.Asked:
		return letterNotAsked
	case o.Truth == True:
		return letterTrue
	case o.Truth == False:
		return letterFalse
	case o.Blind:
		return letterBlind
	default:
		return letterUnknown
	}
}

// observations reads letters back; the readings are lost.
func observations(letters string) ([]Observation, error) {
	list := make([]Observation, len(letters))
	for i := range letters {
		switch letters[i] {
		case letterTrue:
			list[i] = Observation{Asked: true, Truth: True}
		case letterFalse:
			list[i] = Observation{Asked: true, Truth: False}
		case letterUnknown:
			list[i] = Observation{Asked: true}
		case letterBlind:
			list[i] = Observation{Asked: true, Blind: true}
		case letterNotAsked:
		default:
			return nil, fmt.Errorf("%q is no truth", letters[i])
		}
	}
	return list, nil
}

// InputOf returns the input that one decision was made from, out of all the events of that decision. The readings of an
// observation are not in it: what the events were decided on is their evidence. An error says what is not kept; events
// written before inputs were kept are of that kind.
func InputOf(decision []Event) (Input, error) {
	if len(decision) == 0 || decision[0].Cause.Given == nil {
		return Input{}, fmt.Errorf("the input was not kept")
	}
	first := decision[0]
	cause, g := first.Cause, first.Cause.Given
	in := Input{At: first.At, Term: g.Term, Frozen: g.Frozen, Deposed: g.Deposed, Recovered: g.Recovered, Above: g.Above, Checkpoint: g.Checkpoint, By: cause.Actor}
	if g.Instances != nil {
		in.Instances = *g.Instances
	}
	if g.Brake != nil {
		in.Brake = *g.Brake
	}
	switch cause.Input {
	case (*Observed)(nil).name():
		conditions, err := observations(g.Truths)
		if err != nil {
			return Input{}, err
		}
		in.What = &Observed{Instant: cause.Instant, Prev: cause.Prev, Conditions: conditions, SourceBlind: g.SourceBlind, Missed: g.Missed}
	case (*SourcesObserved)(nil).name():
		in.What = &SourcesObserved{Instant: cause.Instant, Prev: cause.Prev, Sources: g.Sources}
	case (*TimePassed)(nil).name():
		in.What = &TimePassed{Prev: cause.Prev, Missed: g.Missed}
	case (*ScopeRemoved)(nil).name():
		in.What = &ScopeRemoved{}
	case (*InstancesReported)(nil).name():
		in.What = &InstancesReported{}
	case (*AncestorMoved)(nil).name():
		in.What = &AncestorMoved{Prev: cause.Prev, Missed: g.Missed}
	case (*HeadsObserved)(nil).name(): // its events say all of it
		in.What = &HeadsObserved{}
		for _, e := range decision {
			if f, ok := e.Fact.(CheckpointMade); ok {
				in.What = &HeadsObserved{Heads: f.Heads}
			}
		}
	case (*LogFaulted)(nil).name():
		for _, e := range decision {
			if f, ok := e.Fact.(LogRecovered); ok {
				in.What = &LogFaulted{From: f.From, Detail: f.Detail}
			}
		}
	default:
		in.What = g.request(cause.Input)
	}
	if in.What == nil {
		return Input{}, fmt.Errorf("what was %s is not kept", cause.Input)
	}
	return in, nil
}

// request is the one that was kept, if it is of the kind the cause names; else nil.
func (g *Given) request(kind string) Happening {
	for _, r := range []struct {
		what Happening
		kept bool
	}{
		{g.Set, g.Set != nil}, {g.Review, g.Review != nil}, {g.Step, g.Step != nil}, {g.Targets, g.Targets != nil}, {g.Cancel, g.Cancel != nil},
		{g.Undo, g.Undo != nil}, {g.Settle, g.Settle != nil}, {g.Unpin, g.Unpin != nil}, {g.Freeze, g.Freeze != nil},
		{g.Unfreeze, g.Unfreeze != nil}, {g.Correct, g.Correct != nil}, {g.Withdraw, g.Withdraw != nil},
		{g.Heard, g.Heard != nil}, {g.Recover, g.Recover != nil}, {g.Permit, g.Permit != nil},
		{g.Suggest, g.Suggest != nil},
	} {
		if r.kept && r.what.name() == kind {
			return r.what
		}
	}
	return nil
}
