package agent

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/modeshift/modeshift/engine"
)

// begun leaves a record of directive d on disk, as an agent does that followed it for a moment, and takes the server away.
func (w *world) begun(d engine.Told) {
	a := w.agent()
	w.run(a)
	w.tell(d)
	synctest.Wait()
	a.Close()
	w.net.cut(true)
}

var readOnly = engine.Fallback{Mode: "read-only", Flags: engine.Flags{"writes": false}}

func TestAStartWithoutTheServerTakesTheLastDirective(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.begun(directive(7, "degraded", func(d *engine.Told) { d.Flags = engine.Flags{"workers": 4.0} }))
		a := w.start(func(o *Options) { o.ColdStart = &readOnly })
		synctest.Wait()
		holds(t, a, "degraded", engine.OriginDisk)
		if a.Float("workers", 8) != 4 {
			t.Errorf("flags %v", a.Current().Flags)
		}
		pass(time.Hour)
		holds(t, a, "degraded", engine.OriginDisk)
		if a.Status().Via != ViaNone || !strings.Contains(a.Status().LinkError, "connection refused") {
			t.Errorf("status %+v", a.Status())
		}
		w.net.cut(false)
		pass(10 * time.Second)
		holds(t, a, "degraded", engine.OriginServer)
		if h := w.lastHello(); h.Has != (engine.Position{Term: 1, Revision: 7}) {
			t.Errorf("hello %+v", h)
		}
	})
}

func TestAStartWithNothingTakesTheDeclaredModeOrNone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.net.cut(true)
		cold, none := w.agent(func(o *Options) { o.ColdStart = &readOnly; o.StateDir = t.TempDir() }), w.agent()
		called := 0
		cold.OnChange(func(_ context.Context, _, now *State) error { called++; return nil })
		w.run(cold)
		w.run(none)
		pass(DefaultStartWait - 1)
		if mode, ok := cold.Mode(); ok {
			t.Errorf("in mode %q while the server has time to answer", mode)
		}
		pass(1)
		holds(t, cold, "read-only", engine.OriginColdStart)
		if cold.Bool("writes", true) {
			t.Error("the flags of the declared mode are not there")
		}
		pass(3 * time.Hour)
		if mode, ok := none.Mode(); ok {
			t.Errorf("in mode %q, which nobody declared", mode)
		}
		w.net.cut(false)
		w.tell(directive(1, "normal"))
		pass(10 * time.Second)
		holds(t, cold, "normal", engine.OriginServer)
		holds(t, none, "normal", engine.OriginServer)
		if called != 2 {
			t.Errorf("%d calls for two modes", called)
		}
	})
}

func TestAServerThatAnswersInTimeNeedsNoColdStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.tell(directive(1, "normal"))
		var modes []engine.Mode
		a := w.agent(func(o *Options) { o.ColdStart = &readOnly })
		a.OnChange(func(_ context.Context, _, now *State) error { modes = append(modes, now.Mode); return nil })
		w.run(a)
		pass(time.Minute)
		if len(modes) != 1 || modes[0] != "normal" {
			t.Errorf("modes %q", modes)
		}
	})
}

func TestAFileThatIsNotToBeTrustedIsSetAside(t *testing.T) {
	good, err := (&record{Scope: "checkout", Term: 3, Told: new(directive(7, "degraded"))}).encode()
	if err != nil {
		t.Fatal(err)
	}
	encode := func(r record) []byte {
		data, err := r.encode()
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	for name, data := range map[string][]byte{
		"empty":                     {},
		"without its end":           good[:len(good)-9],
		"with more after it":        append(bytes.Clone(good), "\n"...),
		"one byte is another":       bytes.Replace(good, []byte("degraded"), []byte("degradeD"), 1),
		"another checksum":          bytes.Replace(good, []byte("sha256:"), []byte("sha256:0"), 1),
		"no file of ours":           []byte("{}\n"),
		"another scope":             encode(record{Scope: "payments", Term: 3}),
		"another scope's directive": encode(record{Scope: "checkout", Told: new(directive(7, "degraded", func(d *engine.Told) { d.Scope = "payments" }))}),
		"a directive without mode":  encode(record{Scope: "checkout", Told: new(directive(7, ""))}),
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				w.net.cut(true)
				path := recordPath(w.dir, "checkout")
				if err := os.WriteFile(path, data, 0o600); err != nil {
					t.Fatal(err)
				}
				a := w.start(func(o *Options) { o.ColdStart = &readOnly })
				pass(time.Minute)
				holds(t, a, "read-only", engine.OriginColdStart)
				if aside, err := os.ReadFile(path + ".bad"); err != nil || !bytes.Equal(aside, data) {
					t.Errorf("set aside: %q, %v", aside, err)
				}
				if !strings.Contains(w.log.String(), "not to be trusted") {
					t.Error("the log does not say so")
				}
				// It goes on as if there had been none.
				w.net.cut(false)
				w.tell(directive(1, "normal"))
				pass(10 * time.Second)
				holds(t, a, "normal", engine.OriginServer)
				if r, err := decodeRecord(must(os.ReadFile(path)), "checkout"); err != nil || r.Told.Mode != "normal" || !r.Applied {
					t.Errorf("on disk: %+v, %v", r, err)
				}
			})
		})
	}
}

