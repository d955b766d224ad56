package web

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/modeshift/modeshift/engine"
	"github.com/modeshift/modeshift/engine/approval"
)

// answerTime is how long the loop may take to take, decide and store an answer.
const answerTime = 10 * time.Second

// view is what a page shows.
type view struct {
	Title  string
	Nonce  string // of the style sheet
	Now    time.Time
	Who    string // signed in as; empty: nobody
	Leave  string // the token of the form to sign out
	Form   string // the token of the form to answer
	Error  string // what went wrong, said first
	SignIn bool
	Next   engine.ChangeID // the proposal to show after signing in

	List     []approval.Approval
	Approval *approval.Approval
	MayVote  bool // some role is asked
	OwnVote  *approval.Vote
	Own      bool // the visitor asked for it

	MayApprove bool // a yes of theirs may count; a no always may
	Reason     string
	Roles      string
}

func (w *Web) list(rw http.ResponseWriter, r *http.Request) {
	v, s, ok := w.visitor(r)
	if !ok {
		w.ask(rw, r, "")
		return
	}
	list := w.opts.Desk.List(v.Sees)
	w.write(rw, r, http.StatusOK, view{Title: "Approvals", Who: v.Actor.String(), Leave: s.formFor(signingOut), List: list})
}

// next is the proposal to go on to; empty, which is the list, when the text names none.
func next(id string) engine.ChangeID {
	if _, _, ok := approval.Parse(engine.ChangeID(id)); !ok {
		return ""
	}
	return engine.ChangeID(id)
}

// ask shows the form to sign in.
func (w *Web) ask(rw http.ResponseWriter, r *http.Request, id string) {
	rw.Header().Set("WWW-Authenticate", `Bearer realm="modeshift"`)
	w.write(rw, r, http.StatusUnauthorized, view{Title: "Sign in", SignIn: true, Next: next(id)})
}

func (w *Web) show(rw http.ResponseWriter, r *http.Request) {
	id := r.PathValue("id")
	v, s, ok := w.visitor(r)
	if !ok {
		w.ask(rw, r, id)
		return
	}
	w.proposal(rw, r, http.StatusOK, engine.ChangeID(id), v, s, "", "")
}

// proposal shows one proposal, with what went wrong and the reason typed before, if any.
func (w *Web) proposal(rw http.ResponseWriter, r *http.Request, status int, id engine.ChangeID, v Visitor, s session, problem, typed string) {
	scope, _, ok := approval.Parse(id)
	if !ok || !v.Sees(scope) {
		w.say(rw, r, http.StatusNotFound, view{Error: "There is no such proposal among those you may see."})
		return
	}
	a, err := w.opts.Desk.Get(r.Context(), id)
	switch {
	case errors.Is(err, approval.ErrNotFound):
		w.say(rw, r, http.StatusNotFound, view{Error: "There is no such proposal among those you may see."})
		return
	case err != nil:
		w.log.ErrorContext(r.Context(), "a proposal could not be shown", "proposal", id, "error", err)
		if problem == "" {
			problem = "The proposal cannot be read at this moment. Try again."
		}
		w.say(rw, r, http.StatusServiceUnavailable, view{Error: problem})
		return
	}
	page := view{
		Title: fmt.Sprintf("%s: %s → %s", a.Scope, a.From, a.To), Who: v.Actor.String(), Leave: s.formFor(signingOut), Form: s.formFor(string(id)), Error: problem,
		Approval: &a, Reason: typed, Roles: strings.Join(v.Roles, ", "), MayVote: asked(&a, v.Roles),
	}
	if vote, voted := a.Voted(v.Actor.String()); voted {
		page.OwnVote = &vote
	}
	page.Own = a.Requester != nil && a.Requester.String() == v.Actor.String()
	page.MayApprove = !page.Own && (page.OwnVote == nil || a.Blind)
	w.write(rw, r, status, page)
}

// asked reports whether the gate asks one of roles. It only decides which form is shown: the core decides what counts.
func asked(a *approval.Approval, roles []string) bool {
	for _, groups := range [][]engine.Group{a.Groups, a.Further} {
		for _, g := range groups {
			for _, role := range roles {
				if g.Role == role {
					return true
				}
			}
		}
	}
	return false
}

