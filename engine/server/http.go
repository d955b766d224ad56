package server

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/modeshift/modeshift/engine"
	"github.com/modeshift/modeshift/engine/api"
	"github.com/modeshift/modeshift/engine/loop"
	"github.com/modeshift/modeshift/engine/secret"
	"github.com/modeshift/modeshift/engine/web"
	"github.com/modeshift/modeshift/rules"
)

// handler puts together what is served.
func (s *Server) handler() (http.Handler, error) {
	desk := s.openDesk()
	a, err := api.New(api.Options{
		Loop: s.loop, Log: explainable{storeReader{s.store}, s.policies}, Tokens: s.tokens, Version: s.opts.Version, Checks: s.checks,
		Sources: func() []engine.Sight { return s.loop.Health().Sources }, RulesProblems: s.rulesProblems,
		Rules: s.book, Flags: s.declaredFlags, Doubts: s.doubts, Readiness: s.readiness,
		Budgets: s.ledger, Jobs: storeReader{s.store}, Evaluate: s.evaluate, Describe: s.describe, Desk: desk, Logger: s.log,
		Roster: s.roster, Identity: s.identity, Term: s.loop.Term, InstanceBeat: s.instanceBeat(), MaxInstances: s.opts.Config.Instances.Max,
		Limiter: s.limiter, WriteWait: time.Duration(s.opts.Config.Limits.SlowReader), BodyTime: min(5*time.Second, time.Duration(s.opts.Config.Limits.ReadTime)),
	})
	if err != nil {
		return nil, err
	}
	s.api = a
	pages, err := s.pages(desk)
	if err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	mux.Handle(api.Prefix+"/", a.Handler())
	mux.Handle(web.Path, pages.Handler())
	mux.Handle(web.Path+"/", pages.Handler())
	mux.Handle("/ofrep/", s.ofrep)
	mux.Handle("/metrics", promhttp.HandlerFor(s.metrics.registry, promhttp.HandlerOpts{ErrorLog: promLog{s.log}, MaxRequestsInFlight: maxScrapes}))
	mux.Handle("/-/healthy", api.Healthy())
	mux.Handle("/-/ready", api.Ready(s.checks))
	mux.Handle("/-/reload", api.Reload(s.tokens, s.limiter, s.reload))
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/" {
			http.NotFound(w, r)
			return
		}
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		// The reader is gone when this fails: nobody is left to be told.
		_, _ = fmt.Fprintf(w, "modeshift %s\n\nAPI      %s/openapi.json\napprove  /approvals\nmetrics  /metrics\nready    /-/ready\nflags    /ofrep/v1/evaluate/flags\n", s.opts.Version, api.Prefix)
	})
	return mux, nil
}

// maxScrapes is how many may read the metrics at once: that needs no token, and has no rate, since Prometheus needs it most when
// much goes on.
const maxScrapes = 8

// checks says what the server needs to be ready, each with how to mend it.
func (s *Server) checks() []api.Check {
	set, problem := s.book.current()
	declared := api.Check{Name: "rules", OK: set != nil && len(set.Services) > 0, Detail: "no service is declared: see the rule files"}
	if declared.OK {
		declared.Detail = ""
		if problem != nil {
			declared.Detail = fmt.Sprintf("%d faults in rule files that are not in force", len(diagnostics(problem)))
		}
	}
	health := s.loop.Health()
	log := s.logCheck(health)
	evaluation := api.Check{Name: "evaluation", OK: true}
	late := 3 * time.Duration(s.opts.Config.Evaluation.Interval)
	switch last := later(health.Tick, s.began); {
	case health.Tick.IsZero() && time.Since(s.began) < late:
		evaluation = api.Check{Name: "evaluation", Detail: "the first one has not happened yet"}
	case time.Since(last) > late:
		evaluation = api.Check{Name: "evaluation", Detail: fmt.Sprintf("the last one was %v ago", time.Since(last).Round(time.Second))}
	}
	if len(health.Broken) == 0 {
		return []api.Check{declared, log, evaluation}
	}
	deciding := api.Check{Name: "deciding"}
	for _, scope := range slices.Sorted(maps.Keys(health.Broken)) {
		deciding.Detail += fmt.Sprintf("%s is not evaluated any more: %s; ", scope, health.Broken[scope])
	}
	deciding.Detail += "report this fault with the server's log, and reload once the rules are changed"
	return []api.Check{declared, log, evaluation, deciding}
}

