package rules

import "github.com/modeshift/modeshift/engine"

// draft is one document of a file on its way to a Service.
type draft struct {
	r       *reader
	opts    Options
	node    *node // the document; once it has been read its place alone
	end     int   // the line on which the next one of the file begins
	scope   *node // the value of `service`
	bad     bool
	service *Service

	modeNames map[string]*node
	flagTypes map[string]flagType
	modes     *node
	parent    *node
	circled   bool // it stands below itself, or too far down
	lenient   bool // a Sloth file
	allows    []allowed
	found     Diagnostics // findings, which are said if the document turns out to have no errors
	patterns  *patterns   // of the load
	texts     *texts      // likewise

	workings
}

// workings are what only a document itself is read and looked at with. A draft lets go of them before the next file is read: what
// they hold on to, above all the YAML of the file, is more than what comes of it.
type workings struct {
	sloNames, sliNames, scheduleNames, transitionNames map[string]*node
	queries                                            map[string][]string // of each SLO and SLI that is whole, canonical
	meanings                                           map[string]inJSON   // of each SLO, made once
	usual                                              map[usual][]sized   // made once
	declared                                           *node               // flags
	recorded                                           bool                // SLOs that do not say otherwise are read from what Sloth's rules record
	undecided                                          []int               // indexes of SLOs that do not say how they are evaluated
	agreeing                                           []agreeing
	sourced                                            []sourced
	transitions                                        []transitionDraft
	expiries                                           []wayOut
	escalations                                        escalations // of SLOs that say nothing of them
	pausings                                           []*pausing
	hushings                                           []*hushing
	ranges                                             map[string]bounds // made once
	short                                              []mention         // windows that have been found too short
}

// forget lets go of the workings.
func (d *draft) forget() {
	d.workings = workings{}
	d.node = d.node.bare()
	d.modes = d.modes.bare()
	for _, c := range d.service.Conditions {
		c.sketch = nil
	}
}

func (d *draft) name() engine.Scope { return d.service.Policy.Scope }

// survive is the reader's, of what is looked at when all files have been read.
func (d *draft) survive(read func()) {
	before := d.r.faults
	d.r.survive(d.scope.or(d.node), read)
	d.bad = d.bad || d.r.faults > before
}

// draft makes the draft of a document, empty.
func (l *loader) draft(r *reader, n *node) *draft {
	return &draft{r: r, opts: l.opts, node: n, service: &Service{File: r.src.name}, patterns: &l.patterns, texts: &l.texts,
		modeNames: map[string]*node{}, flagTypes: map[string]flagType{},
		workings: workings{sloNames: map[string]*node{}, sliNames: map[string]*node{}, scheduleNames: map[string]*node{},
			transitionNames: map[string]*node{}, queries: map[string][]string{}, meanings: map[string]inJSON{},
			usual: map[usual][]sized{}}}
}

// refuse reports a fault found after the documents were read.
func (d *draft) refuse(code Code, n *node, hint, format string, args ...any) {
	d.bad = true
	d.r.as(code).errorf(n, hint, format, args...)
}
