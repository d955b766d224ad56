package roster

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/modeshift/modeshift/engine"
)

// Instance is what is known of one running copy of a service.
type Instance struct {
	Scope    engine.Scope  `json:"scope"`
	Name     string        `json:"name"`
	Session  string        `json:"session"`
	Version  string        `json:"version,omitempty"` // of the program
	From     string        `json:"from,omitempty"`    // the address it connects from
	Seen     time.Time     `json:"seen"`              // first
	Left     time.Time     `json:"left,omitzero"`     // its connection ended; zero while it is connected
	Silent   bool          `json:"silent,omitempty"`  // it ended without being closed
	Reported time.Time     `json:"reported,omitzero"` // last
	Report   engine.Report `json:"report,omitzero"`
	Behind   time.Time     `json:"behind,omitzero"` // since when it does not have what is meant for it; zero: it has
}

// Connected reports whether it is connected now.
func (i *Instance) Connected() bool { return i.Left.IsZero() }

// Store keeps the table over a restart.
type Store interface {
	// Instances returns all that were saved and not forgotten.
	Instances(ctx context.Context) ([]Instance, error)
	// SaveInstances keeps them as they are now, by scope and name.
	SaveInstances(ctx context.Context, list []Instance) error
	// ForgetInstances drops them.
	ForgetInstances(ctx context.Context, list []Instance) error
	// SaveRanks keeps in which order the instances of a scope are told of a change. The scope's change before is forgotten.
	SaveRanks(ctx context.Context, scope engine.Scope, change engine.ChangeID, names []string) error
	// Ranks returns what SaveRanks kept for the change; nil when it was another one's.
	Ranks(ctx context.Context, scope engine.Scope, change engine.ChangeID) ([]string, error)
}

// Options are a roster's settings.
type Options struct {
	Forget time.Duration // how long one that fell silent counts; 0: DefaultForget
	Logger *slog.Logger
	Now    func() time.Time // nil: time.Now
	// OnNews is called when the instances of a scope have come to something the core may act on; from the roster's goroutine, no
	// more often than every Coalesce.
	OnNews func(scope engine.Scope)
	// Term is the one this server leads in; nil: none, and nothing is ahead of it.
	Term func() uint64
	// OnAhead is called when an instance has heard of a later leader, or has a directive, that the log does not know of; it must not block.
	OnAhead func(scope engine.Scope, term uint64, detail string)
}

// How long things last.
const (
	DefaultForget = 10 * time.Minute
	// Coalesce is how long reports are gathered before the core hears of them, and Save how often the table is written.
	Coalesce = 20 * time.Millisecond
	Save     = time.Second
	// A large table is written by so many rows at a time, with a pause in between, so that events need not wait for all of them.
	saveBatch = 500
	savePause = 50 * time.Millisecond
	// A directive that goes out, and the reports that come back, are more urgent than the table, which is put off so many times.
	putOff = 3
)

// sayEvery is how often the log names an instance that is not let in.
const sayEvery = 10 * time.Second

// Roster is the table. It is safe for concurrent use.
type Roster struct {
	opts  Options
	store Store
	log   *slog.Logger

	following sync.Mutex // held while instances are told, so that what is told last is the newest; before mu

	mu      sync.Mutex // guards what follows
	scopes  map[engine.Scope]*crew
	news    map[engine.Scope]bool // reports came since the core heard of them
	dirty   map[*member]bool      // to be saved
	gone    []Instance            // to be forgotten in the store
	come    chan struct{}         // there is news
	told    bool                  // a scope's instances were told something else since the table was last to be written
	closed  bool
	refused map[string]uint64 // not let in, by code
	said    time.Time         // when the log last named one of them
	changed chan struct{}     // closed and replaced when a scope's instances are told something else
}

// crew is the instances of a scope.
type crew struct {
	view    engine.View // as it was last followed
	state   engine.State
	rules   engine.InstanceRules
	retired bool
	now     *message // the newest directive; nil before the first
	before  *message // for those in no wave yet; nil when there are none
	change  engine.ChangeID
	ranks   map[string]int // of the change under way, where it goes by waves
	wave    []string       // who is told the new directive while others are not; another slice when they are others
	members map[string]*member
}

type member struct {
	Instance
	seat *Seat     // nil while it is not connected
	due  time.Time // of one that polls: when it has to come back; zero: it has a stream
}

