package ledger

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/modeshift/modeshift/engine"
)

// Source reads what SLOs measured.
type Source interface {
	// Read answers for each key, in their order. All buckets of the width that begin in the span should be among the
	// buckets of an answer; those that are not stay as they are. It returns when ctx ends at the latest.
	Read(ctx context.Context, ask Ask) []Answer
}

// Ask is a question to a source: the same span for several SLOs.
type Ask struct {
	Keys     []Key
	From, To time.Time // multiples of Width
	Width    time.Duration
}

// Answer is what an SLO measured. Why is set when the question as a whole could not be answered.
type Answer struct {
	Buckets []Bucket
	Why     engine.Why
	Detail  string // in the source's words
}

// Store keeps ledgers over a restart. It is a cache: what it does not hold is read again.
type Store interface {
	// SaveLedgers stores pages in place of those of the same hours, of several ledgers in one transaction: all or none.
	SaveLedgers(ctx context.Context, saves ...Save) error
	// LoadLedger returns the pages of a ledger in order of time; none if there is none.
	LoadLedger(ctx context.Context, key Key) ([]Page, error)
	// DropLedgers removes the ledgers that were last saved before an instant, but for those named.
	DropLedgers(ctx context.Context, unsavedSince time.Time, keep ...Key) error
}

// Save is what is to be stored of one ledger.
type Save struct {
	Key
	At     time.Time // now
	Pages  []Page
	Before time.Time // pages of hours before it are removed
}

// Kept is how long the ledger of a query that nobody follows any more is kept: rules that are put back find it again.
const Kept = 7 * oneDay

// Followed is an SLO whose ledger is kept.
type Followed struct {
	Key
	Reach time.Duration // how far back its budgets look
}

// Options are what a Keeper needs to know. The zero value is good.
type Options struct {
	Now    func() time.Time // nil: time.Now
	Logger *slog.Logger     // nil: slog.Default
	// Together is how many SLOs share a question; 0: 200.
	Together int
	// Timeout bounds a question; 0: 2 m.
	Timeout time.Duration
	// OnUnwritten is told each time that ledgers could not be stored; it is tried again.
	OnUnwritten func(error) // may be nil
}

// Keeper keeps the ledgers of the SLOs in force. It is safe for concurrent use.
type Keeper struct {
	opts  Options
	store Store

	mu     sync.RWMutex // guards what follows, and what the ledgers hold
	source Source
	tracks map[Key]*track
	order  []*track // by key

	woken chan struct{}

	// These belong to whoever calls Step.
	dropped time.Time
	unsaved bool // it was said that nothing can be stored
}

// track is one ledger under way.
type track struct {
	Followed
	ledger       Ledger
	loaded       bool
	troubles     map[piece]trouble
	down         bool // the newest buckets could not be read last
	missing, all int  // as planned last
	why          engine.Why
	detail       string
}

// NewKeeper makes a keeper that follows nothing yet.
func NewKeeper(store Store, opts Options) *Keeper {
	if opts.Now == nil {
		opts.Now = time.Now
	}
	if opts.Logger == nil {
		opts.Logger = slog.Default()
	}
	opts.Together = cmp.Or(opts.Together, 200)
	opts.Timeout = cmp.Or(opts.Timeout, 2*time.Minute)
	return &Keeper{opts: opts, store: store, tracks: map[Key]*track{}, woken: make(chan struct{}, 1)}
}

// Follow says which SLOs are in force and who answers for them. The ledgers of those that were followed before go on.
func (k *Keeper) Follow(source Source, slos []Followed) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.source = source
	tracks := map[Key]*track{}
	for _, f := range slos {
		t := k.tracks[f.Key]
		if t == nil {
			t = &track{troubles: map[piece]trouble{}}
		}
		t.Followed = f
		tracks[f.Key] = t
	}
	k.tracks = tracks
	k.order = k.order[:0:0]
	for _, t := range tracks {
		k.order = append(k.order, t)
	}
	slices.SortFunc(k.order, func(a, b *track) int {
		return cmp.Or(cmp.Compare(a.Scope, b.Scope), cmp.Compare(a.SLO, b.SLO), cmp.Compare(a.Digest, b.Digest))
	})
	select {
	case k.woken <- struct{}{}:
	default:
	}
}

// Budget answers a question about an SLO. One that is not followed, or not loaded yet, is wholly unknown.
func (k *Keeper) Budget(key Key, q Question) Budget {
	k.mu.RLock()
	defer k.mu.RUnlock()
	if t := k.tracks[key]; t != nil {
		return t.ledger.Budget(q)
	}
	return (&Ledger{}).Budget(q)
}

