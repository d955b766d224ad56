package api_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/modeshift/modeshift/engine"
	"github.com/modeshift/modeshift/engine/api"
	"github.com/modeshift/modeshift/engine/roster"
)

// forgetful is a store that keeps nothing.
type forgetful struct{}

func (forgetful) Instances(context.Context) ([]roster.Instance, error)     { return nil, nil }
func (forgetful) SaveInstances(context.Context, []roster.Instance) error   { return nil }
func (forgetful) ForgetInstances(context.Context, []roster.Instance) error { return nil }
func (forgetful) SaveRanks(context.Context, engine.Scope, engine.ChangeID, []string) error {
	return nil
}
func (forgetful) Ranks(context.Context, engine.Scope, engine.ChangeID) ([]string, error) {
	return nil, nil
}

// fleet is an API with a table of instances, which the test tells what they are to be told.
type fleet struct {
	*service
	t        *testing.T
	roster   *roster.Roster
	revision engine.Version
}

func newFleet(t *testing.T, change func(*api.Options)) *fleet {
	t.Helper()
	r, err := roster.New(t.Context(), forgetful{}, roster.Options{})
	if err != nil {
		t.Fatal(err)
	}
	f := &fleet{t: t, roster: r}
	f.service = serve(t, newWorld(t, "checkout"), func(o *api.Options) {
		o.Roster, o.Identity = r, "log"
		if change != nil {
			change(o)
		}
	})
	f.publish("")
	return f
}

// publish tells all the next directive, which has a flag of that text.
func (f *fleet) publish(text string) {
	f.revision++
	f.roster.Follow(f.t.Context(), engine.View{State: engine.State{Scope: "checkout", Version: f.revision,
		Directive: engine.Directive{Term: 1, Revision: f.revision, Mode: "degraded", Flags: engine.Flags{"text": text}}}})
}

func (f *fleet) standing(name string) roster.Standing {
	for _, r := range f.roster.Rows("checkout", time.Now()) {
		if r.Name == name {
			return r.Standing
		}
	}
	return ""
}

func (f *fleet) eventually(name string, want roster.Standing) {
	f.t.Helper()
	for deadline := time.Now().Add(patience); f.standing(name) != want; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			f.t.Fatalf("%s is %q, want %q", name, f.standing(name), want)
		}
	}
}

// instance is one that connects by hand.
type instance struct {
	t      *testing.T
	conn   net.Conn
	events *bufio.Scanner // lines of the answer
}

// connect says hello; the answer is not read yet.
func (f *fleet) connect(name string) *instance {
	f.t.Helper()
	conn, err := net.Dial("tcp", f.Listener.Addr().String())
	if err != nil {
		f.t.Fatal(err)
	}
	i := &instance{t: f.t, conn: conn}
	f.t.Cleanup(func() { _ = conn.Close() }) // the server may have done so
	if _, err := fmt.Fprintf(conn, "POST /api/v1/instances/stream?scope=checkout HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nTransfer-Encoding: chunked\r\n\r\n",
		secretOf("instance-checkout")); err != nil {
		f.t.Fatal(err)
	}
	i.say(fmt.Sprintf(`{"hello":{"instance":%q,"session":"s"}}`, name))
	return i
}

// say sends a line.
func (i *instance) say(line string) {
	i.t.Helper()
	if _, err := fmt.Fprintf(i.conn, "%x\r\n%s\n\r\n", len(line)+1, line); err != nil {
		i.t.Fatal(err)
	}
}

// hear returns the data of the next event of a kind, or why there is none.
func (i *instance) hear(kind string) (string, error) {
	i.t.Helper()
	if err := i.conn.SetReadDeadline(time.Now().Add(patience)); err != nil {
		i.t.Fatal(err)
	}
	if i.events == nil {
		resp, err := http.ReadResponse(bufio.NewReader(i.conn), &http.Request{Method: http.MethodPost})
		if err != nil {
			i.t.Fatal(err)
		}
		i.t.Cleanup(func() { _ = i.conn.Close(); _ = resp.Body.Close() }) // in this order: the body would be read to its end
		if resp.StatusCode != http.StatusOK {
			i.t.Fatal(resp.Status)
		}
		i.events = bufio.NewScanner(resp.Body)
		i.events.Buffer(nil, 1<<20)
	}
	wanted := false
	for i.events.Scan() {
		switch line := i.events.Text(); {
		case strings.HasPrefix(line, "event: "):
			wanted = line == "event: "+kind
		case wanted && strings.HasPrefix(line, "data: "):
			return line[len("data: "):], nil
		}
	}
	if err := i.events.Err(); err != nil {
		return "", err
	}
	return "", io.EOF
}

// told waits for a directive and reports it as applied.
func (i *instance) told(revision engine.Version) {
	i.t.Helper()
	for {
		text, err := i.hear("directive")
		var d engine.Told
		if err == nil {
			err = json.Unmarshal([]byte(text), &d)
		}
		if err != nil {
			i.t.Fatalf("waiting for revision %d: %v", revision, err)
		}
		if d.Revision == revision {
			i.say(fmt.Sprintf(`{"report":{"term":1,"revision":%d,"mode":%q,"outcome":"done"}}`, revision, d.Mode))
			return
		}
	}
}

