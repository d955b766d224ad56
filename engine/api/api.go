package api

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/modeshift/modeshift/engine"
	"github.com/modeshift/modeshift/engine/approval"
	"github.com/modeshift/modeshift/engine/readiness"
	"github.com/modeshift/modeshift/engine/roster"
)

// Prefix is where the API lives.
const Prefix = "/api/v1"

const (
	maxBody    = 64 << 10         // bytes of a request; the longest legitimate one is a reason of 2,000 characters
	bodyTime   = 5 * time.Second  // for it to arrive
	submitTime = 10 * time.Second // for the loop to take, decide and store a request
)

// Options say what the API serves. Loop, Log and Tokens are needed; the rest may be left out.
type Options struct {
	Loop   Loop
	Log    Log
	Tokens *Tokens

	Version       string                // of the program
	Checks        func() []Check        // what readiness means
	Sources       func() []engine.Sight // what the sources showed last
	RulesProblems func() []RulesProblem // of files that belong to no scope yet
	Jobs          Jobs
	Budgets       Budgets // how error budgets stand; nil: nobody knows
	// Doubts says what keeps the server from knowing how a scope stands, whatever the scope's own state says; nil: nothing does.
	Doubts func(engine.Scope) []Check
	// Flags says of the flags that a scope's rules declare what they say, and which nobody looks after at an instant; nil: nothing.
	Flags func(scope engine.Scope, at time.Time) []Flag
	Rules RulesBook // which rules are in force; nil: nobody knows
	// Evaluate asks how the conditions of a scope stand at an instant; nil: nobody can be asked.
	Evaluate func(ctx context.Context, v engine.View, at time.Time) (Evaluation, error)
	// Readiness finds out what readiness for automation rests on; nil: nobody can.
	Readiness func(ctx context.Context, v engine.View) (readiness.Facts, error)

	Describe func(engine.StepJob) (string, error) // what a step would do, for dry runs; nil: not said
	Roster   *roster.Roster                       // the table of instances; nil: none can connect
	Identity string                               // of the log, as instances are told
	Term     func() uint64                        // this server leads in; nil: 1
	Desk     *approval.Desk                       // where proposals are shown and answered; nil: one that knows no kinds of step and no budgets
	Limiter  *Limiter                             // of what clients ask; nil: there are no limits
	Logger   *slog.Logger                         // nil: slog.Default

	BodyTime   time.Duration // for a request's body to arrive; 0: 5 s
	Heartbeat  time.Duration // of idle event streams; 0: 15 s
	WriteWait  time.Duration // how long a stream's reader may block a write before it is cut off; 0: 10 s
	MaxStreams int           // open at once; more are answered 503; 0: 10,000

	InstanceBeat time.Duration // between two signs of life of a server and an instance; 0: DefaultInstanceBeat
	MaxInstances int           // connected at once; more are answered 503; 0: 50,000
}

// API is the HTTP API of one server.
type API struct {
	opts    Options
	log     *slog.Logger
	handler http.Handler
	feed    feed
	streams chan struct{} // one element for each open stream

	evaluating chan struct{} // one element for each evaluation under way
	instances  chan struct{} // one element for each instance that is connected
	heard      memo          // of them

	closed context.Context // ends with Close
	close  context.CancelFunc
}

// New prepares the API. Nothing runs until Handler is served.
func New(opts Options) (*API, error) {
	if opts.Loop == nil || opts.Log == nil || opts.Tokens == nil {
		return nil, fmt.Errorf("api: Loop, Log and Tokens are needed")
	}
	opts.Heartbeat = cmp.Or(opts.Heartbeat, 15*time.Second)
	opts.instanceDefaults()
	opts.BodyTime = cmp.Or(opts.BodyTime, bodyTime)
	opts.WriteWait = cmp.Or(opts.WriteWait, 10*time.Second)
	if opts.Desk == nil {
		opts.Desk = approval.New(approval.Options{Loop: opts.Loop, Log: opts.Log})
	}
	a := &API{
		opts:       opts,
		log:        cmp.Or(opts.Logger, slog.Default()),
		feed:       feed{log: opts.Log, changed: opts.Loop.Changed},
		streams:    make(chan struct{}, cmp.Or(opts.MaxStreams, 10_000)),
		evaluating: make(chan struct{}, maxEvaluating),
		instances:  make(chan struct{}, cmp.Or(opts.MaxInstances, 50_000)),
	}
	a.closed, a.close = context.WithCancel(context.Background())
	mux := http.NewServeMux()
	h := humago.New(mux, humaConfig())
	a.registerScopes(h)
	a.registerPeople(h)
	a.registerBudgets(h)
	a.registerGate(h)
	a.registerFlags(h)
	a.registerChanges(h)
	a.registerApprovals(h)
	a.registerExplain(h)
	a.registerReport(h)
	a.registerReview(h)
	a.registerSuggestions(h)
	a.registerEvaluation(h)
	a.registerReadiness(h)
	a.registerRules(h)
	a.registerStream(h)
	a.registerInstances(mux, h)
	a.registerRecover(h)
	if err := a.serveDocument(mux, h.OpenAPI()); err != nil {
		return nil, err
	}
	mux.HandleFunc(Prefix+"/", a.public(notFound(mux)))

	// A browser sends no bearer token by itself, so a foreign page has nothing to ride on; this is the second lock.
	guard := http.NewCrossOriginProtection()
	guard.SetDenyHandler(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		writeProblem(w, problem(http.StatusForbidden, CodeCrossOrigin, "a page of another origin may not change anything here"))
	}))
	a.handler = a.logged(guard.Handler(mux))
	return a, nil
}

// Handler serves everything below Prefix. Middleware around it has to let http.ResponseController through (Unwrap), or
// streams cannot be flushed.
func (a *API) Handler() http.Handler { return a.handler }

