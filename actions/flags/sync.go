package flags

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"runtime/debug"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/modeshift/modeshift/actions/flags/flagdsync"
	"github.com/modeshift/modeshift/engine"
)

// The rules of connections.
const (
	// minPing is how often a client may ping, with or without a stream. flagd's Go provider pings every 30 s; grpc's own
	// bound of five minutes would answer that with GOAWAY every minute and a half, for ever.
	minPing = 20 * time.Second
	// A connection on which nothing comes is pinged, and given up when no answer comes: a half-open one is noticed so.
	ping, pingWait = 15 * time.Second, 10 * time.Second
	// maxAge has clients connect anew now and then, so that they spread over servers again. grpc takes up to a tenth off or
	// adds it, so that not all come at once. It is no shorter because some clients wait seconds before they come back.
	maxAge, maxAgeGrace = 30 * time.Minute, 10 * time.Second
	// maxIdle is how long a connection may be there for nothing.
	maxIdle = 5 * time.Minute
	// maxRequest is far above what a request needs, in bytes.
	maxRequest = 64 << 10
	// maxConnectionStreams bounds the streams of one connection; a client needs one.
	maxConnectionStreams = 100
)

// selectorHeader names the scope, as flagSetId=checkout or source=checkout.
const selectorHeader = "flagd-selector"

// Sync serves flagd's sync protocol. It is safe for concurrent use.
type Sync struct {
	flagdsync.UnimplementedFlagSyncServiceServer

	opts    Options
	book    *book
	server  *grpc.Server
	streams atomic.Int64

	stopped chan struct{} // closed by Stop
	stop    sync.Once
}

// NewSync makes a server of flagd's sync protocol. With cert it speaks TLS. Of the options those of HTTP alone do not matter.
func NewSync(source Source, opts Options, cert *tls.Certificate) *Sync {
	opts.complete()
	s := &Sync{opts: opts, book: newBook(source, opts.Meta), stopped: make(chan struct{})}
	options := []grpc.ServerOption{
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: minPing, PermitWithoutStream: true}),
		grpc.KeepaliveParams(keepalive.ServerParameters{Time: ping, Timeout: pingWait, MaxConnectionAge: maxAge, MaxConnectionAgeGrace: maxAgeGrace, MaxConnectionIdle: maxIdle}),
		grpc.MaxRecvMsgSize(maxRequest),
		grpc.MaxConcurrentStreams(maxConnectionStreams),
		grpc.ConnectionTimeout(10 * time.Second),
		grpc.ChainUnaryInterceptor(func(ctx context.Context, request any, _ *grpc.UnaryServerInfo, next grpc.UnaryHandler) (_ any, err error) {
			defer s.recovered(&err)
			return next(ctx, request)
		}),
		grpc.ChainStreamInterceptor(func(server any, stream grpc.ServerStream, _ *grpc.StreamServerInfo, next grpc.StreamHandler) (err error) {
			defer s.recovered(&err)
			return next(server, stream)
		}),
	}
	if cert != nil {
		options = append(options, grpc.Creds(credentials.NewTLS(&tls.Config{Certificates: []tls.Certificate{*cert}, MinVersion: tls.VersionTLS12})))
	}
	s.server = grpc.NewServer(options...)
	flagdsync.RegisterFlagSyncServiceServer(s.server, s)
	return s
}

// recovered keeps a fault in one call from ending the program, as net/http does.
func (s *Sync) recovered(err *error) {
	if p := recover(); p != nil {
		s.opts.Logger.Error("a call of flagd's protocol panicked", "panic", p, "stack", string(debug.Stack()))
		*err = status.Error(codes.Internal, "a fault in the server; its log says more")
	}
}

// Serve serves a listener, which it closes, until Stop.
func (s *Sync) Serve(l net.Listener) error {
	if err := s.server.Serve(l); !errors.Is(err, grpc.ErrServerStopped) {
		return err
	}
	return nil
}

