package bench

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/modeshift/modeshift/engine"
)

// crowd is the clients of a server, each with a connection and a goroutine of its own. They are as light as their protocol allows,
// so that what is measured is the server: the full client of each protocol, ten thousand times on the same two cores, would be most
// of the work. But each reads and decodes what it is told, and one of modeshift's reports and beats as actions/agent does.
type crowd struct {
	part
	clients []*client
	dialing chan struct{}
	greeted atomic.Int64                  // clients that were greeted once
	held    atomic.Pointer[chan struct{}] // reports wait until it is closed; nil: they do not
}

type client struct {
	crowd *crowd
	name  string

	mu       sync.Mutex // guards conn's writing side, and what follows
	revision uint64     // it was told last
	at       int64      // it decoded it, in Unix ns
}

// The rule by which actions/agent connects again.
const (
	backoffBase = 250 * time.Millisecond
	backoffCap  = 5 * time.Second
)

// run does as it is told until there are no more orders.
func (c *crowd) run(orders *json.Decoder) error {
	// Arriving all at once is the storm's; the first time they come by so many.
	c.dialing = make(chan struct{}, 256)
	for {
		var o order
		if err := orders.Decode(&o); err != nil {
			return err
		}
		switch {
		case o.Connect > 0:
			for i := range o.Connect {
				m := &client{crowd: c, name: fmt.Sprintf("instance-%05d", i)}
				c.clients = append(c.clients, m)
				go m.run()
			}
			if !poll(o.Patience, func() bool { return int(c.greeted.Load()) == len(c.clients) }) {
				return fmt.Errorf("%d of %d clients connected in %v", c.greeted.Load(), len(c.clients), o.Patience)
			}
			c.dialing = nil
			say(answer{Ready: true})
		case o.Hold:
			held := make(chan struct{})
			c.held.Store(&held)
			say(answer{Ready: true})
		case o.Await > 0:
			var arrived []int64
			poll(o.Patience, func() bool {
				arrived = arrived[:0]
				for _, m := range c.clients {
					m.mu.Lock()
					if m.revision >= o.Await && m.at > o.Since {
						arrived = append(arrived, m.at)
					}
					m.mu.Unlock()
				}
				return len(arrived) == len(c.clients)
			})
			say(answer{Arrived: arrived, Rev: o.Await})
			if held := c.held.Swap(nil); held != nil {
				close(*held)
			}
		}
	}
}

// poll asks until something is so, for a time.
func poll(patience time.Duration, so func() bool) bool {
	for deadline := time.Now().Add(patience); !so(); time.Sleep(25 * time.Millisecond) {
		if time.Now().After(deadline) {
			return false
		}
	}
	return true
}

// run keeps a connection, where lost ones are made again.
func (m *client) run() {
	dialing := m.crowd.dialing
	if dialing != nil {
		dialing <- struct{}{}
	}
	greeted := sync.OnceFunc(func() {
		m.crowd.greeted.Add(1)
		if dialing != nil {
			<-dialing
		}
	})
	for tries := 0; ; tries++ {
		began := time.Now()
		err := m.follow(greeted)
		if !m.crowd.Tries {
			say(answer{Error: fmt.Sprintf("%s: %v", m.name, err)})
			return
		}
		if time.Since(began) > backoffCap {
			tries = 0
		}
		wait := rand.N(min(backoffBase<<min(tries, 10), backoffCap) + 1)
		if refused, ok := errors.AsType[*refusedError](err); ok {
			wait += refused.retryAfter
		}
		time.Sleep(wait)
	}
}

// refusedError is an answer that is no stream.
type refusedError struct {
	status     string
	retryAfter time.Duration
}

func (e *refusedError) Error() string { return e.status }

// follow is one connection.
func (m *client) follow(greeted func()) error {
	conn, err := (&net.Dialer{Timeout: 5 * time.Second}).Dial("tcp", m.crowd.Addr)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	return kinds[m.crowd.Kind].follow(m, conn, greeted)
}

// told takes a directive in.
func (m *client) told(data []byte) (*engine.Told, error) {
	t := new(engine.Told)
	if err := json.Unmarshal(data, t); err != nil {
		return nil, err
	}
	now := time.Now().UnixNano()
	m.mu.Lock()
	m.revision, m.at = uint64(t.Revision), now
	m.mu.Unlock()
	return t, nil
}

