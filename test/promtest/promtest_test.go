package promtest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// noon is some instant in the past; the retention of these servers reaches back to it.
var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// ask returns the values of a vector at an instant, as the API writes them.
func ask(t *testing.T, p *Prometheus, query string, at time.Time) []string {
	t.Helper()
	resp, err := http.Get(p.URL + "/api/v1/query?" + url.Values{"query": {query}, "time": {at.Format(time.RFC3339)}}.Encode())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	var answer struct {
		Error string
		Data  struct{ Result []struct{ Value [2]any } }
	}
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil || answer.Error != "" {
		t.Fatalf("%s: %v %s", query, err, answer.Error)
	}
	var values []string
	for _, r := range answer.Data.Result {
		values = append(values, r.Value[1].(string))
	}
	return values
}

func expect(t *testing.T, p *Prometheus, query string, at time.Time, want ...string) {
	t.Helper()
	if got := ask(t, p, query, at); strings.Join(got, " ") != strings.Join(want, " ") {
		t.Errorf("%s at %v is %q, want %q", query, at, got, want)
	}
}

func TestPushedSamplesHaveTheirExactTimesInAnyOrder(t *testing.T) {
	t.Parallel()
	p := Start(t, Options{})
	p.Push(Counter(`hits_total{job="a"}`, noon.Add(-time.Hour), noon, 15*time.Second, 0, 15))
	p.Push(Counter(`hits_total{job="b"}`, noon.Add(-72*time.Hour), noon.Add(-71*time.Hour), time.Minute, 0, 60))
	p.Push(Series{Metric: "gone", Samples: []Sample{{noon.Add(-time.Minute), 1}, {noon, Stale}}})
	expect(t, p, `rate(hits_total{job="a"}[5m])`, noon, "1")
	expect(t, p, `rate(hits_total{job="b"}[5m])`, noon.Add(-71*time.Hour), "1")
	expect(t, p, "gone", noon.Add(-time.Second), "1")
	expect(t, p, "gone", noon)
}

func TestAServerKeepsItsPortAndItsDataOverARestartAndACrash(t *testing.T) {
	t.Parallel()
	p := Start(t, Options{Config: "global: {evaluation_interval: 1s}"})
	at := p.URL
	p.Push(Series{Metric: "kept", Samples: []Sample{{noon, 7}}})
	p.Restart()
	expect(t, p, "kept", noon, "7")
	p.Kill()
	if _, err := http.Get(at); err == nil {
		t.Error("a killed server answers")
	}
	p.Restart()
	expect(t, p, "kept", noon, "7")
	p.RestartEmpty()
	expect(t, p, "kept", noon)
	if p.URL != at {
		t.Errorf("the URL changed from %s to %s", at, p.URL)
	}
	p.Stop()
	p.Stop() // of a stopped server does nothing
}

func TestAPausedServerHangsUntilItIsResumed(t *testing.T) {
	t.Parallel()
	p := Start(t, Options{})
	p.Pause()
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, p.URL+"/-/ready", nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := http.DefaultClient.Do(req); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a paused server gave %v, want no answer", err)
	}
	p.Resume()
	expect(t, p, "vector(1)", noon, "1")
	p.Pause()
	p.Stop() // ends a paused server too
}

func TestAlertmanagerAnswersItsAPI(t *testing.T) {
	t.Parallel()
	a := StartAlertmanager(t, Options{})
	resp, err := http.Get(a.URL + "/api/v2/status")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	var status struct {
		Cluster struct{ Status string }
		Config  struct{ Original string }
	}
	if err := json.NewDecoder(resp.Body).Decode(&status); err != nil {
		t.Fatal(err)
	}
	if status.Cluster.Status != "disabled" || !strings.Contains(status.Config.Original, "receiver: nobody") {
		t.Errorf("status is %+v", status)
	}
}

// recorder keeps how a test ended early.
type recorder struct {
	testing.TB
	skipped, failed string
}

func (r *recorder) Helper()                        {}
func (r *recorder) Skipf(format string, a ...any)  { r.skipped = fmt.Sprintf(format, a...) }
func (r *recorder) Fatalf(format string, a ...any) { r.failed = fmt.Sprintf(format, a...) }

func TestWithoutThePackageATestIsSkippedButFailsInCI(t *testing.T) {
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	t.Setenv("PATH", t.TempDir())
	const reason = "Debian's package prometheus is needed and cannot be had: this machine has no apt-get"
	for _, ci := range []string{"", "true"} {
		t.Setenv("CI", ci)
		r := &recorder{TB: t}
		unpacked(r, prometheus)
		if strings.HasPrefix(r.skipped, reason) != (ci == "") || strings.HasPrefix(r.failed, reason) != (ci == "true") {
			t.Errorf("with CI=%q: skipped %q, failed %q", ci, r.skipped, r.failed)
		}
	}
}

// deb builds a package with one file, so that fetching can be tried without a network.
func deb(dir, pkg string) error {
	root := filepath.Join(dir, "root")
	control := "Package: " + pkg + "\nVersion: 1\nArchitecture: all\nMaintainer: nobody <nobody@example.com>\nDescription: none\n"
	return errors.Join(
		os.MkdirAll(filepath.Join(root, "DEBIAN"), 0o755),
		os.WriteFile(filepath.Join(root, "DEBIAN/control"), []byte(control), 0o644),
		os.MkdirAll(filepath.Join(root, "usr/bin"), 0o755),
		os.WriteFile(filepath.Join(root, "usr/bin/thing"), []byte("reads /usr/share/thing/x"), 0o755),
		run(dir, "dpkg-deb", "-b", root, filepath.Join(dir, pkg+"_1_all.deb")),
	)
}

func TestManyAtOnceDownloadOnceAndAFailureLeavesNothingBehind(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("dpkg-deb"); err != nil {
		t.Skip(err)
	}
	cache := filepath.Join(t.TempDir(), "cache")
	p := program{pkg: "thing", command: "usr/bin/thing", absolute: "/usr/share/thing"}
	broken := errors.New("no network")
	if _, err := fetch(cache, p, func(string, string) error { return broken }); !errors.Is(err, broken) {
		t.Fatalf("a failed download gave %v", err)
	}
	var downloads atomic.Int32
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			dir, err := fetch(cache, p, func(dir, pkg string) error {
				downloads.Add(1)
				return deb(dir, pkg)
			})
			if err != nil {
				t.Error(err)
				return
			}
			b, err := os.ReadFile(filepath.Join(dir, p.command))
			if err != nil || string(b) != "reads usr//share/thing/x" {
				t.Errorf("the unpacked command is %q (%v)", b, err)
			}
		})
	}
	all.Wait()
	if n := downloads.Load(); n != 1 {
		t.Errorf("%d downloads, want 1", n)
	}
	left, err := filepath.Glob(filepath.Join(cache, "*.part-*"))
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %v (%v)", left, err)
	}
}
