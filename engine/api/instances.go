package api

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path"
	"strconv"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/modeshift/modeshift/engine"
	"github.com/modeshift/modeshift/engine/roster"
)

// How instances follow their mode: one request each, both ways at once. The answer is a stream of server-sent events (welcome,
// directive, beat), and the request's body a stream of lines, each an engine.Uplink. It is one connection, it passes wherever HTTP
// does, and any language has what it takes. Package actions/agent describes it for whoever writes another client.

// maxUplink is the length of a line an instance may send, in bytes: a report with a long name and a long error.
const maxUplink = 16 << 10

// helloTime is how long an instance may take to say who it is.
const helloTime = 10 * time.Second

// DefaultInstanceBeat is how often a server and an instance let each other hear that they are there. After two of them in silence
// either takes the other for gone.
const DefaultInstanceBeat = 10 * time.Second

// registerInstances adds the two endpoints of instances, and the table for people.
func (a *API) registerInstances(mux *http.ServeMux, h huma.API) {
	mux.HandleFunc("POST "+Prefix+"/instances/stream", a.instance(a.streamInstance))
	mux.HandleFunc("POST "+Prefix+"/instances/exchange", a.instance(a.exchangeInstance))
	for _, op := range []*huma.Operation{{
		OperationID: "stream-instance", Path: "/instances/stream", Summary: "Follow a scope's mode as one of its instances",
		Description: "The body is an endless stream of JSON lines: hello first, then reports and beats. The answer is a stream of server-sent " +
			"events: welcome, directive (its id is TERM-REVISION) and beat. 409 when another process of that name is connected.\n\nNeeds the role instance.",
		Responses: map[string]*huma.Response{"200": {Description: "an endless stream", Content: map[string]*huma.MediaType{"text/event-stream": {Schema: &huma.Schema{Type: huma.TypeString}}}}},
	}, {
		OperationID: "exchange-instance", Path: "/instances/exchange", Summary: "Say what an instance has, and be told what it should have",
		Description: "For instances that cannot keep a stream open: ask again after poll_ms.\n\nNeeds the role instance.",
		Responses:   map[string]*huma.Response{"200": {Description: "what the instance is told", Content: map[string]*huma.MediaType{"application/json": {Schema: h.OpenAPI().Components.Schemas.Schema(typeOf[ExchangeAnswer](), true, "ExchangeAnswer")}}}},
	}} {
		for status, what := range map[string]string{"401": "no token, or none that is known", "403": "not this scope, or not this instance",
			"404": "no such scope", "409": "another process of that name is connected", "503": "later: see Retry-After"} {
			op.Responses[status] = &huma.Response{Description: what}
		}
		kind, shape := "application/x-ndjson", typeOf[engine.Uplink]()
		if op.OperationID == "exchange-instance" {
			kind, shape = "application/json", typeOf[Exchange]()
		}
		op.RequestBody = &huma.RequestBody{Required: true, Content: map[string]*huma.MediaType{
			kind: {Schema: h.OpenAPI().Components.Schemas.Schema(shape, true, shape.Name())}}}
		op.Method = http.MethodPost
		op.Path = Prefix + op.Path
		op.Security = []map[string][]string{{"bearer": {}}}
		op.Parameters = []*huma.Param{{Name: "scope", In: "query", Required: true, Schema: &huma.Schema{Type: huma.TypeString}}}
		h.OpenAPI().AddOperation(op)
	}
	register(a, h, RoleViewer, huma.Operation{
		OperationID: "list-instances", Method: http.MethodGet, Path: "/scopes/{scope}/instances", Summary: "List a scope's instances",
		Description: "Every running copy the server knows of, what it is told, and what it says that it has.", Errors: []int{http.StatusNotFound},
	}, func(_ context.Context, in *scopeInput) (*body[InstanceTable], error) {
		v, err := a.view(in.Scope)
		if err != nil {
			return nil, err
		}
		if a.opts.Roster == nil {
			return &body[InstanceTable]{InstanceTable{Instances: []roster.Row{}}}, nil
		}
		now := time.Now().UTC()
		out := InstanceTable{Summary: a.opts.Roster.Summary(v.State, now), Instances: a.opts.Roster.Rows(v.State.Scope, now)}
		if out.Instances == nil {
			out.Instances = []roster.Row{}
		}
		return &body[InstanceTable]{out}, nil
	})
}

// InstanceTable is the instances of a scope.
type InstanceTable struct {
	Summary   engine.Instances `json:"summary"`
	Instances []roster.Row     `json:"instances" nullable:"false" doc:"by name"`
}

// Exchange is what an instance without a stream sends.
type Exchange struct {
	Hello  engine.Hello   `json:"hello"`
	Report *engine.Report `json:"report,omitempty"`
}

// ExchangeAnswer is what it is answered.
type ExchangeAnswer struct {
	Welcome   engine.Welcome `json:"welcome"`
	Directive *engine.Told   `json:"directive,omitempty" doc:"absent: the scope has no mode"`
	PollMS    int64          `json:"poll_ms" doc:"ask again after so many milliseconds"`
}

