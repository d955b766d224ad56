package ha

import (
	"errors"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/modeshift/modeshift/engine"
	"github.com/modeshift/modeshift/engine/api"
	"github.com/modeshift/modeshift/test/promtest"
	"github.com/modeshift/modeshift/test/receiver"
)

// paged is a service whose changes page.
const paged = `version: modeshift/v1
service: shop
slis: [{name: errors, query: 'max(shop_errors)', unit: ratio, max_age: 10m}]
modes: [{name: normal}, {name: degraded}]
transitions:
  - {name: shed, from: [normal], to: degraded, when: 'sli("errors") > 0.5', severity: page}
  - {name: recover, from: [degraded], to: normal, when: 'sli("errors") < 0.5'}
`

// trouble keeps a server from writing its log, and ends.
type trouble interface {
	fill(t *testing.T, p *process)
	free(t *testing.T, p *process)
}

// limit is trouble that needs no rights: a process that may not write files of any size, as under ulimit -f or a quota. It is
// answered EFBIG, which SQLite calls an I/O error and not a full disk.
type limit struct{}

func (limit) fill(t *testing.T, p *process) { t.Helper(); prlimit(t, p, "0:") }
func (limit) free(t *testing.T, p *process) { t.Helper(); prlimit(t, p, "unlimited:") }

func prlimit(t *testing.T, p *process, size string) {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "prlimit", "--pid", strconv.Itoa(p.cmd.Process.Pid), "--fsize="+size).CombinedOutput()
	if errors.Is(err, exec.ErrNotFound) {
		missing(t, "prlimit of util-linux is needed: "+err.Error())
	}
	if err != nil {
		t.Fatalf("prlimit: %v: %s", err, out)
	}
}

// disk is a file system of its own, small enough to be filled.
type disk struct{ dir string }

// newDisk mounts one over a folder until the test ends. That takes the right to mount; without it the test is skipped, for a
// process that may not write is much the same.
func newDisk(t *testing.T, dir string) *disk {
	t.Helper()
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	err := syscall.Mount("modeshift-ha", dir, "tmpfs", syscall.MS_NODEV|syscall.MS_NOSUID, "size=8m,mode=0700")
	switch {
	case errors.Is(err, syscall.EPERM) || errors.Is(err, syscall.EACCES):
		t.Skip("a tmpfs to fill cannot be mounted: it takes root, and in a container CAP_SYS_ADMIN")
	case err != nil:
		t.Fatalf("mount a tmpfs: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Errorf("unmount %s: %v", dir, err)
		}
	})
	return &disk{dir}
}

func (d *disk) ballast() string { return filepath.Join(d.dir, "ballast") }

// fill leaves no page free.
func (d *disk) fill(t *testing.T, _ *process) {
	t.Helper()
	f, err := os.OpenFile(d.ballast(), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	}()
	page := make([]byte, 4096)
	for {
		if _, err := f.Write(page); errors.Is(err, syscall.ENOSPC) {
			return
		} else if err != nil {
			t.Fatal(err)
		}
	}
}

// free gives the room back.
func (d *disk) free(t *testing.T, _ *process) {
	t.Helper()
	if err := os.Remove(d.ballast()); err != nil {
		t.Fatal(err)
	}
}

// logKey is the deduplication key of "the log cannot be written", the same for ever and everywhere.
const logKey = "modeshift/log"

func byKey(r *receiver.Receiver, key string) (list []receiver.Alert) {
	for _, a := range r.Alerts() {
		if a.Key == key {
			list = append(list, a)
		}
	}
	return list
}

func TestOnAFullDiskNothingHappensWithoutItsEventAndPeopleAreTold(t *testing.T) {
	t.Parallel()
	t.Run("no room on the file system", func(t *testing.T) {
		t.Parallel()
		unwritable(t, func(s *site) trouble { return newDisk(t, s.data) })
	})
	t.Run("no file may grow", func(t *testing.T) {
		t.Parallel()
		unwritable(t, func(*site) trouble { return limit{} })
	})
}

