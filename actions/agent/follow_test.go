package agent

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/modeshift/modeshift/engine"
)

func TestADirectiveIsAppliedAndReported(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		a := w.start()
		synctest.Wait()
		if mode, ok := a.Mode(); ok || mode != "" {
			t.Errorf("in mode %q before any directive", mode)
		}
		w.tell(directive(7, "degraded", func(d *engine.Told) {
			d.Flags = engine.Flags{"writes": false, "gateway": "backup", "workers": 4.0, "limits": map[string]any{"cart": 10.0}}
			d.Change = "checkout-6"
		}))
		if err := a.Wait(t.Context()); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		holds(t, a, "degraded", engine.OriginServer)
		if a.Bool("writes", true) || a.String("gateway", "") != "backup" || a.Float("workers", 8) != 4 || a.Object("limits", nil)["cart"] != 10.0 {
			t.Errorf("flags: %v", a.Current().Flags)
		}
		if !a.Bool("unheard of", true) || a.String("writes", "no text") != "no text" {
			t.Error("a flag that is not there, or of another type, is not the caller's")
		}
		w.reported(t, engine.Report{Position: engine.Position{Term: 1, Revision: 7}, Mode: "degraded", Outcome: engine.OutcomeDone, Origin: engine.OriginServer})
		if h := w.lastHello(); h.Instance != "web-1" || h.Session == "" || h.Version != "v1.2.3" || h.Has.Revision != 0 {
			t.Errorf("hello %+v", h)
		}
		if got := a.Status(); got.Via != ViaStream || got.Server != "s1" || got.Term != 1 || got.Connects != 1 || got.Outcome != engine.OutcomeDone {
			t.Errorf("status %+v", got)
		}
		pass(time.Minute)
		w.with(func() {
			if w.beats < 60 || w.beats > 75 {
				t.Errorf("%d beats in a minute of 60", w.beats)
			}
		})
	})
}

func TestReportsAreSpreadAsFarAsTheServerSays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.spread = 400 * time.Millisecond
		a := w.start()
		var took []time.Duration
		for i := range 20 {
			w.tell(directive(engine.Version(i+1), "degraded"))
			began := time.Now()
			for w.lastReport().Revision != engine.Version(i+1) {
				time.Sleep(time.Millisecond)
				if time.Since(began) > time.Second {
					t.Fatal("it says nothing")
				}
			}
			took = append(took, time.Since(began))
		}
		holds(t, a, "degraded", engine.OriginServer)
		slices.Sort(took)
		if took[0] > 200*time.Millisecond || took[19] < 200*time.Millisecond || took[19] > 410*time.Millisecond {
			t.Errorf("they came after %v", took)
		}
		w.tell(directive(100, "normal"))
		w.tell(directive(101, "degraded")) // what it has come to meanwhile is what it says
		pass(time.Second)
		w.with(func() {
			if n := len(w.reports); w.reports[n-1].Revision != 101 {
				t.Errorf("its last word is %+v", w.reports[n-1])
			}
		})
	})
}

func TestCallbacksAreCalledInOrderAndOneAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		a := w.agent()
		var calls []string
		busy := false
		for i := range 3 {
			a.OnChange(func(_ context.Context, old, now *State) error {
				if busy {
					t.Error("two callbacks at a time")
				}
				busy = true
				time.Sleep(time.Second)
				busy = false
				calls = append(calls, fmt.Sprintf("%d:%s>%s(%s)", i, old.Mode, now.Mode, a.Current().Mode))
				return nil
			})
		}
		w.run(a)
		for i, mode := range []engine.Mode{"normal", "degraded", "read-only", "maintenance"} {
			w.tell(directive(engine.Version(i+1), mode)) // all but the first and the last come while callbacks run
			synctest.Wait()
		}
		pass(time.Minute)
		want := []string{"0:>normal()", "1:>normal()", "2:>normal()",
			"0:normal>maintenance(normal)", "1:normal>maintenance(normal)", "2:normal>maintenance(normal)"}
		if !slices.Equal(calls, want) {
			t.Errorf("calls %q\nwant  %q", calls, want)
		}
		holds(t, a, "maintenance", engine.OriginServer)
		var positions []engine.Version
		w.with(func() {
			for _, r := range w.reports {
				positions = append(positions, r.Revision)
			}
		})
		if !slices.Equal(positions, []engine.Version{4}) {
			t.Errorf("reports about the revisions %v: those that were overtaken need none", positions)
		}
	})
}

