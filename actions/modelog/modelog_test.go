package modelog_test

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"strings"
	"testing"
	"testing/slogtest"

	"github.com/modeshift/modeshift/actions/agent"
	"github.com/modeshift/modeshift/actions/modelog"
)

type switched struct{ state agent.State }

func (s *switched) Current() *agent.State { return &s.state }

func TestEachRecordHasTheModeItWasWrittenIn(t *testing.T) {
	var out bytes.Buffer
	source := &switched{}
	log := slog.New(modelog.New(slog.NewJSONHandler(&out, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey || a.Key == slog.LevelKey {
			return slog.Attr{}
		}
		return a
	}}), source))
	nested := log.With("a", 1).WithGroup("g").With("b", 2)
	log.Info("one")
	source.state.Mode = "normal"
	log.Info("two")
	nested.Info("three", "c", 3)
	source.state.Mode = "degraded"
	nested.Info("four", "c", 4)
	const want = `{"msg":"one"}
{"msg":"two","mode":"normal"}
{"msg":"three","mode":"normal","a":1,"g":{"b":2,"c":3}}
{"msg":"four","mode":"degraded","a":1,"g":{"b":2,"c":4}}
`
	if out.String() != want {
		t.Errorf("logged\n%swant\n%s", out.String(), want)
	}
}

func TestItIsAHandlerAsTheyShouldBe(t *testing.T) {
	var out bytes.Buffer
	h := modelog.New(slog.NewJSONHandler(&out, nil), &switched{agent.State{Mode: "normal"}})
	if err := slogtest.TestHandler(h, func() (all []map[string]any) {
		for line := range strings.Lines(out.String()) {
			var m map[string]any
			if err := json.Unmarshal([]byte(line), &m); err != nil {
				t.Fatal(err)
			}
			if m[modelog.Key] != "normal" {
				t.Errorf("without the mode: %s", line)
			}
			all = append(all, m)
		}
		return all
	}); err != nil {
		t.Error(err)
	}
}

func TestARecordCostsNoHandlerOfItsOwn(t *testing.T) {
	log := slog.New(modelog.New(slog.NewTextHandler(new(bytes.Buffer), nil), &switched{agent.State{Mode: "normal"}}))
	plain := slog.New(slog.NewTextHandler(new(bytes.Buffer), nil)).With("mode", "normal")
	if with, without := testing.AllocsPerRun(1000, func() { log.Info("x") }), testing.AllocsPerRun(1000, func() { plain.Info("x") }); with > without && !underRace {
		t.Errorf("%v allocations a record, %v without", with, without)
	}
}
