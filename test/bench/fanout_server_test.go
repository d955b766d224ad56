package bench

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	nats "github.com/nats-io/nats-server/v2/server"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/modeshift/modeshift/engine"
	"github.com/modeshift/modeshift/engine/server"
)

// kind is a way to tell many clients something.
type kind struct {
	// serve is the server. It says that it is ready, and then when it told what.
	serve func(p part, orders *json.Decoder) error
	// follow is a client's connection; greeted is called once the server knows it.
	follow func(m *client, conn net.Conn, greeted func()) error
}

// kinds are modeshift and what it is compared with.
var kinds map[string]kind

func init() { // clients refer to it
	kinds = map[string]kind{
		"modeshift": {serveModeshift, followModeshift},
		"sse":       {serveSSE, followSSE},
		"nats":      {serveNATS, followNATS},
		"grpc":      {serveGRPC, followGRPC},
	}
}

// scope is the service whose instances the clients of modeshift are.
const scope = "checkout"

// fanoutRules are the rules of the service, by which a directive is applied only once all instances say so.
const fanoutRules = `version: modeshift/v1
service: ` + scope + `
instances: {min_applied: 100%}
modes:
  - name: normal
    flags: {recommendations: true, payment_gateway: main, retries: 5, sampling: 1.0}
  - name: degraded
    flags: {recommendations: false, payment_gateway: backup, retries: 2, sampling: 0.1}
`

// payload is a directive as modeshift tells it, for the others.
func payload(revision uint64) []byte {
	data, err := json.Marshal(engine.Told{Scope: scope, Change: engine.ChangeID(fmt.Sprintf("%s-%d", scope, revision)), Directive: engine.Directive{
		Term: 1, Revision: engine.Version(revision), Mode: "degraded", Flags: engine.Flags{"recommendations": false, "payment_gateway": "backup", "retries": 2, "sampling": 0.1}}})
	if err != nil {
		panic(err) // of constants
	}
	return data
}

// serveModeshift is the whole program, on the files of a folder.
func serveModeshift(p part, orders *json.Decoder) error {
	config, err := server.LoadConfig(filepath.Join(p.Dir, "modeshift.yaml"))
	if err != nil {
		return err
	}
	s, err := server.New(context.Background(), server.Options{Config: config, Logger: slog.New(slog.DiscardHandler), Version: "bench", OnCommit: func(events []engine.Event) {
		now := time.Now().UnixNano()
		for _, e := range events {
			switch f := e.Fact.(type) {
			case engine.DirectivePublished:
				say(answer{Fact: "published", Rev: uint64(f.Directive.Revision), At: now})
			case engine.DirectiveApplied:
				say(answer{Fact: "applied", Rev: uint64(f.Revision), At: now, Acked: f.Acked})
			case engine.ChangeDone:
				say(answer{Fact: "done", At: now})
			}
		}
	}})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		_ = orders.Decode(new(order)) // there are none: it is the end
		cancel()
	}()
	say(answer{Ready: true})
	return s.Run(ctx)
}

// subscribers are told by a channel each.
type subscribers struct {
	mu   sync.Mutex // guards all
	next int
	all  map[int]chan []byte
}

func (s *subscribers) join() (ch chan []byte, leave func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.next++
	me := s.next
	ch = make(chan []byte, 1)
	s.all[me] = ch
	return ch, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.all, me)
	}
}

func (s *subscribers) tell(message []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, ch := range s.all {
		ch <- message
	}
}

// publishing carries orders to publish out.
func publishing(orders *json.Decoder, publish func(data []byte) error) error {
	say(answer{Ready: true})
	for {
		var o order
		if err := orders.Decode(&o); err != nil {
			return err
		}
		data := payload(o.Publish)
		at := time.Now().UnixNano()
		if err := publish(data); err != nil {
			return err
		}
		say(answer{Fact: "published", At: at, Rev: o.Publish})
	}
}

// serveSSE is net/http and nothing else.
func serveSSE(p part, orders *json.Decoder) error {
	subs := subscribers{all: map[int]chan []byte{}}
	l, err := net.Listen("tcp", p.Addr)
	if err != nil {
		return err
	}
	go func() {
		err := http.Serve(l, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			ch, leave := subs.join()
			defer leave()
			w.Header().Set("Content-Type", "text/event-stream")
			conn := http.NewResponseController(w)
			_, err := io.WriteString(w, "event: welcome\ndata: {}\n\n")
			for err == nil {
				if err = conn.Flush(); err != nil {
					return
				}
				select {
				case message := <-ch:
					_, err = w.Write(message)
				case <-r.Context().Done():
					return
				}
			}
		}))
		say(answer{Error: err.Error()})
	}()
	return publishing(orders, func(data []byte) error {
		subs.tell(fmt.Appendf(nil, "event: directive\ndata: %s\n\n", data))
		return nil
	})
}

// serveNATS is a NATS server and one publisher.
func serveNATS(p part, orders *json.Decoder) error {
	host, port, err := net.SplitHostPort(p.Addr)
	if err != nil {
		return err
	}
	n, err := strconv.Atoi(port)
	if err != nil {
		return err
	}
	s, err := nats.NewServer(&nats.Options{Host: host, Port: n, NoLog: true, NoSigs: true})
	if err != nil {
		return err
	}
	go s.Start()
	if !s.ReadyForConnections(10 * time.Second) {
		return fmt.Errorf("NATS is not ready")
	}
	conn, err := net.Dial("tcp", p.Addr)
	if err != nil {
		return err
	}
	if _, err := io.WriteString(conn, "CONNECT {\"verbose\":false}\r\n"); err != nil {
		return err
	}
	go func() { _, _ = io.Copy(io.Discard, conn) }() // INFO and PING, for which the benchmark is too short
	return publishing(orders, func(data []byte) error {
		_, err := fmt.Fprintf(conn, "PUB %s %d\r\n%s\r\n", subject, len(data), data)
		return err
	})
}

// serveGRPC is a gRPC server with a stream both ways for each client, which it reads as modeshift reads its instances.
func serveGRPC(p part, orders *json.Decoder) error {
	subs := subscribers{all: map[int]chan []byte{}}
	l, err := net.Listen("tcp", p.Addr)
	if err != nil {
		return err
	}
	s := grpc.NewServer()
	s.RegisterService(&grpc.ServiceDesc{ServiceName: "bench.Instances", HandlerType: (*any)(nil), Streams: []grpc.StreamDesc{{
		StreamName: "Follow", ServerStreams: true, ClientStreams: true,
		Handler: func(_ any, stream grpc.ServerStream) error {
			ch, leave := subs.join()
			defer leave()
			if err := stream.RecvMsg(new(wrapperspb.BytesValue)); err != nil { // the hello
				return err
			}
			over := make(chan error, 1)
			go func() {
				var err error
				for err == nil {
					err = stream.RecvMsg(new(wrapperspb.BytesValue))
				}
				over <- err
			}()
			err := stream.SendMsg(new(wrapperspb.BytesValue))
			for err == nil {
				select {
				case message := <-ch:
					err = stream.SendMsg(wrapperspb.Bytes(message))
				case err = <-over:
				}
			}
			return err
		},
	}}}, nil)
	go func() { say(answer{Error: s.Serve(l).Error()}) }()
	return publishing(orders, func(data []byte) error {
		subs.tell(data)
		return nil
	})
}
