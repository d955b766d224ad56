package agent

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/modeshift/modeshift/engine"
)

// The real thing, where a file system may be mounted; elsewhere the test above has to do.
func TestAFileSystemThatIsFullKeepsNoModeBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		small := t.TempDir()
		if err := syscall.Mount("tmpfs", small, "tmpfs", 0, "size=64k"); err != nil {
			t.Logf("no file system to fill up: %v", err)
			return
		}
		t.Cleanup(func() { _ = syscall.Unmount(small, syscall.MNT_DETACH) })
		filler := filepath.Join(small, "filler")
		if err := os.WriteFile(filler, make([]byte, 1<<20), 0o600); !errors.Is(err, syscall.ENOSPC) {
			t.Fatalf("a megabyte went into 64 KiB: %v", err)
		}
		a := w.start(func(o *Options) { o.StateDir = small })
		w.tell(directive(1, "degraded"))
		synctest.Wait()
		holds(t, a, "degraded", engine.OriginServer)
		if got := a.Status().DiskError; !strings.Contains(got, "no space left") {
			t.Errorf("disk error %q", got)
		}
		if err := os.Remove(filler); err != nil {
			t.Fatal(err)
		}
		pass(2 * time.Minute)
		if got := a.Status().DiskError; got != "" {
			t.Errorf("disk error %q when there is space again", got)
		}
		if left, err := os.ReadDir(small); err != nil || len(left) != 1 {
			t.Errorf("the folder holds %v, %v", left, err)
		}
	})
}
