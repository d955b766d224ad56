package store

import (
	"crypto/sha256"

	"github.com/modeshift/modeshift/engine"
)

// link is one hash of a stream's chain.
type link [sha256.Size]byte

// anchor is hash_0 of a stream. The name is in it, so that two streams of equal bodies have different chains.
func anchor(stream engine.Scope) link {
	return sha256.Sum256(append(make([]byte, sha256.Size), stream...))
}

// next is the hash of the chain with body added.
func (l link) next(body []byte) link {
	h := sha256.New()
	h.Write(l[:])
	h.Write(body)
	return link(h.Sum(nil))
}