func TestACallbackThatFailsKeepsTheOldModeAndIsTriedAgain(t *testing.T) {
	for name, fails := range map[string]struct {
		with func(context.Context) error
		want string
	}{
		"error":                     {func(context.Context) error { return errors.New("pool is busy") }, "pool is busy"},
		"panic":                     {func(context.Context) error { panic("pool is gone") }, "a callback panicked: pool is gone"},
		"context":                   {func(ctx context.Context) error { <-ctx.Done(); return context.Cause(ctx) }, "it took longer than it may"},
		"an error of any length":    {func(context.Context) error { return errors.New(strings.Repeat("ä", 400)) }, strings.Repeat("ä", 248) + "…"},
		"deaf, but back in an hour": {func(context.Context) error { time.Sleep(time.Hour); return errors.New("late") }, "a callback has not returned for 30s"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				a := w.agent()
				first, last := 0, 0
				var broken atomic.Bool
				broken.Store(true)
				a.OnChange(func(context.Context, *State, *State) error { first++; return nil })
				a.OnChange(func(ctx context.Context, _, now *State) error {
					if broken.Load() && now.Mode == "degraded" {
						return fails.with(ctx)
					}
					return nil
				})
				a.OnChange(func(context.Context, *State, *State) error { last++; return nil })
				w.run(a)
				w.tell(directive(1, "normal"))
				synctest.Wait()
				w.tell(directive(2, "degraded"))
				pass(31 * time.Second)
				holds(t, a, "normal", engine.OriginServer)
				w.reported(t, engine.Report{Position: engine.Position{Term: 1, Revision: 2}, Mode: "normal", Outcome: engine.OutcomeFailed, Error: fails.want, Origin: engine.OriginServer})
				if last != 1 {
					t.Errorf("the callback after the one that fails was called %d times", last)
				}
				broken.Store(false)
				pass(65 * time.Minute)
				holds(t, a, "degraded", engine.OriginServer)
				w.reported(t, engine.Report{Position: engine.Position{Term: 1, Revision: 2}, Mode: "degraded", Outcome: engine.OutcomeDone, Origin: engine.OriginServer})
				if first < 3 {
					t.Errorf("the first callback was called %d times, and not again for another try", first)
				}
			})
		})
	}
}

func TestANewerDirectiveEndsTheTriesOfAnOlderOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		a := w.agent()
		tries := 0
		a.OnChange(func(_ context.Context, _, now *State) error {
			if now.Mode == "degraded" {
				tries++
				return errors.New("no")
			}
			return nil
		})
		w.run(a)
		w.tell(directive(1, "degraded"))
		pass(10 * time.Minute)
		if tries < 10 || tries > 60 {
			t.Errorf("%d tries in ten minutes, spaced by up to one", tries)
		}
		w.tell(directive(2, "normal"))
		pass(time.Second)
		holds(t, a, "normal", engine.OriginServer)
		before := tries
		pass(time.Hour)
		if tries != before {
			t.Error("what is overtaken is still tried")
		}
	})
}

func TestOnlyWhatIsNewerIsAccepted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		a := w.start()
		w.tell(directive(5, "degraded"))
		synctest.Wait()
		for _, c := range []struct {
			name string
			told engine.Told
			want Refused
			mode engine.Mode
		}{
			{"an older revision", directive(4, "normal"), Refused{Older: 1}, "degraded"},
			{"the same again", directive(5, "degraded"), Refused{Older: 1}, "degraded"},
			{"another mode at the same position", directive(5, "normal"), Refused{Older: 1, Conflict: 1}, "degraded"},
			{"other flags at the same position", directive(5, "degraded", func(d *engine.Told) { d.Flags = engine.Flags{"x": true} }), Refused{Older: 1, Conflict: 2}, "degraded"},
			{"another scope", directive(9, "normal", func(d *engine.Told) { d.Scope = "payments" }), Refused{Older: 1, Conflict: 2, Scope: 1}, "degraded"},
			{"a lower revision of a higher term", directive(1, "normal", func(d *engine.Told) { d.Term = 2 }), Refused{Older: 1, Conflict: 2, Scope: 1}, "normal"},
			{"a higher revision of a lower term", directive(10, "degraded"), Refused{Older: 2, Conflict: 2, Scope: 1}, "normal"},
		} {
			w.tell(c.told)
			synctest.Wait()
			if got := a.Status().Refused; got != c.want {
				t.Errorf("%s: refused %+v, want %+v", c.name, got, c.want)
			}
			if mode, _ := a.Mode(); mode != c.mode {
				t.Errorf("%s: in mode %q, want %q", c.name, mode, c.mode)
			}
		}
		if got := w.lastReport().Refused; got != 2 {
			t.Errorf("the server hears of %d refusals, want 2", got)
		}
		if !strings.Contains(w.log.String(), "level=ERROR msg=\"a directive for another scope was refused\"") {
			t.Error("the log says nothing of the other scope")
		}
	})
}

