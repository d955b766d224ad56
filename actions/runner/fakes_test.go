package runner_test

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/modeshift/modeshift/actions/runner"
	"github.com/modeshift/modeshift/engine"
)

// memJobs keeps the contract of runner.Jobs in memory, with leases of 30 s, and fails on demand.
type memJobs struct {
	mu     sync.Mutex
	seq    int
	keys   map[string][]*memJob // oldest first
	byID   map[string]*memJob
	begun  []string
	done   []string
	failed map[string]string // ID to problem

	down      error // every call fails with it and does nothing
	unwritten error // Done, Retry and Fail fail with it and do nothing, as on a full disk
	lost      error // Done, Retry and Fail take effect, then fail with it
	leases    int   // calls of Lease
}

type memJob struct {
	engine.Job
	seq         int
	due, leased time.Time
}

func newJobs() *memJobs {
	return &memJobs{keys: map[string][]*memJob{}, byID: map[string]*memJob{}, failed: map[string]string{}}
}

func (m *memJobs) add(jobs ...engine.Job) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, j := range jobs {
		m.seq++
		if j.Owed.IsZero() {
			j.Owed = time.Now()
		}
		k := &memJob{Job: j, seq: m.seq, due: time.Now()}
		m.keys[j.Key] = append(m.keys[j.Key], k)
		m.byID[j.ID] = k
	}
}

func (m *memJobs) Lease(_ context.Context, limit int) ([]engine.Job, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.leases++
	if m.down != nil {
		return nil, m.down
	}
	now := time.Now()
	var due []*memJob
	for _, of := range m.keys {
		if j := of[0]; !j.due.After(now) && !j.leased.After(now) {
			due = append(due, j)
		}
	}
	slices.SortFunc(due, func(a, b *memJob) int { return cmp.Compare(a.seq, b.seq) })
	var out []engine.Job
	for _, j := range due[:min(limit, len(due))] {
		j.leased = now.Add(30 * time.Second)
		out = append(out, j.Job)
	}
	return out, nil
}

// release ends all leases, as the death of the process that had them does.
func (m *memJobs) release() {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, j := range m.byID {
		j.leased = time.Time{}
	}
}

func (m *memJobs) end(id string, over bool, change func(*memJob)) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := cmp.Or(m.down, m.unwritten); err != nil {
		return err
	}
	j := m.byID[id]
	if j == nil {
		return m.lost
	}
	change(j)
	if over {
		delete(m.byID, id)
		if m.keys[j.Key] = m.keys[j.Key][1:]; len(m.keys[j.Key]) == 0 {
			delete(m.keys, j.Key)
		}
	}
	return m.lost
}

func (m *memJobs) Begin(_ context.Context, id string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := cmp.Or(m.down, m.unwritten); err != nil {
		return err
	}
	if j := m.byID[id]; j != nil {
		j.Begun = true
		m.begun = append(m.begun, id)
	}
	return m.lost
}

func (m *memJobs) Done(_ context.Context, id string) error {
	return m.end(id, true, func(*memJob) { m.done = append(m.done, id) })
}

func (m *memJobs) Fail(_ context.Context, id, problem string) error {
	return m.end(id, true, func(*memJob) { m.failed[id] = problem })
}

func (m *memJobs) Retry(_ context.Context, id, problem string, after time.Duration) error {
	return m.end(id, false, func(j *memJob) {
		j.Attempts++
		j.Begun = false
		j.Problem, j.due, j.leased = problem, time.Now().Add(after), time.Time{}
	})
}

func (m *memJobs) owed() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.byID)
}

func (m *memJobs) set(change func(*memJobs)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	change(m)
}

func (m *memJobs) problem(id string) (string, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	p, ok := m.failed[id]
	return p, ok
}

var errDisk = errors.New("disk full")

// notice makes the n-th notice of an incident.
func notice(severity engine.Severity, incident string, n int, action engine.NoticeAction) engine.Job {
	id := fmt.Sprintf("%s/%d", incident, n)
	return engine.Job{Effect: engine.Effect{ID: id, Key: incident, Notice: &engine.Notice{
		Action: action, Incident: engine.IncidentID(incident), Severity: severity, Summary: "summary of " + incident,
		Details: engine.Details{Scope: "checkout"},
		Event: engine.Event{Stream: "checkout", Version: engine.Version(n), At: time.Now(), Reason: engine.Reason{Code: engine.CodeBurning},
			Evidence: []engine.Reading{{Signal: "x", Value: 1}}, Fact: engine.IncidentOpened{}},
	}}}
}

func page(incident string, n int, action engine.NoticeAction) engine.Job {
	return notice(engine.SeverityPage, incident, n, action)
}

// target is a notifier that notes what it is asked and answers by a function.
type target struct {
	mu     sync.Mutex
	calls  []call
	answer func(ctx context.Context, job engine.Job, n int) error // n counts calls from 1; nil: takes all
}

type call struct {
	id       string
	at       time.Time
	attempts int
}

func (g *target) Notify(ctx context.Context, job engine.Job) error {
	g.mu.Lock()
	g.calls = append(g.calls, call{job.ID, time.Now(), job.Attempts})
	n := len(g.calls)
	g.mu.Unlock()
	if g.answer == nil {
		return nil
	}
	return g.answer(ctx, job, n)
}

func (g *target) seen() []call {
	g.mu.Lock()
	defer g.mu.Unlock()
	return slices.Clone(g.calls)
}

func (g *target) ids() (ids []string) {
	for _, c := range g.seen() {
		ids = append(ids, c.id)
	}
	return ids
}

// buffer is a log that may be written and read at once.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

func (b *buffer) logger() *slog.Logger {
	return slog.New(slog.NewTextHandler(b, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

// running runs a runner within a bubble and returns what stops it and gives Run's answer.
func running(t *testing.T, r *runner.Runner) (stop func() error) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	answer := make(chan error, 1)
	go func() { answer <- r.Run(ctx) }()
	synctest.Wait()
	stopped := false
	stop = func() error {
		if stopped {
			return nil
		}
		stopped = true
		cancel()
		return <-answer
	}
	t.Cleanup(func() {
		if err := stop(); err != nil {
			t.Errorf("Run = %v", err)
		}
	})
	return stop
}

// after lets virtual time pass, and what is due in it happen.
func after(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// pipes is a network without sockets, for a server and its clients in one bubble.
type pipes struct {
	conns chan net.Conn
	done  chan struct{}
	once  sync.Once
}

func newPipes() *pipes { return &pipes{conns: make(chan net.Conn), done: make(chan struct{})} }

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.done:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error {
	p.once.Do(func() { close(p.done) })
	return nil
}

func (p *pipes) Addr() net.Addr { return &net.UnixAddr{Name: "pipe", Net: "pipe"} }

func (p *pipes) client() *http.Client {
	return &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		here, there := net.Pipe()
		select {
		case p.conns <- there:
			return here, nil
		case <-p.done:
			return nil, net.ErrClosed
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}}}
}
