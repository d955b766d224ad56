package storetest

import (
	"context"
	"encoding/json"
	"testing"
	"time"

	"github.com/modeshift/modeshift/engine"
	"github.com/modeshift/modeshift/engine/store"
)

func jobsOwed(t *testing.T, f *fixture) {
	opened := Opened("a", 1, "i")
	ticket := Event("a", 2, engine.IncidentUpdated{Incident: "k", Severity: engine.SeverityTicket, Note: "still <burning> & \u2028"})
	quiet := Event("a", 3, engine.IncidentUpdated{Incident: "k", Severity: engine.SeverityInfo})
	resolved := Resolved("b", 1, "i")
	f.append(store.Append{Stream: "a", Events: []engine.Event{opened, ticket, quiet}}, store.Append{Stream: "b", Events: []engine.Event{resolved}})
	f.wantError(f.Append(ctx, store.Append{Stream: "c", Events: []engine.Event{Opened("c", 1, "lost")}}, store.Append{Stream: "a", After: 1, Events: []engine.Event{ticket}}), store.ErrConflict)
	f.clock.Advance(time.Second)
	jobs := f.lease(0)
	if len(jobs) != 2 {
		t.Fatalf("leased %q", idsOf(jobs))
	}
	for i, e := range []engine.Event{opened, ticket} {
		want := engine.Job{Effect: engine.Effects(e)[0], Owed: epoch}
		g, err := json.Marshal(jobs[i])
		f.must(err)
		w, err := json.Marshal(want)
		f.must(err)
		if string(g) != string(w) {
			t.Errorf("leased\n%s\nwant\n%s", g, w)
		}
	}
	counts, err := f.JobCounts(ctx)
	f.must(err)
	if want := (store.JobCounts{Owed: 1, Leased: 2, Oldest: epoch}); counts != want {
		t.Errorf("counts %+v, want %+v", counts, want)
	}
	f.must(f.Done(ctx, jobs[0].ID))
	f.wantLeased(engine.Effects(resolved)[0].ID)
}

func order(_ *testing.T, f *fixture) {
	a := f.owe("a", 0, "i", "j", "i")
	b := f.owe("b", 0, "i", "k") // a key may be owed by several streams
	f.wantLeased(a[0], a[1], b[1])
	f.wantLeased()
	f.must(f.Done(ctx, a[0]))
	f.wantLeased(a[2])
	f.must(f.Retry(ctx, a[2], "503", time.Second))
	f.wantLeased() // what waits for its retry holds back what is behind it
	f.clock.Advance(time.Second)
	f.wantLeased(a[2])
	f.must(f.Done(ctx, a[2]))
	f.wantLeased(b[0])
}

func leaseEnds(t *testing.T, f *fixture) {
	ids := f.owe("a", 0, "i", "i")
	f.wantLeased(ids[0])
	f.clock.Advance(lease - time.Nanosecond)
	f.wantLeased()
	f.clock.Advance(time.Nanosecond)
	jobs := f.lease(0)
	if len(jobs) != 1 || jobs[0].ID != ids[0] || jobs[0].Attempts != 0 {
		t.Fatalf("leased %+v", jobs)
	}
	// Whoever had it before was only slow: that it was done counts all the same.
	f.must(f.Done(ctx, ids[0]))
	f.wantLeased(ids[1])
}

func retry(t *testing.T, f *fixture) {
	ids := f.owe("a", 0, "i")
	f.wantLeased(ids[0])
	f.must(f.Retry(ctx, ids[0], "503 Service Unavailable", 10*time.Second))
	f.clock.Advance(10*time.Second - time.Nanosecond)
	f.wantLeased()
	counts, err := f.JobCounts(ctx)
	f.must(err)
	if counts.Owed != 1 || counts.Leased != 0 {
		t.Errorf("counts %+v", counts)
	}
	f.clock.Advance(time.Nanosecond)
	jobs := f.lease(0)
	if len(jobs) != 1 || jobs[0].Attempts != 1 || jobs[0].Problem != "503 Service Unavailable" || !jobs[0].Owed.Equal(epoch) {
		t.Fatalf("leased %+v", jobs)
	}
	f.must(f.Retry(ctx, ids[0], "timeout", -time.Second)) // no wait at all
	if jobs = f.lease(0); len(jobs) != 1 || jobs[0].Attempts != 2 || jobs[0].Problem != "timeout" {
		t.Fatalf("leased %+v", jobs)
	}
}

