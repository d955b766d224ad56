package server

import (
	"context"
	"log/slog"
	"math"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/modeshift/modeshift/engine"
	"github.com/modeshift/modeshift/engine/api"
	"github.com/modeshift/modeshift/engine/loop"
	"github.com/modeshift/modeshift/engine/secret"
)

// pipelineOf asks a server whether a deployment to a scope may go ahead, with its admin token.
func pipelineOf(t *testing.T, s *Server, scope engine.Scope) func() api.GateAnswer {
	t.Helper()
	token, err := secret.Read(filepath.Join(s.opts.Config.Data, AdminTokenFile))
	if err != nil {
		t.Fatal(err)
	}
	client, err := api.NewClient(s.URL(), token, nil)
	if err != nil {
		t.Fatal(err)
	}
	return func() api.GateAnswer {
		t.Helper()
		answer, err := client.Gate(t.Context(), scope, api.GateQuery{MinBudget: math.NaN()})
		if err != nil {
			t.Fatal(err)
		}
		return answer
	}
}

// unsure reports whether an answer is unknown for a reason, and says it in words.
func unsure(answer api.GateAnswer, check, why string) bool {
	for _, k := range answer.Checks {
		if k.Name == check && k.Answer == api.AnswerUnknown && strings.Contains(k.Why, why) {
			return answer.Answer == api.AnswerUnknown
		}
	}
	return false
}

func TestNobodyCanTellAPipelineAnythingWhileNothingIsEvaluated(t *testing.T) {
	dir := t.TempDir()
	put(t, filepath.Join(dir, "shop.yaml"), service("shop", "degraded"))
	s := running(t, dir)
	ask := pipelineOf(t, s, "shop")
	within(t, "yes", func() bool { return ask().Answer == api.AnswerYes })

	set, problem := s.book.current()
	r := s.inForce(set, problem)
	evaluate, hang := r.Evaluate, make(chan struct{})
	release := sync.OnceFunc(func() { close(hang) })
	t.Cleanup(release) // the loop ends only when its evaluation does
	r.Evaluate = func(ctx context.Context, tick loop.Tick) loop.Answer {
		<-hang
		return evaluate(ctx, tick)
	}
	if err := s.loop.Replace(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	within(t, "it cannot be told", func() bool { return unsure(ask(), "ticks", "nothing was evaluated in the last 2s") })
	release()
	within(t, "yes again", func() bool { return ask().Answer == api.AnswerYes })
}

func TestNobodyCanTellAPipelineAnythingWhileTheLogCannotBeWritten(t *testing.T) {
	dir := t.TempDir()
	put(t, filepath.Join(dir, "shop.yaml"), service("shop", "degraded"))
	cfg := testConfig(t, dir)
	s, stop := serve(t, Options{Config: cfg, Logger: slog.New(slog.DiscardHandler)})
	ask := pipelineOf(t, s, "shop")
	within(t, "yes", func() bool { return ask().Answer == api.AnswerYes })
	if err := s.store.Close(); err != nil { // the disk goes away
		t.Fatal(err)
	}
	within(t, "it cannot be told", func() bool { return unsure(ask(), "log", "it cannot be written: ") })
	_ = stop() // it says that the log is gone
}
