package main

import (
	"testing"
	"time"

	"github.com/alecthomas/kong"
)

func TestPeopleWhoTakeNoTimeAreOthersThanNobody(t *testing.T) {
	for _, c := range []struct {
		more []string
		want time.Duration
	}{
		{nil, -1},
		{[]string{"--approve", "0s"}, 0},
		{[]string{"--approve", "5m"}, 5 * time.Minute},
	} {
		var v rulesBacktestCmd
		parser, err := kong.New(&v)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := parser.Parse(append([]string{"rules", "--prometheus", "http://localhost:9090", "--from", "7d"}, c.more...)); err != nil {
			t.Fatal(err)
		}
		if got := v.approve(); got != c.want {
			t.Errorf("%v: after %v, want %v", c.more, got, c.want)
		}
	}
}