// A machine whose clock was an hour ahead is set right.
func clockBack(_ *testing.T, f *fixture) {
	ids := f.owe("a", 0, "i", "j", "k")
	f.wantLeased(ids...)
	f.must(f.Done(ctx, ids[2]))
	f.must(f.Retry(ctx, ids[0], "503", 10*time.Second))
	f.clock.Advance(time.Second)
	f.wantLeased()
	f.clock.Advance(-time.Hour)
	f.wantLeased()
	f.clock.Advance(9*time.Second - time.Nanosecond)
	f.wantLeased()
	f.clock.Advance(time.Nanosecond)
	f.wantLeased(ids[0])
	f.clock.Advance(lease - 10*time.Second)
	f.wantLeased(ids[1])
}

func clockAhead(_ *testing.T, f *fixture) {
	ids := f.owe("a", 0, "i", "j")
	f.wantLeased(ids...)
	f.must(f.Retry(ctx, ids[0], "503", time.Second))
	f.clock.Advance(-24 * time.Hour)
	f.reopen()
	f.wantLeased(ids...)
}

func failed(t *testing.T, f *fixture) {
	ids := f.owe("a", 0, "i", "i", "i", "j")
	f.wantLeased(ids[0], ids[3])
	f.clock.Advance(time.Second)
	f.must(f.Fail(ctx, ids[0], "400 Bad Request: no such routing key"))
	f.wantLeased(ids[1])
	f.must(f.Fail(ctx, ids[1], "again"))
	all, err := f.FailedJobs(ctx, 0)
	f.must(err)
	if len(all) != 2 || all[0].ID != ids[1] || all[1].ID != ids[0] {
		t.Fatalf("failed jobs %+v", all)
	}
	one := all[1]
	if one.State != store.JobFailed || one.Problem != "400 Bad Request: no such routing key" || one.Attempts != 1 || !one.Ended.Equal(epoch.Add(time.Second)) ||
		one.Key != "i" || one.Notice == nil || one.Notice.Summary != "i burns" {
		t.Errorf("failed job %+v", one)
	}
	if some, err := f.FailedJobs(ctx, 1); err != nil || len(some) != 1 || some[0].ID != ids[1] {
		t.Errorf("limited to one: %+v, %v", some, err)
	}
	f.wantLeased(ids[2])
	f.must(f.Done(ctx, ids[2]))
	for state, want := range map[store.JobState]int{"": 4, store.JobFailed: 2, store.JobDone: 1, store.JobLeased: 1, store.JobOwed: 0} {
		jobs, err := f.Jobs(ctx, store.JobFilter{State: state})
		f.must(err)
		if len(jobs) != want {
			t.Errorf("%d jobs are %q, want %d", len(jobs), state, want)
		}
	}
}

func endsOnce(_ *testing.T, f *fixture) {
	ids := f.owe("a", 0, "i", "j", "k")
	f.wantLeased(ids...)
	f.must(f.Done(ctx, ids[0]))
	f.must(f.Done(ctx, ids[0])) // said twice, done once
	f.wantError(f.Retry(ctx, ids[0], "", 0), store.ErrNotOwed)
	f.wantError(f.Fail(ctx, ids[0], ""), store.ErrNotOwed)
	f.must(f.Fail(ctx, ids[1], "400"))
	f.wantError(f.Done(ctx, ids[1]), store.ErrNotOwed)
	f.wantError(f.Fail(ctx, ids[1], "400"), store.ErrNotOwed)
	f.wantError(f.Done(ctx, "a/99"), store.ErrNotOwed)
	f.clock.Advance(lease)
	f.wantLeased(ids[2])
}

func limits(t *testing.T, f *fixture) {
	b := f.owe("b", 0, "k1", "k2", "k3")
	a := f.owe("a", 0, "k1", "k4")
	for _, want := range []struct {
		limit int
		ids   []string
	}{{2, b[:2]}, {1, b[2:]}, {5, a[1:]}, {5, nil}} {
		got := idsOf(f.lease(want.limit))
		if len(got) != len(want.ids) {
			t.Fatalf("limit %d gave %q, want %q", want.limit, got, want.ids)
		}
		for i := range got {
			if got[i] != want.ids[i] {
				t.Fatalf("limit %d gave %q, want %q", want.limit, got, want.ids)
			}
		}
	}
}

