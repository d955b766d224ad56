package prom

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	v1 "github.com/prometheus/client_golang/api/prometheus/v1"

	"github.com/modeshift/modeshift/engine"
)

// query is a PromQL expression for one replica of a source at an instant. Equal queries of a tick are sent once, whichever
// scopes want them.
type query struct {
	source  int // index into Evaluator.sources
	replica int // index into its Replicas
	text    string
	at      int64 // unix milliseconds, which is as exactly as Prometheus knows them
	// passing: it is for a signal measured on the instances of this tick alone. It is asked alone, and how that went is not
	// remembered: its text will hardly come again.
	passing bool
}

// lane is where a query goes: what one replica is slow at does not hold up another.
type lane struct{ source, replica int }

func (q query) lane() lane { return lane{q.source, q.replica} }

// wanted is a query with what it costs to answer.
type wanted struct {
	query
	reach time.Duration // how far back it reads
}

// fetcher sends the requests of one tick.
type fetcher struct {
	sources []Source
	timeout time.Duration // of a query
	limit   int           // of requests under way at one replica of a source
	metrics *Metrics

	sent    atomic.Int64           // requests
	samples atomic.Int64           // that the sources read to answer them
	given   map[lane]*atomic.Int32 // timeouts since it last answered; the map itself does not change
	again   int                    // requests that were parts of one that failed; owned by who calls run
	now     time.Time              // the tick's instant, by which what was learnt grows old
	record  *recording             // of what was asked and given; nil: nobody wants to know
}

func newFetcher(sources []Source, timeout time.Duration, limit int, now time.Time, metrics *Metrics) *fetcher {
	f := &fetcher{sources: sources, now: now, timeout: timeout, limit: limit, metrics: metrics, given: map[lane]*atomic.Int32{}}
	for i := range sources {
		for r := range sources[i].Replicas {
			f.given[lane{i, r}] = &atomic.Int32{}
		}
	}
	return f
}

// run sends fetches, those of each replica in order and at most limit at a time, and returns the answers in the order of
// fetches once all have come. It takes no longer than ctx allows: what is not answered by then is a timeout.
//
// A source that let as many requests as may be under way (and at least minTimeouts) time out, and answered none in between,
// is given up for this tick: otherwise a server that hangs would take the whole tick's time for itself, timeout by timeout.
// Usually that takes two timeouts, because the first to give up may send another request before the last one does.
func (f *fetcher) run(ctx context.Context, fetches []fetch) []answer {
	answers := make([]answer, len(fetches))
	byLane := map[lane][]int{}
	for i := range fetches {
		if a, ok := f.known(fetches[i].query); ok {
			answers[i] = a
			continue
		}
		l := fetches[i].lane()
		byLane[l] = append(byLane[l], i)
	}
	var all sync.WaitGroup
	for _, todo := range byLane {
		var next atomic.Int64
		for range min(f.limit, len(todo)) {
			all.Go(func() {
				for {
					n := int(next.Add(1)) - 1
					if n >= len(todo) {
						return
					}
					answers[todo[n]] = f.one(ctx, fetches[todo[n]].query)
				}
			})
		}
	}
	all.Wait()
	return answers
}

// expect tells sources that want to know at which further instants they will be asked.
func (f *fetcher) expect(wants []want) {
	for _, w := range wants {
		if w.apart <= 0 || w.probe == nil {
			continue
		}
		for _, p := range w.probe.parts {
			for _, q := range p.queries {
				if e, ok := f.sources[q.source].Replicas[q.replica].(Expecting); ok {
					e.Expect(q.text, w.at, w.apart)
				}
			}
		}
	}
}

// known is the answer to a query that the source has already.
func (f *fetcher) known(q query) (answer, bool) {
	k, ok := f.sources[q.source].Replicas[q.replica].(Knowing)
	if !ok {
		return answer{}, false
	}
	value, ok := k.Known(q.text, time.UnixMilli(q.at).UTC())
	if !ok {
		return answer{}, false
	}
	f.sent.Add(1)
	f.given[q.lane()].Store(0)
	a := answerOf(value, nil, nil)
	f.record.note(q, a)
	f.metrics.queried(f.sources[q.source].Name, a)
	return a, true
}

// minTimeouts keeps a few slow queries, one at a time, from giving up a source that works.
const minTimeouts = 3

func (f *fetcher) one(ctx context.Context, q query) answer {
	given := f.given[q.lane()]
	if int(given.Load()) >= max(f.limit, minTimeouts) {
		return answer{why: engine.WhyTimeout, detail: "not asked any more: the source let many queries of this tick time out"}
	}
	f.sent.Add(1)
	start := time.Now()
	ctx, cancel := context.WithTimeout(ctx, f.timeout)
	a := send(ctx, f.sources[q.source].Replicas[q.replica], q.text, time.UnixMilli(q.at).UTC(), f.timeout)
	cancel()
	a.took = time.Since(start)
	if a.why == engine.WhyTimeout {
		given.Add(1)
	} else {
		given.Store(0)
	}
	f.samples.Add(a.samples)
	f.record.note(q, a)
	f.metrics.queried(f.sources[q.source].Name, a)
	return a
}

// whole is a timeout as Prometheus can read it: the client writes it in Go's notation, of which the server takes whole numbers
// only, and calls "1.5s" an error.
func whole(d time.Duration) time.Duration {
	if d >= time.Second {
		return d.Truncate(time.Second)
	}
	return max(d.Truncate(time.Millisecond), time.Millisecond)
}

// send sends one instant query. The server is told the timeout too, so that it does not work on for nobody. A panic in the
// client, which reads what strangers send, is one failed query.
func send(ctx context.Context, api v1.API, text string, at time.Time, timeout time.Duration) (a answer) {
	defer func() {
		if p := recover(); p != nil {
			a = answer{why: engine.WhyFailed, detail: clip(fmt.Sprintf("panic in the client: %v", p))}
		}
	}()
	if err := ctx.Err(); err != nil {
		a := answerOf(nil, nil, err)
		a.remedy = none // it was not even sent
		return a
	}
	var noted note
	value, warnings, _, err := api.Query(context.WithValue(ctx, noteKey{}, &noted), text, at,
		v1.WithTimeout(whole(timeout)), v1.WithStats(totals))
	a = answerOf(value, warnings, err)
	a.samples = noted.samples
	if ahead := noted.ahead; a.why == "" && ahead > maxSkew {
		a = answer{why: engine.WhyStale, detail: fmt.Sprintf("the source's clock is %s ahead of this machine's: what it shows for an instant is as old",
			ahead.Round(time.Second))}
	}
	return a
}
