package engine

import (
	"crypto/sha256"
	"encoding/hex"
	"time"
)

// Plan is what a change will do: plain data, stored before its first step and carried out whatever the files say by then.
type Plan struct {
	Steps       []Step    `json:"steps,omitempty"`
	PublishLast bool      `json:"publish_last,omitempty"`
	OnFailure   OnFailure `json:"on_failure,omitempty"`
	Verify      string    `json:"verify,omitempty"` // the name of a condition
	Until       string    `json:"until,omitempty"`  // the name of a condition
	// Rollout is how the directive reaches the instances; nil: all at once.
	Rollout *RolloutPlan `json:"rollout,omitempty"`
	Into    ModeRule     `json:"into"`
	Back    ModeRule     `json:"back"` // with its flags: an undo works even when the files have lost that mode
}

// Change is a transition being carried out, or being taken back.
type Change struct {
	ID         ChangeID   `json:"id"`
	Transition string     `json:"transition,omitempty"`
	From       Mode       `json:"from"`
	To         Mode       `json:"to"`
	Plan       Plan       `json:"plan,omitzero"`
	Gated      bool       `json:"gated,omitempty"`
	Next       int        `json:"next,omitempty"`      // index of the step that comes next
	Published  bool       `json:"published,omitempty"` // the target is To
	Instances  int        `json:"instances,omitempty"` // there were when it started; none: nobody is waited for
	Wave       int        `json:"wave,omitempty"`      // that was published last, from 1; 0: there are no waves
	Waved      int        `json:"waved,omitempty"`     // instances in the waves so far
	Before     *Directive `json:"before,omitempty"`    // what those in no wave yet are told
	Applied    *Applied   `json:"applied,omitempty"`   // of the wave, or of all; nil: not by enough
	Rolled     bool       `json:"rolled,omitempty"`    // every instance has been told, and enough have applied it
	Stopped    *Stop      `json:"stopped,omitempty"`   // the wave does not go on for now
	Running    *Running   `json:"running,omitempty"`   // the step whose outcome is awaited
	Did        []Done     `json:"did,omitempty"`       // what an undo takes back, the last first
	Acted      bool       `json:"acted,omitempty"`     // some step has happened
	Overtook   *Past      `json:"overtook,omitempty"`  // the change it did not wait for, with what that one did
	Entry      []Done     `json:"entry,omitempty"`     // of the change that entered: taken back before the own steps, the last first
	Attempts   int        `json:"attempts,omitempty"`  // of the step that failed last
	Spared     int        `json:"spared,omitempty"`    // of these, that ended before anything could be done: it was held
	Doubt      bool       `json:"doubt,omitempty"`     // of one of these nobody knows what came of it
	Found      []string   `json:"found,omitempty"`     // the targets of the step that comes next, once it went out with them
	Approved   *Proposal  `json:"approved,omitempty"`  // what people said yes to, while they may have to be asked again
	Asks       bool       `json:"asks,omitempty"`      // the step that comes next is held until they say yes again
	Verify     string     `json:"verify,omitempty"`    // the condition that has to be true now
	Unverified time.Time  `json:"unverified,omitzero"` // since when that is unknown
	Held       time.Time  `json:"held,omitzero"`       // a failed step is tried again from then on
	Undoing    bool       `json:"undoing,omitempty"`
	Why        Code       `json:"why,omitempty"`   // it is undone for
	Stuck      bool       `json:"stuck,omitempty"` // nobody knows what the world is like: a person has to say
	Retry      RetryRules `json:"retry,omitzero"`
	Reason     string     `json:"reason,omitempty"`  // why it started
	Imposed    Scope      `json:"imposed,omitempty"` // by the scope above that asked for it
	Returns    bool       `json:"returns,omitempty"` // it leaves what was asked for from above
	Own        Mode       `json:"own,omitempty"`     // the scope's own mode before it, while it was held in another from above
	Over       bool       `json:"over,omitempty"`    // while it is taken back: what it was for is over
}

// Applied says that enough of the instances that were told have applied a directive.
type Applied struct {
	At   time.Time `json:"at"`
	Done int       `json:"done"`
	Of   int       `json:"of"` // that were told
}

// Stop is why a wave is held.
type Stop struct {
	Since  time.Time `json:"since"`
	Reason Reason    `json:"reason"`
}

// RetryRules are what a transition rests by when it came to nothing.
type RetryRules struct {
	Condition string        `json:"condition,omitempty"` // whose being false ends the rest
	Digest    Digest        `json:"digest,omitempty"`    // of the transition's text: another one does not rest
	After     time.Duration `json:"after,omitempty"`
}

// Facts are what a step may say of the change it belongs to: its templates are filled with them.
type Facts struct {
	Scope      Scope    `json:"scope"`
	Change     ChangeID `json:"change"`
	Transition string   `json:"transition,omitempty"`
	From       Mode     `json:"from"`
	To         Mode     `json:"to"`
	Reason     string   `json:"reason,omitempty"` // why the change started
}