// followModeshift speaks what package actions/agent describes.
func followModeshift(m *client, conn net.Conn, greeted func()) error {
	line := func(u engine.Uplink, head string) error {
		text, err := json.Marshal(u)
		if err != nil {
			return err
		}
		m.mu.Lock()
		defer m.mu.Unlock()
		_, err = conn.Write(append(append(append(strconv.AppendInt([]byte(head), int64(len(text)+1), 16), "\r\n"...), text...), "\n\r\n"...))
		return err
	}
	hello := &engine.Hello{Instance: m.name, Session: m.name, Version: "1.4.2"}
	m.mu.Lock()
	if m.revision > 0 {
		hello.Term, hello.Has = 1, engine.Position{Term: 1, Revision: engine.Version(m.revision)}
	}
	m.mu.Unlock()
	if err := line(engine.Uplink{Hello: hello}, fmt.Sprintf("POST /api/v1/instances/stream?scope=%s HTTP/1.1\r\nHost: %s\r\nAccept: text/event-stream\r\n"+
		"Content-Type: application/x-ndjson\r\nAuthorization: Bearer %s\r\nTransfer-Encoding: chunked\r\n\r\n", scope, m.crowd.Addr, m.crowd.Token)); err != nil {
		return err
	}
	var beat *time.Timer
	beats, spread := time.Duration(0), time.Duration(0)
	defer func() {
		if beat != nil {
			beat.Stop()
		}
	}()
	return events(conn, http.MethodPost, func(kind string, data []byte) error {
		switch kind {
		case "welcome":
			var w engine.Welcome
			if err := json.Unmarshal(data, &w); err != nil {
				return err
			}
			beats, spread = time.Duration(w.HeartbeatMS)*time.Millisecond, time.Duration(w.SpreadMS)*time.Millisecond
			pause := func() time.Duration { return beats*4/5 + rand.N(beats/5) }
			beat = time.AfterFunc(time.Hour, func() {
				if line(engine.Uplink{Beat: true}, "") == nil { // else whoever reads hears of it
					beat.Reset(pause())
				}
			})
			beat.Reset(pause())
			greeted()
		case "directive":
			t, err := m.told(data)
			if err != nil {
				return err
			}
			go func() {
				if held := m.crowd.held.Load(); held != nil {
					<-*held
				}
				if spread > 0 {
					time.Sleep(rand.N(spread))
				}
				// A real one keeps it on disk and calls the program's callbacks first. Meanwhile others decode.
				runtime.Gosched()
				_ = line(engine.Uplink{Report: &engine.Report{Position: t.Position(), Mode: t.Mode, Outcome: engine.OutcomeDone, Origin: engine.OriginServer}}, "") // whoever reads hears of it
			}()
		}
		return conn.SetReadDeadline(time.Now().Add(2 * beats))
	})
}

// followSSE asks for a stream as a browser does.
func followSSE(m *client, conn net.Conn, greeted func()) error {
	if _, err := fmt.Fprintf(conn, "GET / HTTP/1.1\r\nHost: %s\r\nAccept: text/event-stream\r\n\r\n", m.crowd.Addr); err != nil {
		return err
	}
	return events(conn, http.MethodGet, func(kind string, data []byte) error {
		if kind == "welcome" {
			greeted()
			return nil
		}
		_, err := m.told(data)
		return err
	})
}

// events reads a response of server-sent events until it ends.
func events(conn net.Conn, method string, heard func(kind string, data []byte) error) error {
	resp, err := http.ReadResponse(bufio.NewReaderSize(conn, 1024), &http.Request{Method: method})
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(); _ = resp.Body.Close() }() // in this order: the body would be read to its end
	if resp.StatusCode != http.StatusOK {
		seconds, _ := strconv.Atoi(resp.Header.Get("Retry-After")) // none: 0
		return &refusedError{resp.Status, time.Duration(seconds) * time.Second}
	}
	lines := bufio.NewReaderSize(resp.Body, 1024)
	var kind string
	var data []byte
	for {
		line, err := lines.ReadSlice('\n')
		if err != nil {
			return err
		}
		line = bytes.TrimSuffix(line, []byte("\n"))
		switch field, value, _ := bytes.Cut(line, []byte(": ")); string(field) {
		case "event":
			kind = string(value)
		case "data":
			data = append(data[:0], value...)
		case "":
			if len(data) > 0 {
				if err := heard(kind, data); err != nil {
					return err
				}
			}
			kind, data = "", data[:0]
		}
	}
}

