package prom

import (
	"cmp"
	"context"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/common/model"

	"github.com/modeshift/modeshift/engine"
)

// The bounds of a request that stands for many queries.
const (
	// maxValues is how many values one request asks for. A Prometheus of today looks alternatives up one by one in its index
	// while they are fewer than 256, and beyond that tries each value of the label; older ones look up any number. It
	// makes little difference: a thousand at once cost 0.26 s of a 2.42's CPU (15,000 series, 5 m of 30 s samples)
	// where four times 250 cost 0.21, over 6 h 1.0 and 1.2; in the index of 20,000 values the newer one took 6 ms and 3.
	// What a thousand buys is that the number of requests does not grow with that of services.
	maxValues = 1000
	// maxText is how long the text of a request may become: proxies in front of a Prometheus refuse bodies of 1 MiB, and a
	// body has some bytes escaped, at three for one.
	maxText = 256 << 10
	// maxReach is how far back all values of a request together may reach: 6 h for each of a thousand services, which
	// took 2 s on a busy machine (15 series each, a sample in 30 s) of the 4 that a query may take. A longer window is asked
	// for fewer services at a time, so that each request is answered in time.
	maxReach = 6000 * time.Hour
	// leastValues is what requests that were too much for a server are brought down to. To ask it a thousand single queries
	// instead would finish it off.
	leastValues = 50
	// maxAgain is how many requests of a tick may go out again as halves of one that failed.
	maxAgain = 64
	// aloneFor is for how long a query is asked by itself that made a request for many fail, unless it fails again.
	aloneFor = 10 * time.Minute
	// growAfter is for how long requests made smaller stay so; then they double.
	growAfter = 5 * time.Minute
)

// fetch is one request: a query as it is, or one that stands for several.
type fetch struct {
	query               // what is sent
	reach time.Duration // of each that it stands for

	shape  *shape             // nil: the query stands for itself
	values []string           // of the shape's label, sorted, each once
	asked  map[string][]query // the queries it stands for, by value; that of others may be among them
	of     *split             // the request it is a part of; nil: none
}

// split is a request that failed and was sent again in halves.
type split struct {
	course
	values    int
	open      int // parts not answered yet
	offenders int // parts that failed too
}

// fusion makes few requests of many queries. What it remembers decides how queries are asked, never what they answer.
type fusion struct {
	mu     sync.Mutex             // guards the rest
	known  map[string][]candidate // by the text of a query, which is read once; the rules bound how many there are
	shapes shapes
	alone  map[offender]time.Time // when a query last made a request fail
	sizes  map[course]size        // of requests that were made smaller
	read   map[course]float64     // the samples that a request last took for each of its queries
}

// offender and course leave out of a query what is another at each tick.
type (
	offender struct {
		text string
		lane lane
	}
	course struct {
		lane  lane
		shape *shape
		text  string // of a query that stands for itself
	}
)

// size is how many values requests of a course ask for at most.
type size struct {
	values int
	since  time.Time // doubles each growAfter from then on
	search bool      // or else is for finding out whose fault a failure is, and
	tried  bool      // has been used since it was last made smaller
}

func newFusion() *fusion {
	return &fusion{known: map[string][]candidate{}, shapes: shapes{}, alone: map[offender]time.Time{},
		sizes: map[course]size{}, read: map[course]float64{}}
}

// ask sends the wanted queries of a round, as few requests as can be, and gives each query its answer. A request for many
// that fails by the data of some is sent again in halves, so that the others have theirs at the same tick.
func (u *fusion) ask(ctx context.Context, f *fetcher, ws []wanted, give func(query, answer)) {
	fetches := u.plan(ws, f.now)
	for len(fetches) > 0 {
		var again []fetch
		for i, a := range f.run(ctx, fetches) {
			if parts := u.learn(f, &fetches[i], a); parts != nil {
				again = append(again, parts...)
				continue
			}
			if n := fetches[i].queries(); n > 1 {
				f.metrics.fusedInto(f.sources[fetches[i].source].Name, n)
			}
			fetches[i].share(a, give)
		}
		fetches = again
	}
}

// cost is how many samples a request is expected to read: as many for each of its queries as last time, and before that as if
// each were about one series with a sample every 15 s. The caller holds mu.
func (u *fusion) cost(f *fetch) float64 {
	each, known := u.read[f.course()]
	if !known {
		each = float64(f.reach / (15 * time.Second))
	}
	return each * float64(f.queries())
}

func (f *fetch) course() course {
	c := course{lane: f.lane(), shape: f.shape}
	if f.shape == nil {
		c.text = f.text
	}
	return c
}

// plan turns the queries wanted in a round into the requests to send, cheapest first: when time runs out it is the long
// windows that go unanswered.
func (u *fusion) plan(ws []wanted, now time.Time) []fetch {
	u.mu.Lock()
	defer u.mu.Unlock()
	var fetches []fetch
	for _, g := range u.group(ws, func(q query) bool { return u.isAlone(q, now) }) {
		fetches = append(fetches, g.fetches(u.limit(g, now))...)
	}
	slices.SortStableFunc(fetches, func(a, b fetch) int { return cmp.Compare(u.cost(&a), u.cost(&b)) })
	return fetches
}

// batch says which queries may be one request: those that are equal once their shape stands for their text.
type batch struct {
	query
	shape *shape
}

