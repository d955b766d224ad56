package prometheus

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"sync"
	"time"

	client "github.com/prometheus/client_golang/prometheus"
	httpconfig "github.com/prometheus/common/config"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/discovery/targetgroup"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/scrape"
	"github.com/prometheus/prometheus/tsdb"
	"go.yaml.in/yaml/v3"
)

// Options say what is scraped, how often, and where the answers are served. The zero value serves an empty database.
type Options struct {
	Listen   string        // host:port; empty: a free port of the loopback interface
	Dir      string        // for the database; empty: a temporary folder, removed by Stop
	Interval time.Duration // between two scrapes of a target; 0: 15 s
	Jobs     []Job
	Past     []Past        // what there was before
	PastFor  time.Duration // for so long
	Log      *slog.Logger  // nil: nothing is logged
}

// Job is a named set of targets, as in Prometheus's scrape_configs.
type Job struct {
	Name    string            // becomes the label "job"
	Targets []string          // host:port each; becomes the label "instance", where Names has no other
	Names   []string          // of the targets, in their order; fewer: the rest have none
	Path    string            // empty: /metrics
	Labels  map[string]string // added to every series
	Relabel []Relabel         // what was scraped, in order, before it is stored
}

// Relabel replaces a label of a series, as `replace` in Prometheus's metric_relabel_configs does.
type Relabel struct {
	Label string // whose value has to match
	Match string // a regular expression for all of it
	Value string // it has instead, with $1 for what the expression found
}

// retention is how long samples are kept, at least: a demo is looked at for minutes, not days.
const retention = 24 * time.Hour

// Server is a running Prometheus.
type Server struct {
	url     string
	dir     string // to be removed; empty: it is the caller's
	db      *tsdb.DB
	scraper *scrape.Manager
	engine  *promql.Engine
	http    *http.Server
	log     *slog.Logger
	opts    Options

	targets chan map[string][]*targetgroup.Group
	done    sync.WaitGroup
	stop    sync.Once
	stopErr error
}

// Start opens the database, begins to scrape and serves. When it returns an error nothing is left running. The caller owns
// the server and has to Stop it.
func Start(o Options) (*Server, error) {
	s := &Server{log: o.Log, opts: o, targets: make(chan map[string][]*targetgroup.Group, 1)}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	// What has been opened so far is closed again, in reverse order, when a later step fails.
	var opened []func()
	fail := func(doing string, err error) (*Server, error) {
		for i := len(opened) - 1; i >= 0; i-- {
			opened[i]()
		}
		return nil, fmt.Errorf("start embedded Prometheus: %s: %w", doing, err)
	}

	cfg, groups, err := o.config()
	if err != nil {
		return fail("scrape configuration", err)
	}
	dir := o.Dir
	if dir == "" {
		if dir, err = os.MkdirTemp("", "modeshift-prometheus-"); err != nil {
			return fail("temporary folder", err)
		}
		s.dir = dir
		opened = append(opened, func() { _ = os.RemoveAll(dir) }) // the first error is the one to tell
	}
	// A registry of its own: several servers may live in one process, and nobody reads these metrics.
	reg := client.NewRegistry()
	dbo := tsdb.DefaultOptions()
	dbo.RetentionDuration = retention.Milliseconds()
	if len(o.Past) > 0 {
		// Else it would begin by cutting the past into blocks of two hours, each of which is a folder of files.
		dbo.MinBlockDuration = max(dbo.MinBlockDuration, 2*o.PastFor.Milliseconds())
		dbo.MaxBlockDuration = dbo.MinBlockDuration
	}
	if s.db, err = tsdb.Open(dir, s.log, reg, dbo, nil); err != nil {
		return fail("open database in "+dir, err)
	}
	opened = append(opened, func() { _ = s.db.Close() }) // as above
	if err := writePast(s.db, o.Past, o.PastFor, time.Now()); err != nil {
		return fail("write the past", err)
	}
	s.engine = promql.NewEngine(promql.EngineOpts{
		Logger:               s.log,
		Reg:                  reg,
		MaxSamples:           5_000_000,        // a tenth of Prometheus's own limit
		Timeout:              30 * time.Second, // a caller may ask for less, never for more
		LookbackDelta:        5 * time.Minute,
		EnableAtModifier:     true,
		EnableNegativeOffset: true,
		Parser:               parser.NewParser(parser.Options{}),
	})
	s.scraper, err = scrape.NewManager(&scrape.Options{
		DiscoveryReloadOnStartup: true,
		// The scraper does not close its idle connections when it stops: with keep-alive they, and two goroutines each,
		// would outlive Stop by five minutes.
		HTTPClientOptions: []httpconfig.HTTPClientOption{httpconfig.WithKeepAlivesDisabled()},
	}, s.log, nil, nil, s.db, reg)
	if err != nil {
		return fail("scraper", err)
	}
	if err := s.scraper.ApplyConfig(cfg); err != nil {
		return fail("scrape configuration", err)
	}
	listen := o.Listen
	if listen == "" {
		listen = "127.0.0.1:0"
	}
	l, err := net.Listen("tcp", listen)
	if err != nil {
		return fail("listen", err)
	}
	s.url = "http://" + l.Addr().String()
	s.http = &http.Server{Handler: s.handler(), ReadHeaderTimeout: 10 * time.Second}

	s.targets <- groups
	s.done.Go(func() { _ = s.scraper.Run(s.targets) }) // it ends by Stop and never with an error
	s.done.Go(func() {
		if err := s.http.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			s.log.Error("embedded Prometheus stopped serving", "err", err)
		}
	})
	return s, nil
}