// Series is the burn rate of an SLO in steps.
func (k *Keeper) Series(key Key, budget float64, from, to time.Time, step time.Duration, excluded []Span) []Point {
	k.mu.RLock()
	defer k.mu.RUnlock()
	if t := k.tracks[key]; t != nil {
		return t.ledger.Series(budget, from, to, step, excluded)
	}
	return (&Ledger{}).Series(budget, from, to, step, excluded)
}

// Progress says how far the ledgers are.
type Progress struct {
	Asked float64       // share of the buckets that anybody has asked for
	Lag   time.Duration // since the end of the newest bucket that is known, of the SLO that is furthest behind; at most its reach
}

// Progress says how far the ledgers are at an instant.
func (k *Keeper) Progress(at time.Time) Progress {
	k.mu.RLock()
	defer k.mu.RUnlock()
	p := Progress{Asked: 1}
	missing, all := 0, 0
	for _, t := range k.order {
		missing += t.missing
		all += t.all
		p.Lag = max(p.Lag, min(t.Reach, at.Sub(t.ledger.newest())))
	}
	if all > 0 {
		p.Asked = 1 - float64(missing)/float64(all)
	}
	return p
}

// Trouble says why the last question about an SLO could not be answered; empty when it was.
func (k *Keeper) Trouble(key Key) (engine.Why, string) {
	k.mu.RLock()
	defer k.mu.RUnlock()
	if t := k.tracks[key]; t != nil {
		return t.why, t.detail
	}
	return "", ""
}

// Run keeps the ledgers until ctx ends. It returns nil.
func (k *Keeper) Run(ctx context.Context) error {
	for ctx.Err() == nil {
		wait := k.Step(ctx)
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-k.woken:
		case <-ctx.Done():
		}
		timer.Stop()
	}
	k.save(context.WithoutCancel(ctx), k.opts.Now())
	return nil
}

// Step asks the most urgent question there is and takes over its answer. It returns how long there is nothing to ask.
func (k *Keeper) Step(ctx context.Context) time.Duration {
	now := k.opts.Now().UTC()
	k.load(ctx)
	ask, w, source := k.next(now)
	if len(ask.Keys) == 0 {
		k.save(ctx, now)
		k.drop(ctx, now)
		return k.pause(now)
	}
	within, cancel := context.WithTimeout(ctx, k.opts.Timeout)
	answers := source.Read(within, ask)
	cancel()
	if ctx.Err() != nil {
		return 0 // cut short by the end: it says nothing
	}
	k.take(ask, w, answers, now)
	k.save(ctx, now)
	return 0
}

// pause is how long it is until the next bucket is due, or until a question that failed may be asked again.
func (k *Keeper) pause(now time.Time) time.Duration {
	k.mu.RLock()
	defer k.mu.RUnlock()
	next := Due(now).Add(Fine + Settle)
	for _, t := range k.order {
		for _, trouble := range t.troubles {
			if trouble.next.After(now) && trouble.next.Before(next) {
				next = trouble.next
			}
		}
		if !t.loaded {
			next = now.Add(retryFirst)
		}
	}
	return min(max(next.Sub(now), time.Second), Fine)
}

// load reads ledgers that are followed and not in memory yet.
func (k *Keeper) load(ctx context.Context) {
	k.mu.RLock()
	var waiting []*track
	for _, t := range k.order {
		if !t.loaded {
			waiting = append(waiting, t)
		}
	}
	k.mu.RUnlock()
	for _, t := range waiting {
		pages, err := k.store.LoadLedger(ctx, t.Key)
		if err != nil {
			if ctx.Err() == nil {
				k.opts.Logger.Warn("the ledgers cannot be read; trying again", "error", err)
			}
			return
		}
		k.mu.Lock()
		for _, p := range pages {
			if err := t.ledger.Restore(p); err != nil {
				k.opts.Logger.Warn("a part of a ledger is read again from its source", "scope", t.Scope, "slo", t.SLO, "error", err)
			}
		}
		t.loaded = true
		k.mu.Unlock()
	}
}