func must(data []byte, err error) []byte {
	if err != nil {
		panic(err)
	}
	return data
}

func TestAScopeWithASlashStaysInItsFolder(t *testing.T) {
	if got := recordPath("/state", "shop/../../etc"); filepath.Dir(got) != "/state" {
		t.Errorf("kept at %s", got)
	}
}

func TestADirectiveThatFailedIsTriedAfterTheOneThatWasInForce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		var broken atomic.Bool
		tried := make(chan engine.Mode, 1000)
		watch := func(_ context.Context, _, now *State) error {
			tried <- now.Mode
			if broken.Load() && now.Mode == "degraded" {
				return errors.New("no")
			}
			return nil
		}
		a := w.agent()
		a.OnChange(watch)
		w.run(a)
		w.tell(directive(1, "normal"))
		synctest.Wait()
		broken.Store(true)
		w.tell(directive(2, "degraded"))
		synctest.Wait()
		a.Close()
		w.net.cut(true)
		for len(tried) > 0 {
			<-tried
		}
		b := w.agent()
		b.OnChange(watch)
		w.run(b)
		pass(time.Minute)
		holds(t, b, "normal", engine.OriginDisk)
		if first, second := <-tried, <-tried; first != "normal" || second != "degraded" || len(tried) == 0 {
			t.Errorf("tried %q and %q, and %d more", first, second, len(tried))
		}
		broken.Store(false)
		pass(2 * time.Minute)
		holds(t, b, "degraded", engine.OriginDisk)
	})
}

func TestADiskThatIsFullKeepsNoModeBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		a := w.agent()
		var full atomic.Bool
		full.Store(true)
		a.write = func(path string, data []byte, mode os.FileMode) error {
			if full.Load() {
				return syscall.ENOSPC
			}
			return writeFile(path, data, mode)
		}
		w.run(a)
		w.tell(directive(1, "degraded"))
		synctest.Wait()
		holds(t, a, "degraded", engine.OriginServer)
		want := engine.Report{Position: engine.Position{Term: 1, Revision: 1}, Mode: "degraded", Outcome: engine.OutcomeDone, Origin: engine.OriginServer}
		troubled := want
		troubled.Error = "it is in force, and would not be after a restart without the server: no space left on device"
		w.reported(t, troubled)
		if got := a.Status().DiskError; !strings.Contains(got, "no space left") {
			t.Errorf("disk error %q", got)
		}
		pass(time.Hour)
		if n := strings.Count(w.log.String(), "could not be written to disk"); n != 1 {
			t.Errorf("said %d times in an hour", n)
		}
		full.Store(false)
		pass(time.Minute + time.Second)
		if got := a.Status().DiskError; got != "" {
			t.Errorf("disk error %q when there is space again", got)
		}
		w.reported(t, want)
		a.Close()
		w.net.cut(true)
		b := w.start()
		synctest.Wait()
		holds(t, b, "degraded", engine.OriginDisk)
	})
}

