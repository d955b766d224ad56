package prom

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	v1 "github.com/prometheus/client_golang/api/prometheus/v1"
	"github.com/prometheus/common/config"
	"github.com/prometheus/common/model"

	"github.com/modeshift/modeshift/engine/crash"
	"github.com/modeshift/modeshift/rules"
)

// maxPast bounds the body of an answer about the past, which has thousands of numbers where one of a tick has one.
const maxPast = 64 << 20

// DialPast is Dial for questions about the past, whose answers are long.
func DialPast(name string, cfg config.HTTPClientConfig, url string) (v1.API, error) {
	s, err := dialWithin(name, cfg, maxPast, url)
	if err != nil {
		return nil, err
	}
	return s.Replicas[0], nil
}

// Sources are those that a set of rules names, all of them this one server. As many replicas as have to agree are the same one: it
// agrees with itself.
func Sources(set *rules.Set, api v1.API) []Source {
	sources := named(set)
	sources[0].Name = "prometheus"
	if i := slices.IndexFunc(sources[1:], func(s Source) bool { return s.Name == sources[0].Name }); i >= 0 { // rules may name one so
		sources[0].Replicas = make([]v1.API, max(len(sources[0].Replicas), len(sources[i+1].Replicas)))
		sources = slices.Delete(sources, i+1, i+2)
	}
	for i := range sources {
		for k := range sources[i].Replicas {
			sources[i].Replicas[k] = api
		}
	}
	return sources
}

// Patient asks a server about the past on behalf of many who can wait, and must not be told "unknown" of what the server does know.
//
// No more than so many queries are under way. What a busy server turned away (429, 503, a connection that broke, a query that waited in the
// server's queue until its time was over) is asked again after a pause that doubles, and ends the whole when it was turned away each
// time: less of it would wait as long. What it says is too much (its limits of samples and of time, an answer too long) is asked for in
// halves of the span. What fails for good, by a panic too, ends the whole: OnFail is told once, with the query and the span, because a hole in the past
// that nobody mentions looks like a quiet night. An error that the data of some instants make (a many-to-many match) is an answer
// like any other, and is returned.
//
// How the server's clock stands does not matter: its samples bear its own time, and are asked for by that.
//
// A caller's deadline would be such a hole too: it has to be far away. A Patient is safe for concurrent use.
type Patient struct {
	v1.API
	opts  PatientOptions
	slots chan struct{}
	sent  atomic.Int64
	gone  atomic.Bool // OnFail was told
}

// PatientOptions say how patient. OnFail is needed; the rest may be left out.
type PatientOptions struct {
	Parallel int           // queries under way; 0: DefaultPast
	Timeout  time.Duration // of one query at the server; 0: two minutes, which is Prometheus's own
	Tries    int           // of one query; 0: 6
	Pause    time.Duration // before the second try; 0: half a second
	OnFail   func(error)
}

// grace is how much longer than the server's timeout its answer is waited for: only its own word tells whether a query was too much
// for it, or waited for others.
const grace = 10 * time.Second

// DefaultPast is how many queries about the past may be under way: a fifth of what Prometheus answers at a time, as it watches over
// production meanwhile.
const DefaultPast = 4

// NewPatient makes one that asks api.
func NewPatient(api v1.API, opts PatientOptions) *Patient {
	opts.Parallel = cmp.Or(opts.Parallel, DefaultPast)
	opts.Timeout = cmp.Or(opts.Timeout, 2*time.Minute)
	opts.Tries = cmp.Or(opts.Tries, 6)
	opts.Pause = cmp.Or(opts.Pause, 500*time.Millisecond)
	return &Patient{API: api, opts: opts, slots: make(chan struct{}, opts.Parallel)}
}

// Sent is how many queries went out.
func (p *Patient) Sent() int { return int(p.sent.Load()) }

// Query implements v1.API.
func (p *Patient) Query(ctx context.Context, query string, at time.Time, opts ...v1.Option) (value model.Value, warnings v1.Warnings, infos v1.Infos, err error) {
	opts = p.within(opts)
	kind := p.ask(ctx, func(ctx context.Context) error {
		err = crash.Try(func() error {
			value, warnings, infos, err = p.API.Query(ctx, query, at, opts...)
			return err
		})
		return err
	})
	if kind != easy && kind != its {
		err = p.failed(ctx, query, at, at, err)
	}
	return value, warnings, infos, err
}

