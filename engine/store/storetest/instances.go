package storetest

import (
	"context"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/modeshift/modeshift/engine"
	"github.com/modeshift/modeshift/engine/roster"
)

func instance(scope engine.Scope, name string) roster.Instance {
	return roster.Instance{Scope: scope, Name: name, Session: "s1", Version: "1.2.3", From: "10.0.0.3", Seen: noon, Reported: noon.Add(time.Nanosecond),
		Report: engine.Report{Position: engine.Position{Term: 3, Revision: 7}, Mode: "degraded", Outcome: engine.OutcomeFailed, Error: "\"no\"\n", Origin: engine.OriginDisk, Refused: 2}}
}

func (f *fixture) wantInstances(want ...roster.Instance) {
	f.t.Helper()
	got, err := f.Instances(context.Background())
	f.must(err)
	if len(got) != len(want) || len(want) > 0 && !reflect.DeepEqual(got, want) {
		f.t.Fatalf("got  %+v\nwant %+v", got, want)
	}
}

func instancesKept(_ *testing.T, f *fixture) {
	f.wantInstances()
	a, b, other := instance("checkout", "web-1"), instance("checkout", "web-2"), instance("search", "web-1")
	f.must(f.SaveInstances(ctx, []roster.Instance{other, b, a}))
	f.wantInstances(a, b, other)
	a.Session, a.Left, a.Silent, a.Behind = "s2", noon.Add(time.Hour), true, noon.Add(time.Minute)
	f.must(f.SaveInstances(ctx, []roster.Instance{a}))
	f.wantInstances(a, b, other)
	f.must(f.ForgetInstances(ctx, []roster.Instance{b, instance("search", "web-9")}))
	f.wantInstances(a, other)
}

func (f *fixture) wantRanks(scope engine.Scope, change engine.ChangeID, want ...string) {
	f.t.Helper()
	got, err := f.Ranks(context.Background(), scope, change)
	f.must(err)
	if !slices.Equal(got, want) || (got == nil) != (want == nil) {
		f.t.Fatalf("ranks %q of %s, want %q", got, change, want)
	}
}

func ranksKept(_ *testing.T, f *fixture) {
	f.wantRanks("checkout", "checkout-3")
	f.must(f.SaveRanks(ctx, "checkout", "checkout-3", []string{"b", "a"}))
	f.must(f.SaveRanks(ctx, "search", "search-1", []string{}))
	f.wantRanks("checkout", "checkout-3", "b", "a")
	f.wantRanks("search", "search-1", []string{}...)
	f.must(f.SaveRanks(ctx, "checkout", "checkout-9", []string{"a"}))
	f.wantRanks("checkout", "checkout-3")
	f.wantRanks("checkout", "checkout-9", "a")
}

func instancesSurvive(_ *testing.T, f *fixture) {
	a := instance("checkout", "web-1")
	f.must(f.SaveInstances(ctx, []roster.Instance{a}))
	f.must(f.SaveRanks(ctx, "checkout", "checkout-3", []string{"b", "a"}))
	first, err := f.NextTerm(ctx, 0)
	f.must(err)
	f.reopen()
	f.wantInstances(a)
	f.wantRanks("checkout", "checkout-3", "b", "a")
	second, err := f.NextTerm(ctx, 0)
	f.must(err)
	if second <= first {
		f.t.Errorf("term %d after %d", second, first)
	}
}

func terms(_ *testing.T, f *fixture) {
	for _, c := range []struct{ least, want uint64 }{{1, 1}, {1, 2}, {0, 3}, {3, 4}, {9, 9}, {9, 10}, {2, 11}} {
		got, err := f.NextTerm(ctx, c.least)
		f.must(err)
		if got != c.want {
			f.t.Fatalf("with at least %d the term is %d, want %d", c.least, got, c.want)
		}
	}
}