// Stop ends all streams, waits for calls under way until ctx ends, and cuts off what is left. It may come before Serve, and
// more than once.
func (s *Sync) Stop(ctx context.Context) {
	s.stop.Do(func() { close(s.stopped) })
	over := make(chan struct{})
	go func() {
		defer close(over)
		s.server.GracefulStop()
	}()
	select {
	case <-over:
	case <-ctx.Done():
		s.server.Stop() // which ends GracefulStop too
		<-over
	}
}

// Streams is the number of streams that are open.
func (s *Sync) Streams() int { return int(s.streams.Load()) }

// SyncFlags implements flagd's protocol. It only ever sends what is told now: a slow reader gets the last change and none
// before it, and holds up nobody but itself.
func (s *Sync) SyncFlags(request *flagdsync.SyncFlagsRequest, out grpc.ServerStreamingServer[flagdsync.SyncFlagsResponse]) error {
	ctx := out.Context()
	who, err := s.asker(ctx, request)
	if err != nil {
		return err
	}
	defer s.streams.Add(-1)
	if s.streams.Add(1) > int64(s.opts.MaxStreams) {
		return status.Error(codes.ResourceExhausted, "too many streams are open; FetchAllFlags still answers")
	}
	beat := time.NewTicker(s.opts.Heartbeat)
	defer beat.Stop()
	defer s.book.follow(who.scope)()
	sent := ""
	for {
		sheet, config, tag, err := s.find(who.scope)
		if err != nil {
			return err
		}
		if tag != sent {
			told, err := structpb.NewStruct(syncContext(sheet, who))
			if err != nil {
				return s.broken(err)
			}
			if err := out.Send(&flagdsync.SyncFlagsResponse{FlagConfiguration: config, SyncContext: told}); err != nil {
				return err
			}
			sent = tag
			s.fetched(who, sheet)
		}
		for quiet := true; quiet; {
			select {
			case <-sheet.moved:
				quiet = false
			case <-beat.C: // that the connection is alive, grpc's own pings say
				if err := s.permit(&who, who.scope); err != nil {
					return err
				}
			case <-ctx.Done():
				return status.FromContextError(ctx.Err()).Err()
			case <-s.stopped:
				// An error, always: npm's provider comes back after one, and never after a stream that ended well.
				return status.Error(codes.Unavailable, "the server is stopping")
			}
		}
	}
}

// FetchAllFlags implements flagd's protocol.
func (s *Sync) FetchAllFlags(ctx context.Context, request *flagdsync.FetchAllFlagsRequest) (*flagdsync.FetchAllFlagsResponse, error) {
	who, err := s.asker(ctx, request)
	if err != nil {
		return nil, err
	}
	sheet, config, _, err := s.find(who.scope)
	if err != nil {
		return nil, err
	}
	s.fetched(who, sheet)
	return &flagdsync.FetchAllFlagsResponse{FlagConfiguration: config}, nil
}

// GetMetadata implements flagd's protocol: what sync_context says, for clients that are older than that.
func (s *Sync) GetMetadata(ctx context.Context, _ *flagdsync.GetMetadataRequest) (*flagdsync.GetMetadataResponse, error) {
	who, err := s.asker(ctx, &flagdsync.FetchAllFlagsRequest{})
	if err != nil {
		return nil, err
	}
	sheet, _, _, err := s.find(who.scope)
	if err != nil {
		return nil, err
	}
	told, err := structpb.NewStruct(syncContext(sheet, who))
	if err != nil {
		return nil, s.broken(err)
	}
	return &flagdsync.GetMetadataResponse{Metadata: told}, nil
}

// syncContext is what clients merge into the context of each evaluation, and hooks put on spans and logs. Numbers are those
// of JSON: a revision is exact up to 2^53.
func syncContext(s *sheet, who asker) map[string]any {
	g := s.group(who.instance)
	told := map[string]any{"service": string(s.scope)}
	if g.ever() {
		told["mode"], told["revision"], told["term"] = string(g.told.Mode), float64(g.told.Revision), float64(g.told.Term)
	}
	return told
}

