package server

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/fsnotify/fsnotify"

	"github.com/modeshift/modeshift/engine"
	"github.com/modeshift/modeshift/engine/loop"
	"github.com/modeshift/modeshift/rules"
)

// ruleBook holds the rules in force and brings the files on disk into force.
type ruleBook struct {
	paths    []string
	opts     rules.Options
	keep     string                                         // file of the last good rule files
	inForce  func() map[engine.Scope]engine.Mode            // the mode each scope is in
	apply    func(context.Context, *rules.Set, error) error // takes a set into force
	reloaded func(good bool)                                // told after each load
	replaced func(ctx context.Context, from, to *rules.Set) // told after other rules are in force
	watcher  func() (*fsnotify.Watcher, error)              // fsnotify.NewWatcher
	log      *slog.Logger

	mu     sync.Mutex // one reload at a time; guards what follows
	set    *rules.Set
	files  []rules.File // as last read
	err    error        // of the last reload; nil when all files are in force
	unread string       // why the files could not be read last; empty when they could
	last   *rules.Set   // in force when the server ran last; nil when that is not known
	again  bool         // what was read is not in force for a reason outside of the files: try again
}

// kept is the form of the file of last good rule files.
type kept struct {
	Files []keptFile `json:"files"`
}

type keptFile struct {
	Name string `json:"name"`
	Data string `json:"data"`
}

// start loads the rules. Files that are bad now and were good when the server ran last stay as they were then: a restart at
// night does not take the rules away. It fails when nothing at all can be brought into force.
func (b *ruleBook) start() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	files, err := rules.ReadFiles(b.paths...)
	if err != nil {
		return fmt.Errorf("%w; name rule files or folders of them with --rules or in the configuration's rules", err)
	}
	if len(files) == 0 {
		return fmt.Errorf("no rule files match %v: name files or folders with *.yaml in them", b.paths)
	}
	opts := b.options()
	if last, err := b.lastGood(opts); err != nil {
		b.log.Warn("the rules of the last run cannot be used", "error", err)
	} else {
		b.set, b.last = last, last
	}
	set, err := rules.Reload(b.set, files, opts)
	if len(set.Services) == 0 && err != nil {
		return fmt.Errorf("no rule file can be taken into force; mend one of them:\n%w", err)
	}
	b.files = files
	b.took(set, err)
	return nil
}

// reload reads the files again and takes them into force. The error says what is not in force, and why.
func (b *ruleBook) reload(ctx context.Context) error {
	from, to, err := b.replace(ctx)
	if to != nil {
		b.replaced(ctx, from, to) // not under the lock: whoever is told may look for long
	}
	return err
}

// replace is reload; it returns what was in force before and what is now, nil when that is the same.
func (b *ruleBook) replace(ctx context.Context) (from, to *rules.Set, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	files, err := rules.ReadFiles(b.paths...)
	if err == nil && len(files) == 0 {
		err = fmt.Errorf("no rule files match %v; the rules stay as they were", b.paths)
	}
	if err != nil {
		b.err, b.unread = err, err.Error()
		b.reloaded(false)
		b.log.Error("rules not reloaded: what was in force stays in force", "error", err)
		return nil, nil, err
	}
	b.files, b.unread = files, ""
	set, err := rules.Reload(b.set, files, b.options())
	applied := b.apply(ctx, set, err)
	for n := 0; n < 3 && errors.Is(applied, loop.ErrMoved); n++ { // a service has just moved: see what fits its mode now
		set, err = rules.Reload(b.set, files, b.options())
		applied = b.apply(ctx, set, err)
	}
	if b.again = applied != nil; b.again {
		b.err = fmt.Errorf("take the rules into force: %w", applied)
		b.reloaded(false)
		b.log.Error("rules not in force; trying again within half a minute", "error", applied)
		return nil, nil, b.err
	}
	from = b.set
	b.took(set, err)
	return from, set, err
}

// took notes what is in force. The caller holds b.mu.
func (b *ruleBook) took(set *rules.Set, err error) {
	b.set, b.err = set, err
	b.reloaded(err == nil)
	for _, w := range set.Warnings {
		b.log.Warn("rules", "warning", w.Summary())
	}
	if err != nil {
		for _, d := range diagnostics(err) {
			b.log.Error("a rule file is not in force", "error", d.Summary(), "hint", d.Hint)
		}
	} else {
		b.log.Info("rules loaded", "digest", set.Digest.Short(), "services", len(set.Services))
	}
	if err := b.keepGood(); err != nil {
		b.log.Warn("the good rule files are not kept for the next start", "error", err)
	}
}

func (b *ruleBook) options() rules.Options {
	opts := b.opts
	opts.InForce = b.inForce()
	return opts
}

// keepGood writes the files of the services that are wholly in force beside the log, in place of older ones of their name.
func (b *ruleBook) keepGood() error {
	good := map[string]string{}
	if last, err := b.readKept(); err == nil {
		for _, f := range last.Files {
			good[f.Name] = f.Data
		}
	}
	bad := map[string]bool{}
	present := map[string]bool{}
	for _, d := range diagnostics(b.err) {
		bad[d.File] = true
	}
	for _, f := range b.files {
		present[f.Name] = true
		if !bad[f.Name] {
			good[f.Name] = string(f.Data)
		}
	}
	var k kept
	for name, data := range good {
		if present[name] {
			k.Files = append(k.Files, keptFile{name, data})
		}
	}
	slices.SortFunc(k.Files, func(a, b keptFile) int { return bytes.Compare([]byte(a.Name), []byte(b.Name)) })
	text, err := json.Marshal(k)
	if err != nil {
		return err
	}
	if old, err := os.ReadFile(b.keep); err == nil && bytes.Equal(old, text) {
		return nil
	}
	return writeFile(b.keep, text)
}

