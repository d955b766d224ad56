package explain

import "github.com/modeshift/modeshift/engine"

// Fold is the state of a stream as far as the events say that were read of it. Where they begin later than the stream, because what
// was before them was archived or is too much to read, the state holds only what they brought about themselves: it serves to tell
// what happened, and nothing can be decided again on it.
type Fold struct {
	State engine.State
	Cut   bool // the events do not begin with the stream
}

// Begin is the fold before the first of events.
func Begin(events []engine.Event) Fold {
	if len(events) == 0 || events[0].Version == 1 {
		return Fold{}
	}
	first := events[0]
	return Fold{State: engine.State{Scope: first.Stream, Version: first.Version - 1}, Cut: true}
}

// Apply folds the next event. One that is about something older than a fold that was cut, such as a yes to a proposal made before,
// changes only the position.
func (f *Fold) Apply(e engine.Event) {
	if !f.Cut {
		f.State = engine.Apply(f.State, e)
		return
	}
	defer func() {
		// Of a whole stream that is a broken store, which nobody must pass over.
		if r := recover(); r != nil {
			f.State.Version, f.State.At = e.Version, e.At
		}
	}()
	f.State = engine.Apply(f.State, e)
}