// next finds the most urgent question: the newest span, and all SLOs that wish for exactly that.
func (k *Keeper) next(now time.Time) (Ask, wish, Source) {
	k.mu.Lock()
	defer k.mu.Unlock()
	var best wish
	var keys []Key
	for _, t := range k.order {
		if !t.loaded {
			continue
		}
		t.ledger.Compact(now)
		t.ledger.Cut(now.Add(-t.Reach - oneDay))
		var w wish
		var ok bool
		w, ok, t.missing, t.all = t.ledger.plan(now, t.Reach, t.troubles)
		switch {
		case !ok || w.to.Before(best.to):
		case w == best:
			keys = append(keys, t.Key)
		case w.to.After(best.to) || w.width < best.width || w.width == best.width && w.from.After(best.from):
			best, keys = w, []Key{t.Key}
		}
	}
	keys = keys[:min(len(keys), k.opts.Together)]
	return Ask{Keys: keys, From: best.from, To: best.to, Width: best.width}, best, k.source
}

// take takes answers over.
func (k *Keeper) take(ask Ask, w wish, answers []Answer, now time.Time) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for i, key := range ask.Keys {
		t := k.tracks[key]
		if t == nil {
			continue // not followed any more
		}
		a := Answer{Why: engine.WhyFailed, Detail: "the source gave no answer"}
		if i < len(answers) {
			a = answers[i]
		}
		t.why, t.detail = a.Why, a.Detail
		if a.Why != "" {
			t.ledger.refused(w, a.Why)
			failed(t.troubles, w, now)
			t.down = t.down || newest(w, now)
			continue
		}
		if t.down && newest(w, now) {
			t.down = false
			clear(t.troubles)
		}
		t.ledger.answered(w, a.Buckets, now)
		if _, hole := t.ledger.holes(w); hole {
			failed(t.troubles, w, now) // some of it: asked again, and not at once
		} else {
			delete(t.troubles, pieceOf(w))
		}
	}
}

// pagesTogether bounds what one transaction takes: what is decided meanwhile waits for it, some milliseconds.
const pagesTogether = 500

// save stores what changed. What cannot be stored stays in memory and is tried again at the next step.
func (k *Keeper) save(ctx context.Context, now time.Time) {
	for {
		var saves []Save
		var tracks []*track
		room := pagesTogether
		k.mu.RLock()
		for _, t := range k.order {
			if len(t.ledger.dirty) > 0 && room > 0 {
				s := Save{Key: t.Key, At: now, Pages: t.ledger.pages(room), Before: now.Add(-t.Reach - 2*oneDay).Truncate(oneDay)}
				room -= len(s.Pages)
				saves, tracks = append(saves, s), append(tracks, t)
			}
		}
		k.mu.RUnlock()
		if len(saves) == 0 {
			return
		}
		if err := k.store.SaveLedgers(ctx, saves...); err != nil {
			k.notSaved(ctx, err)
			return
		}
		k.mu.Lock()
		for i, t := range tracks {
			t.ledger.written(saves[i].Pages)
		}
		k.mu.Unlock()
		k.unsaved = false
	}
}

// notSaved says once that nothing can be stored.
func (k *Keeper) notSaved(ctx context.Context, err error) {
	if ctx.Err() != nil {
		return
	}
	if !k.unsaved {
		k.opts.Logger.Warn("the ledgers cannot be stored: budgets go on from memory, and a restart reads them again", "error", err)
	}
	k.unsaved = true
	if k.opts.OnUnwritten != nil {
		k.opts.OnUnwritten(err)
	}
}

// drop removes, once a day, the ledgers of queries that are gone.
func (k *Keeper) drop(ctx context.Context, now time.Time) {
	if now.Sub(k.dropped) < oneDay && !now.Before(k.dropped) {
		return
	}
	k.mu.RLock()
	keep := make([]Key, len(k.order))
	for i, t := range k.order {
		keep[i] = t.Key
	}
	k.mu.RUnlock()
	if err := k.store.DropLedgers(ctx, now.Add(-Kept), keep...); err != nil && !errors.Is(err, context.Canceled) {
		k.opts.Logger.Warn("old ledgers cannot be removed", "error", err)
		return
	}
	k.dropped = now
}

// newest is the end of the newest bucket that is known; zero when none is.
func (l *Ledger) newest() time.Time {
	for i := len(l.days) - 1; i >= 0; i-- {
		d := l.days[i]
		if d == nil || d.sum.known == 0 {
			continue
		}
		for h := 23; h >= 0; h-- {
			end := hourTime((l.first+int64(i))*24 + int64(h) + 1)
			if f := d.fineOf(h); f != nil {
				for b := perHour - 1; b >= 0; b-- {
					if f.state[b] == known {
						return end.Add(-time.Duration(perHour-1-b) * Fine)
					}
				}
			} else if d.known[h] > 0 {
				return end
			}
		}
	}
	return time.Time{}
}
