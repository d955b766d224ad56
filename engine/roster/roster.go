package roster

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"slices"
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
	// A retired scope has no lease: who was told of one while there were rules hears that it is over, or would leave the directive by it.
	moved = moved || before.Retired != v.State.Retired
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

// busy reports whether instances were told something since it was last asked.
func (r *Roster) busy() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	told := r.told
	r.told = false
	return told
}
