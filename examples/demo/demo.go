package demo

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"time"

	"github.com/modeshift/modeshift/examples/prometheus"
	"github.com/modeshift/modeshift/examples/shop"
)

// Modeshift is a running modeshift, as far as the demo uses it.
type Modeshift interface {
	URL() string // of its HTTP API, without a slash at the end
	Stop(context.Context) error
}

// Options say how the story is told. Start is required.
type Options struct {
	// Start starts modeshift with a configuration file and returns when its API answers. It may keep the context's values,
	// not its cancellation: the demo ends what it started by Stop, in the right order.
	Start func(ctx context.Context, configFile string) (Modeshift, error)
	// Prometheus starts the Prometheus to measure with, which scrapes jobs every half second and listens at the URL
	// returned; stop ends it. Nil: the embedded one.
	Prometheus func(jobs []prometheus.Job) (url string, stop func(context.Context) error, err error)

	Story   string        // which one; empty: the first of Stories
	Command string        // how people call the command line; empty: modeshift
	Once    bool          // end with the story; otherwise stay up until ctx ends
	JSON    bool          // each step as a line of JSON, instead of lines for people
	Out     io.Writer     // the story; nil: nowhere
	Timeout time.Duration // for the story; 0: 4 m
	// Instances writes the table of the shop's instances as the command line does for somebody with a token. Nil: none is shown.
	Instances func(ctx context.Context, out io.Writer, server, tokenFile string) error

	// Verify says that the log in a data folder is whole, as the command line does, or what is wrong with it. Nil: no story asks.
	Verify func(ctx context.Context, folder string) (said string, err error)

	// patience is how long single steps may take; the others have until Timeout. Tests that know which step will be missing
	// do not wait for it longer than that.
	patience map[string]time.Duration
	// act is the only act of the main story that is told, after the first step of the first; 0: all of them.
	act int
}

// Incomplete says that the story did not happen, or not to its end.
type Incomplete struct {
	Missing []string // the steps, in order; the first is the one that was waited for
	Why     error    // what was still seen of it, or why the wait ended
}

func (e *Incomplete) Error() string {
	return fmt.Sprintf("the story is not complete: %s is missing: %v", strings.Join(e.Missing, ", "), e.Why)
}

func (e *Incomplete) Unwrap() error { return e.Why }

// Scope is the shop's.
const Scope = "shop"

const (
	scope     = Scope
	instances = 20
	// perSecond is how many visitors come: enough for min_events in the shortest window of one instance, little for two cores.
	perSecond = 60
	// brokenShare of the calls to the recommendations fail. With three of four visits being to product pages, more than a
	// third of all answers are errors, a burn rate of 37 at an objective of 99 %.
	brokenShare = 0.5
	// paying is how many customers pay in a second.
	paying      = 10
	scrapeEvery = 500 * time.Millisecond
	// teardown is how long everything together may take to end.
	teardown = 20 * time.Second
)

// Run tells the story. It returns nil when all of it happened, an *Incomplete when it did not, and any other error when
// something could not be started or ended. Without Once it stays up when the story is over, and returns nil as soon as ctx
// ends, also in the middle of the story. It leaves neither process, port nor file behind.
func Run(ctx context.Context, o Options) (err error) {
	if o.Out == nil {
		o.Out = io.Discard
	}
	o.Timeout = cmp.Or(o.Timeout, 4*time.Minute)
	o.Command = cmp.Or(o.Command, "modeshift")
	build, err := find(o.Story)
	if err != nil {
		return err
	}
	t := newTeller(o.Out, o.JSON)
	s := &stage{}
	defer func() {
		// ctx may have ended; ending properly still takes its time.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), teardown)
		defer cancel()
		err = errors.Join(err, s.stop(ctx))
	}()
	if err := s.open(t); err != nil {
		return err
	}
	p, err := build(ctx, s, o)
	if err != nil {
		return err
	}
	if err := p.tell(ctx, o, t); ctx.Err() == nil || o.Once {
		if err := t.end(err); err != nil || o.Once {
			return err
		}
		t.block(append([]string{"It all stays up to play with; Ctrl-C ends it and leaves nothing behind.", ""}, p.invite()...)...)
		s.watch(ctx, t, o.Command, p.scopes)
	}
	t.say(faint, "  %-9s all of it ends", "")
	return t.failed()
}

// world is the shop of the main story and everything around it.
type world struct {
	*stage
	backend *shop.Backend
	primary *shop.Gateway
	backup  *shop.Gateway
	router  *shop.Router
	shops   []*shop.Shop
	load    *shop.Load
}

// mainStory starts the shop. What has been started when it returns an error is the stage's to end.
func mainStory(ctx context.Context, s *stage, o Options) (*play, error) {
	w := &world{stage: s}
	var err error
	if w.backend, err = shop.StartBackend(""); err != nil {
		return nil, err
	}
	w.finally(w.backend.Stop)
	if w.primary, err = shop.StartGateway(shop.Primary, ""); err != nil {
		return nil, err
	}
	w.finally(w.primary.Stop)
	if w.backup, err = shop.StartGateway(shop.Backup, ""); err != nil {
		return nil, err
	}
	w.finally(w.backup.Stop)
	if w.router, err = shop.StartRouter("", w.primary.URL(), w.backup.URL()); err != nil {
		return nil, err
	}
	w.finally(w.router.Stop)

	job := prometheus.Job{Name: scope}
	var urls []string
	for i := range instances {
		s, err := shop.Start(shop.Options{
			Service: scope, Name: fmt.Sprintf("%s-%02d", scope, i+1), Version: "1.4.2", StateDir: filepath.Join(w.dir, "instances"),
			Backend: w.backend.URL(), Router: w.router.URL(), Probe: 500 * time.Millisecond,
		})
		if err != nil {
			return nil, err
		}
		w.finally(s.Stop)
		w.shops = append(w.shops, s)
		// Its series bear the name that it reports itself by: a wave's verification finds them.
		job.Targets, job.Names, urls = append(job.Targets, s.Address()), append(job.Names, s.Name()), append(urls, s.URL())
	}
	if err := w.measure(o, []prometheus.Job{job, {Name: "recommendations", Targets: []string{w.backend.Address()}}}, goodOldDays()); err != nil {
		return nil, err
	}

	w.load = shop.NewLoad(urls...)
	w.visit(ctx, func(ctx context.Context) { w.load.Run(ctx, perSecond) }, func(ctx context.Context) { w.load.Pay(ctx, paying) })

	if err := w.people.write(w.dir, []string{scope}, []string{scope}); err != nil {
		return nil, err
	}
	if err := w.lead(ctx, o, map[string][]byte{scope: shop.RulesFor(w.router.URL())}); err != nil {
		return nil, err
	}
	if err := w.follow(w.shops); err != nil {
		return nil, err
	}
	return &play{
		opening: fmt.Sprintf("%d instances, %d visitors a second, in three of four visits to a page with recommendations", instances, perSecond),
		steps:   w.story(o), scopes: []string{scope}, invite: func() []string { return w.invite(o.Command) },
	}, nil
}

// goodOldDays are a month in which visitors came as they come now, and nothing failed: a shop's first minute has no error budget
// to speak of, for the first failure would overspend it.
func goodOldDays() []prometheus.Past {
	return []prometheus.Past{
		{Labels: map[string]string{"__name__": "http_requests_total", "job": scope, "instance": "of last month", "code": "200"}, PerSecond: perSecond},
		{Labels: map[string]string{"__name__": "shop_payments_total", "job": scope, "instance": "of last month", "gateway": "primary", "result": "paid"}, PerSecond: paying},
	}
}
