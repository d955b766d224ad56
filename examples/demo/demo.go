package demo

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/modeshift/modeshift/engine/secret"
	"github.com/modeshift/modeshift/examples/prometheus"
	"github.com/modeshift/modeshift/examples/shop"
	"github.com/modeshift/modeshift/test/receiver"
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

	Command string        // how people call the command line; empty: modeshift
	Once    bool          // end with the story; otherwise stay up until ctx ends
	JSON    bool          // each step as a line of JSON, instead of lines for people
	Out     io.Writer     // the story; nil: nowhere
	Timeout time.Duration // for the story; 0: 4 m
	// Instances writes the table of the shop's instances as the command line does for somebody with a token. Nil: none is shown.
	Instances func(ctx context.Context, out io.Writer, server, tokenFile string) error

	// patience is how long single steps may take; the others have until Timeout. Tests that know which step will be missing
	// do not wait for it longer than that.
	patience map[string]time.Duration
	// act is the only act that is told, after the first step of the first; 0: all of them.
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
	if o.Timeout == 0 {
		o.Timeout = 4 * time.Minute
	}
	t := newTeller(o.Out, o.JSON)
	w, err := build(ctx, o, t)
	defer func() {
		// ctx may have ended; ending properly still takes its time.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), teardown)
		defer cancel()
		err = errors.Join(err, w.stop(ctx))
	}()
	if err != nil {
		return err
	}
	if err := w.tell(ctx, o, t); ctx.Err() == nil || o.Once {
		if err := t.end(err); err != nil || o.Once {
			return err
		}
		command := cmp.Or(o.Command, "modeshift")
		w.invite(t, command)
		w.watch(ctx, t, command)
	}
	t.say(faint, "  %-9s all of it ends", "")
	return t.failed()
}

// world is everything the story needs.
type world struct {
	dir      string // the configuration, rules and data of modeshift
	pager    *receiver.Receiver
	people   people
	backend  *shop.Backend
	primary  *shop.Gateway
	backup   *shop.Gateway
	router   *shop.Router
	shops    []*shop.Shop
	load     *shop.Load
	prom     *promClient
	month    bool // the Prometheus knows of last month
	promURL  string
	mode     Modeshift
	api      *apiClient
	teardown []func(context.Context) error // in the order things were started
}

// build starts everything. On error it returns what has been started so far, to be stopped.
func build(ctx context.Context, o Options, t *teller) (*world, error) {
	w := &world{}
	var err error
	if w.dir, err = os.MkdirTemp("", "modeshift-demo-"); err != nil {
		return w, err
	}
	w.finally(func(context.Context) error { return os.RemoveAll(w.dir) })
	if w.pager, err = receiver.Start("127.0.0.1:0", receiver.Options{OnEvent: t.notice, RoutingKeys: []secret.Secret{secret.New(routingKey)}}); err != nil {
		return w, err
	}
	w.finally(func(context.Context) error { return w.pager.Close() })
	if w.backend, err = shop.StartBackend(""); err != nil {
		return w, err
	}
	w.finally(w.backend.Stop)
	if w.primary, err = shop.StartGateway(shop.Primary, ""); err != nil {
		return w, err
	}
	w.finally(w.primary.Stop)
	if w.backup, err = shop.StartGateway(shop.Backup, ""); err != nil {
		return w, err
	}
	w.finally(w.backup.Stop)
	if w.router, err = shop.StartRouter("", w.primary.URL(), w.backup.URL()); err != nil {
		return w, err
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
			return w, err
		}
		w.finally(s.Stop)
		w.shops = append(w.shops, s)
		// Its series bear the name that it reports itself by: a wave's verification finds them.
		job.Targets, job.Names, urls = append(job.Targets, s.Address()), append(job.Names, s.Name()), append(urls, s.URL())
	}
	start := o.Prometheus
	if w.month = start == nil; w.month {
		start = embedded
	}
	var stop func(context.Context) error
	if w.promURL, stop, err = start([]prometheus.Job{job, {Name: "recommendations", Targets: []string{w.backend.Address()}}}); err != nil {
		return w, err
	}
	w.finally(stop)
	if w.prom, err = newPromClient(w.promURL); err != nil {
		return w, err
	}
	w.finally(w.prom.close)

	w.load = shop.NewLoad(urls...)
	loading, leave := context.WithCancel(context.WithoutCancel(ctx))
	var visitors sync.WaitGroup
	visitors.Go(func() { w.load.Run(loading, perSecond) })
	visitors.Go(func() { w.load.Pay(loading, paying) })
	w.finally(func(context.Context) error { leave(); visitors.Wait(); return nil })

	file, err := w.configure()
	if err != nil {
		return w, err
	}
	if w.mode, err = o.Start(ctx, file); err != nil {
		return w, fmt.Errorf("start modeshift: %w", err)
	}
	w.finally(w.mode.Stop)
	w.api = newAPIClient(w.mode.URL(), w.people.admin)
	w.finally(w.api.close)
	for _, s := range w.shops {
		if err := s.Follow(w.mode.URL(), w.people.shop.token); err != nil {
			return w, err
		}
	}
	return w, nil
}