// Running is a step whose outcome is awaited.
type Running struct {
	Change  ChangeID `json:"change"`
	Step    Step     `json:"step"`
	Undo    bool     `json:"undo,omitempty"`
	Attempt int      `json:"attempt"`
	Finding bool     `json:"finding,omitempty"` // its targets are being found: nothing is done yet
	Targets []string `json:"targets,omitempty"` // it was sent out with
}

// Done is a step that was carried out and can be taken back.
type Done struct {
	Change  ChangeID `json:"change"`
	Step    Step     `json:"step"`
	Targets []string `json:"targets,omitempty"` // it acted on: the same are taken back
}

// Past is a change that is done. The last one entered the present mode.
type Past struct {
	ID         ChangeID   `json:"id"`
	Transition string     `json:"transition,omitempty"`
	From       Mode       `json:"from"`
	To         Mode       `json:"to"`
	Back       ModeRule   `json:"back"`
	Did        []Done     `json:"did,omitempty"`
	Until      string     `json:"until,omitempty"`
	Retry      RetryRules `json:"retry,omitzero"`
	Own        Mode       `json:"own,omitempty"` // see Change.Own
}

// keepPast bounds how many changes `undo` can go back one by one.
const keepPast = 10

// Proposal is a transition that waits at a gate.
type Proposal struct {
	ID         ChangeID      `json:"id"`
	Transition string        `json:"transition"`
	From       Mode          `json:"from"`
	To         Mode          `json:"to"`
	Digest     Digest        `json:"digest"`
	Gate       Gate          `json:"gate"`
	Until      time.Time     `json:"until"`
	Votes      []Vote        `json:"votes,omitempty"`
	Escalated  bool          `json:"escalated,omitempty"` // further people are asked, or somebody was woken
	Requester  *Actor        `json:"requester,omitempty"` // nil: automation proposes
	Reason     string        `json:"reason,omitempty"`    // the requester's
	Pin        time.Duration `json:"pin,omitempty"`       // begins with the change
	Expiry     bool          `json:"expiry,omitempty"`    // its mode lasts too long, whatever its condition says
	Braked     bool          `json:"braked,omitempty"`    // it would start by itself, but for the brake
	BlindBy    string        `json:"blind_by,omitempty"`  // who said yes to starting without sight
	Retry      RetryRules    `json:"retry,omitzero"`

	// Of a proposal that waits once more, since a step of its change found more targets than were approved:
	Change  ChangeID `json:"change,omitempty"`  // under way
	Step    string   `json:"step,omitempty"`    // is held
	Targets int      `json:"targets,omitempty"` // found: the maximum people are asked about now
}

// Vote is one person's yes.
type Vote struct {
	Person string `json:"person"`
	Role   string `json:"role"`
}

// Rest is a transition that came to nothing and is not tried again at once.
type Rest struct {
	Transition string     `json:"transition"`
	ID         ChangeID   `json:"id"`
	Since      time.Time  `json:"since"`
	Retry      RetryRules `json:"retry"`
	Digest     Digest     `json:"digest,omitempty"` // of the proposal that ended; empty: a change was undone
	End        string     `json:"end"`              // how: "was denied by bob", "expired"
	Over       bool       `json:"over,omitempty"`   // its condition was false since: it rests no more, and is remembered
	Held       bool       `json:"held,omitempty"`   // a step of its change was held: it rests as that change does
	Last       *Rest      `json:"last,omitempty"`   // of a change that was undone: the proposal that ended before, remembered for late votes
}

// missing is what a proposal still lacks.
func (p *Proposal) missing() []Group {
	lack := lacking(p.Gate.Groups, p.Votes)
	if p.Escalated && len(p.Gate.To) > 0 && len(lack) > 0 {
		if further := lacking(p.Gate.To, p.Votes); len(further) == 0 {
			return nil
		}
	}
	return lack
}

// lack says what a proposal waits for in words: after an escalation the people asked last.
func (p *Proposal) lack() string {
	if p.Escalated && len(p.Gate.To) > 0 {
		return list(lacking(p.Gate.To, p.Votes))
	}
	return list(p.missing())
}

func lacking(groups []Group, votes []Vote) []Group {
	var lack []Group
	for _, g := range groups {
		n := 0
		for _, v := range votes {
			if v.Role == g.Role {
				n++
			}
		}
		if n < g.Count {
			lack = append(lack, Group{g.Role, g.Count - n})
		}
	}
	return lack
}

// digestOf is what a proposal is bound to: the transition's text, the stay it leaves, and the plan. Readings are not part of
// it: they move.
func digestOf(t *Transition, s State, plan Plan) Digest {
	b, err := marshal(struct {
		Scope   Scope
		Text    Digest
		From    Mode
		Entered Version
		Plan    Plan
	}{s.Scope, t.Digest, s.Target, s.EnteredBy, plan})
	if err != nil {
		panic("engine: digest of a plan: " + err.Error()) // plain data
	}
	sum := sha256.Sum256(b)
	return Digest(hex.EncodeToString(sum[:]))
}
