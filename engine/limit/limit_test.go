package limit

import (
	"fmt"
	"testing"
	"time"
)

func TestABucketFillsUpSteadilyAndIsForgottenWhenItIsFull(t *testing.T) {
	l := New(2, 10, 100)
	now := time.Unix(1000, 0)
	for range 10 {
		if wait := l.Take("a", now); wait != 0 {
			t.Fatalf("held back for %v", wait)
		}
	}
	if wait := l.Take("a", now); wait != 500*time.Millisecond {
		t.Errorf("held back for %v, want half a second", wait)
	}
	if wait := l.Take("a", now.Add(500*time.Millisecond-time.Nanosecond)); wait != time.Nanosecond && wait != 2*time.Nanosecond {
		t.Errorf("a nanosecond early: held back for %v", wait)
	}
	if wait := l.Take("a", now.Add(501*time.Millisecond)); wait != 0 {
		t.Errorf("after half a second: held back for %v", wait)
	}
	if wait := l.Take("b", now); wait != 0 {
		t.Errorf("another client is held back for %v", wait)
	}
	l.Take("c", now.Add(time.Hour))
	if l.Len() != 1 {
		t.Errorf("an hour later %d clients are remembered", l.Len())
	}
}

func TestManyClientsTakeNoMoreMemoryThanFewAndDoNotHoldThoseThatAreKnown(t *testing.T) {
	const most = 1000
	l := New(1, 10, most)
	now := time.Unix(1000, 0)
	l.Take("known", now)
	held := 0
	for i := range 100_000 {
		if l.Take(fmt.Sprint("client ", i), now.Add(time.Duration(i)*time.Microsecond)) > 0 {
			held++
		}
	}
	if l.Len() > most+1 { // and the one that those share who are too many
		t.Errorf("%d clients are remembered", l.Len())
	}
	if held < 90_000 {
		t.Errorf("of those who are too many only %d were held back", held)
	}
	if wait := l.Take("known", now.Add(200*time.Millisecond)); wait != 0 {
		t.Errorf("one that was there before is held back for %v", wait)
	}
}

func TestWithoutARateNobodyIsHeldBack(t *testing.T) {
	l := New(0, 10, 10)
	for range 1000 {
		if l.Take("a", time.Unix(1000, 0)) != 0 || l.Len() != 0 {
			t.Fatal("somebody is held back, or remembered")
		}
	}
}
