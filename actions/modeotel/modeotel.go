// Package modeotel adds the mode of a service to its OpenTelemetry traces, and tells it to the services that it calls.
//
//	trace.NewTracerProvider(trace.WithSpanProcessor(modeotel.NewProcessor(a)), ...)
//	ctx = modeotel.WithBaggage(ctx, a) // before calling others
package modeotel

import (
	"context"
	"fmt"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/baggage"
	"go.opentelemetry.io/otel/sdk/trace"

	"github.com/modeshift/modeshift/actions/agent"
)

// Key is that of the attribute and of the baggage member that hold the mode.
const Key = "mode"

// Source says what is in force. An agent.Agent is one.
type Source interface {
	Current() *agent.State
}

// Attribute returns the mode in force, for a span, a metric or a log record; false while there is none.
func Attribute(source Source) (attribute.KeyValue, bool) {
	mode := source.Current().Mode
	return attribute.String(Key, string(mode)), mode != ""
}

// Processor gives each span the mode in which it began.
type Processor struct{ source Source }

// NewProcessor returns a processor for a tracer provider. It has to be given before the one that exports.
func NewProcessor(source Source) *Processor { return &Processor{source} }

// OnStart implements trace.SpanProcessor.
func (p *Processor) OnStart(_ context.Context, span trace.ReadWriteSpan) {
	if a, ok := Attribute(p.source); ok {
		span.SetAttributes(a)
	}
}

// OnEnd implements trace.SpanProcessor.
func (p *Processor) OnEnd(trace.ReadOnlySpan) {}

// Shutdown implements trace.SpanProcessor.
func (p *Processor) Shutdown(context.Context) error { return nil }

// ForceFlush implements trace.SpanProcessor.
func (p *Processor) ForceFlush(context.Context) error { return nil }

// WithBaggage returns a context whose baggage tells the mode in force, in place of what a caller told of its own. Without a mode, or
// when a caller's baggage has no room left, it is ctx.
func WithBaggage(ctx context.Context, source Source) context.Context {
	mode := source.Current().Mode
	if mode == "" {
		return ctx
	}
	member, err := baggage.NewMemberRaw(Key, string(mode))
	if err != nil {
		panic(fmt.Sprintf("%q is no baggage: %v", Key, err)) // any value is encoded; the key is ours
	}
	all, err := baggage.FromContext(ctx).SetMember(member)
	if err != nil {
		return ctx
	}
	return baggage.ContextWithBaggage(ctx, all)
}

// FromBaggage returns the mode that a caller told of itself; empty: none.
func FromBaggage(ctx context.Context) string { return baggage.FromContext(ctx).Member(Key).Value() }
