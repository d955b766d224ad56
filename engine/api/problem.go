package api

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/modeshift/modeshift/engine"
)

// Problem is an error as the API sends it (RFC 9457).
type Problem = huma.ErrorModel

const problemType = "urn:modeshift:problem:"

func problem(status int, code, detail string, errs ...*huma.ErrorDetail) *Problem {
	return &Problem{Type: problemType + code, Title: http.StatusText(status), Status: status, Detail: detail, Errors: errs}
}

// ProblemCode is the last word of a problem's type, one of the codes of this package; empty when it has none.
func ProblemCode(p *Problem) string {
	code, _ := strings.CutPrefix(p.Type, problemType)
	return code
}

// typed gives the problems that huma finds before a handler is called (a body it cannot read, a parameter it does not know)
// the type that all problems have.
func typed(_ huma.Context, _ string, body any) (any, error) {
	p, is := body.(*Problem)
	if !is || p.Type != "" {
		return body, nil
	}
	code := CodeInvalid
	if p.Status >= http.StatusInternalServerError {
		code = CodeInternal
	}
	p.Type = problemType + code // p was made for this answer
	return p, nil
}

// asProblem makes a problem of any error. Where the error has a code, that decides the status; the rest is the server's
// fault.
func asProblem(err error) *Problem {
	var p *Problem
	if errors.As(err, &p) {
		return p
	}
	var coded interface {
		error
		Code() string
	}
	if !errors.As(err, &coded) {
		return problem(http.StatusInternalServerError, CodeInternal, err.Error())
	}
	status, known := map[string]int{
		CodeUnknownScope: http.StatusNotFound,
		CodeRefused:      http.StatusConflict,
		CodeConflict:     http.StatusConflict,
		CodeNoRules:      http.StatusConflict,
		CodeGone:         http.StatusGone,
		CodeInUse:        http.StatusConflict,
		CodeInvalid:      http.StatusBadRequest,
		CodeUnavailable:  http.StatusServiceUnavailable,
		CodeNoProposal:   http.StatusNotFound,
		CodeRole:         http.StatusForbidden,
		CodeOwnRequest:   http.StatusForbidden,
		CodeSamePerson:   http.StatusForbidden,
		CodeDigest:       http.StatusConflict,
		CodeOver:         http.StatusConflict,
		CodeWhich:        http.StatusConflict,
		CodeNoReason:     http.StatusUnprocessableEntity,
	}[coded.Code()]
	if !known {
		return problem(http.StatusInternalServerError, CodeInternal, err.Error())
	}
	return problem(status, coded.Code(), err.Error())
}

// refusal is the problem for a request the core refused. What is wrong with the request itself is 422, what asks for a role
// 403; what only does not fit the scope's present state is 409.
func refusal(why engine.Reason) *Problem {
	status := http.StatusConflict
	switch why.Code {
	case engine.CodeNoReason, engine.CodeNoMode, engine.CodeTooLongPin, engine.CodeBadSpan:
		status = http.StatusUnprocessableEntity
	case engine.CodeRole:
		status = http.StatusForbidden
	case engine.CodeNoCorrection:
		status = http.StatusNotFound
	}
	return problem(status, CodeRefused, why.Text,
		&huma.ErrorDetail{Message: why.Text, Location: "reason.code", Value: string(why.Code)})
}

// answer is what a handler returns for err: a problem with the headers its status asks for.
func answer(err error) error {
	return huma.ErrorWithHeaders(asProblem(err), headersOf(err))
}

func headersOf(err error) http.Header {
	h := http.Header{}
	var held *later
	switch status := asProblem(err).Status; {
	case errors.As(err, &held):
		h.Set("Retry-After", retryAfter(held.wait))
	case status == http.StatusUnauthorized:
		h.Set("WWW-Authenticate", `Bearer realm="modeshift"`)
	case status == http.StatusServiceUnavailable:
		h.Set("Retry-After", "5")
	}
	return h
}

// writeProblem answers outside of huma's handlers.
func writeProblem(w http.ResponseWriter, why error) {
	p := asProblem(why)
	body, err := json.Marshal(p)
	if err != nil {
		panic(fmt.Sprintf("a problem does not encode: %v", err)) // it is texts and numbers
	}
	for name, values := range headersOf(why) {
		w.Header()[name] = values
	}
	w.Header().Set("Content-Type", "application/problem+json")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(p.Status)
	_, _ = w.Write(append(body, '\n')) // the reader is gone: nobody is left to be told
}