// instance lets only those pass whose token speaks for an instance of the scope.
func (a *API) instance(next func(w http.ResponseWriter, r *http.Request, scope engine.Scope, token Token)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		// Before any answer, also a refusal: without it net/http reads a request to its end first, and a stream has none.
		duplex := http.NewResponseController(w).EnableFullDuplex()
		scope := engine.Scope(r.URL.Query().Get("scope"))
		token, err := a.opts.Tokens.Authorize(r, RoleInstance, scope)
		switch {
		case duplex != nil && r.ProtoMajor < 2:
			writeProblem(w, problem(http.StatusInternalServerError, CodeInternal, "this connection does not go both ways: "+duplex.Error()))
			return
		case err != nil:
			lastRequest(w, r)
			writeProblem(w, asProblem(err))
			return
		case scope == "":
			lastRequest(w, r)
			writeProblem(w, problem(http.StatusBadRequest, CodeInvalid, "say whose mode is followed: ?scope=NAME"))
			return
		}
		if a.opts.Roster == nil {
			lastRequest(w, r)
			busy(w, "this server knows no instances")
			return
		}
		next(w, r, scope, token)
	}
}

// lastRequest has the connection closed after the answer. What is left of a stream's body is never read, and would be taken for
// the next request.
func lastRequest(w http.ResponseWriter, r *http.Request) {
	if r.ProtoMajor < 2 {
		w.Header().Set("Connection", "close")
	}
}

func (a *API) welcome() engine.Welcome {
	return engine.Welcome{Server: a.opts.Identity, Term: a.opts.Term(), HeartbeatMS: a.opts.InstanceBeat.Milliseconds()}
}

// busy turns an instance away for a while that differs for each, so that they do not all come back at once.
func busy(w http.ResponseWriter, detail string) {
	w.Header().Set("Retry-After", strconv.Itoa(1+rand.IntN(5)))
	writeProblem(w, problem(http.StatusServiceUnavailable, CodeUnavailable, detail))
}

func from(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}
	return host
}

// may reports whether a token speaks for an instance of that name.
func (t Token) speaksFor(instance string) bool {
	if len(t.Instances) == 0 {
		return true
	}
	for _, pattern := range t.Instances {
		if ok, err := path.Match(pattern, instance); ok && err == nil {
			return true
		}
	}
	return false
}

// uplink reads what an instance sends, line by line, each of them within a time.
type uplink struct {
	conn  *http.ResponseController
	lines *bufio.Reader
	wait  time.Duration
}

// next returns the next line's message.
func (u *uplink) next() (m engine.Uplink, err error) {
	if err := u.conn.SetReadDeadline(time.Now().Add(u.wait)); err != nil {
		return m, err
	}
	var line []byte
	for {
		part, more, err := u.lines.ReadLine()
		if err != nil {
			return m, err
		}
		if len(line)+len(part) > maxUplink {
			return m, fmt.Errorf("a line has more than %d bytes", maxUplink)
		}
		if !more && line == nil {
			line = part
			break
		}
		if line = append(line, part...); !more {
			break
		}
	}
	if err := json.Unmarshal(line, &m); err != nil {
		return m, fmt.Errorf("a line is not a message: %w", err)
	}
	return m, nil
}

func (a *API) streamInstance(w http.ResponseWriter, r *http.Request, scope engine.Scope, token Token) {
	lastRequest(w, r)
	select {
	case <-a.closed:
		busy(w, "the server is stopping")
		return
	default:
	}
	select {
	case a.instances <- struct{}{}:
		defer func() { <-a.instances }()
	default:
		busy(w, "too many instances are connected")
		return
	}
	conn := http.NewResponseController(w)
	up := &uplink{conn: conn, lines: bufio.NewReaderSize(r.Body, 512), wait: helloTime}
	first, err := up.next()
	switch {
	case err != nil:
		writeProblem(w, problem(http.StatusBadRequest, CodeInvalid, "the first line has to be {\"hello\": …}: "+err.Error()))
		return
	case first.Hello == nil:
		writeProblem(w, problem(http.StatusBadRequest, CodeInvalid, "the first line has to be {\"hello\": {\"instance\": NAME, \"session\": …}}"))
		return
	case !token.speaksFor(first.Hello.Instance):
		writeProblem(w, problem(http.StatusForbidden, CodeForbidden, fmt.Sprintf("the token of %s does not speak for the instance %q", token.Principal, first.Hello.Instance)))
		return
	}
	seat, err := a.opts.Roster.Connect(scope, *first.Hello, from(r))
	if err != nil {
		writeProblem(w, asProblem(err))
		return
	}
	up.wait = 2 * a.opts.InstanceBeat
	over := make(chan ending, 1)
	go func() { over <- ending{hear(up, seat)} }()
	stopping := a.tellInstance(r.Context(), w, conn, seat, over)
	if stopping {
		// It stays in the table as connected: it is this server that leaves.
		_ = conn.SetReadDeadline(time.Now()) // whoever reads is let go; there is nothing to be done about an error
		<-over
	}
}