// URL is where it is served: "http://127.0.0.1:41234".
func (s *Server) URL() string { return s.url }

// Stop ends scraping and serving and closes the database; queries under way have until ctx ends. A temporary folder is
// removed. Further calls return the first one's result.
func (s *Server) Stop(ctx context.Context) error {
	s.stop.Do(func() {
		var errs []error
		if err := s.http.Shutdown(ctx); err != nil {
			errs = append(errs, err, s.http.Close())
		}
		s.scraper.Stop()
		s.done.Wait()
		errs = append(errs, s.engine.Close(), s.db.Close())
		if s.dir != "" {
			errs = append(errs, os.RemoveAll(s.dir))
		}
		if err := errors.Join(errs...); err != nil {
			s.stopErr = fmt.Errorf("stop embedded Prometheus: %w", err)
		}
	})
	return s.stopErr
}

// Reload scrapes the same targets as the jobs, of the same names, say from now on, as after a reload of the configuration file.
// What is stored stays as it is.
func (s *Server) Reload(jobs []Job) error {
	o := s.opts
	o.Jobs = jobs
	cfg, _, err := o.config()
	if err == nil {
		err = s.scraper.ApplyConfig(cfg)
	}
	if err != nil {
		return fmt.Errorf("reload embedded Prometheus: %w", err)
	}
	return nil
}

// config makes Prometheus's own configuration of the options, through its own loader, since only a loaded configuration has
// its defaults filled in. The targets are returned beside it: the scraper takes them from a channel.
func (o Options) config() (*config.Config, map[string][]*targetgroup.Group, error) {
	type rule struct {
		Source      []string `yaml:"source_labels"`
		Regex       string   `yaml:"regex"`
		Target      string   `yaml:"target_label"`
		Replacement string   `yaml:"replacement"`
	}
	type job struct {
		Name     string `yaml:"job_name"`
		Path     string `yaml:"metrics_path,omitempty"`
		Interval string `yaml:"scrape_interval"`
		Timeout  string `yaml:"scrape_timeout"`
		Relabel  []rule `yaml:"metric_relabel_configs,omitempty"`
	}
	interval := o.Interval
	if interval == 0 {
		interval = 15 * time.Second
	}
	file := struct {
		Jobs []job `yaml:"scrape_configs"`
	}{}
	groups := map[string][]*targetgroup.Group{}
	for _, j := range o.Jobs {
		every := model.Duration(interval).String()
		var relabel []rule
		for _, r := range j.Relabel {
			relabel = append(relabel, rule{[]string{r.Label}, r.Match, r.Label, r.Value})
		}
		file.Jobs = append(file.Jobs, job{j.Name, j.Path, every, every, relabel})
		g := &targetgroup.Group{Source: j.Name, Labels: model.LabelSet{}}
		for k, v := range j.Labels {
			g.Labels[model.LabelName(k)] = model.LabelValue(v)
		}
		for i, t := range j.Targets {
			target := model.LabelSet{model.AddressLabel: model.LabelValue(t)}
			if i < len(j.Names) {
				target[model.InstanceLabel] = model.LabelValue(j.Names[i])
			}
			g.Targets = append(g.Targets, target)
		}
		groups[j.Name] = []*targetgroup.Group{g}
	}
	text, err := yaml.Marshal(file)
	if err != nil {
		return nil, nil, err
	}
	cfg, err := config.Load(string(text), slog.New(slog.DiscardHandler))
	if err != nil {
		return nil, nil, err
	}
	return cfg, groups, nil
}