func (s *Server) logCheck(health loop.Health) api.Check {
	if health.LogFault == "" {
		return api.Check{Name: "log", OK: true}
	}
	return api.Check{Name: "log", Detail: "it cannot be written: " + health.LogFault + "; make room or mend the disk under " + s.opts.Config.Data}
}

// doubts says what keeps this server from knowing how a scope stands.
func (s *Server) doubts(scope engine.Scope) []api.Check {
	health := s.loop.Health()
	list := []api.Check{s.logCheck(health)}
	if late := 2 * time.Duration(s.opts.Config.Evaluation.Interval); health.Tick.IsZero() || time.Since(health.Tick) > late {
		list = append(list, api.Check{Name: "ticks", Detail: fmt.Sprintf("nothing was evaluated in the last %s: the server is just starting, or does not keep up", late)})
	}
	if fault, broken := health.Broken[scope]; broken {
		list = append(list, api.Check{Name: "deciding", Detail: "the scope is not evaluated any more: " + fault})
	}
	fleet, _ := s.loop.View(engine.Fleet) // without events: nobody has led since
	if by := fleet.State.Deposed(); by != "" {
		list = append(list, api.Check{Name: "term", Detail: "this server publishes nothing: " + by + "; look, then modeshift recover --term"})
	}
	return list
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// rulesProblems lists what is wrong with files on disk that no scope in force comes from; of the others the scope tells.
func (s *Server) rulesProblems() []api.RulesProblem {
	return untold(s.book.current())
}

// untold lists the faults that no service in force tells of. What two files say of each other (that both declare a service)
// is one fault.
func untold(set *rules.Set, problem error) (list []api.RulesProblem) {
	told := map[string]bool{} // files and faults
	for _, service := range set.Services {
		if service.Problem != "" {
			told[service.File], told[service.Problem] = true, true
		}
	}
	var said []rules.Diagnostic
	for _, d := range diagnostics(problem) {
		mirrored := slices.ContainsFunc(said, func(o rules.Diagnostic) bool {
			return d.Line > 0 && o.Line > 0 && strings.Contains(o.Message, d.Position()) && strings.Contains(d.Message, o.Position())
		})
		if !told[d.File] && !told[d.Summary()] && !mirrored {
			said = append(said, d)
			list = append(list, api.RulesProblem{Problem: d.Error()})
		}
	}
	return list
}

// promLog is where a broken scrape is written.
type promLog struct{ *slog.Logger }

// Println implements promhttp.Logger.
func (l promLog) Println(v ...any) { l.Error("metrics", "error", fmt.Sprint(v...)) }

// openTokens reads the tokens file or, without one, makes sure that there is an admin token only this user can read.
func openTokens(cfg *Config) (*api.Tokens, error) {
	if cfg.TokensFile != "" {
		return api.OpenTokens(cfg.TokensFile)
	}
	if host, _, _ := net.SplitHostPort(cfg.Listen); !loopback(host) {
		return nil, fmt.Errorf("listen: %s can be reached from elsewhere: name a tokens_file, or listen on 127.0.0.1", cfg.Listen)
	}
	path := filepath.Join(cfg.Data, AdminTokenFile)
	token, err := secret.Read(path)
	if errors.Is(err, fs.ErrNotExist) {
		token, _ = api.NewAdminToken()
		err = writeFile(path, []byte(token.Reveal()+"\n"))
	}
	if errors.Is(err, secret.ErrEmpty) {
		return nil, fmt.Errorf("admin token: %w: remove it to have a new one made", err)
	}
	if err != nil {
		return nil, fmt.Errorf("admin token: %w", err)
	}
	return api.NewTokens(api.Token{SHA256: api.HashToken(token), Principal: "admin", Roles: []api.Role{api.RoleAdmin}})
}

// loopback reports whether only this machine can reach host.
func loopback(host string) bool {
	if host == "localhost" {
		return true
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}