// unwritable runs a server into trouble and out again.
func unwritable(t *testing.T, prepare func(*site) trouble) {
	prometheus := promtest.Start(t, promtest.Options{})
	gauge(prometheus, "shop_errors", 1)
	people := newReceiver(t)
	s := newSite(t, prometheus.URL, people, "{interval: 250ms, blind_after: 1m}", map[string]string{"shop.yaml": paged})
	d := prepare(s)

	// The receiver refuses every page until the disk is full, so that one is owed when it is.
	for range 1000 {
		people.Script(receiver.Pages, receiver.Fault{Kind: receiver.Status, Status: http.StatusInternalServerError})
	}
	p := s.start(t)
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the server's log:\n%s", tail(p.said()))
		}
	})
	s.ready(t)
	c := s.client(t)
	waitFor(t, people, "the first attempt of the page", p, func(r *receiver.Receiver) bool { return len(r.Requests()) > 0 })
	eventually(t, "shop in degraded", func() bool { return scope(t, c, "shop").Mode == "degraded" })
	if pages := people.Alerts(); len(pages) > 0 {
		t.Fatalf("a page was taken before the disk was full: %+v", pages)
	}
	d.fill(t, p)
	filled := time.Now()
	eventually(t, "ready's no", func() bool {
		code, text := s.get("/-/ready")
		return code == http.StatusServiceUnavailable && strings.Contains(text, "log: it cannot be written")
	})
	before := s.events(t, "")
	was := scope(t, c, "shop")
	if got := s.metric("modeshift_log_writable"); got != "0" {
		t.Errorf("modeshift_log_writable is %s", got)
	}

	// What was owed goes out, and so does the page that no event stands behind.
	people.Clear(receiver.Pages)
	eventually(t, "the page that was owed and the one about the log", func() bool {
		return len(alerts(people, receiver.Pages, "shop")) > 0 && len(byKey(people, logKey)) > 0
	})
	if a := byKey(people, logKey)[0]; !strings.Contains(a.Summary, "the log cannot be written") {
		t.Errorf("the page about the log says %q", a.Summary)
	}

	// Everything that would change something is due now, and nothing does.
	gauge(prometheus, "shop_errors", 0)
	eventually(t, "the shop's recovery being due", func() bool { return ready(scope(t, c, "shop"), "recover.when") })
	_, err := c.Set(t.Context(), "shop", api.SetRequest{Mode: "normal", Reason: "by hand"})
	var refused *api.Error
	if !errors.As(err, &refused) || refused.Status() != http.StatusServiceUnavailable {
		t.Errorf("set on a full disk: %v, want 503", err)
	}
	if out, code := s.modeshift(t, "set", "shop", "normal", "--reason", "by hand"); code != 3 || strings.Count(out, "\n") != 1 {
		t.Errorf("modeshift set exits %d, want 3 and one line: %s", code, out)
	}
	if out, code := s.modeshift(t, "status"); code != 1 || !strings.Contains(out, "NOT READY  log: it cannot be written") {
		t.Errorf("modeshift status exits %d, want 1 and the reason: %s", code, out)
	}
	until := time.Now().Add(2 * time.Second)
	eventually(t, "ticks on the full disk", func() bool { return scope(t, c, "shop").Observed.After(until) })
	now := scope(t, c, "shop")
	if now.Mode != "degraded" || now.Version != was.Version || now.Directive.Revision != was.Directive.Revision {
		t.Errorf("the shop moved to %s, version %d, revision %d; was at %s, %d, %d", now.Mode, now.Version, now.Directive.Revision, was.Mode, was.Version, was.Directive.Revision)
	}
	if after := s.events(t, ""); len(after) != len(before) {
		t.Errorf("%d events were stored on the full disk", len(after)-len(before))
	}
	if p.ended() {
		t.Fatalf("the server ended: %v", p.err)
	}

	d.free(t, p)
	s.ready(t)
	eventually(t, "the end of the page about the log", func() bool {
		pages := byKey(people, logKey)
		return !pages[len(pages)-1].Resolved.IsZero()
	})
	eventually(t, "shop in normal", func() bool { return scope(t, c, "shop").Mode == "normal" })
	if _, err := c.Set(t.Context(), "shop", api.SetRequest{Mode: "degraded", Reason: "by hand"}); err != nil {
		t.Errorf("set with room again: %v", err)
	}
	eventually(t, "the end of the jobs", func() bool {
		st, err := c.Status(t.Context())
		return err == nil && st.Jobs.Owed == 0 && st.Jobs.Leased == 0
	})
	if pages := byKey(people, logKey); len(pages) != 1 || len(pages[0].Notes) > 0 {
		t.Errorf("people were told of the log %d times: %+v", len(pages), pages)
	}
	if err := p.stop(t); err != nil {
		t.Errorf("the server ended with %v", err)
	}
	for _, text := range []string{"panic", "goroutine "} {
		if strings.Contains(p.said(), text) {
			t.Errorf("the server's log holds %q", text)
		}
	}

	if told := strings.Count(p.said(), "the log cannot be written: modes hold"); told != 1 || strings.Contains(p.said(), "could not be judged") {
		t.Errorf("the log's fault is in the server's log %d times, or each of its consequences is too", told)
	}
	recovered := facts[engine.LogRecovered](s.events(t, engine.Fleet))
	if len(recovered) != 1 || recovered[0].From.Before(filled.Add(-time.Second)) || !recovered[0].To.After(recovered[0].From) || recovered[0].Detail == "" {
		t.Errorf("the log says of its fault %+v, want once, from about %v", recovered, filled.UTC())
	}
	shop := s.events(t, "shop")
	if changes := facts[engine.ChangeStarted](shop); len(changes) != 3 {
		t.Errorf("changes %+v, want shed, recover and the one by hand", changes)
	}
	if out, code := s.modeshift(t, "audit", "verify", s.data); code != 0 {
		t.Errorf("audit verify exits %d: %s", code, out)
	}
}

// ready reports whether a condition is true.
func ready(sc api.Scope, condition string) bool {
	for _, c := range sc.Conditions {
		if c.Name == condition && c.Truth == engine.True {
			return true
		}
	}
	return false
}