func TestEachInstanceIsToldAndItsReportIsItsOwn(t *testing.T) {
	f := newFleet(t, nil)
	var all []*instance
	for n := range 20 {
		i := f.connect(fmt.Sprint("web-", n))
		if _, err := i.hear("welcome"); err != nil {
			t.Fatal(err)
		}
		all = append(all, i)
	}
	for range 3 {
		for n, i := range all {
			if i.told(f.revision); n%5 == 1 { // beside others that say something else
				i.say(fmt.Sprintf(`{"report":{"term":1,"revision":%d,"mode":"normal","outcome":"failed","error":"no %d"}}`, f.revision, n))
			}
		}
		for n := range all {
			want := roster.Applied
			if n%5 == 1 {
				want = roster.Failed
			}
			f.eventually(fmt.Sprint("web-", n), want)
		}
		for _, r := range f.roster.Rows("checkout", time.Now()) {
			if r.Standing == roster.Failed && r.Error != "no "+strings.TrimPrefix(r.Name, "web-") {
				t.Errorf("%s says %q", r.Name, r.Error)
			}
		}
		f.publish("")
	}
}

func TestAnInstanceThatDoesNotReadIsCutOffAndHoldsNobodyUp(t *testing.T) {
	f := newFleet(t, func(o *api.Options) { o.WriteWait = 300 * time.Millisecond })
	slow, quick := f.connect("slow"), f.connect("quick")
	if err := slow.conn.(*net.TCPConn).SetReadBuffer(1024); err != nil {
		t.Fatal(err)
	}
	f.eventually("slow", roster.Waiting)
	quick.told(1)
	for deadline := time.Now().Add(patience); f.standing("slow") == roster.Waiting; {
		if time.Now().After(deadline) {
			t.Fatal("it was not cut off")
		}
		f.publish(strings.Repeat("x", 64<<10))
		quick.told(f.revision)
	}
	if got := f.standing("slow"); got != roster.Missing {
		t.Errorf("it is %s; it may still run", got)
	}
}

func TestAProcessThatConnectsAgainTakesItsSeatOver(t *testing.T) {
	f := newFleet(t, nil)
	first := f.connect("web-1")
	first.told(1)
	again := f.connect("web-1")
	again.told(1)
	if _, err := first.hear("directive"); err == nil {
		t.Error("the first connection is told more")
	}
	f.publish("")
	again.told(2)
	f.eventually("web-1", roster.Applied)
}

func TestSilenceForTwoBeatsIsNoticedAndAClosedConnectionToo(t *testing.T) {
	f := newFleet(t, func(o *api.Options) { o.InstanceBeat = 100 * time.Millisecond })
	began := time.Now()
	silent, closed, beats := f.connect("silent"), f.connect("closed"), f.connect("beats")
	silent.told(1)
	closed.told(1)
	if err := closed.conn.Close(); err != nil {
		t.Fatal(err)
	}
	f.eventually("closed", roster.Gone)
	for f.standing("silent") != roster.Missing {
		if _, err := beats.hear("beat"); err != nil || time.Since(began) > patience {
			t.Fatal("it was not noticed: ", err)
		}
		beats.say(`{"beat":true}`)
	}
	if took := time.Since(began); took < 200*time.Millisecond {
		t.Errorf("it was taken for gone after %v", took)
	}
	if got := f.standing("beats"); got != roster.Waiting {
		t.Errorf("one that beats is %s", got)
	}
}

func TestAServerThatStopsEndsItsStreamsAndKeepsItsInstances(t *testing.T) {
	f := newFleet(t, nil)
	i := f.connect("web-1")
	i.told(1)
	f.eventually("web-1", roster.Applied)
	f.api.Close()
	if _, err := i.hear("beat"); !errors.Is(err, io.EOF) {
		t.Errorf("the stream ends with %v", err)
	}
	if got := f.standing("web-1"); got != roster.Applied {
		t.Errorf("it is %s", got)
	}
}

func TestReportsOfManyAreSpreadByTheirNumberAndThoseOfFewAreNot(t *testing.T) {
	f := newFleet(t, func(o *api.Options) { o.InstanceBeat = 100 * time.Second })
	known := 0
	for _, c := range []struct {
		others int
		want   int64 // ms
	}{{99, 0}, {999, 50}, {1999, 100}} {
		for ; known < c.others; known++ {
			if _, _, err := f.roster.Exchange("checkout", engine.Hello{Instance: fmt.Sprint("other-", known), Session: "s"}, nil, "", time.Hour); err != nil {
				t.Fatal(err)
			}
		}
		i := f.connect("web-1")
		line, err := i.hear("welcome")
		if err != nil {
			t.Fatal(err)
		}
		var w engine.Welcome
		if err := json.Unmarshal([]byte(line), &w); err != nil {
			t.Fatal(err)
		}
		if w.SpreadMS != c.want {
			t.Errorf("of %d instances the reports are spread over %d ms, want %d", c.others+1, w.SpreadMS, c.want)
		}
		if err := i.conn.Close(); err != nil {
			t.Fatal(err)
		}
		f.eventually("web-1", roster.Gone)
	}
}
