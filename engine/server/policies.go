package server

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"sync"

	"github.com/modeshift/modeshift/engine"
	"github.com/modeshift/modeshift/engine/explain"
)

// PoliciesFile is where a data folder keeps the compiled rules of each digest that was in force: a line of JSON each, the
// oldest first, never changed. The log names digests; without this file nobody could say later what they stood for, nor
// decide again what was decided under them.
const PoliciesFile = "policies.jsonl"

// policyBook keeps the rules that are taken into force. It is safe for concurrent use.
type policyBook struct {
	path string

	mu   sync.Mutex // guards what follows, and writing
	have map[[sha256.Size]byte]bool
	torn bool // the file may not end with a whole line
}

// openPolicies reads which rules were kept before.
func openPolicies(path string) (*policyBook, error) {
	b := &policyBook{path: path, have: map[[sha256.Size]byte]bool{}, torn: true}
	err := eachLine(path, func(line []byte) { b.have[sha256.Sum256(line)] = true })
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("read the rules kept: %w", err)
	}
	b.torn = err == nil
	return b, nil
}

// keep adds the rules that are not there yet. They are on the disk when it returns, so that it comes before they are taken
// into force.
func (b *policyBook) keep(policies []engine.Policy) (err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	var fresh bytes.Buffer
	var sums [][sha256.Size]byte
	if b.torn {
		fresh.WriteByte('\n') // an empty line at worst
	}
	for _, p := range policies {
		line, err := explain.EncodePolicy(p)
		if err != nil {
			return err
		}
		if sum := sha256.Sum256(line); !b.have[sum] {
			sums = append(sums, sum)
			fresh.Write(line)
			fresh.WriteByte('\n')
		}
	}
	if len(sums) == 0 {
		return nil
	}
	f, err := os.OpenFile(b.path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("keep the rules: %w", err)
	}
	_, err = f.Write(fresh.Bytes())
	if err == nil {
		err = f.Sync()
	}
	b.torn = true // until all of it is known to be there
	if err = errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("keep the rules: %w", err)
	}
	b.torn = false
	for _, sum := range sums {
		b.have[sum] = true
	}
	return nil
}

// Policies finds the rules of a scope by their digest, the newest text first.
func (b *policyBook) Policies(scope engine.Scope, digest engine.Digest) []engine.Policy {
	list, err := keptPolicies(b.path, scope, digest)
	if err != nil {
		return nil // what cannot be read is not kept, and the explanation says so
	}
	return list
}

// KeptPolicies finds rules in the file at path, which need not be there.
func KeptPolicies(path string) explain.Policies {
	return (&policyBook{path: path}).Policies
}

func keptPolicies(path string, scope engine.Scope, digest engine.Digest) ([]engine.Policy, error) {
	var list []engine.Policy
	err := eachLine(path, func(line []byte) {
		if !bytes.Contains(line, []byte(digest)) {
			return
		}
		// A line that was cut short decodes to nothing: its rules were not in force yet.
		if p, err := explain.DecodePolicy(line); err == nil && p.Scope == scope && p.Digest == digest {
			list = append(list, p)
		}
	})
	slices.Reverse(list)
	return list, err
}

// eachLine gives each line of a file, without its end. The line is only lent.
func eachLine(path string, take func(line []byte)) (err error) {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	r := bufio.NewReaderSize(f, 1<<20)
	for {
		line, err := r.ReadBytes('\n')
		if line = bytes.TrimSuffix(line, []byte("\n")); len(line) > 0 {
			take(line)
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// explainable is the store as the API wants it, with the rules its digests stand for.
type explainable struct {
	storeReader
	policies *policyBook
}

// Policies implements api.Policies.
func (e explainable) Policies(scope engine.Scope, digest engine.Digest) []engine.Policy {
	return e.policies.Policies(scope, digest)
}
