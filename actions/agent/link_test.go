package agent

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/modeshift/modeshift/engine"
	"github.com/modeshift/modeshift/engine/secret"
)

func TestAnHourWithoutTheServerChangesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		a := w.start()
		w.tell(directive(1, "degraded"))
		synctest.Wait()
		w.net.cut(true)
		pass(time.Hour)
		holds(t, a, "degraded", engine.OriginServer)
		if n := strings.Count(w.log.String(), "there is no connection"); n < 50 || n > 70 {
			t.Errorf("the log says so %d times in an hour, not once a minute", n)
		}
		w.net.cut(false)
		w.tell(directive(2, "normal"))
		pass(DefaultReconnect.Cap)
		holds(t, a, "normal", engine.OriginServer)
	})
}

func TestReconnectionsAreSpreadAndNoFasterThanTheyMayBe(t *testing.T) {
	b := Backoff{250 * time.Millisecond, 5 * time.Second}
	for n, most := range []time.Duration{250, 500, 1000, 2000, 4000, 5000, 5000} {
		most *= time.Millisecond
		var sum, highest time.Duration
		for range 1000 {
			w := b.wait(n)
			sum, highest = sum+w, max(highest, w)
		}
		if mean := sum / 1000; highest > most || mean < most*4/10 || mean > most*6/10 {
			t.Errorf("attempt %d waits %v on average and %v at most, want up to %v, evenly", n, mean, highest, most)
		}
	}
	if w := b.wait(1000); w > b.Cap {
		t.Errorf("attempt 1000 waits %v", w)
	}
}

func TestAServerThatHangsUpAtOnceIsNotStormed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.with(func() {
			w.instead = func(rw http.ResponseWriter, r *http.Request) bool {
				rw.Header().Set("Content-Type", "text/event-stream")
				_, _ = fmt.Fprintf(rw, "event: welcome\ndata: {\"term\":1,\"heartbeat_ms\":1000}\n\n")
				return true
			}
		})
		w.start()
		pass(10 * time.Minute)
		if n := len(w.asked()); n < 100 || n > 500 {
			t.Errorf("%d connections in ten minutes, want one every two and a half seconds", n)
		}
	})
}

// halfOpen is a connection that stops to carry anything and does not say so.
type halfOpen struct {
	net.Conn
	dead *atomic.Bool
}

func (c halfOpen) Read(p []byte) (int, error) {
	for {
		n, err := c.Conn.Read(p)
		if err != nil || !c.dead.Load() {
			return n, err
		}
	}
}

func (c halfOpen) Write(p []byte) (int, error) {
	if c.dead.Load() {
		return len(p), nil
	}
	return c.Conn.Write(p)
}

func TestAHalfOpenConnectionIsNoticedWithinTwoHeartbeats(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		var dead *atomic.Bool
		w.net.wire = func(c net.Conn) net.Conn { dead = new(atomic.Bool); return halfOpen{c, dead} }
		a := w.start()
		w.tell(directive(1, "normal"))
		pass(time.Minute)
		dead.Store(true)
		began := time.Now()
		for a.Status().Via == ViaStream {
			pass(10 * time.Millisecond)
		}
		if took := time.Since(began); took > 2*heartbeat {
			t.Errorf("noticed after %v", took)
		}
		if got := a.Status().LinkError; got != errSilent.Error() {
			t.Errorf("noticed for another reason: %s", got)
		}
		w.tell(directive(2, "degraded"))
		pass(time.Second)
		holds(t, a, "degraded", engine.OriginServer)
	})
}

func TestBehindAProxyThatBuffersTheAgentPollsAndTriesTheStreamAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		var buffers atomic.Bool
		buffers.Store(true)
		w.with(func() {
			w.instead = func(_ http.ResponseWriter, r *http.Request) bool {
				if !buffers.Load() || !strings.HasSuffix(r.URL.Path, "/stream") {
					return false
				}
				_, _ = io.Copy(io.Discard, r.Body) // which ends with the connection; nothing of the answer comes through
				return true
			}
		})
		a := w.start()
		w.tell(directive(1, "normal"))
		pass(DefaultPatience - 1)
		if mode, ok := a.Mode(); ok {
			t.Errorf("in mode %q through a proxy that buffers", mode)
		}
		pass(time.Second)
		holds(t, a, "normal", engine.OriginServer)
		w.reported(t, engine.Report{Position: engine.Position{Term: 1, Revision: 1}, Mode: "normal", Outcome: engine.OutcomeDone, Origin: engine.OriginServer})
		w.tell(directive(2, "degraded", leased))
		pass(1100 * time.Millisecond) // poll_ms, and the report at once
		holds(t, a, "degraded", engine.OriginServer)
		w.reported(t, engine.Report{Position: engine.Position{Term: 1, Revision: 2}, Mode: "degraded", Outcome: engine.OutcomeDone, Origin: engine.OriginServer})
		if got := a.Status(); got.Via != ViaPoll || got.LinkError != "" || got.Connects != 1 {
			t.Errorf("status %+v", got)
		}
		if n := strings.Count(w.log.String(), "a proxy seems to hold back"); n != 1 {
			t.Errorf("the log says so %d times", n)
		}
		pass(DefaultPollFor + 3*time.Second) // with one more try of the stream, for which the lease is long enough
		holds(t, a, "degraded", engine.OriginServer)
		if got := pathsOf(w.asked()); got != "stream exchange stream exchange" {
			t.Errorf("asked for %s", got)
		}
		if n := len(w.asked()); n < 50 || n > 90 {
			t.Errorf("%d requests in a minute at one a second", n)
		}
		buffers.Store(false)
		pass(2*DefaultPollFor + DefaultPatience)
		if got := a.Status(); got.Via != ViaStream {
			t.Errorf("status %+v", got)
		}
	})
}

func TestAServerThatLetsNothingThroughIsAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.with(func() {
			w.instead = func(_ http.ResponseWriter, r *http.Request) bool {
				_, _ = io.Copy(io.Discard, r.Body)
				<-r.Context().Done()
				return true
			}
		})
		a := w.start()
		pass(5 * time.Minute)
		if got := a.Status(); got.Via != ViaNone || got.LinkError == "" {
			t.Errorf("status %+v", got)
		}
		if strings.Contains(w.log.String(), "a proxy seems to hold back") {
			t.Error("a server that hangs is taken for a proxy")
		}
	})
}

func problem(status int, header, detail string) func(http.ResponseWriter, *http.Request) bool {
	return func(w http.ResponseWriter, _ *http.Request) bool {
		if header != "" {
			w.Header().Set("Retry-After", header)
		}
		w.Header().Set("Content-Type", "application/problem+json")
		w.WriteHeader(status)
		_, _ = fmt.Fprintf(w, `{"title":"no","detail":%q}`, detail)
		return true
	}
}

func TestEachRefusalIsTriedAgainAtItsOwnPace(t *testing.T) {
	for name, c := range map[string]struct {
		answer      func(http.ResponseWriter, *http.Request) bool
		least, most int // requests in ten minutes
		says        string
	}{
		"401":                     {problem(401, "", "the token is not known: "+canary), 5, 25, "401 Unauthorized: the token is not known: <secret>"},
		"403":                     {problem(403, "", "not your scope"), 5, 25, "403 Forbidden: not your scope"},
		"404":                     {problem(404, "", "no such scope"), 5, 25, "404 Not Found: no such scope"},
		"409":                     {problem(409, "", "the name web-1\n is in use"), 15, 60, "409 Conflict: the name web-1 is in use"},
		"500":                     {problem(500, "", ""), 150, 400, "500 Internal Server Error: no"},
		"503 with seconds":        {problem(503, "30", "starting"), 15, 21, "503 Service Unavailable: starting"},
		"429 with too many":       {problem(429, "999999999", "slow down"), 2, 3, "429 Too Many Requests: slow down"},
		"429 with a date":         {problem(429, "Sat, 01 Jan 2000 00:05:00 GMT", "slow down"), 30, 200, "429 Too Many Requests"},
		"503 with nothing useful": {problem(503, "soon", "starting"), 150, 400, "503 Service Unavailable"},
		"a redirect": {func(w http.ResponseWriter, r *http.Request) bool {
			http.Redirect(w, r, "http://evil.test/", http.StatusTemporaryRedirect)
			return true
		}, 150, 400, "307"},
		"a page for people": {func(w http.ResponseWriter, _ *http.Request) bool { _, _ = io.WriteString(w, "<html>"); return true }, 150, 400, "garbage"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				w.begun(directive(1, "degraded"))
				w.net.cut(false)
				w.with(func() { w.instead, w.requests = c.answer, nil })
				a := w.start()
				pass(10 * time.Minute)
				holds(t, a, "degraded", engine.OriginDisk)
				if n := len(w.asked()); n < c.least || n > c.most {
					t.Errorf("%d requests in ten minutes, want %d to %d", n, c.least, c.most)
				}
				if got := a.Status().LinkError; !strings.Contains(got, c.says) {
					t.Errorf("status says %q, want %q", got, c.says)
				}
			})
		})
	}
}

