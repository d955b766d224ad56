// Package modelog adds the mode of a service to what it logs with slog.
package modelog

import (
	"context"
	"log/slog"
	"slices"
	"sync/atomic"

	"github.com/modeshift/modeshift/actions/agent"
	"github.com/modeshift/modeshift/engine"
)

// Key is the attribute that holds the mode. It stands at the top level of a record, outside of any group, so that logs can be
// searched by it. It is absent while there is no mode.
const Key = "mode"

// Source says what is in force. An agent.Agent is one.
type Source interface {
	Current() *agent.State
}

// Handler hands records on to another handler, with the mode in force when each was written.
type Handler struct {
	source Source
	base   slog.Handler                      // before any group
	steps  []func(slog.Handler) slog.Handler // the groups and attributes that were added since, in order
	last   atomic.Pointer[derived]
}

// derived is the handler for one mode. Modes change seldom: it is made once for each, and not for each record.
type derived struct {
	mode    engine.Mode
	handler slog.Handler
}

// New returns a handler that hands on to next.
func New(next slog.Handler, source Source) *Handler { return &Handler{source: source, base: next} }

// Enabled implements slog.Handler.
func (h *Handler) Enabled(ctx context.Context, level slog.Level) bool {
	return h.base.Enabled(ctx, level)
}

// Handle implements slog.Handler.
func (h *Handler) Handle(ctx context.Context, r slog.Record) error {
	mode := h.source.Current().Mode
	d := h.last.Load()
	if d == nil || d.mode != mode {
		d = &derived{mode, h.derive(mode)}
		h.last.Store(d)
	}
	return d.handler.Handle(ctx, r)
}

func (h *Handler) derive(mode engine.Mode) slog.Handler {
	out := h.base
	if mode != "" {
		out = out.WithAttrs([]slog.Attr{slog.String(Key, string(mode))})
	}
	for _, step := range h.steps {
		out = step(out)
	}
	return out
}

// WithAttrs implements slog.Handler.
func (h *Handler) WithAttrs(attrs []slog.Attr) slog.Handler {
	if len(attrs) == 0 {
		return h
	}
	return h.with(func(next slog.Handler) slog.Handler { return next.WithAttrs(attrs) })
}

// WithGroup implements slog.Handler.
func (h *Handler) WithGroup(name string) slog.Handler {
	if name == "" {
		return h
	}
	return h.with(func(next slog.Handler) slog.Handler { return next.WithGroup(name) })
}

func (h *Handler) with(step func(slog.Handler) slog.Handler) *Handler {
	return &Handler{source: h.source, base: h.base, steps: append(slices.Clip(h.steps), step)}
}
