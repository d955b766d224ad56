package flags

import (
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"reflect"
	"slices"
	"sync"
	"time"

	"github.com/modeshift/modeshift/engine"
)

// sheet is what is told in a scope at one time. All readers share it, and it does not change.
type sheet struct {
	until  <-chan struct{} // it is known to be the present one until this is closed
	moved  chan struct{}   // closed when another takes its place that says something else
	scope  engine.Scope
	policy *engine.Policy
	meta   func(engine.Scope, string) map[string]any
	at     time.Time // of the scope's last event when this was made out: what is told changed then, or before
	wave   []string  // as the source gave it
	// groups are the instances by what they are told: the rest first, then those of a wave, the newest directive first.
	groups []*group
	member map[string]*group // by the names of those in a wave; nil when there is none

	flagd *flagdConfig // of all of it
}

// group are instances that are told the same.
type group struct {
	told  engine.Told
	names []string // of a wave's; nil for the rest

	once  sync.Once // makes what follows
	body  []byte    // of the answer with all flags, without its last brace: an event stream may follow
	tag   string    // of the content: no quotes
	fault error
}

// book keeps the sheets of a source, so that ten thousand readers of a scope cost one evaluation, and that what happens in
// one scope wakes no reader of another.
type book struct {
	source Source
	meta   func(engine.Scope, string) map[string]any

	mu       sync.Mutex // guards what follows
	sheets   map[engine.Scope]*sheet
	followed map[engine.Scope]int // how many follow
	watch    *watch               // nil while nobody follows
}

// watch is the goroutine that looks after the sheets that are followed.
type watch struct{ stop, done chan struct{} }

func newBook(source Source, meta func(engine.Scope, string) map[string]any) *book {
	return &book{source: source, meta: meta, sheets: map[engine.Scope]*sheet{}, followed: map[engine.Scope]int{}}
}

// open returns the present sheet of a scope; false when nobody declared it. Sheets are kept of scopes that exist, so what a
// client makes up costs no memory.
func (b *book) open(scope engine.Scope) (*sheet, bool) {
	if scope == engine.Fleet {
		return nil, false
	}
	until := b.source.Changed() // before anything else is taken
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.look(scope, until)
}

// look is open with the lock held. What the source said before until was taken it may not have said any more.
func (b *book) look(scope engine.Scope, until <-chan struct{}) (*sheet, bool) {
	old := b.sheets[scope]
	if old != nil && old.until == until {
		return old, true
	}
	v, there := b.source.View(scope)
	if !there {
		if old != nil {
			close(old.moved)
			delete(b.sheets, scope)
		}
		return nil, false
	}
	s := &sheet{until: until, scope: scope, policy: v.Policy, meta: b.meta, at: v.State.At}
	if s.gather(b.source, old) {
		// Most commits tell the instances of a scope nothing: what was made out for the last sheet is still right.
		s.moved, s.at, s.flagd = old.moved, old.at, old.flagd
	} else {
		s.moved, s.flagd = make(chan struct{}), &flagdConfig{}
		if old != nil {
			close(old.moved)
		}
	}
	b.sheets[scope] = s
	return s, true
}

// follow has the sheet of a scope replaced as soon as it says something else, until leave is called.
func (b *book) follow(scope engine.Scope) (leave func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.followed[scope]++
	if b.watch == nil {
		b.watch = &watch{make(chan struct{}), make(chan struct{})}
		go b.keep(b.watch)
	}
	return func() {
		b.mu.Lock()
		if b.followed[scope]--; b.followed[scope] == 0 {
			delete(b.followed, scope)
		}
		var last *watch
		if len(b.followed) == 0 {
			last, b.watch = b.watch, nil
		}
		b.mu.Unlock()
		if last != nil {
			close(last.stop)
			<-last.done
		}
	}
}

// keep looks whether what is followed changed, whenever the source says that something may have. Changes that come faster
// than it looks are looked at together.
func (b *book) keep(w *watch) {
	defer close(w.done)
	for {
		until := b.source.Changed()
		b.mu.Lock()
		for scope := range b.followed {
			b.look(scope, until)
		}
		b.mu.Unlock()
		select {
		case <-until:
		case <-w.stop:
			return
		}
	}
}

