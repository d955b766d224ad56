package store_test

import (
	"bufio"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/modeshift/modeshift/engine"
	"github.com/modeshift/modeshift/engine/store"
	"github.com/modeshift/modeshift/engine/store/storetest"
)

// childLog names the log that this test binary, started by itself, is to write until it is killed.
const childLog = "MODESHIFT_TEST_CHILD_LOG"

func TestMain(m *testing.M) {
	if path := os.Getenv(childLog); path != "" {
		fmt.Fprintln(os.Stderr, child(path))
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// child appends to four streams and carries out the jobs they owe, and says on standard output what it was told is stored:
// "stored STREAM VERSION", "run JOB", "done JOB". It returns only when something is wrong.
func child(path string) error {
	s, err := store.Open(ctx, path, store.Options{})
	if err != nil {
		return err
	}
	if err := s.Release(ctx); err != nil {
		return err
	}
	problems := make(chan error)
	var mu sync.Mutex // one line at a time
	say := func(format string, args ...any) {
		mu.Lock()
		defer mu.Unlock()
		if _, err := fmt.Printf(format+"\n", args...); err != nil {
			os.Exit(1) // the parent is gone
		}
	}
	for i := range 4 {
		stream := engine.Scope(fmt.Sprint("s", i))
		go func() {
			state, err := s.Load(ctx, stream)
			for v := state.Version; err == nil; v++ {
				e := storetest.Event(stream, v+1, engine.ModePinned{Mode: "degraded"})
				if v%5 == 4 {
					e = storetest.Opened(stream, v+1, engine.IncidentID(fmt.Sprint("i", v%3)))
				}
				appends := []store.Append{{Stream: stream, After: v, Events: []engine.Event{e}}}
				if err = s.Append(ctx, appends...); err == nil {
					state = engine.Apply(state, e)
					say("stored %s %d", stream, v+1)
				}
				if v%50 == 49 && err == nil {
					err = s.Snapshot(ctx, state)
				}
			}
			problems <- err
		}()
	}
	go func() {
		for {
			jobs, err := s.Lease(ctx, 0)
			for _, j := range jobs {
				say("run %s", j.ID)
				if err == nil {
					err = s.Done(ctx, j.ID)
				}
				say("done %s", j.ID)
			}
			if err != nil {
				problems <- err
			}
			time.Sleep(time.Millisecond) // as a worker polls
		}
	}()
	return <-problems
}

// TestNothingAcknowledgedIsLostWhenTheProcessIsKilled kills a writing process twenty times at random moments.
func TestNothingAcknowledgedIsLostWhenTheProcessIsKilled(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log.db")
	stored := map[engine.Scope]engine.Version{}
	done := map[string]bool{}
	for round := range 20 {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), childLog+"="+path)
		cmd.Stderr = os.Stderr
		out, err := cmd.StdoutPipe()
		must(t, err)
		must(t, cmd.Start())
		lines, life := bufio.NewScanner(out), 20+rand.IntN(300)
		said := 0
		for ; lines.Scan(); said++ {
			var stream, id string
			var version engine.Version
			if n, _ := fmt.Sscanf(lines.Text(), "stored %s %d", &stream, &version); n == 2 {
				if stored[engine.Scope(stream)]+1 > version {
					t.Errorf("round %d: %s/%d was stored twice", round, stream, version)
				}
				stored[engine.Scope(stream)] = version
			}
			if n, _ := fmt.Sscanf(lines.Text(), "run %s", &id); n == 1 && done[id] {
				t.Errorf("round %d: job %s was run again after it was done", round, id)
			}
			if n, _ := fmt.Sscanf(lines.Text(), "done %s", &id); n == 1 {
				done[id] = true
			}
			switch {
			case said == 10 && round%10 == 0: // the log has an owner, and may be looked at
				if _, err := store.Open(ctx, path, store.Options{}); !errors.Is(err, store.ErrInUse) {
					t.Errorf("round %d: a second owner: %v", round, err)
				}
				if _, err := verify(t, path); err != nil {
					t.Errorf("round %d: while it is written: %v", round, err)
				}
			case said == life:
				must(t, cmd.Process.Kill())
			}
		}
		if err := cmd.Wait(); err == nil || !strings.Contains(err.Error(), "killed") || said < life {
			t.Fatalf("round %d: the child ended by itself after %d lines: %v", round, said, err)
		}
		recovered(t, path, stored, done)
	}
	if len(done) < 20 {
		t.Errorf("only %d jobs were done", len(done))
	}
}

// recovered checks a log whose owner was killed against what that had said.
func recovered(t *testing.T, path string, stored map[engine.Scope]engine.Version, done map[string]bool) {
	t.Helper()
	s := open(t, path)
	defer func() { must(t, s.Close()) }()
	if r, err := s.Verify(ctx); err != nil || len(r.Stale) > 0 {
		t.Fatalf("report %+v, %v", r, err)
	}
	states, err := s.LoadAll(ctx)
	must(t, err)
	for stream, version := range stored {
		// One more may be stored than was said, by which the process died.
		if got := states[stream].Version; got != version && got != version+1 {
			t.Errorf("%s is at version %d, and version %d was acknowledged", stream, got, version)
		}
		stored[stream] = states[stream].Version
	}
	jobs, err := s.Jobs(ctx, store.JobFilter{})
	must(t, err)
	owed := map[string]string{} // by key, the oldest
	for _, j := range jobs {
		if done[j.ID] && j.State != store.JobDone {
			t.Errorf("job %s is %s, and that it was done was acknowledged", j.ID, j.State)
		}
		if j.State == store.JobOwed {
			owed[j.Key] = j.ID
		}
	}
	// What the dead process held is due at once.
	leased, err := s.Lease(ctx, 0)
	must(t, err)
	for _, j := range leased {
		if owed[j.Key] != j.ID {
			t.Errorf("job %s of key %s is handed out, and %s is the oldest", j.ID, j.Key, owed[j.Key])
		}
		delete(owed, j.Key)
	}
	if len(owed) > 0 {
		t.Errorf("jobs %v are owed and not handed out", owed)
	}
}
