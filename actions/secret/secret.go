// Package secret holds values that must not be seen: routing keys, tokens, signing keys.
//
// A Secret prints as <secret> whichever way it is printed: by fmt with any verb, by slog, as JSON, YAML or text. Only Reveal
// gives the value, so that the places where a secret leaves the program can be found by looking for that word. What a target
// answers may repeat what it was sent; Scrub takes the secrets out of such text before it is kept anywhere.
package secret

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
)

// Shown stands where a secret would.
const Shown = "<secret>"

// maxFile is the size above which a file is taken for something else than a secret, in bytes.
const maxFile = 64 << 10

// Secret is a value that prints as <secret>; an empty one prints as nothing, so that "not set" can be seen.
type Secret string

// Reveal returns the value, to be sent to whom it is meant for and to nobody else.
func (s Secret) Reveal() string { return string(s) }

func (s Secret) String() string {
	if s == "" {
		return ""
	}
	return Shown
}

// GoString keeps %#v from showing the value.
func (s Secret) GoString() string { return fmt.Sprintf("%q", s.String()) }

// Format keeps every other verb from showing it: %x and %d of a plain string would.
func (s Secret) Format(f fmt.State, verb rune) {
	text := s.String()
	if verb == 'v' && f.Flag('#') {
		text = s.GoString()
	}
	// A printer that cannot take the text reports that to its own caller.
	_, _ = io.WriteString(f, text)
}

// MarshalText keeps JSON, YAML and text encodings from showing it.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// LogValue keeps slog from showing it.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }

// Read returns the secret kept in a file, without the white space around it. It is read anew at each use, so that a secret
// can be changed without a restart.
func Read(path string) (Secret, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", fmt.Errorf("read secret: %w", err)
	}
	defer func() { _ = f.Close() }() // only read from: closing has nothing to say
	b, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return "", fmt.Errorf("read secret: %w", err)
	}
	if len(b) > maxFile {
		return "", fmt.Errorf("read secret: %s is larger than %d bytes", path, maxFile)
	}
	s := Secret(strings.TrimSpace(string(b)))
	if s == "" {
		return "", &os.PathError{Op: "read secret", Path: path, Err: errors.New("the file is empty")}
	}
	return s, nil
}

// Source gives a secret when it is needed. It is how a struct with unexported fields keeps one: fmt looks into such fields
// without asking a Secret how it wants to be printed, but a function prints as an address.
type Source func() (Secret, error)

// From makes a source of a value or of a file, which is read at each use. It returns nil when neither is given, and an error
// when both are.
func From(value Secret, file string) (Source, error) {
	switch {
	case value != "" && file != "":
		return nil, errors.New("both the secret and a file with it are given")
	case file != "":
		return func() (Secret, error) { return Read(file) }, nil
	case value != "":
		return func() (Secret, error) { return value, nil }, nil
	}
	return nil, nil
}

// Scrub replaces the secrets that occur in text.
func Scrub(text string, secrets ...Secret) string {
	for _, s := range secrets {
		if s != "" {
			text = strings.ReplaceAll(text, string(s), Shown)
		}
	}
	return text
}
