package storetest

import (
	"bytes"
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/modeshift/modeshift/engine"
	"github.com/modeshift/modeshift/engine/ledger"
	"github.com/modeshift/modeshift/engine/store"
)

var (
	checkout = ledger.Key{Scope: "checkout", SLO: "availability", Digest: "d1"}
	noon     = time.Date(2026, 3, 29, 12, 0, 0, 0, time.UTC)
)

func page(hours int, body string) ledger.Page {
	return ledger.Page{Hour: noon.Add(time.Duration(hours) * time.Hour), Body: []byte(body)}
}

func (f *fixture) save(key ledger.Key, pages ...ledger.Page) {
	f.t.Helper()
	f.must(f.SaveLedgers(context.Background(), ledger.Save{Key: key, At: noon, Pages: pages}))
}

func (f *fixture) wantPages(key ledger.Key, want ...ledger.Page) {
	f.t.Helper()
	got, err := f.LoadLedger(context.Background(), key)
	f.must(err)
	if len(got) != len(want) {
		f.t.Fatalf("loaded %d pages of %v, want %d", len(got), key, len(want))
	}
	for i := range want {
		if !got[i].Hour.Equal(want[i].Hour) || got[i].Hour.Location() != time.UTC || !bytes.Equal(got[i].Body, want[i].Body) {
			f.t.Errorf("page %d is %v %q, want %v %q", i, got[i].Hour, got[i].Body, want[i].Hour, want[i].Body)
		}
	}
}

func ledgerPages(_ *testing.T, f *fixture) {
	f.wantPages(checkout)
	f.must(f.SaveLedgers(ctx))
	f.save(checkout, page(0, "a"), page(2, "c"), page(-500000, "before 1970"))
	f.save(checkout, page(1, "b"), page(2, "C"), ledger.Page{Hour: noon.Add(3 * time.Hour).In(time.FixedZone("IST", 19800)), Body: []byte{0, 0xff}})
	f.wantPages(checkout, page(-500000, "before 1970"), page(0, "a"), page(1, "b"), page(2, "C"), page(3, "\x00\xff"))
	f.must(f.SaveLedgers(ctx, ledger.Save{Key: checkout, At: noon, Pages: []ledger.Page{page(3, "d")}, Before: noon.Add(2 * time.Hour)}))
	f.wantPages(checkout, page(2, "C"), page(3, "d"))
}

func ledgersApart(_ *testing.T, f *fixture) {
	keys := []ledger.Key{checkout, {Scope: "checkout", SLO: "availability", Digest: "d2"}, {Scope: "checkout", SLO: "latency", Digest: "d1"},
		{Scope: "cart", SLO: "availability", Digest: "d1"}}
	var saves []ledger.Save
	for i, key := range keys {
		saves = append(saves, ledger.Save{Key: key, At: noon, Pages: []ledger.Page{page(i, fmt.Sprint(i)), page(9, "z")}, Before: noon.Add(time.Hour)})
	}
	f.must(f.SaveLedgers(ctx, saves...))
	f.wantPages(keys[0], page(9, "z")) // its first page is before
	for i, key := range keys[1:] {
		f.wantPages(key, page(i+1, fmt.Sprint(i+1)), page(9, "z"))
	}
}

func ledgerInvalid(_ *testing.T, f *fixture) {
	f.save(checkout, page(0, "a"))
	bad := page(1, "b")
	bad.Hour = bad.Hour.Add(time.Nanosecond)
	f.wantError(f.SaveLedgers(ctx, ledger.Save{Key: checkout, At: noon, Pages: []ledger.Page{page(0, "A")}},
		ledger.Save{Key: checkout, At: noon, Pages: []ledger.Page{page(2, "c"), bad}}), store.ErrInvalid)
	f.wantPages(checkout, page(0, "a"))
}

func ledgersDropped(_ *testing.T, f *fixture) {
	old, kept, young := checkout, checkout, checkout
	old.Digest, kept.Digest, young.Digest = "old", "kept", "young"
	f.save(old, page(0, "a"))
	f.save(kept, page(0, "b"))
	f.must(f.SaveLedgers(ctx, ledger.Save{Key: young, At: noon.Add(time.Nanosecond), Pages: []ledger.Page{page(0, "c")}}))
	f.must(f.DropLedgers(ctx, noon.Add(time.Nanosecond), kept))
	f.wantPages(old)
	f.wantPages(kept, page(0, "b"))
	f.wantPages(young, page(0, "c"))
	f.must(f.DropLedgers(ctx, noon.Add(time.Nanosecond), kept))
	f.save(old, page(1, "anew"))
	f.wantPages(old, page(1, "anew"))
}

func ledgersUnverified(t *testing.T, f *fixture) {
	f.append(store.Append{Stream: "a", Events: run("a", 0, 3)})
	before := f.verify()
	f.save(checkout, page(0, "anything"))
	after := f.verify()
	if before.Events != after.Events || before.Last != after.Last || before.Streams != after.Streams {
		t.Errorf("the report was %+v and is %+v", before, after)
	}
	last, err := f.Last(ctx)
	f.must(err)
	if last != 3 {
		t.Errorf("the last position is %d", last)
	}
	f.append(store.Append{Stream: "a", After: 3, Events: []engine.Event{Event("a", 4, engine.ModeUnpinned{})}})
}

func ledgersSurvive(_ *testing.T, f *fixture) {
	f.save(checkout, page(0, "a"), page(1, "b"))
	f.reopen()
	f.wantPages(checkout, page(0, "a"), page(1, "b"))
	f.save(checkout, page(1, "B"))
	f.reopen()
	f.wantPages(checkout, page(0, "a"), page(1, "B"))
}