// finally has stop called when the world ends, before what was started earlier.
func (w *world) finally(stop func(context.Context) error) { w.teardown = append(w.teardown, stop) }

// stop ends everything, in reverse order. Something that cannot be ended keeps nothing else from being ended.
func (w *world) stop(ctx context.Context) error {
	var errs []error
	for i := len(w.teardown) - 1; i >= 0; i-- {
		errs = append(errs, w.teardown[i](ctx))
	}
	w.teardown = nil
	return errors.Join(errs...)
}

// goodOldDays are a month in which visitors came as they come now, and nothing failed: a shop's first minute has no error budget
// to speak of, for the first failure would overspend it.
func goodOldDays() []prometheus.Past {
	return []prometheus.Past{
		{Labels: map[string]string{"__name__": "http_requests_total", "job": scope, "instance": "of last month", "code": "200"}, PerSecond: perSecond},
		{Labels: map[string]string{"__name__": "shop_payments_total", "job": scope, "instance": "of last month", "gateway": "primary", "result": "paid"}, PerSecond: paying},
	}
}

func embedded(jobs []prometheus.Job) (string, func(context.Context) error, error) {
	s, err := prometheus.Start(prometheus.Options{Interval: scrapeEvery, Jobs: jobs, Past: goodOldDays(), PastFor: 30 * 24 * time.Hour})
	if err != nil {
		return "", nil, err
	}
	return s.URL(), s.Stop, nil
}

// routingKey has the form of a PagerDuty integration key, and is none: only this process's receiver takes it.
const routingKey = "demo0demo0demo0demo0demo0demo0de"

// configure writes modeshift's configuration and the shop's rules, and returns the configuration's path.
func (w *world) configure() (string, error) {
	rules := filepath.Join(w.dir, "rules")
	if err := os.Mkdir(rules, 0o700); err != nil {
		return "", err
	}
	if err := os.WriteFile(filepath.Join(rules, "shop.rules.yaml"), shop.RulesFor(w.router.URL()), 0o600); err != nil {
		return "", err
	}
	tokens, err := w.people.write(w.dir)
	if err != nil {
		return "", err
	}
	file := filepath.Join(w.dir, "modeshift.yaml")
	text := fmt.Sprintf(`# Written by modeshift demo; gone when it ends.
rules: [rules/]
data: data
listen: 127.0.0.1:0
tokens_file: %q

instances: {heartbeat: 1s}

evaluation:
  interval: 1s # 15s where windows are minutes
  blind_after: 30s

prometheus:
  - name: demo
    url: %q

receivers:
  page:
    pagerduty: {routing_key: %q, url: %q}
  ticket:
    webhook: {url: %q}

actions:
  webhook:
    allow: [127.0.0.1] # what is not public is called only when it is named: here the router of the shop's gateways
`, filepath.Base(tokens), w.promURL, routingKey, w.pager.URL(), w.pager.TicketURL())
	return file, os.WriteFile(file, []byte(text), 0o600)
}