// group is the queries of a batch, or one query that is asked as it is.
type group struct {
	batch
	reach  time.Duration
	values []string // each once
	asked  map[string][]query
}

// group sorts queries into groups, in the order in which they come first. A query that can be fused by several labels goes
// with most others: where all have env="prod" and each a job of its own, that is by job.
func (u *fusion) group(ws []wanted, alone func(query) bool) []*group {
	mates := map[batch]int{}
	each := make([][]candidate, len(ws))
	with := func(w wanted, c candidate) batch {
		b := batch{w.query, c.shape}
		b.text = ""
		return b
	}
	for i, w := range ws {
		if w.passing || alone(w.query) {
			continue
		}
		each[i] = u.candidates(w.text)
		for _, c := range each[i] {
			if c.shape != nil {
				mates[with(w, c)]++
			}
		}
	}
	var groups []*group
	have := map[batch]*group{}
	for i, w := range ws {
		var best batch
		var value string
		for _, c := range each[i] {
			if c.shape != nil && mates[with(w, c)] > max(1, mates[best]) {
				best, value = with(w, c), c.value
			}
		}
		if best.shape == nil {
			groups = append(groups, &group{batch: batch{query: w.query}, reach: w.reach})
			continue
		}
		g := have[best]
		if g == nil {
			g = &group{batch: best, asked: map[string][]query{}}
			have[best], groups = g, append(groups, g)
		}
		if len(g.asked[value]) == 0 {
			g.values = append(g.values, value)
		}
		g.asked[value] = append(g.asked[value], w.query)
		g.reach = max(g.reach, w.reach)
	}
	return groups
}

// candidates reads a query, once. The caller holds mu.
func (u *fusion) candidates(text string) []candidate {
	cs, ok := u.known[text]
	if !ok {
		cs, _ = u.shapes.candidates(text)
		u.known[text] = cs
	}
	return cs
}

// limit is how many values of a group one request asks for. The caller holds mu.
func (u *fusion) limit(g *group, now time.Time) int {
	if g.shape == nil {
		return 1
	}
	longest := 1
	for _, v := range g.values {
		longest = max(longest, len(strconv.Quote(regexp.QuoteMeta(v))))
	}
	n := min(maxValues, maxText/(longest*(len(g.shape.fused)-1)), int(maxReach/max(g.reach, 1)))
	return max(1, min(n, u.bound(course{lane: g.lane(), shape: g.shape}, now)))
}

// fetches are the requests for a group, of at most limit values each and of about as many.
func (g *group) fetches(limit int) []fetch {
	if g.shape == nil {
		return []fetch{{query: g.query, reach: g.reach}}
	}
	all := fetch{query: g.query, reach: g.reach, shape: g.shape, values: slices.Sorted(slices.Values(g.values)), asked: g.asked}
	chunks := (len(all.values) + limit - 1) / limit
	return all.cut((len(all.values) + chunks - 1) / chunks)
}

// cut makes requests of at most n values each of one. Those of a single value are the queries as they were wanted.
func (f *fetch) cut(n int) []fetch {
	var parts []fetch
	for values := range slices.Chunk(f.values, n) {
		if len(values) > 1 {
			part := fetch{query: f.query, reach: f.reach, shape: f.shape, values: values, asked: f.asked}
			part.text = f.shape.text(values)
			parts = append(parts, part)
			continue
		}
		for _, q := range f.asked[values[0]] {
			parts = append(parts, fetch{query: q, reach: f.reach})
		}
	}
	return parts
}

// text is the query for some values.
func (s *shape) text(values []string) string {
	quoted := make([]string, len(values))
	for i, v := range values {
		quoted[i] = regexp.QuoteMeta(v)
	}
	return strings.Join(s.fused, strconv.Quote(strings.Join(quoted, "|"))) // a matcher's expression is anchored
}

// queries is how many queries a request stands for.
func (f *fetch) queries() int {
	if f.shape == nil {
		return 1
	}
	n := 0
	for _, v := range f.values {
		n += len(f.asked[v])
	}
	return n
}

// share gives each query its part of the answer to the request. An answer that lacks a value is that value's empty answer; one
// without a value is everybody's.
func (f *fetch) share(a answer, give func(query, answer)) {
	a.sent, a.among = f.text, max(1, f.queries())
	if f.shape == nil {
		give(f.query, a)
		return
	}
	parts := map[string]model.Vector{}
	switch v := a.value.(type) {
	case model.Vector:
		for _, sample := range v {
			value := string(sample.Metric[model.LabelName(f.shape.label)])
			part := *sample
			if f.shape.lost {
				part.Metric = sample.Metric.Clone()
				delete(part.Metric, model.LabelName(f.shape.label))
			}
			parts[value] = append(parts[value], &part)
		}
	case nil:
	default:
		// Not even a scalar can be anybody's: no shape gives one.
		a = answer{why: engine.WhyInvalid, detail: fmt.Sprintf("a %s where a vector was expected", v.Type()), sent: a.sent}
	}
	for _, value := range f.values {
		part := a
		if _, ok := a.value.(model.Vector); ok {
			v := parts[value]
			if f.shape.rest != nil {
				v = f.shape.rest.add(v, model.Time(f.at))
			}
			part.value = v
		}
		for _, q := range f.asked[value] {
			give(q, part)
		}
	}
}