// gather groups the instances by what they are told, and reports whether that is what another sheet says.
func (s *sheet) gather(source Source, old *sheet) (unchanged bool) {
	rest := &group{told: source.Told(s.scope, "")}
	s.groups, s.wave = []*group{rest}, source.Wave(s.scope)
	alike := old != nil && s.policy == old.policy && same(rest.told, old.groups[0].told)
	if alike && len(s.wave) == len(old.wave) && (len(s.wave) == 0 || &s.wave[0] == &old.wave[0]) {
		s.groups, s.member = old.groups, old.member
		return true
	}
	if len(s.wave) > 0 {
		s.member = make(map[string]*group, len(s.wave))
	}
	var others []*group
	for _, name := range s.wave {
		told := source.Told(s.scope, name)
		g := rest
		if !same(told, rest.told) {
			i := slices.IndexFunc(others, func(o *group) bool { return same(o.told, told) })
			if i < 0 {
				i = len(others)
				others = append(others, &group{told: told})
			}
			g = others[i]
			g.names = append(g.names, name)
		}
		s.member[name] = g
	}
	slices.SortStableFunc(others, func(a, b *group) int { return b.told.Position().Compare(a.told.Position()) })
	for _, g := range others {
		slices.Sort(g.names)
	}
	s.groups = append(s.groups, others...)
	if alike && slices.EqualFunc(s.groups, old.groups, func(a, b *group) bool { return same(a.told, b.told) && slices.Equal(a.names, b.names) }) {
		s.groups, s.member = old.groups, old.member
		return true
	}
	return false
}

// same reports whether two directives are one. Flags are shared and never changed, so mostly it is enough to see that they
// are in one place.
func same(a, b engine.Told) bool {
	if a.Position() != b.Position() || a.Mode != b.Mode {
		return false
	}
	return reflect.ValueOf(a.Flags).UnsafePointer() == reflect.ValueOf(b.Flags).UnsafePointer() || reflect.DeepEqual(a.Flags, b.Flags)
}

// group finds what an instance is told.
func (s *sheet) group(instance string) *group {
	if g := s.member[instance]; g != nil && instance != "" {
		return g
	}
	return s.groups[0]
}

// newest is the position of the newest directive that anybody is told.
func (s *sheet) newest() engine.Position {
	p := s.groups[0].told.Position()
	if len(s.groups) > 1 && s.groups[1].told.Position().Compare(p) > 0 {
		p = s.groups[1].told.Position()
	}
	return p
}

// split reports whether a flag is not the same for all, because a roll-out goes on.
func (s *sheet) split(key string) bool {
	for _, g := range s.groups[1:] {
		if !reflect.DeepEqual(g.value(key), s.groups[0].value(key)) {
			return true
		}
	}
	return false
}

// value is what the group is told of a flag; nil: nothing.
func (g *group) value(key string) any {
	if !g.ever() {
		return nil
	}
	if key == ModeFlag {
		return string(g.told.Mode)
	}
	return g.told.Flags[key]
}

// ever reports whether the group was told anything. A scope with SLO alerts alone never is.
func (g *group) ever() bool { return g.told.Revision > 0 && g.told.Mode != "" }

// errUnmade is what is left where the making of an answer panicked: it is not tried again.
var errUnmade = errors.New("making the answer panicked before; the log says why")

// bulk returns the answer with all flags, without its last brace, and the tag of what it says.
func (s *sheet) bulk(g *group) (body []byte, tag string, err error) {
	g.once.Do(func() {
		g.fault = errUnmade
		body, err := encode(s.evaluateAll(g))
		if err == nil {
			g.body = body[:len(body)-len("}\n")]
			g.tag = digest(g.body)
		}
		g.fault = err
	})
	return g.body, g.tag, g.fault
}

// digest names a content: long enough that nobody finds two of one name, short enough for a header.
func digest(content []byte) string {
	sum := sha256.Sum256(content)
	return base64.RawURLEncoding.EncodeToString(sum[:18])
}

// modified is when what is told changed, in Unix seconds; 0: not known.
func (s *sheet) modified() int64 {
	if s.at.IsZero() {
		return 0
	}
	return max(0, s.at.Unix())
}