// answer takes a yes or a no.
func (w *Web) answer(rw http.ResponseWriter, r *http.Request) {
	id := engine.ChangeID(r.PathValue("id"))
	if !w.form(rw, r) {
		return
	}
	v, s, ok := w.visitor(r)
	if !ok {
		rw.Header().Set("WWW-Authenticate", `Bearer realm="modeshift"`)
		w.say(rw, r, http.StatusUnauthorized, view{SignIn: true, Next: next(string(id)), Error: "You are not signed in any more. Your answer was not recorded: sign in and answer again."})
		return
	}
	f := r.PostForm
	reason := strings.TrimSpace(f.Get("reason"))
	verdict := f.Get("verdict")
	scope, _, parsed := approval.Parse(id)
	var status int
	var problem string
	switch {
	case !s.ours(f.Get("form"), string(id)):
		status, problem = http.StatusForbidden, "This form is not one of your present sign-in, or about another proposal. Your answer was not recorded: look again and answer here."
	case !parsed || !v.Sees(scope):
		status = http.StatusNotFound // said by proposal
	case verdict != "yes" && verdict != "no":
		status, problem = http.StatusUnprocessableEntity, "Choose approve or refuse. Nothing was recorded."
	case !utf8.ValidString(reason) || utf8.RuneCountInString(reason) > maxReason:
		status, problem = http.StatusUnprocessableEntity, fmt.Sprintf("A reason has at most %d characters. Nothing was recorded.", maxReason)
	default:
		status, problem = w.review(r, id, v, approval.Review{
			Yes: verdict == "yes", Digest: engine.Digest(f.Get("digest")), Reason: reason, Blind: f.Get("blind") == "yes",
		})
	}
	if status == http.StatusSeeOther {
		http.Redirect(rw, r, link(id), status)
		return
	}
	w.proposal(rw, r, status, id, v, s, problem, reason)
}

// review takes an answer to the desk. Status 303 says that it counted; else problem says why not.
func (w *Web) review(r *http.Request, id engine.ChangeID, v Visitor, answer approval.Review) (status int, problem string) {
	ctx, cancel := context.WithTimeout(r.Context(), answerTime)
	defer cancel()
	_, err := w.opts.Desk.Review(ctx, id, v.Actor, v.Roles, answer)
	if err == nil {
		return http.StatusSeeOther, ""
	}
	var refused *approval.Error
	if !errors.As(err, &refused) {
		w.log.ErrorContext(r.Context(), "an answer was not taken", "proposal", id, "error", err)
		return http.StatusServiceUnavailable, "Your answer could not be recorded. Look below whether it counts, and try again: " + err.Error()
	}
	switch refused.Reason.Code {
	case engine.CodeDigest:
		return http.StatusConflict, "What would be done has changed since you looked. Nothing was recorded: this is what is proposed now. Look at it and answer again."
	case engine.CodeOver, engine.CodeNoProposal:
		return http.StatusConflict, "Your answer was not recorded, because it came to an end before: " + refused.Error() + "."
	case engine.CodeSamePerson:
		return http.StatusForbidden, "You have said yes already. That counts, once; nothing was added."
	case engine.CodeOwnRequest:
		return http.StatusForbidden, "You asked for this yourself, so somebody else has to approve it. Nothing was recorded."
	case engine.CodeRole:
		return http.StatusForbidden, "You may not answer this: " + refused.Error() + "."
	case engine.CodeNoReason:
		return http.StatusUnprocessableEntity, "Say why: the reason is kept in the log. Nothing was recorded."
	}
	return http.StatusConflict, "Your answer was not recorded: " + refused.Error() + "."
}

// say shows a page that has only something to say.
func (w *Web) say(rw http.ResponseWriter, r *http.Request, status int, page view) {
	page.Title = "Not done"
	if status == http.StatusNotFound {
		page.Title = "Not found"
	}
	if v, s, ok := w.visitor(r); ok && !page.SignIn {
		page.Who, page.Leave = v.Actor.String(), s.formFor(signingOut)
	}
	w.write(rw, r, status, page)
}

// write renders a page whole before it sends any of it.
func (w *Web) write(rw http.ResponseWriter, r *http.Request, status int, page view) {
	page.Now, page.Nonce = w.opts.Now().UTC(), random()
	var buf bytes.Buffer
	if err := templates.ExecuteTemplate(&buf, "page", page); err != nil {
		w.log.ErrorContext(r.Context(), "a page could not be rendered", "error", err)
		http.Error(rw, "the page could not be rendered; the command line goes on working", http.StatusInternalServerError)
		return
	}
	h := rw.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Security-Policy", "default-src 'none'; style-src 'nonce-"+page.Nonce+"'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'")
	rw.WriteHeader(status)
	_, _ = buf.WriteTo(rw) // the reader is gone: nobody is left to be told
}
