package modeotel_test

import (
	"context"
	"net/http"
	"testing"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/modeshift/modeshift/actions/agent"
	"github.com/modeshift/modeshift/actions/modeotel"
	"github.com/modeshift/modeshift/engine"
)

type switched struct{ state agent.State }

func (s *switched) Current() *agent.State { return &s.state }

func TestASpanHasTheModeInWhichItBegan(t *testing.T) {
	exported := tracetest.NewInMemoryExporter()
	source := &switched{}
	provider := trace.NewTracerProvider(trace.WithSpanProcessor(modeotel.NewProcessor(source)), trace.WithSyncer(exported))
	tracer := provider.Tracer("test")
	_, before := tracer.Start(t.Context(), "before any mode")
	before.End()
	source.state.Mode = "normal"
	_, span := tracer.Start(t.Context(), "normal")
	source.state.Mode = "degraded"
	span.End()
	spans := exported.GetSpans()
	if len(spans) != 2 || len(spans[0].Attributes) != 0 {
		t.Fatalf("spans %+v", spans)
	}
	if got := spans[1].Attributes; len(got) != 1 || got[0] != attribute.String("mode", "normal") {
		t.Errorf("attributes %v", got)
	}
	if err := provider.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestTheModeTravelsToTheServicesThatAreCalled(t *testing.T) {
	source := &switched{}
	if ctx := modeotel.WithBaggage(t.Context(), source); modeotel.FromBaggage(ctx) != "" {
		t.Error("baggage without a mode")
	}
	for _, mode := range []string{"normal", "read-only", "größer; a=b, c"} {
		source.state.Mode = "callers"
		ctx := modeotel.WithBaggage(t.Context(), source) // what a caller told is replaced
		source.state.Mode = engine.Mode(mode)
		ctx = modeotel.WithBaggage(ctx, source)
		header := http.Header{}
		propagation.Baggage{}.Inject(ctx, propagation.HeaderCarrier(header))
		there := propagation.Baggage{}.Extract(context.Background(), propagation.HeaderCarrier(header))
		if got := modeotel.FromBaggage(there); got != mode {
			t.Errorf("sent %q, arrived %q as %q", mode, got, header.Get("Baggage"))
		}
	}
}
