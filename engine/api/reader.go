package api

import (
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"slices"

	"github.com/modeshift/modeshift/engine"
)

// readerName is what readers of flags are called among the parts of the server, and in the tickets they get: it tells
// nothing of the token, and finds it again.
func readerName(sum [sha256.Size]byte) string {
	name := sha256.Sum256(append([]byte("modeshift reader of flags 1\n"), sum[:]...))
	return hex.EncodeToString(name[:12])
}

// Reader says whose token is presented to read flags, by a name that tells nothing of it; status 0 lets it pass, else status
// and detail are the answer.
func (t *Tokens) Reader(presented string) (reader string, status int, detail string) {
	token, err := t.whose(presented)
	if err == nil {
		err = permit(token, RoleInstance, "")
	}
	if err != nil {
		p := asProblem(err)
		return "", p.Status, p.Detail
	}
	return readerName(sha256.Sum256([]byte(presented))), 0, ""
}

// May says whether a reader may read a scope's flags now. A token that was taken out of the file is found no more.
func (t *Tokens) May(reader string, scope engine.Scope) (status int, detail string) {
	token, found := t.reader(reader)
	if !found {
		return http.StatusUnauthorized, "the token is not one this server knows any more"
	}
	if err := permit(token, RoleInstance, scope); err != nil {
		p := asProblem(err)
		return p.Status, p.Detail
	}
	return 0, ""
}

// Only is the one scope a reader's token is for; false when it is for several, or for all.
func (t *Tokens) Only(reader string) (engine.Scope, bool) {
	token, found := t.reader(reader)
	if !found || len(token.Scopes) != 1 || token.Scopes[0] == AllScopes {
		return "", false
	}
	return token.Scopes[0], true
}

func (t *Tokens) reader(name string) (Token, bool) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	i := slices.IndexFunc(t.list, func(k known) bool { return k.reader == name }) // it is no secret, so how long it takes may tell
	if i < 0 {
		return Token{}, false
	}
	return t.list[i].token, true
}