// message is a directive as it is told, encoded once for all.
type message struct {
	told  engine.Told
	frame []byte // as a server-sent event
}

// New makes a roster of what its store keeps. Whoever was connected then is not now, and has fallen silent.
func New(ctx context.Context, store Store, opts Options) (*Roster, error) {
	opts.Forget = cmp.Or(opts.Forget, DefaultForget)
	if opts.Logger == nil {
		opts.Logger = slog.Default()
	}
	if opts.Now == nil {
		opts.Now = time.Now
	}
	r := &Roster{opts: opts, store: store, log: opts.Logger, scopes: map[engine.Scope]*crew{}, news: map[engine.Scope]bool{}, dirty: map[*member]bool{}, changed: make(chan struct{}), come: make(chan struct{}, 1),
		refused: map[string]uint64{"unknown_scope": 0, "in_use": 0}}
	list, err := store.Instances(ctx)
	if err != nil {
		return nil, fmt.Errorf("read the instances: %w", err)
	}
	for _, i := range list {
		if i.Connected() {
			i.Left, i.Silent = opts.Now().UTC(), true
		}
		r.crew(i.Scope).members[i.Name] = &member{Instance: i}
	}
	return r, nil
}

func (r *Roster) crew(scope engine.Scope) *crew {
	c := r.scopes[scope]
	if c == nil {
		c = &crew{members: map[string]*member{}}
		r.scopes[scope] = c
	}
	return c
}

// Follow takes over what a scope's instances are told from now on. Of a change that goes by waves the ranks are kept before
// anybody is told.
func (r *Roster) Follow(ctx context.Context, v engine.View) {
	ranks, err := r.ranks(ctx, v)
	if err != nil {
		r.log.Warn("a wave waits: the order of its roll-out cannot be kept, and after a restart it would be another one", "scope", v.State.Scope, "change", v.State.Change.ID, "error", err)
	}
	r.following.Lock()
	defer r.following.Unlock()
	seats, told := r.follow(v, ranks)
	for i, s := range seats {
		s.tell(told[i])
	}
}

// follow is Follow without the telling: it returns who is to be told what. Reports of the first come in while the last are told, and
// need the table.
func (r *Roster) follow(v engine.View, ranks map[string]int) (seats []*Seat, told []*message) {
	r.mu.Lock()
	defer r.mu.Unlock()
	c := r.crew(v.State.Scope)
	if v.State.Version < c.state.Version { // a later one was faster
		return nil, nil
	}
	if ch := v.State.Change; ch != nil && ranks != nil {
		c.change, c.ranks = ch.ID, ranks
	}
	before := c.state
	c.view = v
	c.state, c.retired = v.State, v.State.Retired
	if v.Policy != nil {
		c.rules = v.Policy.Instances
	}
	c.now, c.before = r.encode(v, v.State.Directive), nil
	if ch := v.State.Change; ch != nil && ch.Before != nil {
		c.before = r.encode(v, *ch.Before)
	}
	c.sortWave(ranks != nil || waveOf(before) != waveOf(v.State) || before.Directive.Revision != v.State.Directive.Revision)
	moved := ranks != nil || before.Directive.Position() != v.State.Directive.Position() || waveOf(before) != waveOf(v.State)
	if !moved && before.Version > 0 && before.Rules == v.State.Rules {
		return nil, nil
	}
	close(r.changed)
	r.changed = make(chan struct{})
	now := r.opts.Now().UTC()
	seats, told = make([]*Seat, 0, len(c.members)), make([]*message, 0, len(c.members))
	for _, m := range c.members {
		r.judge(c, m, now)
		if m.seat != nil {
			seats, told = append(seats, m.seat), append(told, c.meant(m.Name))
		}
	}
	r.told = true
	r.changedIn(v.State.Scope)
	return seats, told
}

// sortWave names those that are told something else than the rest.
func (c *crew) sortWave(moved bool) {
	switch {
	case c.before == nil:
		c.wave = nil
	case moved || c.wave == nil:
		c.wave = []string{}
		for name, rank := range c.ranks {
			if c.ranked() && rank < c.state.Change.Waved {
				c.wave = append(c.wave, name)
			}
		}
		slices.Sort(c.wave)
	}
}

// Wave names those that are told the newest directive while others are not; nil when all are told the same. It is another slice
// when they, or what they are told, are others.
func (r *Roster) Wave(scope engine.Scope) []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	c := r.scopes[scope]
	if c == nil {
		return nil
	}
	return c.wave
}

