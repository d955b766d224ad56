package agent

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"github.com/modeshift/modeshift/actions/atomicfile"
	"github.com/modeshift/modeshift/engine"
)

// record is what an agent has to know after a restart.
type record struct {
	Scope engine.Scope `json:"scope"`
	Term  uint64       `json:"term"`           // the highest ever heard of
	Told  *engine.Told `json:"told,omitempty"` // the last directive that was accepted
	// Applied says that Told has been applied. Good is the last that was, while Told is not.
	Applied bool         `json:"applied,omitempty"`
	Good    *engine.Told `json:"good,omitempty"`
	Heard   time.Time    `json:"heard,omitzero"` // when a server that leads was last heard, by the wall clock
}

const (
	// recordHead begins a file; the hex SHA-256 of all after the first line follows.
	recordHead = "modeshift agent v1 sha256:"
	// maxRecord is the size above which a file is taken for something else, in bytes: two directives of the largest size, with
	// room for the characters that take more bytes here than on the wire.
	maxRecord = 8 * maxMessage
)

// recordPath is where the record of a scope is kept.
func recordPath(dir string, scope engine.Scope) string {
	return filepath.Join(dir, url.PathEscape(string(scope))+".directive") // a scope may have a slash in it
}

func (r *record) encode() ([]byte, error) {
	body, err := json.Marshal(r)
	if err != nil {
		return nil, fmt.Errorf("encode the directive: %w", err)
	}
	body = append(body, '\n')
	sum := sha256.Sum256(body)
	return append([]byte(recordHead+hex.EncodeToString(sum[:])+"\n"), body...), nil
}

func decodeRecord(data []byte, scope engine.Scope) (record, error) {
	head, body, _ := bytes.Cut(data, []byte("\n"))
	sum, ours := bytes.CutPrefix(head, []byte(recordHead))
	if !ours {
		return record{}, errors.New("it was not written by an agent")
	}
	want := sha256.Sum256(body)
	if string(sum) != hex.EncodeToString(want[:]) {
		return record{}, errors.New("its checksum is wrong")
	}
	var r record
	if err := json.Unmarshal(body, &r); err != nil {
		return record{}, err
	}
	if r.Scope != scope {
		return record{}, fmt.Errorf("it is about the scope %q", r.Scope)
	}
	for _, t := range []*engine.Told{r.Told, r.Good} {
		if t == nil {
			continue
		}
		if t.Scope != scope {
			return record{}, fmt.Errorf("it has a directive for the scope %q", t.Scope)
		}
		if err := validate(t); err != nil {
			return record{}, err
		}
	}
	return r, nil
}

// recall reads what was kept. A file that is not to be trusted is set aside, for people to look at, and there is none.
func (a *Agent) recall() record {
	fresh := record{Scope: a.opts.Scope}
	if a.opts.StateDir == "" {
		a.log.Warn("no folder for the last directive is set: a start without the server will have none")
		return fresh
	}
	path := recordPath(a.opts.StateDir, a.opts.Scope)
	data, err := readBounded(path)
	if errors.Is(err, fs.ErrNotExist) {
		return fresh
	}
	if err != nil {
		// It may be readable at the next start, and hold the highest term: it stays until a directive is written.
		a.log.Error("the last directive cannot be read from disk", "error", err)
		a.note(func(s *Status) { s.DiskError = err.Error() })
		return fresh
	}
	r, err := decodeRecord(data, a.opts.Scope)
	if err == nil {
		return r
	}
	aside := path + ".bad"
	if renamed := os.Rename(path, aside); renamed != nil {
		aside = "nowhere: " + renamed.Error()
	}
	a.log.Error("the last directive on disk is not to be trusted; it is set aside", "file", path, "error", err, "now", aside)
	return fresh
}

func readBounded(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // only read from
	data, err := io.ReadAll(io.LimitReader(f, maxRecord+1))
	if err == nil && len(data) > maxRecord {
		data = data[:maxRecord] // the checksum says the rest
	}
	return data, err
}

// keep writes a record, so that it is there after a crash of the machine.
func (a *Agent) keep(r record) error {
	data, err := r.encode()
	if err != nil {
		return err
	}
	return a.write(recordPath(a.opts.StateDir, a.opts.Scope), data, 0o600)
}

func writeFile(path string, data []byte, mode os.FileMode) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	return atomicfile.Write(path, data, mode)
}
