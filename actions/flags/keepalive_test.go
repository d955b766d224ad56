package flags

import (
	"context"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"

	"github.com/modeshift/modeshift/actions/flags/flagdsync"
)

// frozen is a connection that may fall silent without ending, as when a cable is pulled.
type frozen struct {
	net.Conn
	once   sync.Once
	silent chan struct{} // closed by freeze
	closed chan struct{}
}

func (f *frozen) freeze() { close(f.silent) }

func (f *frozen) Read(b []byte) (int, error) {
	n, err := f.Conn.Read(b)
	select {
	case <-f.silent:
		<-f.closed
		return 0, net.ErrClosed
	default:
		return n, err
	}
}

func (f *frozen) Write(b []byte) (int, error) {
	select {
	case <-f.silent:
		return len(b), nil
	default:
		return f.Conn.Write(b)
	}
}

func (f *frozen) Close() error {
	f.once.Do(func() { close(f.closed) })
	return f.Conn.Close()
}

// inTime runs a server of flagd's protocol and a client that pings every so often, in a time that costs nothing.
func inTime(t *testing.T, ping time.Duration, then func(*testing.T, *grpc.ClientConn, *Sync, *frozen)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		listener := bufconn.Listen(1 << 20)
		server := NewSync(newServices(shop()), Options{}, nil)
		done := make(chan error, 1)
		go func() { done <- server.Serve(listener) }()
		way := &frozen{silent: make(chan struct{}), closed: make(chan struct{})}
		conn, err := grpc.NewClient("passthrough:///memory", grpc.WithTransportCredentials(insecure.NewCredentials()),
			grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) {
				c, err := listener.DialContext(ctx)
				way.Conn = c
				return way, err
			}),
			grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: ping, Timeout: 10 * time.Second, PermitWithoutStream: true}))
		if err != nil {
			t.Fatal(err)
		}
		then(t, conn, server, way)
		if err := conn.Close(); err != nil {
			t.Error(err)
		}
		server.Stop(t.Context())
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// flagd's Go provider pings every 30 s, streams or none. A server that takes that for an attack closes the connection again
// and again, and its clients are deaf in between.
func TestAClientThatPingsAsProvidersDoKeepsItsConnection(t *testing.T) {
	inTime(t, 30*time.Second, func(t *testing.T, conn *grpc.ClientConn, _ *Sync, _ *frozen) {
		conn.Connect()
		synctest.Wait()
		if got := conn.GetState(); got != connectivity.Ready {
			t.Fatalf("the connection is %v", got)
		}
		ctx, cancel := context.WithTimeout(t.Context(), maxIdle-time.Second)
		defer cancel()
		if conn.WaitForStateChange(ctx, connectivity.Ready) {
			t.Errorf("without a stream it becomes %v", conn.GetState())
		}
	})
	inTime(t, 30*time.Second, func(t *testing.T, conn *grpc.ClientConn, _ *Sync, _ *frozen) {
		stream, err := flagdsync.NewFlagSyncServiceClient(conn).SyncFlags(t.Context(), &flagdsync.SyncFlagsRequest{Selector: "checkout"})
		if err == nil {
			_, err = stream.Recv()
		}
		if err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		_, err = stream.Recv()
		lasted := time.Since(began)
		if status.Code(err) != codes.Unavailable || lasted < maxAge*9/10 || lasted > maxAge*11/10+maxAgeGrace {
			t.Errorf("the stream ended after %v with %v; want the age at which clients spread anew", lasted, err)
		}
	})
}

func TestAClientThatPingsTooOftenIsSentAway(t *testing.T) {
	inTime(t, 10*time.Second, func(t *testing.T, conn *grpc.ClientConn, _ *Sync, _ *frozen) {
		conn.Connect()
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
		defer cancel()
		if !conn.WaitForStateChange(ctx, connectivity.Ready) {
			t.Error("pings every ten seconds are taken for five minutes")
		}
	})
}

func TestAReaderWhoseCableWasPulledIsNoticedWithinTwoHeartbeats(t *testing.T) {
	inTime(t, time.Hour, func(t *testing.T, conn *grpc.ClientConn, server *Sync, way *frozen) {
		stream, err := flagdsync.NewFlagSyncServiceClient(conn).SyncFlags(t.Context(), &flagdsync.SyncFlagsRequest{Selector: "checkout"})
		if err == nil {
			_, err = stream.Recv()
		}
		if err != nil {
			t.Fatal(err)
		}
		if server.Streams() != 1 {
			t.Fatalf("%d streams", server.Streams())
		}
		way.freeze()
		time.Sleep(2 * DefaultHeartbeat)
		synctest.Wait()
		if server.Streams() != 0 {
			t.Errorf("%d streams after two heartbeats of silence", server.Streams())
		}
	})
}