func dead(_ *testing.T, f *fixture) {
	ids := f.owe("a", 0, "i", "i", "j")
	f.wantLeased(ids[0], ids[2])
	f.reopen()
	f.wantLeased(ids[0], ids[2])
	f.must(f.Release(ctx))
	f.wantLeased(ids[0], ids[2])
}

// wantBegun leases all there is and compares whether attempts were begun.
func (f *fixture) wantBegun(want map[string]bool) {
	f.t.Helper()
	jobs := f.lease(0)
	if len(jobs) != len(want) {
		f.t.Fatalf("leased %q, want %v", idsOf(jobs), want)
	}
	for _, j := range jobs {
		if begun, ok := want[j.ID]; !ok || j.Begun != begun {
			f.t.Fatalf("leased %s with begun %v, want %v", j.ID, j.Begun, want)
		}
	}
}

func begun(t *testing.T, f *fixture) {
	ids := f.owe("a", 0, "i", "j", "k", "l")
	f.wantBegun(map[string]bool{ids[0]: false, ids[1]: false, ids[2]: false, ids[3]: false})
	for _, id := range ids[:3] {
		f.must(f.Begin(ctx, id))
	}
	f.must(f.Begin(ctx, ids[0])) // said twice
	all, err := f.Jobs(ctx, store.JobFilter{})
	f.must(err)
	for _, j := range all {
		if j.Begun != (j.ID != ids[3]) {
			t.Errorf("%s is shown with begun %v", j.ID, j.Begun)
		}
	}
	f.must(f.Retry(ctx, ids[1], "503", 0))
	f.must(f.Done(ctx, ids[2]))
	f.clock.Advance(lease) // whoever had them is gone
	f.wantBegun(map[string]bool{ids[0]: true, ids[1]: false, ids[3]: false})

	f.wantError(f.Begin(ctx, ids[2]), store.ErrNotOwed)
	f.must(f.Fail(ctx, ids[3], "400"))
	f.wantError(f.Begin(ctx, ids[3]), store.ErrNotOwed)
	f.wantError(f.Begin(ctx, "a/99"), store.ErrNotOwed)
	stopped, stop := context.WithCancel(ctx)
	stop()
	f.wantError(f.Begin(stopped, ids[1]), context.Canceled)
	f.clock.Advance(lease)
	f.wantBegun(map[string]bool{ids[0]: true, ids[1]: false})
	all, err = f.Jobs(ctx, store.JobFilter{State: store.JobDone})
	f.must(err)
	if len(all) != 1 || all[0].Begun {
		t.Errorf("what is over is shown as %+v", all)
	}
}

func begunSurvives(_ *testing.T, f *fixture) {
	ids := f.owe("a", 0, "i", "j", "k")
	f.wantLeased(ids...)
	f.must(f.Begin(ctx, ids[0]))
	f.must(f.Begin(ctx, ids[1]))
	f.must(f.Retry(ctx, ids[1], "503", 0))
	f.reopen()
	f.wantBegun(map[string]bool{ids[0]: true, ids[1]: false, ids[2]: false})
	f.must(f.Retry(ctx, ids[0], "checked: it has not happened", 0))
	f.reopen()
	f.wantBegun(map[string]bool{ids[0]: false, ids[1]: false, ids[2]: false})
	f.verify()
}

func outcomesSurvive(t *testing.T, f *fixture) {
	ids := f.owe("a", 0, "i", "j", "k", "l")
	f.wantLeased(ids...)
	f.must(f.Done(ctx, ids[0]))
	f.must(f.Fail(ctx, ids[1], "400"))
	f.must(f.Retry(ctx, ids[2], "503", time.Minute))
	f.reopen()
	f.wantLeased(ids[3])
	f.must(f.Done(ctx, ids[0]))
	f.wantError(f.Done(ctx, ids[1]), store.ErrNotOwed)
	counts, err := f.JobCounts(ctx)
	f.must(err)
	if want := (store.JobCounts{Owed: 1, Leased: 1, Done: 1, Failed: 1, Oldest: epoch}); counts != want {
		t.Errorf("counts %+v, want %+v", counts, want)
	}
	f.clock.Advance(time.Minute)
	jobs := f.lease(0)
	if len(jobs) != 2 || jobs[0].ID != ids[2] || jobs[0].Attempts != 1 || jobs[0].Problem != "503" {
		t.Errorf("leased %+v", jobs)
	}
	f.verify()
}
