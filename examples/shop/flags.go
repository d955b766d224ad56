package shop

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/open-feature/go-sdk-contrib/providers/ofrep"
	"github.com/open-feature/go-sdk/openfeature"

	"github.com/modeshift/modeshift/engine/secret"
)

// The flags the shop reads.
const (
	flagMode            = "mode"
	flagRecommendations = "recommendations"
)

// posture is what the flags say, taken together.
type posture struct {
	mode            string // empty: nobody has said yet
	recommendations bool
}

// flags follows the feature flags of the shop's scope. The OFREP provider makes one request for each evaluation, so they are
// evaluated in the background and a page reads the last values.
type flags struct {
	// domain names the instance's provider in the SDK's table, which belongs to the whole process: several shops must not
	// meet there.
	domain    string
	context   openfeature.EvaluationContext
	transport *http.Transport
	client    atomic.Pointer[openfeature.Client] // nil: nobody to ask
	current   atomic.Pointer[posture]
	metrics   *metrics
	log       *slog.Logger
}

func newFlags(service, instance string, m *metrics, log *slog.Logger) *flags {
	f := &flags{
		domain:    "shop-" + instance,
		context:   openfeature.NewEvaluationContext(instance, map[string]any{"service": service}),
		transport: &http.Transport{},
		metrics:   m,
		log:       log,
	}
	f.current.Store(&posture{recommendations: true})
	return f
}

// follow says whom to ask from the next refresh on.
func (f *flags) follow(url string, token secret.Secret) error {
	options := []ofrep.Option{ofrep.WithClient(&http.Client{Timeout: time.Second, Transport: f.transport})}
	if !token.IsZero() {
		options = append(options, ofrep.WithBearerToken(token.Reveal()))
	}
	if err := openfeature.SetNamedProviderAndWait(f.domain, ofrep.NewProvider(url, options...)); err != nil {
		return fmt.Errorf("OpenFeature provider: %w", err)
	}
	f.client.Store(openfeature.NewClient(f.domain))
	return nil
}

// now returns the last values.
func (f *flags) now() posture { return *f.current.Load() }

// refresh asks for both flags and takes them together. On any error the last values hold: not only when modeshift cannot be
// reached, also when it answers that it knows no such flag, since that is what a server says that has lost its rules. A rule
// file for this shop therefore states the flag in every mode.
func (f *flags) refresh(ctx context.Context) {
	client := f.client.Load()
	if client == nil {
		return
	}
	last := f.now()
	mode, err := client.StringValue(ctx, flagMode, last.mode, f.context)
	if err == nil {
		next := posture{mode: mode}
		if next.recommendations, err = client.BooleanValue(ctx, flagRecommendations, last.recommendations, f.context); err == nil {
			f.take(last, next)
			return
		}
	}
	if ctx.Err() == nil {
		f.metrics.flagErrors.Inc()
		f.log.Debug("flags cannot be had; the last ones hold", "mode", last.mode, "err", err)
	}
}

func (f *flags) take(last, next posture) {
	if next == last {
		return
	}
	f.current.Store(&next)
	f.metrics.took(next)
	f.log.Info("took a mode", "mode", next.mode, "recommendations", next.recommendations)
}

// close takes the provider out of the SDK's table.
func (f *flags) close() error {
	f.transport.CloseIdleConnections()
	if f.client.Load() == nil {
		return nil
	}
	return openfeature.SetNamedProviderAndWait(f.domain, openfeature.NoopProvider{})
}
