package engine

import (
	"fmt"
	"time"
)

// Window is one window of the schedule that a transition waits for, and for nothing else.
type Window struct {
	Transition string    `json:"transition"`
	Opens      time.Time `json:"opens"`
	Closes     time.Time `json:"closes"`
}

// WindowMissed says that a window opened and closed while nobody evaluated. Nothing follows from it: what was planned for two in the
// morning is not done at noon because the server is back.
type WindowMissed struct {
	Transition string    `json:"transition"`
	Opens      time.Time `json:"opens"`
	Closes     time.Time `json:"closes"`
}

func (WindowMissed) fact() {}

// missWindows says which windows have passed unseen that would have led out of the mode in force.
func (d *decision) missWindows(missed []Window) {
	for _, w := range missed {
		if t := d.p.transition(w.Transition); t != nil && t.leaves(d.s.Target) {
			d.emit(WindowMissed(w), CodeGap, fmt.Sprintf("nobody evaluated while it was open: %s did not start, and will not", w.Transition), nil)
		}
	}
}