// QueryRange implements v1.API.
func (p *Patient) QueryRange(ctx context.Context, query string, r v1.Range, opts ...v1.Option) (value model.Value, warnings v1.Warnings, infos v1.Infos, err error) {
	own := p.within(opts)
	kind := p.ask(ctx, func(ctx context.Context) error {
		err = crash.Try(func() error {
			value, warnings, infos, err = p.API.QueryRange(ctx, query, r, own...)
			return err
		})
		return err
	})
	points := int(r.End.Sub(r.Start)/r.Step) + 1
	switch {
	case kind == easy || kind == its:
		return value, warnings, infos, err
	case kind != much || points < 2:
		return value, warnings, infos, p.failed(ctx, query, r.Start, r.End, err)
	}
	middle := r.Start.Add(time.Duration(points/2) * r.Step)
	first, warnings, infos, err := p.QueryRange(ctx, query, v1.Range{Start: r.Start, End: middle.Add(-r.Step), Step: r.Step}, opts...)
	if err != nil {
		return first, warnings, infos, err
	}
	second, more, infosToo, err := p.QueryRange(ctx, query, v1.Range{Start: middle, End: r.End, Step: r.Step}, opts...)
	if err != nil {
		return second, more, infosToo, err
	}
	return joined(first, second), append(warnings, more...), append(infos, infosToo...), nil
}

// within are options by which the server gives up before it is given up, whatever the caller would have told it.
func (p *Patient) within(opts []v1.Option) []v1.Option {
	return append(slices.Clip(opts), v1.WithTimeout(whole(p.opts.Timeout)))
}

// joined is one matrix out of two, of which the second is later.
func joined(first, second model.Value) model.Value {
	a, okay := first.(model.Matrix)
	b, too := second.(model.Matrix)
	if !okay || !too {
		return second // whoever reads it says that it is no matrix
	}
	at := make(map[model.Fingerprint]*model.SampleStream, len(a))
	for _, s := range a {
		at[s.Metric.Fingerprint()] = s
	}
	for _, s := range b {
		if have := at[s.Metric.Fingerprint()]; have != nil {
			have.Values, have.Histograms = append(have.Values, s.Values...), append(have.Histograms, s.Histograms...)
			continue
		}
		a = append(a, s)
	}
	return a
}

// hardship is what an error calls for.
type hardship int

const (
	easy hardship = iota
	busy          // ask again later
	much          // ask for less
	its           // the query's own with this data
	bad           // it stays so
)

// ask carries out a request when it is its turn, again while the server is busy.
func (p *Patient) ask(ctx context.Context, request func(context.Context) error) (t hardship) {
	pause := p.opts.Pause
	for n := 1; ; n++ {
		select {
		case p.slots <- struct{}{}:
		case <-ctx.Done():
		}
		if ctx.Err() != nil { // where both could be, a select takes any; nobody comes for the place any more
			return bad
		}
		p.sent.Add(1)
		own, cancel := context.WithTimeout(ctx, p.opts.Timeout+grace)
		var noted note
		t = hardshipOf(request(context.WithValue(own, noteKey{}, &noted)))
		cancel()
		// Of all attempts and halves. That the server's clock is ahead makes its present old, and not its past.
		if asked, ok := ctx.Value(noteKey{}).(*note); ok {
			asked.samples += noted.samples
		}
		<-p.slots // not held over the pause: others may have better luck
		if t != busy || n == p.opts.Tries {
			return t
		}
		select {
		case <-time.After(pause):
			pause *= 2
		case <-ctx.Done():
			return bad
		}
	}
}

// hardshipOf judges an error.
func hardshipOf(err error) hardship {
	if err == nil {
		return easy
	}
	if errors.Is(err, errTooLong) {
		return much
	}
	if errors.Is(err, context.Canceled) || crash.Of(err) != nil {
		return bad
	}
	var timeout interface{ Timeout() bool }
	if errors.Is(err, context.DeadlineExceeded) || errors.As(err, &timeout) && timeout.Timeout() {
		return much
	}
	var e *v1.Error
	if !errors.As(err, &e) {
		var broken *net.OpError
		if errors.As(err, &broken) && broken.Op == "dial" {
			return bad // nobody is there; who is about to start it can call again
		}
		return busy
	}
	_, text, _ := explain(err)
	switch {
	case strings.Contains(text, "timed out in query queue"):
		return busy // it was not even begun
	case strings.Contains(text, "too many samples"), strings.Contains(text, "timed out"), strings.Contains(text, "maximum resolution"):
		return much // also where it is called bad data, as a resolution is
	case e.Type == v1.ErrExec:
		return its
	case e.Type == v1.ErrServer, strings.HasSuffix(e.Msg, "429"):
		return busy
	}
	return bad
}

// failed tells of what fails for good.
func (p *Patient) failed(ctx context.Context, query string, from, to time.Time, err error) error {
	if ctx.Err() != nil {
		return cmp.Or(err, context.Cause(ctx))
	}
	_, why, _ := explain(err)
	span := "at " + from.UTC().Format(time.RFC3339)
	if !from.Equal(to) {
		span = fmt.Sprintf("from %s to %s", from.UTC().Format(time.RFC3339), to.UTC().Format(time.RFC3339))
	}
	if crash.Of(err) != nil { // the client's, which reads what strangers send
		err = fmt.Errorf("%s %s: %w", query, span, err)
	} else {
		err = fmt.Errorf("%s %s: %s", query, span, why)
	}
	if !p.gone.Swap(true) {
		p.opts.OnFail(err)
	}
	return err
}
