package rules

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
)

// ReadFiles reads rule files: files, folders (their *.yaml and *.yml, not those of folders below) and globs. Each file is
// read once, however many of the paths name it, and they come sorted by name. It reads symbolic links, so that a folder that
// Kubernetes mounts from a ConfigMap works, and leaves out names that begin with a dot. A path that leads to no file is an
// error: a server that silently starts without rules protects nothing.
//
// What is no file or folder (a pipe, a device) is an error too, since reading it might never end, and so are more files, or
// larger ones, than anybody's rules are.
func ReadFiles(paths ...string) ([]File, error) {
	var names []string
	var errs []error
	for _, p := range paths {
		found, err := expandPath(p)
		if err != nil {
			errs = append(errs, err)
		}
		names = append(names, found...)
	}
	slices.Sort(names)
	names = slices.Compact(names)
	if len(names) > maxFiles {
		return nil, errors.Join(append(errs, fmt.Errorf("read rules: there are %d files, and may be at most %d: are these all rule files?", len(names), maxFiles))...)
	}
	files := make([]File, 0, len(names))
	left := maxAllBytes
	for _, name := range names {
		data, err := readRules(name)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		if left -= len(data); left < 0 {
			return nil, errors.Join(append(errs, fmt.Errorf("read rules: the %d files have more than %d MB together: are these all rule files?", len(names), maxAllBytes>>20))...)
		}
		files = append(files, File{Name: name, Data: data})
	}
	return files, errors.Join(errs...)
}

func expandPath(p string) ([]string, error) {
	info, err := os.Stat(p)
	switch {
	case err == nil && info.IsDir():
		return listFolder(p)
	case err == nil && !info.Mode().IsRegular():
		return nil, notAFile(p, info)
	case err == nil:
		return []string{filepath.Clean(p)}, nil
	case p == "-" && errors.Is(err, fs.ErrNotExist):
		return nil, errors.New("read rules: rules are read from files, and not from standard input: write what it holds to a file, and name that")
	case !strings.ContainsAny(p, "*?["):
		return nil, fmt.Errorf("read rules: %w%s", err, besides(p, err))
	}
	matches, err := filepath.Glob(p)
	if err != nil {
		return nil, fmt.Errorf("read rules: %q: %w", p, err)
	}
	var names []string
	for _, m := range matches {
		info, err := os.Stat(m)
		switch {
		case err != nil:
			return nil, fmt.Errorf("read rules: %w", err)
		case info.Mode().IsRegular():
			names = append(names, filepath.Clean(m))
		case !info.IsDir():
			return nil, notAFile(m, info)
		}
	}
	if len(names) == 0 {
		return nil, fmt.Errorf("read rules: no file matches %q", p)
	}
	return names, nil
}

// besides says which file somebody meant who names one that there is not; empty where none is near.
func besides(p string, err error) string {
	if !errors.Is(err, fs.ErrNotExist) {
		return ""
	}
	entries, _ := os.ReadDir(filepath.Dir(p))
	var names []string
	for _, e := range entries[:min(len(entries), maxFiles)] {
		if e.IsDir() || slices.Contains([]string{".yaml", ".yml"}, filepath.Ext(e.Name())) {
			names = append(names, e.Name())
		}
	}
	near, ok := nearest(filepath.Base(p), names)
	if !ok {
		return ""
	}
	return fmt.Sprintf("; did you mean %s?", filepath.Join(filepath.Dir(p), near))
}

func listFolder(folder string) ([]string, error) {
	entries, err := os.ReadDir(folder)
	if err != nil {
		return nil, fmt.Errorf("read rules: %w", err)
	}
	var names []string
	for _, e := range entries {
		ext := filepath.Ext(e.Name())
		if strings.HasPrefix(e.Name(), ".") || ext != ".yaml" && ext != ".yml" {
			continue
		}
		name := filepath.Join(folder, e.Name())
		info, err := os.Stat(name) // follows a link
		if err != nil {
			return nil, fmt.Errorf("read rules: %w", err)
		}
		switch {
		case info.Mode().IsRegular():
			names = append(names, name)
		case !info.IsDir():
			return nil, notAFile(name, info)
		}
	}
	if len(names) == 0 {
		return nil, fmt.Errorf("read rules: there is no *.yaml or *.yml file in %s", folder)
	}
	return names, nil
}

// notAFile is the error for what may block whoever opens it, or have no end.
func notAFile(name string, info os.FileInfo) error {
	what := "a device or something of the kind"
	switch mode := info.Mode(); {
	case mode&os.ModeNamedPipe != 0:
		what = "a pipe"
	case mode&os.ModeSocket != 0:
		what = "a socket"
	}
	return fmt.Errorf("read rules: %s is %s: write what it holds to a file, and name that", name, what)
}

// readRules reads one byte more than a rule file may have at most, and leaves it to Load to say so.
func readRules(name string) (data []byte, err error) {
	// Not to wait: where a pipe has taken the file's place since it was looked at, opening it would.
	f, err := os.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("read rules: %w", err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	info, err := f.Stat()
	switch {
	case err != nil:
		return nil, fmt.Errorf("read rules: %w", err)
	case !info.Mode().IsRegular():
		return nil, notAFile(name, info)
	}
	b := bytes.NewBuffer(make([]byte, 0, min(info.Size(), maxFileBytes)+bytes.MinRead+1))
	if _, err := b.ReadFrom(io.LimitReader(f, maxFileBytes+1)); err != nil {
		return nil, fmt.Errorf("read rules: %w", err)
	}
	return b.Bytes(), nil
}

// ReadLimited reads one byte more than a rule file may have at most, and leaves it to Load to say so.
func ReadLimited(r io.Reader) ([]byte, error) { return io.ReadAll(io.LimitReader(r, maxFileBytes+1)) }
