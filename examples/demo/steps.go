package demo

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/modeshift/modeshift/test/receiver"
)

// play is a story that is about to be told.
type play struct {
	opening string   // what there is to see before anything happens
	steps   []step   // in order
	scopes  []string // whose modes are told of when it is over
	invite  func() []string
}

// stories are all there are, the main one first.
var stories = []struct {
	name  string
	build func(context.Context, *stage, Options) (*play, error)
}{
	{"main", mainStory},
	{"lying-prometheus", lyingPrometheus},
	{"shared-outage", sharedOutage},
	{"maintenance", plannedMaintenance},
}

// Stories are the names of all stories, the main one first.
func Stories() []string {
	names := make([]string, len(stories))
	for i, s := range stories {
		names[i] = s.name
	}
	return names
}

// ErrNoStory says that there is no story of that name.
var ErrNoStory = errors.New("there is no story")

// find is the story of a name; the first one where it is empty.
func find(name string) (func(context.Context, *stage, Options) (*play, error), error) {
	for _, s := range stories {
		if name == "" || s.name == name {
			return s.build, nil
		}
	}
	return nil, fmt.Errorf("%w %q; there are %s", ErrNoStory, name, strings.Join(Stories(), ", "))
}

// sight is what was seen of a step.
type sight struct {
	ok    bool
	never bool           // it cannot happen any more; text says why
	text  string         // what happened, or what is still missing
	facts map[string]any // strings and finite numbers
}

func notYet(format string, args ...any) (sight, error) {
	return sight{text: fmt.Sprintf(format, args...)}, nil
}

// step is one step of the story. It has happened once seen says so; an error of seen means that it could not look this time.
type step struct {
	name   string
	people bool                                 // unless the story is told unattended it waits for somebody at the terminal, for as long as they like
	act    func(context.Context, *teller) error // what the demo does to the world first; nil: it only watches
	seen   func(context.Context) (sight, error)
}

// pollEvery is how often a step is looked for.
const pollEvery = 100 * time.Millisecond

// tell goes through the story, step by step. It returns an *Incomplete when a step does not happen within the timeout, which
// is for all of them together but for what people at the terminal take.
func (p *play) tell(ctx context.Context, o Options, t *teller) error {
	left, steps := o.Timeout, p.steps
	t.say(plain, "  %-9s %s", "the shop", p.opening)
	for i, s := range steps {
		own, cancel, began := ctx, context.CancelFunc(func() {}), time.Now()
		patience, ok := o.patience[s.name]
		switch {
		case ok:
			own, cancel = within(ctx, min(patience, left), min(patience, o.Timeout))
		case o.Once || !s.people:
			own, cancel = within(ctx, left, o.Timeout)
		}
		seen, err := s.happen(own, t)
		cancel()
		if o.Once || !s.people {
			left -= time.Since(began)
		}
		if err != nil {
			missing := &Incomplete{Why: err}
			for _, s := range steps[i:] {
				missing.Missing = append(missing.Missing, s.name)
			}
			return missing
		}
		t.step(s.name, seen)
	}
	return nil
}

// within ends ctx after left; whole is what that is the rest of.
func within(ctx context.Context, left, whole time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeoutCause(ctx, left, fmt.Errorf("%v have passed", whole))
}

// happen does the step's part of the world's affairs and looks until the step has happened.
func (s step) happen(ctx context.Context, t *teller) (sight, error) {
	if s.act != nil {
		if err := s.act(ctx, t); err != nil {
			return sight{}, err
		}
	}
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	last, told, at := "nothing was seen", "", time.Now()
	for {
		seen, err := s.seen(ctx)
		switch {
		case ctx.Err() != nil: // what was seen may be the end of ctx and nothing else
			return seen, fmt.Errorf("%w; last seen: %s", context.Cause(ctx), last)
		case err != nil:
			last = err.Error()
		case seen.ok:
			return seen, nil
		case seen.never:
			return seen, errors.New(seen.text)
		default:
			last = seen.text
		}
		if last != told && time.Since(at) >= time.Second {
			told, at = last, time.Now()
			t.say(faint, "· %-9s %s", s.name, last)
		}
		select {
		case <-ctx.Done():
		case <-tick.C:
		}
	}
}

// pages returns the pages so far, open and resolved.
func (s *stage) pages() []receiver.Alert {
	var pages []receiver.Alert
	for _, a := range s.pager.Alerts() {
		if a.Target == receiver.Pages {
			pages = append(pages, a)
		}
	}
	return pages
}

func tooMany(pages []receiver.Alert) sight {
	return sight{never: true, text: fmt.Sprintf("%d pages came for one trouble; the second says: %s", len(pages), pages[1].Summary)}
}

func post(ctx context.Context, url string) error { return request(ctx, http.MethodPost, url) }

// request makes a request, on a connection of its own, whose answer matters by its status alone.
func request(ctx context.Context, method, url string) error {
	ctx, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, url, nil)
	if err != nil {
		return err
	}
	req.Close = true
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	if err := res.Body.Close(); err != nil {
		return err
	}
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("%s %s answers %s", method, url, res.Status)
	}
	return nil
}