// waveOf is what distinguishes who is told what within one revision.
func waveOf(s engine.State) int {
	if s.Change == nil || s.Change.Before == nil {
		return 0
	}
	return s.Change.Wave
}

// ranks are the places of the instances in the change under way; nil when it has no waves, or they are known already.
func (r *Roster) ranks(ctx context.Context, v engine.View) (map[string]int, error) {
	ch := v.State.Change
	if ch == nil || ch.Before == nil {
		return nil, nil
	}
	scope := v.State.Scope
	r.mu.Lock()
	c := r.crew(scope)
	known := c.ranked()
	if c.change == ch.ID && c.state.Change == nil { // not followed yet
		known = c.ranks != nil
	}
	var names []string
	for name, m := range c.members {
		if m.counts(c.rules, r.opts.Now().UTC()) {
			names = append(names, name)
		}
	}
	r.mu.Unlock()
	if known {
		return nil, nil
	}
	kept, err := r.store.Ranks(ctx, scope, ch.ID)
	if err == nil && kept == nil {
		slices.SortFunc(names, func(a, b string) int {
			return cmp.Or(bytes.Compare(hash(scope, a), hash(scope, b)), strings.Compare(a, b))
		})
		kept, err = names, r.store.SaveRanks(ctx, scope, ch.ID, names)
	}
	if err != nil {
		return nil, err
	}
	ranks := make(map[string]int, len(kept))
	for i, name := range kept {
		ranks[name] = i
	}
	return ranks, nil
}

// ranked reports whether the order of the change under way is kept.
func (c *crew) ranked() bool {
	return c.state.Change != nil && c.change == c.state.Change.ID && c.ranks != nil
}

// hash places an instance among the others of its scope, each time the same.
func hash(scope engine.Scope, name string) []byte {
	sum := sha256.Sum256([]byte(string(scope) + "\x00" + name))
	return sum[:]
}

// counts reports whether a change waits for the instance: it is connected, or has been gone for less than the grace time.
func (m *member) counts(rules engine.InstanceRules, now time.Time) bool {
	return m.Connected() || now.Sub(m.Left) < cmp.Or(rules.Grace, engine.DefaultGrace)
}

// encode makes the message of a directive.
func (r *Roster) encode(v engine.View, d engine.Directive) *message {
	if d.Revision == 0 {
		return nil
	}
	t := engine.Told{Scope: v.State.Scope, Directive: d}
	switch past := v.State.Past; {
	case v.State.Change != nil && v.State.Change.Published && d.Mode == v.State.Target:
		t.Change = v.State.Change.ID
	case len(past) > 0 && past[len(past)-1].To == d.Mode:
		t.Change = past[len(past)-1].ID
	}
	if p := v.Policy; p != nil {
		t.LeaseMS = p.Instances.Lease.Milliseconds()
		if m, ok := p.Mode(p.Instances.OnLoss); ok && t.LeaseMS > 0 {
			t.OnLoss = &engine.Fallback{Mode: m.Name, Flags: m.Flags, Unavailable: m.Unavailable}
		}
	}
	data, err := json.Marshal(t)
	if err != nil {
		r.log.Error("a directive does not encode", "scope", t.Scope, "error", err) // rules that loaded cannot bring it about
		return nil
	}
	return &message{told: t, frame: fmt.Appendf(nil, "event: directive\nid: %d-%d\ndata: %s\n\n", d.Term, d.Revision, data)}
}

// meant is what an instance is told; nil when nothing yet.
func (c *crew) meant(name string) *message {
	if c.before == nil || c.state.Change == nil {
		return c.now
	}
	if rank, known := c.ranks[name]; known && c.ranked() && rank < c.state.Change.Waved {
		return c.now
	}
	return c.before
}

// has reports whether the instance says that it has what is meant for it.
func (m *member) has(t *message) bool {
	return t == nil || m.Report.Outcome == engine.OutcomeDone && m.Report.Position == t.told.Position()
}

// judge notes since when an instance is behind.
func (r *Roster) judge(c *crew, m *member, now time.Time) {
	was := m.Behind
	switch {
	case m.has(c.meant(m.Name)):
		m.Behind = time.Time{}
	case m.Behind.IsZero():
		m.Behind = now
	}
	if !m.Behind.Equal(was) {
		r.dirty[m] = true
	}
}