func TestADiskThatHangsHoldsAModeBackForAMoment(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		a := w.agent()
		a.write = func(string, []byte, os.FileMode) error { time.Sleep(time.Hour); return errors.New("gave up") }
		w.run(a)
		w.tell(directive(1, "degraded"))
		pass(savePatience - 1)
		if mode, ok := a.Mode(); ok {
			t.Errorf("in mode %q before it was on disk", mode)
		}
		pass(1)
		holds(t, a, "degraded", engine.OriginServer)
		if err := a.Ping(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

func leased(d *engine.Told) {
	d.LeaseMS = 60_000
	d.OnLoss = &engine.Fallback{Mode: "read-only", Flags: engine.Flags{"writes": false}}
}

func TestTheModeForLossIsTakenWhenTheLeaseIsOverAndGivenBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		a := w.start()
		w.tell(directive(1, "normal", leased))
		pass(time.Hour) // beats renew the lease
		holds(t, a, "normal", engine.OriginServer)
		w.with(func() { w.mute = true })
		w.net.cut(true)
		pass(58 * time.Second) // the last beat was up to a second before
		holds(t, a, "normal", engine.OriginServer)
		pass(2 * time.Second)
		holds(t, a, "read-only", engine.OriginLoss)
		if a.Bool("writes", true) || !a.Status().Lost {
			t.Errorf("flags %v, status %+v", a.Current().Flags, a.Status())
		}
		pass(time.Hour)
		holds(t, a, "read-only", engine.OriginLoss)
		w.with(func() { w.mute = false })
		w.net.cut(false)
		pass(10 * time.Second)
		holds(t, a, "normal", engine.OriginServer)
		w.reported(t, engine.Report{Position: engine.Position{Term: 1, Revision: 1}, Mode: "normal", Outcome: engine.OutcomeDone, Origin: engine.OriginServer})
	})
}

func TestAnOldLeaderDoesNotRenewALease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.with(func() { w.term = 2 })
		a := w.start()
		w.tell(directive(1, "normal", leased))
		synctest.Wait()
		w.with(func() { w.term = 1 })
		w.hangUp()
		pass(61 * time.Second)
		holds(t, a, "read-only", engine.OriginLoss)
	})
}

func TestAModeIsHeldWhereNoneIsDeclaredForLoss(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		a := w.start()
		w.tell(directive(1, "normal", func(d *engine.Told) { d.LeaseMS = 60_000 }))
		synctest.Wait()
		w.net.cut(true)
		pass(time.Hour)
		holds(t, a, "normal", engine.OriginServer)
		if !a.Status().Lost {
			t.Error("the status does not say that the lease is over")
		}
	})
}

// A lease over a restart goes by the wall clock of the file, which may say anything.
func TestWhatIsLeftOfALeaseAtAStartIsNothingAtLeastAndAllOfItAtMost(t *testing.T) {
	for name, c := range map[string]struct {
		ago  time.Duration // the server was heard
		left time.Duration
	}{
		"just now":            {0, time.Minute},
		"a while ago":         {20 * time.Second, 40 * time.Second},
		"a lease ago":         {time.Minute, 0},
		"a year ago":          {365 * 24 * time.Hour, 0},
		"in an hour, it says": {-time.Hour, time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				w.net.cut(true)
				data, err := (&record{Scope: "checkout", Term: 1, Told: new(directive(1, "normal", leased)), Applied: true, Heard: time.Now().Add(-c.ago)}).encode()
				if err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(recordPath(w.dir, "checkout"), data, 0o600); err != nil {
					t.Fatal(err)
				}
				a := w.start()
				if c.left > 0 {
					pass(c.left - 1)
					holds(t, a, "normal", engine.OriginDisk)
					pass(1)
				} else {
					synctest.Wait()
				}
				holds(t, a, "read-only", engine.OriginLoss)
			})
		})
	}
}

func TestTheFileSaysWhenTheServerWasHeardAndAtMostAQuarterOfALeaseTooEarly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		a := w.agent()
		writes := 0
		a.write = func(path string, data []byte, mode os.FileMode) error {
			writes++
			return writeFile(path, data, mode)
		}
		w.run(a)
		w.tell(directive(1, "normal", leased))
		pass(10*time.Minute + 7*time.Second)
		r, err := decodeRecord(must(os.ReadFile(recordPath(w.dir, "checkout"))), "checkout")
		if late := time.Since(r.Heard); err != nil || late > 16*time.Second {
			t.Errorf("the file is %v late, %v", late, err)
		}
		if writes > 2+4*10+2 {
			t.Errorf("%d writes in ten minutes", writes)
		}
		a.Close() // an orderly end leaves the exact time
		r, err = decodeRecord(must(os.ReadFile(recordPath(w.dir, "checkout"))), "checkout")
		if late := time.Since(r.Heard); err != nil || late > heartbeat {
			t.Errorf("the file is %v late, %v", late, err)
		}
	})
}