// subject is where subscribers of NATS are told.
const subject = "directives"

// followNATS speaks https://docs.nats.io/reference/reference-protocols/nats-protocol.
func followNATS(m *client, conn net.Conn, greeted func()) error {
	lines := bufio.NewReaderSize(conn, 1024)
	if _, err := lines.ReadSlice('\n'); err != nil { // INFO
		return err
	}
	if _, err := fmt.Fprintf(conn, "CONNECT {\"verbose\":false,\"pedantic\":false,\"name\":%q}\r\nSUB %s 1\r\nPING\r\n", m.name, subject); err != nil {
		return err
	}
	var data []byte
	for {
		line, err := lines.ReadSlice('\n')
		if err != nil {
			return err
		}
		switch words := strings.Fields(string(line)); {
		case len(words) == 0:
		case words[0] == "PONG":
			greeted()
		case words[0] == "PING":
			if _, err := io.WriteString(conn, "PONG\r\n"); err != nil {
				return err
			}
		case words[0] == "MSG":
			size, err := strconv.Atoi(words[len(words)-1])
			if err != nil {
				return err
			}
			data = append(data[:0], make([]byte, size+len("\r\n"))...)
			if _, err := io.ReadFull(lines, data); err != nil {
				return err
			}
			if _, err := m.told(data[:size]); err != nil {
				return err
			}
		case words[0] == "-ERR":
			return errors.New(string(line))
		}
	}
}

// grpcMethod is a stream both ways, of messages with bytes in them.
const grpcMethod = "/bench.Instances/Follow"

// followGRPC speaks https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md, with a hello as modeshift's instances send it.
func followGRPC(m *client, conn net.Conn, greeted func()) error {
	frames := http2.NewFramer(conn, bufio.NewReaderSize(conn, 1024))
	frames.SetReuseFrames()
	if _, err := io.WriteString(conn, http2.ClientPreface); err != nil {
		return err
	}
	if err := frames.WriteSettings(); err != nil {
		return err
	}
	var head bytes.Buffer
	fields := hpack.NewEncoder(&head)
	for _, f := range [][2]string{{":method", "POST"}, {":scheme", "http"}, {":path", grpcMethod}, {":authority", m.crowd.Addr}, {"content-type", "application/grpc"}, {"te", "trailers"}} {
		if err := fields.WriteField(hpack.HeaderField{Name: f[0], Value: f[1]}); err != nil {
			return err
		}
	}
	if err := frames.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: head.Bytes(), EndHeaders: true}); err != nil {
		return err
	}
	hello, err := proto.Marshal(wrapperspb.Bytes(fmt.Appendf(nil, `{"hello":{"instance":%q,"session":%q,"version":"1.4.2"}}`, m.name, m.name)))
	if err != nil {
		return err
	}
	if err := frames.WriteData(1, false, append(binary.BigEndian.AppendUint32([]byte{0}, uint32(len(hello))), hello...)); err != nil {
		return err
	}
	var data []byte
	for {
		f, err := frames.ReadFrame()
		if err != nil {
			return err
		}
		switch f := f.(type) {
		case *http2.SettingsFrame:
			if !f.IsAck() {
				err = frames.WriteSettingsAck()
			}
		case *http2.PingFrame:
			if !f.IsAck() {
				err = frames.WritePing(true, f.Data)
			}
		case *http2.GoAwayFrame, *http2.RSTStreamFrame:
			return errors.New(f.Header().Type.String())
		case *http2.DataFrame:
			data = append(data, f.Data()...)
			for len(data) >= 5 && err == nil {
				size := 5 + int(binary.BigEndian.Uint32(data[1:5]))
				if len(data) < size {
					break
				}
				var v wrapperspb.BytesValue
				if err = proto.Unmarshal(data[5:size], &v); err == nil {
					if len(v.Value) == 0 { // the welcome
						greeted()
					} else {
						_, err = m.told(v.Value)
					}
				}
				data = append(data[:0], data[size:]...)
			}
			if err == nil {
				err = errors.Join(frames.WriteWindowUpdate(0, f.Length), frames.WriteWindowUpdate(1, f.Length))
			}
		}
		if err != nil {
			return err
		}
	}
}
