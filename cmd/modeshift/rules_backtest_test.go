package main

import (
	"testing"
	"time"

	"github.com/alecthomas/kong"
)

func TestPeopleAnswerProposalsAtOnceOrNever(t *testing.T) {
	for _, test := range []struct {
		args []string
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
		if _, err := parser.Parse(append([]string{"rules", "--prometheus", "http://127.0.0.1:1", "--from", "1h"}, test.args...)); err != nil {
			t.Fatal(err)
		}
		if got := v.approve(); got != test.want {
			t.Errorf("%v: %v, want %v", test.args, got, test.want)
		}
	}
}
