//go:build unix

package rules

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// What may block whoever reads it, or have no end, is not read.
func TestWhatIsNoFileIsNotRead(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) {
		t.Helper()
		if err := errors.Join(os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o700), os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	write("pipes/good.yaml", "x")
	if err := syscall.Mkfifo(filepath.Join(dir, "pipes/p.yaml"), 0o600); err != nil {
		t.Fatal(err)
	}
	write("loop/sub/good.yaml", "x")
	if err := errors.Join(os.Symlink("..", filepath.Join(dir, "loop/sub/up")), os.Symlink("b.yaml", filepath.Join(dir, "loop/a.yaml")),
		os.Symlink("a.yaml", filepath.Join(dir, "loop/b.yaml"))); err != nil {
		t.Fatal(err)
	}
	write("sockets/good.yaml", "x")
	l, err := net.Listen("unix", filepath.Join(dir, "sockets/s.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	for path, want := range map[string]string{
		"pipes":                            "p.yaml is a pipe: write what it holds to a file",
		"pipes/p.yaml":                     "p.yaml is a pipe",
		"pipes/p*":                         "p.yaml is a pipe",
		"sockets":                          "s.yaml is a socket",
		"loop":                             "too many levels of symbolic links",
		"loop/a.yaml":                      "too many levels of symbolic links",
		"loop/sub/*[":                      "syntax error in pattern",
		"loop/sub/x*":                      "no file matches",
		"../../../../../../../../dev/zero": "is a device",
	} {
		files, err := ReadFiles(filepath.Join(dir, path))
		if err == nil || !strings.Contains(err.Error(), want) || len(files) > 0 {
			t.Errorf("%s: %d files, %v", path, len(files), err)
		}
	}
	files, err := ReadFiles(filepath.Join(dir, "loop/sub/up/sub/up/sub"))
	if err != nil || len(files) != 1 {
		t.Errorf("%d files, %v", len(files), err)
	}
}
