package flags

import (
	"context"
	"net/http/httptest"
	"testing"

	"github.com/open-feature/go-sdk-contrib/providers/ofrep"
	"github.com/open-feature/go-sdk/openfeature"

	"github.com/modeshift/modeshift/engine"
)

// The Go provider is a client nobody here wrote: what it makes of our answers is what users get.

func goClient(t *testing.T, source Source, service string) *openfeature.Client {
	t.Helper()
	server := httptest.NewServer(Handler(source, Options{}))
	t.Cleanup(server.Close)
	if err := openfeature.SetNamedProviderAndWait(t.Name(), ofrep.NewProvider(server.URL)); err != nil {
		t.Fatal(err)
	}
	client := openfeature.NewClient(t.Name())
	client.SetEvaluationContext(openfeature.NewEvaluationContext("pod-1", map[string]any{"service": service}))
	return client
}

func TestTheGoProviderFollowsTheMode(t *testing.T) {
	s := newServices(shop())
	client := goClient(t, s, "checkout")
	ctx := context.Background()
	mode, err := client.StringValueDetails(ctx, "mode", "unset", openfeature.EvaluationContext{})
	if err != nil || mode.Value != "degraded" || mode.Variant != "degraded" || mode.Reason != openfeature.StaticReason {
		t.Errorf("mode: %+v, %v", mode, err)
	}
	if revision, err := mode.FlagMetadata.GetFloat("revision"); err != nil || revision != 7 {
		t.Errorf("revision: %v, %v", revision, err)
	}
	if on, err := client.BooleanValue(ctx, "recommendations", true, openfeature.EvaluationContext{}); err != nil || on {
		t.Errorf("recommendations: %v, %v", on, err)
	}
	if gateway, err := client.StringValue(ctx, "payment_gateway", "main", openfeature.EvaluationContext{}); err != nil || gateway != "backup" {
		t.Errorf("payment_gateway: %v, %v", gateway, err)
	}
	if n, err := client.IntValue(ctx, "retries", 5, openfeature.EvaluationContext{}); err != nil || n != 2 {
		t.Errorf("retries: %v, %v", n, err)
	}
	s.change("checkout", func(v *engine.View) {
		v.State.Directive = engine.Directive{Term: 1, Revision: 8, Mode: "normal"}
	})
	if got, err := client.StringValue(ctx, "mode", "unset", openfeature.EvaluationContext{}); err != nil || got != "normal" {
		t.Errorf("after the change the mode is %v, %v", got, err)
	}
	for _, inCode := range []bool{true, false} {
		d, err := client.BooleanValueDetails(ctx, "recommendations", inCode, openfeature.EvaluationContext{})
		if err != nil || d.Value != inCode || d.Reason != openfeature.DisabledReason {
			t.Errorf("a flag the mode does not set: %+v, %v; the code says %v", d, err, inCode)
		}
	}
}

func TestTheGoProviderTellsWhatIsWrong(t *testing.T) {
	for name, c := range map[string]struct {
		service, flag string
		want          openfeature.ErrorCode
	}{
		"an unknown flag":    {"checkout", "nothing", openfeature.FlagNotFoundCode},
		"an unknown service": {"chekout", "mode", openfeature.FlagNotFoundCode},
		"no service":         {"", "mode", openfeature.InvalidContextCode},
	} {
		t.Run(name, func(t *testing.T) {
			client := goClient(t, newServices(shop()), c.service)
			d, err := client.StringValueDetails(context.Background(), c.flag, "in code", openfeature.EvaluationContext{})
			if err == nil || d.ErrorCode != c.want || d.Value != "in code" {
				t.Errorf("got %+v, %v; want %s and the default", d, err, c.want)
			}
		})
	}
}
