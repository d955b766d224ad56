package engine

import "fmt"

// The facts of who leads. They are the fleet's.
type (
	// TermExceeded says that instances have heard of a later leader than this server: it comes from a backup, or does not lead
	// any more. It publishes nothing until a person has said what its term is.
	TermExceeded struct {
		Term uint64 `json:"term"`
		Own  uint64 `json:"own"`
	}
	// TermRecovered is the term a person gave it.
	TermRecovered struct {
		Term   uint64 `json:"term"`
		Person string `json:"person"`
	}
)

func (TermExceeded) fact()  {}
func (TermRecovered) fact() {}

// TermHeard says that an instance has heard of a later leader, or has a directive this log does not hold. It goes to the fleet's
// stream.
type TermHeard struct {
	Term   uint64 `json:"term"`
	Detail string `json:"detail,omitempty"` // who said so, and what
}

// RecoverRequested gives this server a term of its own again. It goes to the fleet's stream.
type RecoverRequested struct {
	Term   uint64 `json:"term"` // higher than any that was heard of
	Reason string `json:"reason,omitempty"`
}

func (*TermHeard) name() string        { return "term heard" }
func (*RecoverRequested) name() string { return "recover requested" }

// Exceeded is a later term than the server's own, that was heard of.
type Exceeded struct {
	Term uint64 `json:"term"`
	Own  uint64 `json:"own"`
}

// Deposed says why this server publishes nothing; empty while it may.
func (s State) Deposed() string {
	if s.Exceeded == nil {
		return ""
	}
	return s.Exceeded.String()
}

func (e Exceeded) String() string {
	if e.Term == e.Own {
		return fmt.Sprintf("instances are ahead of this log in term %d", e.Term)
	}
	return fmt.Sprintf("term %d was heard of, this server has %d", e.Term, e.Own)
}

// deposed says why nothing can be asked of this server that would have to be published; the zero Reason while it leads.
func (d *decision) deposed() Reason {
	if d.in.Deposed == "" {
		return Reason{}
	}
	return Reason{CodeTerm, d.in.Deposed + "; recover --term first"}
}

// heard takes note of a term that this server ought to have known of.
func (d *decision) heard(h *TermHeard) {
	own := d.in.Term
	if e := d.s.Exceeded; e != nil {
		own = e.Own
		if h.Term <= e.Term {
			return
		}
	} else if h.Term < own || h.Term == own && h.Detail == "" {
		return // what it was told comes from a leader before us, or from us
	}
	why := Reason{CodeTerm, fmt.Sprintf("an agent has seen term %d", h.Term)}
	if h.Detail != "" {
		why.Text = h.Detail
	}
	d.emit(TermExceeded{Term: h.Term, Own: own}, why.Code, why.Text, nil)
	summary := fmt.Sprintf("%s: %s: it publishes nothing until recover --term", Fleet, Exceeded{h.Term, own})
	if i, open := d.s.Incident(IncidentTerm, string(Fleet)); open {
		d.emit(IncidentUpdated{Incident: i.ID, Severity: i.Severity, Note: summary}, why.Code, why.Text, nil)
		return
	}
	d.open(Incident{Kind: IncidentTerm, Subject: string(Fleet), Severity: SeverityPage}, summary, "", why, nil)
}

// recoverTerm takes a person's word for which term this server has.
func (d *decision) recoverTerm(r *RecoverRequested) {
	e := d.s.Exceeded
	switch why := needReason(r.Reason); {
	case why.Code != "":
		d.refuse(why)
		return
	case e == nil:
		d.refuse(Reason{CodeNothingToDo, fmt.Sprintf("nobody has heard of a later term than %d, which this server has", max(d.in.Term, d.s.Term))})
		return
	case r.Term <= e.Term:
		d.refuse(Reason{CodeTerm, fmt.Sprintf("it has to be higher than %d", e.Term)})
		return
	}
	d.emit(TermRecovered{Term: r.Term, Person: d.in.By.String()}, CodeRequest, r.Reason, nil)
	if i, open := d.s.Incident(IncidentTerm, string(Fleet)); open {
		d.resolve(i, CodeRequest, r.Reason, nil)
	}
}