// So does net/http, and whoever sits before our server and asks for a token, unless it is told otherwise.
func TestARefusalThatWaitsForTheEndOfTheRequestIsHeardByAnExchange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.full = false
		w.with(func() { w.instead = problem(401, "", "unknown") })
		a := w.start()
		pass(time.Minute)
		if got := a.Status().LinkError; !strings.Contains(got, "401 Unauthorized: unknown") {
			t.Errorf("status says %q", got)
		}
	})
}

func TestATokenThatIsChangedIsUsedAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		file := filepath.Join(t.TempDir(), "token")
		write := func(token string) {
			if err := os.WriteFile(file, []byte(token+"\n"), 0o600); err != nil {
				t.Error(err)
			}
		}
		w.with(func() {
			w.instead = func(rw http.ResponseWriter, r *http.Request) bool {
				return r.Header.Get("Authorization") != "Bearer "+canary && problem(401, "", "unknown")(rw, r)
			}
		})
		w.tell(directive(1, "normal"))
		write("another")
		a := w.start(func(o *Options) { o.Token, o.TokenFile = secret.Secret{}, file })
		pass(time.Second)
		before := len(w.asked())
		if err := os.Remove(file); err != nil {
			t.Fatal(err)
		}
		pass(2 * tokenLook)  // no token is no other token
		write("another\n\n") // the same
		pass(2 * tokenLook)
		if len(w.asked()) != before {
			t.Error("the same token is tried again")
		}
		write(canary)
		pass(tokenLook)
		holds(t, a, "normal", engine.OriginServer)
	})
}

func TestGarbageIsCountedAndNeitherAppliedNorFatal(t *testing.T) {
	const welcome = "event: welcome\ndata: {\"term\":1,\"heartbeat_ms\":1000}\n\n"
	for name, text := range map[string]string{
		"no welcome":                  "event: directive\ndata: {\"scope\":\"checkout\",\"term\":1,\"revision\":1,\"mode\":\"evil\"}\n\n",
		"a welcome that is no JSON":   "event: welcome\ndata: hello\n\n",
		"a directive that is no JSON": welcome + "event: directive\ndata: {\"scope\":\n\n",
		"a directive without mode":    welcome + "event: directive\ndata: {\"scope\":\"checkout\",\"term\":1,\"revision\":1}\n\n",
		"a directive of another type": welcome + "event: directive\ndata: {\"scope\":\"checkout\",\"term\":-1,\"revision\":\"x\",\"mode\":\"evil\"}\n\n",
		"a line without end":          welcome + "data: " + strings.Repeat("x", 2*maxMessage),
		"an event without end":        welcome + strings.Repeat("data: "+strings.Repeat("x", 1000)+"\n", 2*maxMessage/1000),
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				w.begun(directive(1, "degraded"))
				w.net.cut(false)
				w.with(func() {
					w.instead = func(rw http.ResponseWriter, r *http.Request) bool {
						rw.Header().Set("Content-Type", "text/event-stream")
						_, _ = io.WriteString(rw, text)
						_ = http.NewResponseController(rw).Flush()
						_, _ = io.Copy(io.Discard, r.Body) // until the agent has enough
						return true
					}
				})
				a := w.start()
				pass(time.Minute)
				holds(t, a, "degraded", engine.OriginDisk)
				if n := a.Status().Refused.Garbage; n < 5 || n > 60 {
					t.Errorf("counted %d times in a minute", n)
				}
				w.with(func() { w.instead = nil })
				w.tell(directive(2, "normal"))
				pass(10 * time.Second)
				holds(t, a, "normal", engine.OriginServer)
			})
		})
	}
}

func TestAnExchangeOfGarbageIsNotApplied(t *testing.T) {
	for name, body := range map[string]string{
		"no JSON": "<html>", "no welcome": `{"directive":{"scope":"checkout","term":1,"revision":9,"mode":"evil"}}`,
		"no directive": `{"welcome":{"term":1},"directive":{"mode":"evil"}}`, "huge": `{"x":"` + strings.Repeat("x", maxMessage) + `"}`,
		"an old leader": `{"welcome":{"term":0},"directive":{"scope":"checkout","term":1,"revision":9,"mode":"evil"}}`,
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				w.begun(directive(1, "degraded"))
				w.net.cut(false)
				w.with(func() {
					w.instead = func(rw http.ResponseWriter, r *http.Request) bool {
						if strings.HasSuffix(r.URL.Path, "/stream") {
							_, _ = io.Copy(io.Discard, r.Body)
						} else {
							_, _ = io.WriteString(rw, body)
						}
						return true
					}
				})
				a := w.start()
				pass(time.Minute)
				holds(t, a, "degraded", engine.OriginDisk)
				if s := a.Status(); s.Refused.Garbage+s.Refused.Term == 0 || s.Via != ViaNone {
					t.Errorf("status %+v", s)
				}
			})
		})
	}
}
