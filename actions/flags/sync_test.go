package flags

import (
	"context"
	"encoding/json"
	"log/slog"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/modeshift/modeshift/actions/flags/flagdsync"
	"github.com/modeshift/modeshift/engine"
)

// serveFlagd serves flagd's protocol until the test ends, and returns a client.
func serveFlagd(t *testing.T, s Source, opts Options) (*Sync, flagdsync.FlagSyncServiceClient) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := NewSync(s, opts, nil)
	done := make(chan error, 1)
	go func() { done <- server.Serve(listener) }()
	conn, err := grpc.NewClient(listener.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := conn.Close(); err != nil {
			t.Error(err)
		}
		server.Stop(t.Context())
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return server, flagdsync.NewFlagSyncServiceClient(conn)
}

// selecting is a context with flagd's selector and a token; empty: without.
func selecting(t *testing.T, selector, token string) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	if selector != "" {
		ctx = metadata.AppendToOutgoingContext(ctx, "flagd-selector", selector)
	}
	if token != "" {
		ctx = metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+token)
	}
	return ctx
}

// present is the variant of a flag in a configuration.
func present(t *testing.T, config, key string) string {
	t.Helper()
	var d document
	if err := json.Unmarshal([]byte(config), &d); err != nil {
		t.Fatalf("%s: %v", config, err)
	}
	if def := d.Flags[key]; def.State != "ENABLED" {
		t.Errorf("%s has the state %q", key, def.State)
	} else if def.DefaultVariant != nil {
		return *def.DefaultVariant
	}
	return ""
}

func TestFlagdIsSentEverythingAtOnceAndAtEachChange(t *testing.T) {
	s := newServices(shop())
	var mu sync.Mutex
	var fetched []Fetch
	server, client := serveFlagd(t, s, Options{Fetched: func(f Fetch) {
		mu.Lock()
		defer mu.Unlock()
		f.Client, _, _ = strings.Cut(f.Client, "/")
		fetched = append(fetched, f)
	}})
	stream, err := client.SyncFlags(selecting(t, "flagSetId=checkout", ""), &flagdsync.SyncFlagsRequest{ProviderId: "pod-1"})
	if err != nil {
		t.Fatal(err)
	}
	first, err := stream.Recv()
	if err != nil {
		t.Fatal(err)
	}
	if mode, flag := present(t, first.GetFlagConfiguration(), "mode"), present(t, first.GetFlagConfiguration(), "recommendations"); mode != "degraded" || flag != "degraded" {
		t.Errorf("at once: mode %q, recommendations %q", mode, flag)
	}
	told := first.GetSyncContext().AsMap()
	if told["mode"] != "degraded" || told["revision"] != 7.0 || told["term"] != 1.0 || told["service"] != "checkout" || len(told) != 4 {
		t.Errorf("the context is %v", told)
	}
	s.change("checkout", func(v *engine.View) { v.State.Version++ }) // an event that publishes nothing
	s.change("checkout", func(v *engine.View) { v.State.Directive = engine.Directive{Term: 1, Revision: 8, Mode: "normal"} })
	second, err := stream.Recv()
	if err != nil {
		t.Fatal(err)
	}
	if mode, flag := present(t, second.GetFlagConfiguration(), "mode"), present(t, second.GetFlagConfiguration(), "recommendations"); mode != "normal" || flag != "" {
		t.Errorf("after the change: mode %q, recommendations %q", mode, flag)
	}
	s.wave("checkout", engine.Directive{Term: 1, Revision: 9, Mode: "read-only", Flags: engine.Flags{"writes": false}}, "pod-1")
	third, err := stream.Recv()
	if err != nil {
		t.Fatal(err)
	}
	if told := third.GetSyncContext().AsMap(); told["mode"] != "read-only" || told["revision"] != 9.0 {
		t.Errorf("a member of the wave has the context %v", told)
	}
	eventually(t, "that three were sent", func() bool { mu.Lock(); defer mu.Unlock(); return len(fetched) == 3 })
	want := []Fetch{{"checkout", 7, "pod-1", "grpc-go", ViaFlagd}, {"checkout", 8, "pod-1", "grpc-go", ViaFlagd}, {"checkout", 9, "pod-1", "grpc-go", ViaFlagd}}
	if !slices.Equal(fetched, want) || server.Streams() != 1 {
		t.Errorf("%d streams; sent %v, want %v", server.Streams(), fetched, want)
	}
}

func TestTheScopeIsFoundInTheSelector(t *testing.T) {
	_, client := serveFlagd(t, newServices(shop()), Options{})
	_, sole := serveFlagd(t, newServices(shop()), Options{Default: func(string) (engine.Scope, bool) { return "checkout", true }})
	for _, c := range []struct {
		header, field string
		want          codes.Code
	}{
		{"flagSetId=checkout", "", codes.OK},
		{"source=checkout", "", codes.OK},
		{"checkout", "", codes.OK},
		{"source=elsewhere, flagSetId = checkout", "", codes.OK},
		{"", "flagSetId=checkout", codes.OK},
		{"", "source=checkout,app=x", codes.OK},
		{"flagSetId=checkout", "flagSetId=nobody", codes.OK},
		{"flagSetId=nobody", "flagSetId=checkout", codes.NotFound},
		{"flagSetId=fleet", "", codes.NotFound},
		{"app=checkout", "", codes.InvalidArgument},
		{"flagSetId=", "", codes.InvalidArgument},
		{"", "", codes.InvalidArgument},
		{strings.Repeat("x", 10_000), "", codes.NotFound},
	} {
		got, err := client.FetchAllFlags(selecting(t, c.header, ""), &flagdsync.FetchAllFlagsRequest{Selector: c.field})
		if status.Code(err) != c.want || err == nil && present(t, got.GetFlagConfiguration(), "mode") != "degraded" {
			t.Errorf("%.50q and %q: %.200v, want %v", c.header, c.field, err, c.want)
		}
		if err != nil && len(err.Error()) > 500 {
			t.Errorf("the answer has %d bytes", len(err.Error()))
		}
	}
	if _, err := sole.FetchAllFlags(selecting(t, "", ""), &flagdsync.FetchAllFlagsRequest{}); err != nil {
		t.Errorf("where there is one scope only: %v", err)
	}
	if got, err := sole.GetMetadata(selecting(t, "", ""), &flagdsync.GetMetadataRequest{}); err != nil || got.GetMetadata().AsMap()["mode"] != "degraded" {
		t.Errorf("what older clients ask for: %v, %v", got, err)
	}
}

func TestFlagdNeedsATokenWhereThereAreTokens(t *testing.T) {
	g := &revocable{guard: guard{"x": "checkout"}}
	_, client := serveFlagd(t, newServices(shop()), Options{Guard: g, Heartbeat: 5 * time.Millisecond})
	for _, c := range []struct {
		scope, token string
		want         codes.Code
	}{
		{"checkout", "x", codes.OK}, {"payments", "x", codes.PermissionDenied}, {"nobody", "x", codes.PermissionDenied},
		{"checkout", "", codes.Unauthenticated}, {"checkout", "guessed", codes.Unauthenticated}, {"nobody", "", codes.Unauthenticated},
	} {
		ctx := selecting(t, "flagSetId="+c.scope, c.token)
		if _, err := client.FetchAllFlags(ctx, &flagdsync.FetchAllFlagsRequest{}); status.Code(err) != c.want {
			t.Errorf("%q in %s: %v, want %v", c.token, c.scope, err, c.want)
		}
		stream, err := client.SyncFlags(ctx, &flagdsync.SyncFlagsRequest{})
		if err == nil {
			_, err = stream.Recv()
		}
		if status.Code(err) != c.want {
			t.Errorf("%q follows %s: %v, want %v", c.token, c.scope, err, c.want)
		}
	}
	stream, err := client.SyncFlags(selecting(t, "checkout", "x"), &flagdsync.SyncFlagsRequest{})
	if err == nil {
		_, err = stream.Recv()
	}
	if err != nil {
		t.Fatal(err)
	}
	g.mu.Lock()
	delete(g.guard, "x")
	g.mu.Unlock()
	if _, err := stream.Recv(); status.Code(err) != codes.PermissionDenied {
		t.Errorf("after its token was taken back: %v", err)
	}
}

// A stream that ends well is one that npm's provider never opens again.
func TestStreamsOfFlagdEndWithAnErrorWhenTheServerDoes(t *testing.T) {
	server, client := serveFlagd(t, newServices(shop()), Options{MaxStreams: 1})
	stream, err := client.SyncFlags(selecting(t, "checkout", ""), &flagdsync.SyncFlagsRequest{})
	if err == nil {
		_, err = stream.Recv()
	}
	if err != nil {
		t.Fatal(err)
	}
	second, err := client.SyncFlags(selecting(t, "checkout", ""), &flagdsync.SyncFlagsRequest{})
	if err == nil {
		_, err = second.Recv()
	}
	if status.Code(err) != codes.ResourceExhausted {
		t.Errorf("one too many: %v", err)
	}
	server.Stop(t.Context())
	if _, err := stream.Recv(); status.Code(err) != codes.Unavailable {
		t.Errorf("the stream ends with %v", err)
	}
	server.Stop(t.Context()) // once more changes nothing
}

func TestAServerOfFlagdMayBeStoppedBeforeItServes(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := NewSync(newServices(shop()), Options{}, nil)
	s.Stop(t.Context())
	if err := s.Serve(listener); err != nil {
		t.Error(err)
	}
}

func TestAPanicEndsOneCallAndNotTheServer(t *testing.T) {
	var log strings.Builder
	_, client := serveFlagd(t, newServices(shop()), Options{
		Meta:   func(engine.Scope, string) map[string]any { panic("a fault of this test") },
		Logger: slog.New(slog.NewTextHandler(&log, nil)),
	})
	for range 2 {
		if _, err := client.FetchAllFlags(selecting(t, "checkout", ""), &flagdsync.FetchAllFlagsRequest{}); status.Code(err) != codes.Internal {
			t.Errorf("the answer is %v", err)
		}
		stream, err := client.SyncFlags(selecting(t, "checkout", ""), &flagdsync.SyncFlagsRequest{})
		if err == nil {
			_, err = stream.Recv()
		}
		if status.Code(err) != codes.Internal {
			t.Errorf("the stream ends with %v", err)
		}
	}
	if !strings.Contains(log.String(), "a fault of this test") {
		t.Errorf("the log says nothing of it: %s", log.String())
	}
}

// A client that does not read fills its window, and its own stream stands still: nobody else's does.
func TestAFlagdThatDoesNotReadHoldsUpNobody(t *testing.T) {
	big := shop()
	big.State.Directive.Flags = engine.Flags{"big": strings.Repeat("x", 100_000)} // a window is 64 kB
	s := newServices(big)
	_, slow := serveFlagd(t, s, Options{})
	stuck, err := slow.SyncFlags(selecting(t, "checkout", ""), &flagdsync.SyncFlagsRequest{})
	if err != nil {
		t.Fatal(err)
	}
	quick, err := slow.SyncFlags(selecting(t, "checkout", ""), &flagdsync.SyncFlagsRequest{}) // on the same connection
	if err != nil {
		t.Fatal(err)
	}
	const last = 107
	version := func(m *flagdsync.SyncFlagsResponse) float64 { return m.GetSyncContext().AsMap()["revision"].(float64) }
	for revision := 8; revision <= last; revision++ {
		m, err := quick.Recv()
		if err != nil {
			t.Fatal(err)
		}
		if got := version(m); got != float64(revision-1) {
			t.Fatalf("revision %v, want %d", got, revision-1)
		}
		s.change("checkout", next(engine.Version(revision)))
	}
	messages := 0
	for {
		m, err := stuck.Recv()
		if err != nil {
			t.Fatal(err)
		}
		messages++
		if version(m) == last {
			break
		}
	}
	if messages > 50 {
		t.Errorf("the slow one was sent %d of 100 configurations, want the newest alone", messages)
	}
}

func FuzzNoSelectorBreaksTheServer(f *testing.F) {
	for _, seed := range []string{"", "flagSetId=checkout", "source=", "=,=", "a=b,c", "\xff", "flagSetId=checkout,flagSetId=x", strings.Repeat("=", 300)} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, selector string) {
		scope, err := selected(selector)
		if err != nil && (scope != "" || status.Code(err) != codes.InvalidArgument) {
			t.Errorf("%q: %q, %v", selector, scope, err)
		}
	})
}
