package promtest

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
)

// program names a command in a Debian package.
type program struct {
	pkg     string // Debian's name of the package
	command string // path inside the package
	// absolute is a folder of the package that the command looks for at its installed place. See relocate.
	absolute string
}

var (
	prometheus   = program{pkg: "prometheus", command: "usr/bin/prometheus"}
	alertmanager = program{pkg: "prometheus-alertmanager", command: "usr/bin/prometheus-alertmanager",
		absolute: "/usr/share/prometheus/alertmanager"}
)

// unpacked returns the folder p is unpacked in, fetching it first if need be. Without it the test is skipped, or fails when
// CI=true.
func unpacked(t testing.TB, p program) string {
	t.Helper()
	base, err := os.UserCacheDir()
	var dir string
	if err == nil {
		dir, err = fetch(filepath.Join(base, "modeshift", "debian"), p, aptDownload)
	}
	if err != nil {
		say := t.Skipf
		if os.Getenv("CI") == "true" {
			say = t.Fatalf
		}
		say("Debian's package %s is needed and cannot be had: %v", p.pkg, err)
	}
	return dir
}

// fetch returns the folder in cache that holds p's files. The folder appears by a rename once it is complete, and a lock
// on a file beside it lets one process fill it while others wait. download puts exactly one .deb into the folder given.
func fetch(cache string, p program, download func(dir, pkg string) error) (_ string, err error) {
	done := filepath.Join(cache, p.pkg)
	if _, err := os.Stat(done); err == nil {
		return done, nil
	}
	if err := os.MkdirAll(cache, 0o755); err != nil {
		return "", err
	}
	lock, err := os.OpenFile(done+".lock", os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, lock.Close()) }() // closing gives the lock back
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		return "", fmt.Errorf("lock %s: %w", lock.Name(), err)
	}
	if _, err := os.Stat(done); err == nil {
		return done, nil // by whoever held the lock before
	}
	work, err := os.MkdirTemp(cache, p.pkg+".part-*")
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(work)) }()
	if err := download(work, p.pkg); err != nil {
		return "", err
	}
	debs, err := filepath.Glob(filepath.Join(work, "*.deb"))
	if err != nil {
		return "", err
	}
	if len(debs) != 1 {
		return "", fmt.Errorf("downloading %s gave %d files, expected one", p.pkg, len(debs))
	}
	files := filepath.Join(work, "files")
	if err := run(work, "dpkg-deb", "-x", debs[0], files); err != nil {
		return "", err
	}
	if err := relocate(files, p); err != nil {
		return "", err
	}
	return done, os.Rename(files, done)
}

// relocate makes p find, under the folder it was unpacked in, what Debian compiled in as an absolute path: Alertmanager's
// templates. It replaces the path in the binary by a relative one of the same length (a doubled slash for the leading one),
// which holds while the working directory is that folder. The alternatives are installing the package, or a mount
// namespace, and both need root.
func relocate(files string, p program) error {
	if p.absolute == "" {
		return nil
	}
	name := filepath.Join(files, p.command)
	binary, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	first, rest, _ := bytes.Cut([]byte(p.absolute[1:]), []byte("/"))
	relative := bytes.Join([][]byte{first, rest}, []byte("//"))
	if !bytes.Contains(binary, []byte(p.absolute)) {
		return nil // a package that finds its files by other means
	}
	return os.WriteFile(name, bytes.ReplaceAll(binary, []byte(p.absolute), relative), 0o755)
}

// aptDownload downloads the package into dir. The package lists are brought up to date only when they do not know it, or
// know a version the mirror does not have any more.
func aptDownload(dir, pkg string) error {
	if _, err := exec.LookPath("apt-get"); err != nil {
		return fmt.Errorf("this machine has no apt-get: %w", err)
	}
	first := run(dir, "apt-get", "-q", "download", pkg)
	if first == nil {
		return nil
	}
	if err := run(dir, "apt-get", "-q", "update"); err != nil {
		return errors.Join(first, err)
	}
	return run(dir, "apt-get", "-q", "download", pkg)
}

// run runs a command in dir; its error holds what the command said.
func run(dir string, command string, args ...string) error {
	cmd := exec.Command(command, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "LC_ALL=C", "DEBIAN_FRONTEND=noninteractive")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w: %s", cmd, err, bytes.TrimSpace(out))
	}
	return nil
}