// Close ends the open event streams, so that the HTTP server can shut down. Their readers resume elsewhere or later.
func (a *API) Close() { a.close() }

func humaConfig() huma.Config {
	config := huma.DefaultConfig("modeshift", "v1")
	config.Info.Description = "Modes of services, driven by their error budgets. Every change of mode, by itself or by hand, is an event in the log."
	config.OpenAPIPath = "" // served by serveDocument: huma builds it on demand, which races
	config.DocsPath = ""    // its page would load scripts from elsewhere
	config.SchemasPath = ""
	config.CreateHooks = nil // no $schema member in answers
	config.Transformers = append(config.Transformers, typed)
	config.RejectUnknownQueryParameters = true
	config.Components.SecuritySchemes = map[string]*huma.SecurityScheme{
		"bearer": {Type: "http", Scheme: "bearer", Description: "a token whose SHA-256 stands in the server's token file"},
	}
	return config
}

// serveDocument serves the description of the API. It is public: it says nothing that the source does not.
func (a *API) serveDocument(mux *http.ServeMux, doc *huma.OpenAPI) error {
	asJSON, err := json.MarshalIndent(doc, "", "  ")
	if err != nil {
		return fmt.Errorf("describe the API: %w", err)
	}
	asYAML, err := doc.YAML()
	if err != nil {
		return fmt.Errorf("describe the API: %w", err)
	}
	serve := func(name, kind string, body []byte) {
		mux.HandleFunc("GET "+Prefix+name, a.public(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", kind)
			_, _ = w.Write(body) // the reader is gone: nobody is left to be told
		}))
	}
	serve("/openapi.json", "application/openapi+json", append(asJSON, '\n'))
	serve("/openapi.yaml", "application/openapi+yaml", asYAML)
	return nil
}

// notFound answers what no operation matches: 405 where another method would, else 404.
func notFound(mux *http.ServeMux) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		for _, method := range []string{http.MethodGet, http.MethodPost, http.MethodDelete} {
			probe := r.Clone(r.Context())
			probe.Method = method
			if _, pattern := mux.Handler(probe); pattern != Prefix+"/" && pattern != "" {
				w.Header().Set("Allow", method)
				writeProblem(w, problem(http.StatusMethodNotAllowed, CodeMethod, fmt.Sprintf("%s takes %s", r.URL.Path, method)))
				return
			}
		}
		writeProblem(w, problem(http.StatusNotFound, CodeNotFound, "no such resource; "+Prefix+"/openapi.json describes those there are"))
	}
}

// register adds an operation that a role may call, in the scope its path names.
func register[I, O any](a *API, h huma.API, role Role, op huma.Operation, serve func(context.Context, *I) (*O, error)) {
	op.Path = Prefix + op.Path
	needs := fmt.Sprintf("Needs the role %s.", role)
	if role == RoleViewer {
		needs = "Needs the role viewer, which every role but instance includes."
	}
	op.Description += "\n\n" + needs
	op.Security = []map[string][]string{{"bearer": {}}}
	op.Errors = append([]int{http.StatusUnauthorized, http.StatusForbidden, http.StatusTooManyRequests}, op.Errors...)
	op.MaxBodyBytes, op.BodyReadTimeout = maxBody, a.opts.BodyTime
	class := classOf(&op)
	op.Middlewares = append(op.Middlewares, func(ctx huma.Context, next func(huma.Context)) {
		r, w := humago.Unwrap(ctx)
		token, err := enter(a.opts.Tokens, a.opts.Limiter, r, class, func(t Token) error { return permit(t, role, engine.Scope(ctx.Param("scope"))) })
		if err != nil {
			writeProblem(w, err)
			return
		}
		next(huma.WithValue(ctx, tokenKey{}, token))
	})
	huma.Register(h, op, func(ctx context.Context, in *I) (*O, error) {
		out, err := carryOut(ctx, a, class, in, serve)
		if err != nil {
			var held *later // is counted, and a line for each would be a flood too
			if p := asProblem(err); p.Status >= 500 && !errors.As(err, &held) {
				a.log.ErrorContext(ctx, "request not carried out", "operation", op.OperationID, "error", err)
			}
			return nil, answer(err)
		}
		return out, nil
	})
}

// carryOut serves a request that was read. A body that trickles in takes no place from others.
func carryOut[I, O any](ctx context.Context, a *API, class Class, in *I, serve func(context.Context, *I) (*O, error)) (*O, error) {
	if class == "" {
		class = classOfBody(in)
		if err := a.opts.Limiter.admit(nil, class, bearerOf(ctx).Principal); err != nil {
			return nil, err
		}
	}
	done, err := a.opts.Limiter.begin(ctx, class)
	if err != nil {
		return nil, err
	}
	defer done()
	return serve(ctx, in)
}

// logged notes each request at debug level: method, path and status, nothing a client could hide a secret in but the path.
func (a *API) logged(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !a.log.Enabled(r.Context(), slog.LevelDebug) {
			next.ServeHTTP(w, r)
			return
		}
		started := time.Now()
		rec := &recorder{ResponseWriter: w, status: http.StatusOK}
		next.ServeHTTP(rec, r)
		a.log.DebugContext(r.Context(), "request", "method", r.Method, "path", r.URL.Path, "status", rec.status,
			"took", time.Since(started), "from", r.RemoteAddr)
	})
}

type recorder struct {
	http.ResponseWriter
	status int
}

// WriteHeader remembers the status.
func (r *recorder) WriteHeader(status int) {
	r.status = status
	r.ResponseWriter.WriteHeader(status)
}

// Unwrap lets http.ResponseController reach the connection.
func (r *recorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }
