package openfeature

import (
	"net"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/modeshift/modeshift/actions/flags"
	"github.com/modeshift/modeshift/actions/flags/flagdsync"
	"github.com/modeshift/modeshift/engine"
)

// crowd is a service in a roll-out: some of its instances are told a newer directive.
type crowd struct {
	*service
	mu    sync.Mutex // guards names
	names []string
}

var back = engine.Directive{Term: 1, Revision: 100, Mode: "normal", Flags: engine.Flags{"payment_gateway": "backup", "retries": 3.0}}

func (c *crowd) Told(scope engine.Scope, instance string) engine.Told {
	if slices.Contains(c.Wave(scope), instance) {
		return engine.Told{Scope: scope, Directive: back}
	}
	return c.service.Told(scope, instance)
}

func (c *crowd) Wave(engine.Scope) []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.names
}

// turn is whose turn it is now.
func (c *crowd) turn(names ...string) {
	c.mu.Lock()
	c.names = names
	c.mu.Unlock()
	c.publish("degraded", degraded) // which says that something changed
}

// serveFlagd serves a crowd by flagd's protocol until the test ends, and returns its port.
func serveFlagd(t *testing.T, s *crowd) (port string) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := flags.NewSync(s, flags.Options{}, nil)
	done := make(chan error, 1)
	go func() { done <- server.Serve(listener) }()
	t.Cleanup(func() {
		server.Stop(t.Context())
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	_, port, _ = net.SplitHostPort(listener.Addr().String())
	return port
}

// Providers log what the schema does not take, and go on: nobody would notice.
func TestFlagdsOwnSchemaTakesWhatIsSent(t *testing.T) {
	dir := install(t)
	s := &crowd{service: newService()}
	s.publish("degraded", degraded)
	conn, err := grpc.NewClient("127.0.0.1:"+serveFlagd(t, s), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }() // the server may have closed it
	for _, names := range [][]string{nil, {"pod-1", "pod-7"}} {
		s.turn(names...)
		answer, err := flagdsync.NewFlagSyncServiceClient(conn).FetchAllFlags(t.Context(), &flagdsync.FetchAllFlagsRequest{Selector: "flagSetId=checkout"})
		if err != nil {
			t.Fatal(err)
		}
		node := exec.CommandContext(t.Context(), "node", "valid.mjs")
		node.Dir, node.Stdin = dir, strings.NewReader(answer.GetFlagConfiguration())
		if out, err := node.CombinedOutput(); err != nil || string(out) != "5 flags\n" {
			t.Errorf("a wave of %q: %v, %s\n%s", names, err, out, answer.GetFlagConfiguration())
		}
	}
}

// What flagd's evaluator makes of our targeting only it can say.
func TestAFlagdProviderInAWaveFindsOutWhoseTurnItIs(t *testing.T) {
	dir := install(t)
	s := &crowd{service: newService()}
	s.publish("degraded", degraded)
	port := serveFlagd(t, s)
	run := func(instance string) *client {
		c := start(t, dir, "flagd.mjs", "PORT="+port, "SERVICE=checkout", "INSTANCE="+instance)
		ready := c.until("ready", func(s said) bool { return s.Event == "ready" || s.Event == "failed" })
		c.want("before", ready.Flags, flagdDegraded)
		return c
	}
	member, rest, nameless := run("pod-1"), run("pod-2"), run("")
	s.turn("pod-7", "pod-1")
	wanted := func(s said) bool {
		return s.Event == "changed" && slices.Contains(s.Changed, "mode") && s.Flags["mode"].Reason == "TARGETING_MATCH"
	}
	member.want("a member", member.until("the wave", wanted).Flags, map[string]detail{
		"mode":            {Value: "normal", Reason: "TARGETING_MATCH", Variant: "normal"},
		"payment_gateway": {Value: "backup", Reason: "STATIC", Variant: "degraded"},
		"retries":         {Value: 3.0, Reason: "TARGETING_MATCH", Variant: "normal"},
		"recommendations": {Value: true, Reason: "DEFAULT"}, // its mode does not set it: the default in the code
		"writes":          {Value: true, Reason: "DEFAULT"},
	})
	for name, c := range map[string]*client{"one of the rest": rest, "one who has no name": nameless} {
		c.want(name, c.until("the wave", wanted).Flags, map[string]detail{
			"mode":            {Value: "degraded", Reason: "TARGETING_MATCH", Variant: "degraded"},
			"payment_gateway": {Value: "backup", Reason: "STATIC", Variant: "degraded"},
			"retries":         {Value: 2.0, Reason: "TARGETING_MATCH", Variant: "degraded"},
			"recommendations": {Value: false, Reason: "TARGETING_MATCH", Variant: "degraded"},
		})
	}
}
