package main

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// screen is a stream at which somebody sits, or not.
type screen struct {
	strings.Builder
	there bool
}

func (s *screen) Terminal() bool { return s.there }

func TestProgressIsOneLineOnceASecondForWhoeverSitsThere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &screen{there: true}
		p := newProgress(s)
		told := p.count("mutants tried")
		said := func(what, want string) {
			t.Helper()
			if got := s.String(); got != want {
				t.Errorf("%s: %q, want %q", what, got, want)
			}
			s.Reset()
		}
		time.Sleep(time.Second - 1)
		told(1, 4)
		said("before a second has passed", "")
		time.Sleep(time.Nanosecond)
		told(1, 4)
		said("a quarter after a second", "\r\x1b[K1 of 4 mutants tried, about 3s left")
		told(2, 4)
		said("the next at once", "")
		time.Sleep(time.Second)
		p.share(0)
		said("nothing yet", "\r\x1b[K  0 %")
		time.Sleep(8 * time.Second)
		p.share(0.5)
		said("half after ten seconds", "\r\x1b[K 50 %, about 10s left")
		time.Sleep(time.Second)
		told(0, 0)
		said("nothing of nothing", "\r\x1b[K0 of 0 mutants tried")
		p.clear()
		said("at the end", "\r\x1b[K")
	})
}

func TestProgressIsNoNoiseInALog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &screen{}
		p := newProgress(s)
		time.Sleep(time.Minute)
		p.share(0.5)
		p.count("tests run")(1, 2)
		p.clear()
		if s.Len() > 0 {
			t.Errorf("it said %q", s.String())
		}
	})
}
