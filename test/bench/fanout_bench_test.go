package bench

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/modeshift/modeshift/engine"
	"github.com/modeshift/modeshift/engine/api"
)

// order of the kinds in each round.
var inTurn = []string{"modeshift", "sse", "nats", "grpc"}

// silent is modeshift when its clients hold their reports back until the last of them has decoded the directive: what the fan-out
// is without the acknowledgements, which cost as much and which none of the others has.
const silent = "silent"

// fanout is modeshift and what it is compared with, each with as many clients, all connected at once.
type fanout struct {
	tb      testing.TB
	size    int
	servers map[string]*process
	clients map[string]*process
	connKB  map[string]float64 // resident memory of the server, for each connection
	changes *api.Client        // of modeshift
	count   uint64             // rounds
	mode    engine.Mode        // of modeshift
}

// patience is how long all clients may take for anything.
const patience = 2 * time.Minute

// newFanout connects the clients of each kind.
func newFanout(tb testing.TB, size int) *fanout {
	tb.Helper()
	f := &fanout{tb: tb, size: size, servers: map[string]*process{}, clients: map[string]*process{}, connKB: map[string]float64{}, mode: "normal"}
	for _, kind := range inTurn {
		p := part{Role: "server", Kind: kind, Addr: freeAddress(tb)}
		if kind == "modeshift" {
			p.Dir = tb.TempDir()
			root, _ := api.NewAdminToken()
			instances, _ := api.NewAdminToken()
			for name, text := range map[string]string{
				"rules.yaml": fanoutRules,
				"tokens.yaml": fmt.Sprintf("- {sha256: %s, principal: root, roles: [admin]}\n- {sha256: %s, principal: fleet, roles: [instance], scopes: [%s]}\n",
					api.HashToken(root), api.HashToken(instances), scope),
				"modeshift.yaml": fmt.Sprintf("rules: [rules.yaml]\ndata: data\ntokens_file: tokens.yaml\nlisten: %s\nprometheus: [{name: main, url: 'http://127.0.0.1:1'}]\n", p.Addr),
			} {
				if err := os.WriteFile(filepath.Join(p.Dir, name), []byte(text), 0o600); err != nil {
					tb.Fatal(err)
				}
			}
			var err error
			if f.changes, err = api.NewClient("http://"+p.Addr, root, nil); err != nil {
				tb.Fatal(err)
			}
			p.Token = instances.Reveal()
		}
		f.servers[kind] = begin(tb, p)
		empty := residentMB(tb, f.servers[kind].cmd.Process.Pid)
		p.Role, p.Dir, p.Tries = "clients", "", kind == "modeshift"
		f.clients[kind] = begin(tb, p)
		f.clients[kind].tell(order{Connect: size, Patience: patience})
		f.clients[kind].next(func(a answer) bool { return a.Ready })
		f.connKB[kind] = (residentMB(tb, f.servers[kind].cmd.Process.Pid) - empty) * 1024 / float64(size)
	}
	return f
}

func freeAddress(tb testing.TB) string {
	tb.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	if err := l.Close(); err != nil {
		tb.Fatal(err)
	}
	return l.Addr().String()
}

// round tells all clients of a kind something, and returns how long after its commit each of them had decoded it, ascending; of
// modeshift also how long after it the log said that all have applied it, or all but one, which is as much as a change may ask for.
func (f *fanout) round(kind string) (took []time.Duration, acked time.Duration) {
	f.tb.Helper()
	if kind == silent {
		kind = "modeshift"
		f.clients[kind].tell(order{Hold: true})
		f.clients[kind].next(func(a answer) bool { return a.Ready })
	}
	if kind == "modeshift" {
		f.set()
	} else {
		f.count++
		f.servers[kind].tell(order{Publish: f.count})
	}
	published := f.servers[kind].next(func(a answer) bool { return a.Fact == "published" })
	took = f.arrived(kind, order{Await: published.Rev}, published.At)
	if kind == "modeshift" {
		applied := f.servers[kind].next(func(a answer) bool { return a.Fact == "applied" })
		if applied.Acked < f.size-1 || applied.Rev != published.Rev {
			f.tb.Fatalf("%d of %d instances have applied revision %d; that of the round is %d", applied.Acked, f.size, applied.Rev, published.Rev)
		}
		acked = time.Duration(applied.At - published.At)
		f.servers[kind].next(func(a answer) bool { return a.Fact == "done" }) // or the next one would overtake it
	}
	return took, acked
}