// Summary says how the instances of a scope follow at an instant, in the state the core is going to decide in. That state may be
// ahead of what was followed.
func (r *Roster) Summary(s engine.State, at time.Time) engine.Instances {
	r.mu.Lock()
	defer r.mu.Unlock()
	c := r.scopes[s.Scope]
	if c == nil || len(c.members) == 0 {
		return engine.Instances{}
	}
	return c.summary(s, at)
}

func (c *crew) summary(s engine.State, at time.Time) engine.Instances {
	in := engine.Instances{Revision: s.Directive.Revision}
	waves := s.Change != nil && s.Change.Before != nil
	if s.Change != nil {
		in.Wave = s.Change.Wave
	}
	if waves && (c.change != s.Change.ID || c.ranks == nil) {
		in.Revision = 0 // nobody is told before it is known who: there is nothing to be said of this directive yet
	}
	grace := cmp.Or(c.rules.Grace, engine.DefaultGrace)
	newest := s.Directive.Position()
	for name, m := range c.members {
		counts := m.counts(c.rules, at)
		stale := !m.Behind.IsZero() && at.Sub(m.Behind) >= grace && (m.Connected() || m.Silent)
		if !counts && !stale {
			continue
		}
		in.Known++
		told := in.Revision > 0
		if told && waves {
			rank, known := c.ranks[name]
			told = known && rank < s.Change.Waved
		}
		if counts && told {
			in.Told++
			switch {
			case m.Report.Position != newest:
			case m.Report.Outcome == engine.OutcomeDone:
				in.Applied++
			case m.Report.Outcome == engine.OutcomeFailed:
				in.Failed++
			}
		}
		if stale {
			in.Behind++
			if in.Since.IsZero() || m.Behind.Before(in.Since) {
				in.Since = m.Behind
			}
		}
	}
	if in.Known == 0 {
		return engine.Instances{}
	}
	return in
}

// Members names the instances that are told the newest directive while a change goes by waves, sorted; nil when none does.
func (r *Roster) Members(scope engine.Scope) []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	c := r.scopes[scope]
	if c == nil || c.state.Change == nil || c.state.Change.Wave == 0 || c.state.Change.Rolled {
		return nil
	}
	names := []string{}
	for name, m := range c.members {
		if c.meant(name) == c.now && (m.Connected() || m.counts(c.rules, r.opts.Now())) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// Told is what an instance, or a reader of flags by its name, is told; false when the scope has told nothing yet. A name that is
// not in a wave gets what the others have.
func (r *Roster) Told(scope engine.Scope, name string) (engine.Told, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	c := r.scopes[scope]
	if c == nil || c.meant(name) == nil {
		return engine.Told{}, false
	}
	return c.meant(name).told, true
}

// Changed returns a channel that is closed when some scope's instances are told something else. Whoever waits takes it first and
// looks then.
func (r *Roster) Changed() <-chan struct{} {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.changed
}

// Instances returns all that are known of a scope, by name.
func (r *Roster) Instances(scope engine.Scope) []Instance {
	r.mu.Lock()
	defer r.mu.Unlock()
	c := r.scopes[scope]
	if c == nil {
		return nil
	}
	list := make([]Instance, 0, len(c.members))
	for _, name := range slices.Sorted(maps.Keys(c.members)) {
		list = append(list, c.members[name].Instance)
	}
	return list
}

// Run gathers what instances report, keeps the table, and forgets who is gone, until ctx ends.
func (r *Roster) Run(ctx context.Context) error {
	gather, save := time.NewTimer(Coalesce), time.NewTicker(Save)
	gathering := true // the beginning may be news too
	defer gather.Stop()
	defer save.Stop()
	var more <-chan time.Time // set while a table is being written
	piece := func() {
		more = nil
		if r.save(ctx, saveBatch) {
			more = time.After(savePause)
		}
	}
	for late := 0; ; {
		select {
		case <-r.come:
			if !gathering {
				gather.Reset(Coalesce)
				gathering = true
			}
		case <-gather.C:
			gathering = false
			r.tell()
		case <-save.C:
			r.expire()
			r.again(ctx)
			if late++; more == nil && (!r.busy() || late > putOff) {
				late = 0
				piece()
			}
		case <-more:
			piece()
		case <-ctx.Done():
			r.save(context.WithoutCancel(ctx), math.MaxInt)
			return nil
		}
	}
}

// changedIn notes that the instances of a scope have come to something. The caller holds the lock.
func (r *Roster) changedIn(scope engine.Scope) {
	r.news[scope] = true
	select {
	case r.come <- struct{}{}:
	default: // it is known that there is something
	}
}

// again follows scopes once more whose waves wait for their order to be kept.
func (r *Roster) again(ctx context.Context) {
	r.mu.Lock()
	var views []engine.View
	for _, c := range r.scopes {
		if c.before != nil && !c.ranked() {
			views = append(views, c.view)
		}
	}
	r.mu.Unlock()
	slices.SortFunc(views, func(a, b engine.View) int { return strings.Compare(string(a.State.Scope), string(b.State.Scope)) })
	for _, v := range views {
		r.Follow(ctx, v)
	}
}

// busy reports whether instances were told something since it was last asked.
func (r *Roster) busy() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	told := r.told
	r.told = false
	return told
}

