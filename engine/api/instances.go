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
	"sync"
	"sync/atomic"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/modeshift/modeshift/engine"
	"github.com/modeshift/modeshift/engine/roster"
)

// How instances follow their mode: one request each, both ways at once. The answer is a stream of server-sent events (welcome,
// directive, beat), and the request's body a stream of lines, each an engine.Uplink. It is one connection, it passes wherever HTTP
// does, and any language has what it takes. Package actions/agent describes it for whoever writes another client. A stream of gRPC,
// which needs generated code and proxies that know it, takes more memory and is no faster: test/bench measures both.

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
			"404": "no such scope", "429": "too often: see Retry-After", "409": "another process of that name is connected", "503": "later: see Retry-After"} {
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
		token, err := enter(a.opts.Tokens, a.opts.Limiter, r, ClassInstance, func(t Token) error { return permit(t, RoleInstance, scope) })
		switch {
		case duplex != nil && r.ProtoMajor < 2:
			writeProblem(w, problem(http.StatusInternalServerError, CodeInternal, "this connection does not go both ways: "+duplex.Error()))
			return
		case err != nil:
			lastRequest(w, r)
			writeProblem(w, err)
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

func (a *API) welcome(scope engine.Scope) engine.Welcome {
	spread := min(time.Duration(a.opts.Roster.Size(scope))*reportTime, a.opts.InstanceBeat/2)
	if spread < leastSpread {
		spread = 0
	}
	return engine.Welcome{Server: a.opts.Identity, Term: a.opts.Term(), HeartbeatMS: a.opts.InstanceBeat.Milliseconds(), SpreadMS: spread.Milliseconds()}
}

// What reports cost, and from when on they are spread: what a few hundred instances say at once is no burden. Measured with ten
// thousand on two cores: without it their answers take the time in which the others are told.
const (
	reportTime  = 50 * time.Microsecond
	leastSpread = 20 * time.Millisecond
)

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

// uplink reads what an instance sends, line by line.
type uplink struct {
	lines *bufio.Reader
	// wait is called before each line, and bounds how long it may take.
	wait func() error
	same *memo
}

// memo is the last line that was read of any instance, and what it says. Thousands say the same: that they are there, and that
// they have applied a directive.
type memo struct{ atomic.Pointer[heard] }

type heard struct {
	line    string
	message engine.Uplink // shared, not to be changed
}

// read returns the message of a line.
func (m *memo) read(line []byte) (engine.Uplink, error) {
	if last := m.Load(); last != nil && last.line == string(line) {
		return last.message, nil
	}
	h := &heard{line: string(line)}
	if err := json.Unmarshal(line, &h.message); err != nil {
		return engine.Uplink{}, fmt.Errorf("a line is not a message: %w", err)
	}
	if h.message.Hello == nil { // which only one says
		m.Store(h)
	}
	return h.message, nil
}

// next returns the next line's message, which is shared.
func (u *uplink) next() (m engine.Uplink, err error) {
	if err := u.wait(); err != nil {
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
	return u.same.read(line)
}

func (a *API) streamInstance(w http.ResponseWriter, r *http.Request, scope engine.Scope, token Token) {
	lastRequest(w, r)
	select {
	case <-a.closed.Done():
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
	out := &downlink{w: w, conn: conn, patience: a.opts.WriteWait, beatEvery: a.opts.InstanceBeat, silence: helloTime, writing: true}
	up := &uplink{lines: bufio.NewReaderSize(r.Body, 512), wait: out.listen, same: &a.heard}
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
	out.silence = 2 * a.opts.InstanceBeat
	out.seat, err = a.opts.Roster.Connect(scope, *first.Hello, from(r), out)
	if err != nil {
		writeProblem(w, asProblem(err))
		return
	}
	a.welcomeInstance(out, scope)
	stop := context.AfterFunc(a.closed, func() { out.end(errStopping) })
	defer stop()
	for err == nil {
		var m engine.Uplink
		if m, err = up.next(); err == nil && m.Report != nil {
			out.seat.Report(*m.Report)
		}
	}
	// A connection that was closed or has been silent for two beats, unless it was to end for another reason.
	if err = out.close(err); !errors.Is(err, errStopping) { // else it stays in the table as connected: it is this server that leaves
		out.seat.Leave(errors.Is(err, os.ErrDeadlineExceeded))
	}
}

var (
	errTaken    = errors.New("the same process has connected again")
	errStopping = errors.New("the server is stopping")
)

// downlink writes what an instance is to know. Nobody waits for that: whoever has something for it starts a goroutine that writes
// until there is nothing left. So ten thousand instances that hear nothing cost one goroutine each, which listens, and one that
// reads slowly keeps nobody but its own writer.
type downlink struct {
	w         http.ResponseWriter
	conn      *http.ResponseController
	seat      *roster.Seat
	patience  time.Duration // with a write
	beatEvery time.Duration

	mu      sync.Mutex    // guards what follows
	beat    *time.Timer   // the next one; nil before the welcome
	silence time.Duration // which the instance may keep
	due     bool          // the seat may have something
	beating bool          // a beat is due
	writing bool          // somebody writes; whatever comes now is theirs to send
	over    error         // why the connection ends; nil while it does not
	written chan struct{} // closed when nobody writes any more, and nobody will; nil while that is not asked for
}

var _ roster.Line = (*downlink)(nil)

var beatFrame = []byte("event: beat\ndata: {}\n\n")

// welcomeInstance sends the first event, and what has come in the meantime.
func (a *API) welcomeInstance(d *downlink, scope engine.Scope) {
	h := d.w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Accel-Buffering", "no") // proxies that buffer would hold directives back
	hello, err := json.Marshal(a.welcome(scope))
	if err == nil {
		err = d.send(fmt.Appendf(nil, "retry: 1000\n\nevent: welcome\ndata: %s\n\n", hello))
	}
	if err != nil {
		d.end(err)
	}
	d.again()
	d.write()
}

// again lets the next beat come, unless the connection ends.
func (d *downlink) again() {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case d.over != nil:
	case d.beat == nil:
		d.beat = time.AfterFunc(d.beatEvery, func() {
			if d.claim(&d.beating) {
				d.write()
			}
			d.again()
		})
	default:
		d.beat.Reset(d.beatEvery)
	}
}

// Tell implements roster.Line.
func (d *downlink) Tell() {
	if d.claim(&d.due) {
		go d.write()
	}
}

// Taken implements roster.Line.
func (d *downlink) Taken() { d.end(errTaken) }

// claim notes that something is due, and reports whether the caller is the one to write it.
func (d *downlink) claim(due *bool) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	*due = true
	if d.writing || d.over != nil || d.written != nil {
		return false
	}
	d.writing = true
	return true
}

// write sends what is due until nothing is.
func (d *downlink) write() {
	for {
		d.mu.Lock()
		due, beating := d.due, d.beating
		d.due, d.beating = false, false
		if !due && !beating || d.over != nil || d.written != nil {
			d.writing = false
			if d.written != nil {
				close(d.written)
			}
			d.mu.Unlock()
			return
		}
		d.mu.Unlock()
		var frame []byte
		if due {
			frame = d.seat.Frame()
		}
		if frame == nil && beating { // a frame is as good a sign of life
			frame = beatFrame
		}
		if frame == nil {
			continue
		}
		if err := d.send(frame); err != nil {
			d.end(err)
		}
	}
}

// send writes one event. Only whoever has claimed the connection may.
func (d *downlink) send(text []byte) error {
	if err := d.conn.SetWriteDeadline(time.Now().Add(d.patience)); err != nil {
		return err
	}
	if _, err := d.w.Write(text); err != nil {
		return err
	}
	return d.conn.Flush()
}

// listen gives the instance its time for the next line.
func (d *downlink) listen() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.over != nil {
		return d.over
	}
	return d.conn.SetReadDeadline(time.Now().Add(d.silence))
}

// end makes whoever listens stop. The first reason counts.
func (d *downlink) end(why error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.over == nil {
		d.over = why
		_ = d.conn.SetReadDeadline(time.Now()) // nothing to be done about an error: it ends after two beats
	}
}

// close waits until nobody writes any more, and returns why the connection ended. heard is why the listener stopped; but when a
// write ran out of patience that is the reason, and net/http has closed the connection before the writer can say so.
func (d *downlink) close(heard error) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.writing {
		written := make(chan struct{})
		d.written = written
		d.mu.Unlock()
		<-written // within its patience
		d.mu.Lock()
	}
	if d.over == nil {
		d.over = heard
	}
	if d.beat != nil {
		d.beat.Stop()
	}
	return d.over
}

func (a *API) exchangeInstance(w http.ResponseWriter, r *http.Request, scope engine.Scope, token Token) {
	data, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxUplink))
	var in Exchange
	if err == nil {
		err = json.Unmarshal(data, &in)
	}
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		writeProblem(w, problem(http.StatusRequestEntityTooLarge, CodeInvalid, fmt.Sprintf("the body has more than %d bytes", tooLarge.Limit)))
		return
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
	out := ExchangeAnswer{Welcome: a.welcome(scope), PollMS: poll.Milliseconds()}
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