func (b *ruleBook) readKept() (k kept, err error) {
	text, err := os.ReadFile(b.keep)
	if errors.Is(err, fs.ErrNotExist) {
		return k, nil
	}
	if err != nil {
		return k, err
	}
	return k, json.Unmarshal(text, &k)
}

// lastGood compiles the rule files that were in force when the server ran last; nil when there are none.
func (b *ruleBook) lastGood(opts rules.Options) (*rules.Set, error) {
	k, err := b.readKept()
	if err != nil || len(k.Files) == 0 {
		return nil, err
	}
	files := make([]rules.File, len(k.Files))
	for i, f := range k.Files {
		files[i] = rules.File{Name: f.Name, Data: []byte(f.Data)}
	}
	set, err := rules.Load(files, opts)
	if set != nil && len(set.Services) > 0 {
		return set, nil // a newer program may refuse what an older one took: what is left is still good
	}
	return nil, err
}

// current returns the set in force and what is wrong with the files on disk.
func (b *ruleBook) current() (*rules.Set, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.set, b.err
}

// changed reports whether a reload would find something else than the last one did. That files cannot be read any more is
// such a change: it has to be said.
func (b *ruleBook) changed() bool {
	files, err := rules.ReadFiles(b.paths...)
	b.mu.Lock()
	defer b.mu.Unlock()
	if err != nil {
		return err.Error() != b.unread
	}
	return b.again || b.unread != "" || !slices.EqualFunc(files, b.files, func(x, y rules.File) bool {
		return x.Name == y.Name && bytes.Equal(x.Data, y.Data)
	})
}

// watch reloads when the files change: written in place, renamed over, or behind a link that is swapped. Folders are watched
// rather than files, because a file that is renamed over is another file. What a watch cannot see (a link further up, a
// network file system) is found by looking every half minute.
func (b *ruleBook) watch(ctx context.Context) error {
	var events chan fsnotify.Event
	var faults chan error
	w, err := b.watcher()
	if err != nil {
		// A system has only so many watches for all its programs. To be without one is no reason to stop.
		b.log.Warn("the rule files cannot be watched; they are looked at every half minute", "error", err)
	} else {
		events, faults = w.Events, w.Errors
		defer func() {
			if err := w.Close(); err != nil {
				b.log.Warn("stop watching the rule files", "error", err)
			}
		}()
	}
	told := map[string]bool{}
	// It reports whether it found a folder that was not watched.
	follow := func() (found bool) {
		if w == nil {
			return false
		}
		watched := w.WatchList()
		for _, dir := range b.folders() {
			found = found || !told[dir] && !slices.Contains(watched, dir)
			if err := w.Add(dir); err != nil && !told[dir] {
				told[dir] = true
				b.log.Warn("a folder of rules cannot be watched; it is looked at every half minute", "folder", dir, "error", err)
			}
		}
		return found
	}
	follow()
	look := time.NewTicker(30 * time.Second)
	defer look.Stop()
	// Editors and deployments write in several steps: wait until it has been quiet for a moment. The first look finds what
	// changed between the start and the watch.
	quiet := time.NewTimer(100 * time.Millisecond)
	defer quiet.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case _, open := <-events:
			if !open {
				return nil
			}
			quiet.Reset(100 * time.Millisecond)
			continue
		case err := <-faults:
			b.log.Warn("watching the rule files", "error", err)
			continue
		case <-quiet.C:
		case <-look.C:
		}
		if b.changed() {
			// What is wrong is logged, shown and measured by reload itself.
			_ = b.reload(ctx)
			if follow() { // a link leads to another folder now, and something may have been written there before the watch
				quiet.Reset(100 * time.Millisecond)
			}
		}
	}
}

// folders lists the folders whose entries decide what the rule files are.
func (b *ruleBook) folders() []string {
	var dirs []string
	add := func(path string) {
		if abs, err := filepath.Abs(path); err == nil && !slices.Contains(dirs, abs) {
			dirs = append(dirs, abs)
		}
	}
	for _, p := range b.paths {
		st, err := os.Stat(p)
		if err == nil && st.IsDir() {
			add(p)
			// When the folder is a link, its swap shows in the folder it is in.
			if real, err := filepath.EvalSymlinks(p); err != nil || real == filepath.Clean(p) {
				continue
			}
		}
		add(filepath.Dir(p))
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, f := range b.files {
		add(filepath.Dir(f.Name))
		if real, err := filepath.EvalSymlinks(f.Name); err == nil {
			add(filepath.Dir(real))
		}
	}
	return dirs
}

// diagnostics takes the single faults out of an error of package rules.
func diagnostics(err error) rules.Diagnostics {
	var ds rules.Diagnostics
	if errors.As(err, &ds) {
		return ds.Errors()
	}
	if err != nil {
		return rules.Diagnostics{{Level: rules.LevelError, File: "rules", Message: err.Error()}}
	}
	return nil
}

// writeFile replaces a file by rename, readable by its owner only.
func writeFile(path string, data []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".new-*")
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return nil
}