// set takes the scope to its other mode.
func (f *fanout) set() {
	f.tb.Helper()
	if f.mode == "normal" {
		f.mode = "degraded"
	} else {
		f.mode = "normal"
	}
	if _, err := f.changes.Set(f.tb.Context(), scope, api.SetRequest{Mode: f.mode, Reason: "benchmark", DirectiveOnly: true}); err != nil {
		f.tb.Fatal(err)
	}
}

// arrived waits until each client has what it awaits, and returns how long after since each had.
func (f *fanout) arrived(kind string, awaited order, since int64) []time.Duration {
	f.tb.Helper()
	awaited.Patience = patience
	f.clients[kind].tell(awaited)
	a := f.clients[kind].next(func(a answer) bool { return a.Rev == awaited.Await })
	if len(a.Arrived) != f.size {
		f.tb.Fatalf("%s: %d of %d clients have revision %d", kind, len(a.Arrived), f.size, awaited.Await)
	}
	took := make([]time.Duration, len(a.Arrived))
	for i, at := range a.Arrived {
		took[i] = time.Duration(at - since)
	}
	slices.Sort(took)
	return took
}

// storm kills modeshift, lets it be away for a while, starts it again on the same port and data, and returns how long after that
// each instance had its directive again, and the server's memory at its peak, in MB.
func (f *fanout) storm(away time.Duration) (took []time.Duration, peakMB float64) {
	f.tb.Helper()
	old := f.servers["modeshift"]
	old.kill()
	time.Sleep(away)
	began := time.Now().UnixNano()
	f.servers["modeshift"] = begin(f.tb, old.part)
	took = f.arrived("modeshift", order{Await: 1, Since: began}, began)
	return took, memoryMB(f.tb, f.servers["modeshift"].cmd.Process.Pid, "VmHWM:")
}

func p99(took []time.Duration) time.Duration { return took[(len(took)*99+99)/100-1] }

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// median of a copy.
func median(of []float64) float64 {
	sorted := slices.Sorted(slices.Values(of))
	return (sorted[(len(sorted)-1)/2] + sorted[len(sorted)/2]) / 2
}

// BenchmarkFanout tells ten thousand connected instances of a directive, beside plain server-sent events, NATS and gRPC in turn, each
// with as many clients of its own and the same payload. Servers and clients are processes apart that share this machine's cores.
// Then modeshift's server is killed and comes back.
func BenchmarkFanout(b *testing.B) {
	const size, rounds = 10_000, 9
	for range b.N {
		f := newFanout(b, size)
		tails, acks := map[string][]float64{}, []float64{}
		for n := range rounds + 1 {
			for _, kind := range append(inTurn, silent) {
				took, acked := f.round(kind)
				fmt.Printf("round %d %-9s p50 %4.0f ms  p99 %4.0f ms  last %4.0f ms", n, kind, ms(took[len(took)/2]), ms(p99(took)), ms(took[len(took)-1]))
				if kind == "modeshift" {
					fmt.Printf("  acknowledged %4.0f ms", ms(acked))
				}
				fmt.Println()
				if n == 0 { // caches are cold, ours and theirs
					continue
				}
				tails[kind] = append(tails[kind], ms(p99(took)))
				if kind == "modeshift" {
					acks = append(acks, ms(acked))
				}
			}
		}
		for _, kind := range inTurn[1:] {
			fmt.Printf("BENCH fanout_%s_p99_ms %.0f ms\nBENCH fanout_vs_%s %.2f ratio\nBENCH conn_%s_kb %.1f kB\n",
				kind, median(tails[kind]), kind, median(tails["modeshift"])/median(tails[kind]), kind, f.connKB[kind])
		}
		fmt.Printf("BENCH fanout_silent_p99_ms %.0f ms\nBENCH fanout_silent_vs_sse %.2f ratio\n", median(tails[silent]), median(tails[silent])/median(tails["sse"]))
		fmt.Printf("BENCH fanout_p99_ms %.0f ms\nBENCH conn_kb %.1f kB\nBENCH ack_10k_ms %.0f ms\n", median(tails["modeshift"]), f.connKB["modeshift"], median(acks))
		for _, kind := range inTurn[1:] {
			f.servers[kind].kill()
			f.clients[kind].kill()
		}
		took, peak := f.storm(backoffCap) // so long that the clients' pauses are as long as they get
		fmt.Printf("BENCH reconnect_storm_p99_s %.2f s\nBENCH storm_rss_mb %.0f MB\n", p99(took).Seconds(), peak)
	}
}

func TestFanout(t *testing.T) {
	const size = 200
	f := newFanout(t, size)
	for range 3 {
		for _, kind := range append(inTurn, silent) {
			f.round(kind) // fails unless each client is told, and each instance reports
		}
	}
	f.storm(100 * time.Millisecond)
	f.round("modeshift")
}
