package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/modeshift/modeshift/rules"
)

// filesAt reads the rule files that paths named at a revision of the git repository they are in: what rules.ReadFiles would have
// read there. A path that did not exist then held no files. git is called by argument vectors, never through a shell.
func filesAt(ctx context.Context, rev string, paths []string) ([]rules.File, error) {
	if strings.HasPrefix(rev, "-") {
		return nil, exit(exitUsage, "--git: %q is no revision", rev)
	}
	top, err := git(ctx, existing(paths[0]), "rev-parse", "--show-toplevel")
	if err != nil {
		return nil, exit(exitUsage, "--git: %w", err)
	}
	repo := gitRepo{ctx: ctx, top: strings.TrimSuffix(string(top), "\n")}
	commit, err := repo.git("rev-parse", "--verify", "--quiet", rev+"^{commit}")
	if err != nil {
		return nil, exit(exitUsage, "--git: there is no revision %q in %s; a shallow clone may have to fetch it first", rev, repo.top)
	}
	repo.commit = strings.TrimSpace(string(commit))
	var found []blob
	for _, p := range paths {
		list, err := repo.list(p)
		if err != nil {
			return nil, exit(exitUsage, "--git: %w", err)
		}
		found = append(found, list...)
	}
	slices.SortFunc(found, func(a, b blob) int { return strings.Compare(a.path, b.path) })
	found = slices.CompactFunc(found, func(a, b blob) bool { return a.path == b.path })
	files, err := repo.read(rev, found)
	if err != nil {
		return nil, exit(exitCannotTell, "--git: %w", err)
	}
	return files, nil
}

// gitRepo is a repository at a commit.
type gitRepo struct {
	ctx         context.Context
	top, commit string
}

// blob is a file of a commit.
type blob struct{ path, id string }

// existing is the folder of a path, or the nearest above it that is there still.
func existing(p string) string {
	for {
		if st, err := os.Stat(p); err == nil && st.IsDir() {
			return p
		}
		up := filepath.Dir(p)
		if up == p {
			return "."
		}
		p = up
	}
}

// list finds the rule files that a path names.
func (r *gitRepo) list(p string) ([]blob, error) {
	within, err := r.within(p)
	if err != nil {
		return nil, err
	}
	entries := []treeEntry{{blob{path: "."}, "tree"}}
	if within != "." {
		if entries, err = r.tree("--", within); err != nil {
			return nil, err
		}
	}
	fits := func(e treeEntry) bool { return true } // what is named counts, whatever it is called
	switch {
	case len(entries) == 0 && strings.ContainsAny(within, "*?["):
		folder := within[:strings.LastIndexByte(within[:strings.IndexAny(within, "*?[")], '/')+1]
		if folder == "" {
			entries, err = r.tree("-r")
		} else {
			entries, err = r.tree("-r", "--", folder)
		}
		fits = func(e treeEntry) bool {
			ok, err := path.Match(within, e.path)
			return err == nil && ok
		}
	case len(entries) == 1 && entries[0].kind == "tree":
		if within == "." {
			entries, err = r.tree()
		} else {
			entries, err = r.tree("--", within+"/")
		}
		fits = func(e treeEntry) bool {
			ext := path.Ext(e.path)
			return (ext == ".yaml" || ext == ".yml") && !strings.HasPrefix(path.Base(e.path), ".")
		}
	}
	if err != nil {
		return nil, err
	}
	var out []blob
	for _, e := range entries {
		switch {
		case !fits(e):
		case e.kind == "link":
			return nil, fmt.Errorf("%s is a symbolic link at that revision: name what it leads to", e.path)
		case e.kind == "blob":
			out = append(out, e.blob)
		}
	}
	return out, nil
}

// within is a path below the top of the repository, with slashes.
func (r *gitRepo) within(p string) (string, error) {
	abs, err := filepath.Abs(p)
	if err != nil {
		return "", err
	}
	// What git calls the top has no links in it.
	base := existing(abs)
	if real, err := filepath.EvalSymlinks(base); err == nil {
		abs = real + strings.TrimPrefix(abs, base)
	}
	rel, err := filepath.Rel(r.top, abs)
	if err != nil || rel == ".." || strings.HasPrefix(rel, "../") {
		return "", fmt.Errorf("%s is not in the repository %s", p, r.top)
	}
	return filepath.ToSlash(rel), nil
}

// treeEntry is a line of ls-tree.
type treeEntry struct {
	blob
	kind string // blob, tree, commit; link for a symbolic one
}

// tree lists what is at a path of the commit; below it when the path ends in a slash.
func (r *gitRepo) tree(args ...string) (out []treeEntry, err error) {
	flags := []string{"ls-tree", "-z", "--full-tree"}
	if len(args) > 0 && args[0] == "-r" {
		flags, args = append(flags, "-r"), args[1:]
	}
	text, err := r.git(append(append(flags, r.commit), args...)...)
	if err != nil {
		return nil, err
	}
	for line := range strings.SplitSeq(strings.TrimSuffix(string(text), "\x00"), "\x00") {
		about, name, ok := strings.Cut(line, "\t")
		words := strings.Fields(about) // mode, kind, id
		if !ok || len(words) != 3 {
			continue
		}
		if words[0] == "120000" {
			words[1] = "link"
		}
		out = append(out, treeEntry{blob{name, words[2]}, words[1]})
	}
	return out, nil
}

// read reads files of the commit, all of them from one process.
func (r *gitRepo) read(rev string, files []blob) (out []rules.File, err error) {
	if len(files) == 0 {
		return nil, nil
	}
	var ids strings.Builder
	for _, f := range files {
		ids.WriteString(f.id + "\n")
	}
	cmd := exec.CommandContext(r.ctx, "git", "-C", r.top, "cat-file", "--batch")
	cmd.Stdin = strings.NewReader(ids.String())
	pipe, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("run git: %w", err)
	}
	defer func() {
		_, _ = io.Copy(io.Discard, pipe) // so that git can end
		err = errors.Join(err, cmd.Wait())
	}()
	in := bufio.NewReader(pipe)
	for _, f := range files {
		head, err := in.ReadString('\n')
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", f.path, err)
		}
		words := strings.Fields(head) // id, kind, size
		if len(words) != 3 {
			return nil, fmt.Errorf("read %s: git says %q", f.path, strings.TrimSpace(head))
		}
		size, err := strconv.ParseInt(words[2], 10, 64)
		if err != nil {
			return nil, fmt.Errorf("read %s: git says %q", f.path, strings.TrimSpace(head))
		}
		content := io.LimitReader(in, size)
		data, err := rules.ReadLimited(content)
		if err == nil {
			_, err = io.Copy(io.Discard, content) // what is beyond the limit
		}
		if err == nil {
			_, err = in.Discard(1) // the line's end
		}
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", f.path, err)
		}
		out = append(out, rules.File{Name: rev + ":" + f.path, Data: data})
	}
	return out, nil
}

func (r *gitRepo) git(args ...string) ([]byte, error) { return git(r.ctx, r.top, args...) }

// git runs one command of git in a folder.
func git(ctx context.Context, folder string, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, "git", append([]string{"-C", folder}, args...)...)
	var said bytes.Buffer
	cmd.Stderr = &said
	out, err := cmd.Output()
	switch text := strings.TrimSpace(said.String()); {
	case err == nil:
		return out, nil
	case text != "":
		return nil, errors.New(oneLine(text))
	}
	return nil, fmt.Errorf("git %s: %w", args[0], err)
}