// ending is why an instance is not heard any more.
type ending struct{ err error }

// hear takes over what an instance says, until it says no more.
func hear(up *uplink, seat *roster.Seat) error {
	for {
		m, err := up.next()
		if err != nil {
			return err
		}
		if m.Report != nil {
			seat.Report(*m.Report)
		}
	}
}

// tellInstance sends an instance what it is to know, until it is gone, or too slow, or the server stops; the latter it reports.
func (a *API) tellInstance(ctx context.Context, w http.ResponseWriter, conn *http.ResponseController, seat *roster.Seat, over chan ending) (stopping bool) {
	h := w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Accel-Buffering", "no") // proxies that buffer would hold directives back
	send := func(text []byte) error {
		if err := conn.SetWriteDeadline(time.Now().Add(a.opts.WriteWait)); err != nil {
			return err
		}
		if _, err := w.Write(text); err != nil {
			return err
		}
		return conn.Flush()
	}
	leave := func(err error) {
		seat.Leave(errors.Is(err, os.ErrDeadlineExceeded))
		_ = conn.SetReadDeadline(time.Now()) // as above
	}
	hello, err := json.Marshal(a.welcome())
	if err == nil {
		err = send(fmt.Appendf(nil, "retry: 1000\n\nevent: welcome\ndata: %s\n\n", hello))
	}
	beat := time.NewTicker(a.opts.InstanceBeat)
	defer beat.Stop()
	for err == nil {
		select {
		case <-seat.Woken():
			if frame := seat.Frame(); frame != nil {
				err = send(frame)
			}
		case <-beat.C:
			err = send([]byte("event: beat\ndata: {}\n\n"))
		case end := <-over: // a connection that was closed, or has been silent for two beats
			leave(end.err)
			return false
		case <-seat.Taken():
			err = errTaken
		case <-ctx.Done(): // net/http noticed it by the same read
			end := <-over
			leave(end.err)
			return false
		case <-a.closed:
			return true
		}
	}
	leave(err)
	<-over
	return false
}

var errTaken = errors.New("the same process has connected again")

func (a *API) exchangeInstance(w http.ResponseWriter, r *http.Request, scope engine.Scope, token Token) {
	data, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxUplink))
	var in Exchange
	if err == nil {
		err = json.Unmarshal(data, &in)
	}
	switch {
	case err != nil:
		writeProblem(w, problem(http.StatusBadRequest, CodeInvalid, "the body has to be {\"hello\": …, \"report\": …}: "+err.Error()))
		return
	case !token.speaksFor(in.Hello.Instance):
		writeProblem(w, problem(http.StatusForbidden, CodeForbidden, fmt.Sprintf("the token of %s does not speak for the instance %q", token.Principal, in.Hello.Instance)))
		return
	}
	poll := a.opts.InstanceBeat / 2
	told, any, err := a.opts.Roster.Exchange(scope, in.Hello, in.Report, from(r), 4*poll)
	if err != nil {
		writeProblem(w, asProblem(err))
		return
	}
	out := ExchangeAnswer{Welcome: a.welcome(), PollMS: poll.Milliseconds()}
	if any {
		out.Directive = &told
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	_ = json.NewEncoder(w).Encode(out) // the instance is gone: it asks again
}

// Instances lists a scope's instances.
func (c *Client) Instances(ctx context.Context, scope engine.Scope) (out InstanceTable, err error) {
	return out, c.get(ctx, scopePath(scope, "/instances"), nil, &out)
}

// Recover gives the server a term of its own.
func (c *Client) Recover(ctx context.Context, r RecoverRequest) (Outcome, error) {
	return c.post(ctx, "/recover", r)
}

// RecoverRequest gives a server that was led past a term of its own.
type RecoverRequest struct {
	Term   uint64 `json:"term" minimum:"1" doc:"higher than any that was heard of"`
	Reason string `json:"reason" minLength:"1" maxLength:"2000" doc:"why; it is kept in the log"`
}

func (a *API) registerRecover(h huma.API) {
	register(a, h, RoleOperator, huma.Operation{
		OperationID: "recover", Method: http.MethodPost, Path: "/recover", Summary: "Give this server a term of its own",
		Description: "A server that instances are ahead of (it was restored from a backup, or another one has led since) publishes nothing until somebody " +
			"has looked and said which term it has. Needs a token for all scopes.",
		Errors: []int{http.StatusConflict, http.StatusUnprocessableEntity, http.StatusServiceUnavailable},
	}, func(ctx context.Context, in *struct{ Body RecoverRequest }) (*body[Outcome], error) {
		if err := permit(bearerOf(ctx), RoleOperator, engine.Fleet); err != nil {
			return nil, err
		}
		return a.submit(ctx, string(engine.Fleet), &engine.RecoverRequested{Term: in.Body.Term, Reason: in.Body.Reason})
	})
}

func (o *Options) instanceDefaults() {
	o.InstanceBeat = cmp.Or(o.InstanceBeat, DefaultInstanceBeat)
	if o.Term == nil {
		o.Term = func() uint64 { return 1 }
	}
}
