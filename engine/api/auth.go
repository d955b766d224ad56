package api

import (
	"context"
	"fmt"
	"net/http"
	"strings"

	"github.com/modeshift/modeshift/engine"
)

// bearer returns the token a request carries: Authorization: Bearer, or X-API-Key, which OpenFeature's clients may use.
func bearer(r *http.Request) string {
	scheme, token, found := strings.Cut(r.Header.Get("Authorization"), " ")
	if found && strings.EqualFold(scheme, "Bearer") {
		return strings.TrimSpace(token)
	}
	return r.Header.Get("X-API-Key")
}

// Authenticate finds out whose token a request carries. The error is a *Problem with status 401.
func (t *Tokens) Authenticate(r *http.Request) (Token, error) { return t.whose(bearer(r)) }

func (t *Tokens) whose(presented string) (Token, error) {
	if presented == "" {
		return Token{}, problem(http.StatusUnauthorized, CodeUnauthenticated,
			"a token is needed: send it as Authorization: Bearer TOKEN (on the command line: --token-file, or MODESHIFT_TOKEN_FILE)")
	}
	token, found := t.find(presented)
	if !found {
		return Token{}, problem(http.StatusUnauthorized, CodeUnauthenticated, "the token is not one this server knows")
	}
	return token, nil
}

// Authorize finds out whose token a request carries and whether it has a role in a scope. An empty scope asks for the role
// alone. The error is a *Problem with status 401 or 403; the latter says what is missing.
func (t *Tokens) Authorize(r *http.Request, role Role, scope engine.Scope) (Token, error) {
	token, err := t.Authenticate(r)
	if err != nil {
		return Token{}, err
	}
	return token, permit(token, role, scope)
}

func permit(token Token, role Role, scope engine.Scope) error {
	switch {
	case token.may(role, scope):
		return nil
	case !token.may(role, ""):
		return problem(http.StatusForbidden, CodeForbidden, fmt.Sprintf("the token of %s has no role %s", token.Principal, role))
	}
	return problem(http.StatusForbidden, CodeForbidden, fmt.Sprintf("the token of %s has the role %s, but not in %s", token.Principal, role, scope))
}

// Instance says whether a request may act as an instance of a scope: status 0 lets it pass, else status and detail are
// the answer.
func (t *Tokens) Instance(r *http.Request, scope engine.Scope) (status int, detail string) {
	_, err := t.Authorize(r, RoleInstance, scope)
	if err == nil {
		return 0, ""
	}
	p := asProblem(err)
	return p.Status, p.Detail
}

// Require lets only requests pass whose token has a role, and no more of them than m does; nil: all.
func (t *Tokens) Require(role Role, m *Limiter, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		token, err := enter(t, m, r, ClassWrite, func(t Token) error { return permit(t, role, "") })
		if err != nil {
			writeProblem(w, err)
			return
		}
		next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), tokenKey{}, token)))
	})
}

// tokenKey finds the bearer's Token in a context.
type tokenKey struct{}

func bearerOf(ctx context.Context) Token {
	token, _ := ctx.Value(tokenKey{}).(Token) // the zero Token may do nothing
	return token
}
