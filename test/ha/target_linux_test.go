package ha

import (
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// effect is something that happened in the world.
type effect struct {
	key   string // under which it was asked for
	about string // change/step or change/step/undo, as the request's own text says it
}

// target is what webhook steps call, and the programs of exec steps: a service that counts by idempotency key. The first
// use of a key is an effect; another is recognised, answered the same, and does nothing.
type target struct {
	*httptest.Server

	mu      sync.Mutex // guards what follows
	effects []effect   // in the order in which they happened
	known   map[string]bool
	calls   map[string]int    // by key
	random  *rand.Rand        // of faults; nil: there are none
	hang    chan<- string     // gets the key of the next first call, which is never answered; nil: none hangs
	after   bool              // that call has its effect before it hangs
	again   map[string]func() // by key: called when it is called once more
	called  chan struct{}     // closed and renewed at each call
}

func newTarget(t *testing.T, random *rand.Rand) *target {
	t.Helper()
	g := &target{known: map[string]bool{}, calls: map[string]int{}, random: random, again: map[string]func(){}, called: make(chan struct{})}
	g.Server = httptest.NewServer(g)
	t.Cleanup(func() {
		g.CloseClientConnections() // of calls that hang
		g.Close()
	})
	return g
}

// ServeHTTP takes a call. Its path says what it is about; /refused/… is always refused.
func (g *target) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	// Only once the body was read is it noticed that the other side is gone.
	if _, err := io.Copy(io.Discard, r.Body); err != nil {
		return
	}
	key, about := r.Header.Get("Idempotency-Key"), strings.Trim(r.URL.Path, "/")
	if strings.HasPrefix(about, "refused/") {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	g.mu.Lock()
	g.calls[key]++
	first := g.calls[key] == 1
	if again := g.again[key]; again != nil {
		delete(g.again, key)
		again()
	}
	close(g.called)
	g.called = make(chan struct{})
	fault := 0
	if g.random != nil && first {
		fault = g.random.IntN(25)
	}
	hang := g.hang
	if hang != nil && first {
		g.hang = nil
	} else {
		hang = nil
	}
	lost := hang != nil && !g.after || hang == nil && fault == 1
	if !lost && !g.known[key] {
		g.known[key] = true
		g.effects = append(g.effects, effect{key, about})
	}
	g.mu.Unlock()
	switch {
	case hang != nil:
		hang <- key
		<-r.Context().Done()
	case fault == 1, fault == 2: // before it happened, and after: the answer is the same, and nobody can tell
		w.WriteHeader(http.StatusServiceUnavailable)
	}
}

// hangNext lets the next call that is the first of its key hang until the caller is gone, before it has its effect or after.
func (g *target) hangNext(after bool) <-chan string {
	hung := make(chan string, 1)
	g.mu.Lock()
	defer g.mu.Unlock()
	g.hang, g.after = hung, after
	return hung
}

// onAgain returns what is closed when a key is called again.
func (g *target) onAgain(key string) <-chan struct{} {
	came := make(chan struct{})
	g.mu.Lock()
	defer g.mu.Unlock()
	g.again[key] = func() { close(came) }
	return came
}

// next returns what is closed at the next call.
func (g *target) next() <-chan struct{} {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.called
}

func (g *target) happened() []effect {
	g.mu.Lock()
	defer g.mu.Unlock()
	return append([]effect(nil), g.effects...)
}

func init() { asProgram = program }

// program is what exec steps run: it takes its time, then has its effect at the target under the step's key. Its arguments
// are the folder it keeps notes in and the URL of its effect, or what else it is to do. It notes its key there when it begins, and while a file
// "hang" is there it never gets further.
func program(args []string) int {
	dir, url := args[0], args[1]
	if url == "tell" {
		return tell(dir)
	}
	_, err := os.Stat(filepath.Join(dir, "hang"))
	word := "goes on"
	if err == nil {
		word = "hangs"
	}
	notes, err := os.OpenFile(filepath.Join(dir, "notes"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		fmt.Println(err)
		return 1
	}
	key := os.Getenv("MODESHIFT_KEY")
	if _, err := fmt.Fprintf(notes, "%s %d %s\n", key, os.Getpid(), word); err != nil {
		fmt.Println(err)
		return 1
	}
	if word == "hangs" {
		time.Sleep(2 * patience) // its server is killed long before
	}
	time.Sleep(50 * time.Millisecond) // the work
	// A failure of the target leaves it open; the key makes it safe to ask again.
	for range 5 {
		req, err := http.NewRequest(http.MethodPost, url, nil)
		if err != nil {
			fmt.Println(err)
			return 1
		}
		req.Header.Set("Idempotency-Key", key)
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			fmt.Println(err)
			return 1
		}
		if err := resp.Body.Close(); err != nil {
			fmt.Println(err)
			return 1
		}
		if resp.StatusCode == http.StatusOK {
			return 0
		}
	}
	return 1
}

// note is a line of a program's notes.
type note struct {
	key   string
	pid   int
	hangs bool
}

// notes are what the programs of a folder noted, in order.
func notes(t *testing.T, dir string) (list []note) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(dir, "notes"))
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		var n note
		var word string
		if _, err := fmt.Sscan(line, &n.key, &n.pid, &word); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		n.hangs = word == "hangs"
		list = append(list, n)
	}
	return list
}

// programs are the processes that run now with a folder's name among their arguments. One that nobody has waited for has
// ended, and has no arguments any more.
func programs(t *testing.T, dir string) (pids []int) {
	t.Helper()
	all, err := os.ReadDir("/proc")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range all {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		text, err := os.ReadFile(filepath.Join("/proc", e.Name(), "cmdline"))
		if err != nil {
			continue // it has ended meanwhile
		}
		if args := strings.Split(string(text), "\x00"); len(args) > 2 && args[1] == programWord && args[2] == dir {
			pids = append(pids, pid)
		}
	}
	return pids
}
