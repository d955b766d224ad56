package api

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
	"log/slog"
	"strings"
)

// Secret is a text that no printer shows: not fmt with any verb, not slog, not an encoder. The zero value is no secret.
// The text stands behind a pointer, so that even printing a struct which holds a Secret in an unexported field, where fmt
// cannot call methods, shows an address and no more.
type Secret struct{ text *string }

const hidden = "<secret>"

// NewSecret wraps a text; white space around it, as editors leave it in files, is cut off.
func NewSecret(text string) Secret {
	text = strings.TrimSpace(text)
	if text == "" {
		return Secret{}
	}
	return Secret{&text}
}

// Reveal returns the text, to be sent to where it belongs and nowhere else.
func (s Secret) Reveal() string {
	if s.text == nil {
		return ""
	}
	return *s.text
}

// IsZero reports whether there is no secret.
func (s Secret) IsZero() bool { return s.text == nil }

// String hides the text.
func (s Secret) String() string { return hidden }

// Format hides the text from every verb of fmt, also from those that do not ask for a Stringer.
func (s Secret) Format(f fmt.State, _ rune) {
	_, _ = io.WriteString(f, hidden) // a printer that cannot print has nobody to tell
}

// LogValue hides the text from slog.
func (s Secret) LogValue() slog.Value { return slog.StringValue(hidden) }

// MarshalText hides the text from encoders.
func (s Secret) MarshalText() ([]byte, error) { return []byte(hidden), nil }

// HashToken is what a token file holds of a token: the hex SHA-256 of its text.
func HashToken(token Secret) string {
	sum := sha256.Sum256([]byte(token.Reveal()))
	return hex.EncodeToString(sum[:])
}

// NewAdminToken draws a token of 256 random bits and returns it with its hash. The plain one goes to its owner, the hash to
// the server.
func NewAdminToken() (plain Secret, hash string) {
	var b [32]byte
	_, _ = rand.Read(b[:]) // never fails; it ends the program where the system has no randomness
	plain = NewSecret("ms_" + base64.RawURLEncoding.EncodeToString(b[:]))
	return plain, HashToken(plain)
}
