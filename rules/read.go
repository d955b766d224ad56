package rules

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// ReadFiles reads rule files: files, folders (their *.yaml and *.yml, not those of folders below) and globs. Each file is
// read once, however many of the paths name it, and they come sorted by name. It reads symbolic links, so that a folder that
// Kubernetes mounts from a ConfigMap works, and leaves out names that begin with a dot. A path that leads to no file is an
// error: a server that silently starts without rules protects nothing.
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
	files := make([]File, 0, len(names))
	for _, name := range names {
		data, err := readRules(name)
		if err != nil {
			errs = append(errs, err)
			continue
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
	case err == nil:
		return []string{filepath.Clean(p)}, nil
	case !strings.ContainsAny(p, "*?["):
		return nil, fmt.Errorf("read rules: %w", err)
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
		}
	}
	if len(names) == 0 {
		return nil, fmt.Errorf("read rules: no file matches %q", p)
	}
	return names, nil
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
		if info.Mode().IsRegular() {
			names = append(names, name)
		}
	}
	if len(names) == 0 {
		return nil, fmt.Errorf("read rules: there is no *.yaml or *.yml file in %s", folder)
	}
	return names, nil
}

func readRules(name string) (data []byte, err error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, fmt.Errorf("read rules: %w", err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	data, err = ReadLimited(f)
	if err != nil {
		return nil, fmt.Errorf("read rules: %w", err)
	}
	return data, nil
}

// ReadLimited reads one byte more than a rule file may have at most, and leaves it to Load to say so.
func ReadLimited(r io.Reader) ([]byte, error) { return io.ReadAll(io.LimitReader(r, maxFileBytes+1)) }