// tell lets the core hear of scopes whose instances have come to something it may act on.
func (r *Roster) tell() {
	if r.opts.OnNews == nil {
		return
	}
	var tell []engine.Scope
	r.mu.Lock()
	for scope := range r.news {
		if c := r.scopes[scope]; c.awaited(r.opts.Now().UTC()) {
			tell = append(tell, scope)
		}
	}
	clear(r.news)
	r.mu.Unlock()
	slices.Sort(tell)
	for _, scope := range tell {
		r.opts.OnNews(scope)
	}
}

// awaited reports whether the core waits for what the instances have come to: enough of them have applied a directive, or cannot,
// or do not diverge any more. What is only a matter of time it sees at its next tick.
func (c *crew) awaited(now time.Time) bool {
	in := c.summary(c.state, now)
	if _, open := c.state.Incident(engine.IncidentDivergence, string(c.state.Scope)); open && !c.rules.Diverges(in.Behind, in.Known) {
		return true
	}
	ch := c.state.Change
	if ch == nil || !ch.Published || ch.Rolled || ch.Undoing || ch.Applied != nil {
		return false
	}
	need := c.rules.Need(in.Told)
	return in.Known == 0 || in.Told == 0 || in.Applied >= need || in.Told-in.Failed < need
}

// expire ends the seats of those who poll and did not come back, and forgets whoever is gone for long.
func (r *Roster) expire() {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.opts.Now().UTC()
	for scope, c := range r.scopes {
		for name, m := range c.members {
			if m.Connected() && !m.due.IsZero() && now.After(m.due) {
				r.left(c, m, true, now)
			}
			keep := r.opts.Forget
			if !m.Silent {
				keep = cmp.Or(c.rules.Grace, engine.DefaultGrace)
			}
			if m.Connected() || now.Sub(m.Left) < keep {
				continue
			}
			delete(c.members, name)
			delete(r.dirty, m)
			r.gone = append(r.gone, m.Instance)
		}
		if ch := c.state.Change; ch != nil && !ch.Rolled || len(r.gone) > 0 {
			r.changedIn(scope) // nobody waits any more for those who have been gone for the grace time
		}
	}
}

// save writes what changed, so many instances at most, and reports whether there are others.
func (r *Roster) save(ctx context.Context, most int) (more bool) {
	r.mu.Lock()
	list := make([]Instance, 0, min(len(r.dirty), most))
	for m := range r.dirty {
		if len(list) == most {
			more = true
			break
		}
		list = append(list, m.Instance)
		delete(r.dirty, m)
	}
	gone := r.gone
	r.gone = nil
	r.mu.Unlock()
	slices.SortFunc(list, func(a, b Instance) int {
		return cmp.Or(strings.Compare(string(a.Scope), string(b.Scope)), strings.Compare(a.Name, b.Name))
	})
	var err error
	if len(list) > 0 {
		err = r.store.SaveInstances(ctx, list)
	}
	if len(gone) > 0 {
		err = errors.Join(err, r.store.ForgetInstances(ctx, gone))
	}
	if err == nil {
		return more
	}
	// What is not written is in memory, and told again by each instance that reconnects.
	r.log.Warn("the table of instances could not be written; it is tried again", "error", err)
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, i := range list {
		if m := r.crew(i.Scope).members[i.Name]; m != nil {
			r.dirty[m] = true
		}
	}
	r.gone = append(gone, r.gone...)
	return false
}
