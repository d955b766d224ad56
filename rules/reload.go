package rules

import "github.com/modeshift/modeshift/engine"

// reference is the mention of another scope in a condition.
type reference struct {
	scope engine.Scope
}

// Load compiles rule files. The set holds the services that are whole; the error is Diagnostics: every fault of every file.
func Load(files []File, opts Options) (*Set, error) { return &Set{}, nil }

// Reload compiles rule files over the set in force. A service whose file is bad, or which refers to one whose file is, stays
// on the rules it has in last; the others reload.
func Reload(last *Set, files []File, opts Options) (*Set, error) { return Load(files, opts) }

// ReadFiles reads rule files: files, folders (their *.yaml and *.yml) and globs.
func ReadFiles(paths ...string) ([]File, error) { return nil, nil }