// asker finds out who asks and for what, and whether they may. provider_id is the client's name for itself: where it is an
// instance's, the sync context is that instance's.
func (s *Sync) asker(ctx context.Context, request interface {
	GetProviderId() string
	GetSelector() string
}) (asker, error) {
	md, _ := metadata.FromIncomingContext(ctx)
	who := asker{instance: request.GetProviderId(), client: first(md, "user-agent")}
	if s.opts.Guard != nil {
		header := http.Header{"Authorization": md["authorization"], "X-Api-Key": md["x-api-key"]}
		reader, code, detail := s.opts.Guard.Reader(credential(header))
		if code != 0 {
			return who, refused(code, detail)
		}
		who.reader = reader
	}
	selector := first(md, selectorHeader)
	if selector == "" {
		selector = request.GetSelector()
	}
	scope, err := selected(selector)
	if err != nil {
		return who, err
	}
	return who, s.permit(&who, scope)
}

func first(md metadata.MD, key string) string {
	if values := md[key]; len(values) > 0 {
		return values[0]
	}
	return ""
}

// selected finds the scope in a selector: flagSetId=checkout, or source=checkout as older clients say it, or the bare name.
// What else may stand beside it is for other servers.
func selected(selector string) (engine.Scope, error) {
	if selector == "" {
		return "", nil
	}
	if !strings.Contains(selector, "=") {
		return engine.Scope(selector), nil
	}
	parts := map[string]string{}
	for part := range strings.SplitSeq(selector, ",") {
		key, value, _ := strings.Cut(part, "=")
		parts[strings.TrimSpace(key)] = strings.TrimSpace(value)
	}
	for _, key := range []string{"flagSetId", "source"} {
		if parts[key] != "" {
			return engine.Scope(parts[key]), nil
		}
	}
	return "", status.Errorf(codes.InvalidArgument, "the selector %q names no service: it has to hold flagSetId=NAME", clipped(selector))
}

func (s *Sync) permit(who *asker, scope engine.Scope) error {
	if scope == "" && s.opts.Default != nil {
		scope, _ = s.opts.Default(who.reader)
	}
	if scope == "" {
		return status.Error(codes.InvalidArgument, "the client has to say which service asks: selector flagSetId=NAME, as its rule file has it")
	}
	who.scope = scope
	if s.opts.Guard == nil {
		return nil
	}
	if code, detail := s.opts.Guard.May(who.reader, scope); code != 0 {
		return refused(code, detail)
	}
	return nil
}

// refused is a Guard's answer as grpc has it.
func refused(code int, detail string) error {
	if code == http.StatusUnauthorized {
		return status.Error(codes.Unauthenticated, detail)
	}
	return status.Error(codes.PermissionDenied, detail)
}

func (s *Sync) find(scope engine.Scope) (sheet *sheet, config, tag string, err error) {
	sheet, there := s.book.open(scope)
	if !there {
		return nil, "", "", status.Error(codes.NotFound, fmt.Sprintf("there is no service %q", clipped(string(scope))))
	}
	config, tag, err = sheet.configured()
	if err != nil {
		return nil, "", "", s.broken(err)
	}
	return sheet, config, tag, nil
}

// broken answers when a flag's value does not encode, which rules that loaded cannot bring about.
func (s *Sync) broken(err error) error {
	s.opts.Logger.Error("flags do not encode", "error", err)
	return status.Error(codes.Internal, "the flags do not encode; the server's log says why")
}

func (s *Sync) fetched(who asker, sheet *sheet) {
	if s.opts.Fetched != nil {
		s.opts.Fetched(Fetch{who.scope, sheet.newest().Revision, who.instance, who.client, ViaFlagd})
	}
}