func TestAServerOfALowerTermIsRefusedAlsoAfterARestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.with(func() { w.term = 7 })
		w.tell(directive(3, "degraded", func(d *engine.Told) { d.Term = 6 }))
		a := w.agent()
		w.run(a)
		synctest.Wait()
		a.Close()
		// Another server, from a backup: its directive would be newer if its word counted.
		w.with(func() { w.term = 6 })
		w.tell(directive(9, "normal", func(d *engine.Told) { d.Term = 6; d.LeaseMS = 1000 }))
		b := w.start()
		pass(time.Minute)
		holds(t, b, "degraded", engine.OriginDisk)
		s := b.Status()
		if s.Refused.Term < 10 || s.Refused.Older != 0 || s.Via != ViaNone || !strings.Contains(s.LinkError, "leads in term 6") {
			t.Errorf("status %+v", s)
		}
		if h := w.lastHello(); h.Term != 7 || h.Has != (engine.Position{Term: 6, Revision: 3}) {
			t.Errorf("hello %+v", h)
		}
		w.with(func() { w.term = 8 })
		pass(10 * time.Second)
		holds(t, b, "normal", engine.OriginServer)
		if got := w.lastReport().Refused; got != s.Refused.Term && got < 10 {
			t.Errorf("the server that leads hears of %d refusals", got)
		}
	})
}

func TestAModeThatIsNotKnownKeepsTheOldOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		known := func(o *Options) { o.Modes = []engine.Mode{"normal", "degraded"} }
		a := w.agent(known)
		w.run(a)
		w.tell(directive(1, "normal"))
		synctest.Wait()
		w.tell(directive(2, "failover"))
		synctest.Wait()
		holds(t, a, "normal", engine.OriginServer)
		want := engine.Report{Position: engine.Position{Term: 1, Revision: 2}, Mode: "normal", Outcome: engine.OutcomeFailed,
			Error: `the program does not know the mode "failover"`, Origin: engine.OriginServer}
		w.reported(t, want)
		// A restart without the server is in the old mode too, and still says what it has.
		a.Close()
		w.net.cut(true)
		b := w.start(known)
		pass(time.Minute)
		holds(t, b, "normal", engine.OriginDisk)
		w.net.cut(false)
		pass(10 * time.Second)
		holds(t, b, "normal", engine.OriginServer)
		w.reported(t, want)
		// A version that knows the mode takes it, from disk if it must.
		b.Close()
		w.net.cut(true)
		c := w.start()
		pass(time.Minute)
		holds(t, c, "failover", engine.OriginDisk)
	})
}

func TestAReportIsSentAgainAfterEachReconnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		a := w.start()
		w.tell(directive(1, "normal"))
		synctest.Wait()
		for range 3 {
			w.with(func() { w.reports = nil })
			w.hangUp()
			pass(10 * time.Second)
			w.reported(t, engine.Report{Position: engine.Position{Term: 1, Revision: 1}, Mode: "normal", Outcome: engine.OutcomeDone, Origin: engine.OriginServer})
		}
		if got := a.Status().Connects; got != 4 {
			t.Errorf("connected %d times, want 4", got)
		}
		sessions := map[string]bool{}
		w.with(func() {
			for _, h := range w.hellos {
				sessions[h.Session] = true
			}
		})
		if len(sessions) != 1 {
			t.Errorf("one process has the sessions %v", sessions)
		}
	})
}

func TestRunIsCalledOnceAndCloseAtAnyTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		a := w.agent()
		a.Close()
		if err := a.Run(t.Context()); !errors.Is(err, ErrClosed) {
			t.Errorf("Run after Close: %v", err)
		}
		b := w.start()
		synctest.Wait()
		if err := b.Run(t.Context()); err == nil {
			t.Error("two Runs at a time")
		}
		if err := b.Ping(t.Context()); err != nil {
			t.Errorf("Ping: %v", err)
		}
		b.Close()
		b.Close()
		if err := b.Ping(t.Context()); !errors.Is(err, ErrClosed) {
			t.Errorf("Ping after Close: %v", err)
		}
		if err := b.Wait(t.Context()); !errors.Is(err, ErrClosed) {
			t.Errorf("Wait after Close: %v", err)
		}
	})
}

func TestEverythingThatIsWrongWithOptionsIsSaidAtOnce(t *testing.T) {
	_, err := New(Options{
		Server: "https://user:" + canary + "@modeshift.test", Scope: engine.Fleet, Instance: "x", Modes: []engine.Mode{"normal"},
		ColdStart: &engine.Fallback{Mode: "read-only"}, StartWait: -1,
	})
	if err == nil {
		t.Fatal("no error")
	}
	for _, part := range []string{"has a password in it", `"fleet" is none`, `"read-only" is not one of the modes`, "StartWait is negative"} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%q does not say %q", err, part)
		}
	}
	for _, bad := range []string{"", "modeshift.test", "http://", "ftp://x", "http://x?y", "http://" + canary + "\x00"} {
		if _, err := New(Options{Server: bad, Scope: "s", Instance: "x"}); err == nil || strings.Contains(err.Error(), canary) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}
