package explain_test

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/modeshift/modeshift/engine"
	"github.com/modeshift/modeshift/engine/explain"
)

// fill sets everything in v to something that is not its zero value.
func fill(v reflect.Value, n *int) {
	*n++
	switch v.Kind() {
	case reflect.String:
		v.SetString(fmt.Sprintf("<text & %d>", *n))
	case reflect.Int, reflect.Int64:
		v.SetInt(int64(*n))
	case reflect.Float64:
		v.SetFloat(float64(*n) + 0.5)
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Struct:
		for i := range v.NumField() {
			fill(v.Field(i), n)
		}
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(v.Elem(), n)
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		fill(v.Index(0), n)
		fill(v.Index(1), n)
	case reflect.Map:
		v.Set(reflect.MakeMap(v.Type()))
		if v.Type().Elem().Kind() == reflect.Interface {
			for i, value := range []any{true, 1.5, "é", map[string]any{"deep": []any{1.0, nil}}} {
				v.SetMapIndex(reflect.ValueOf(fmt.Sprint("flag", i)), reflect.ValueOf(value))
			}
			return
		}
		value := reflect.New(v.Type().Elem()).Elem()
		fill(value, n)
		v.SetMapIndex(reflect.ValueOf(fmt.Sprint("key", *n)), value)
	default:
		panic("a policy has a " + v.Kind().String())
	}
}

// A field that is added to Policy and not kept would make every replay lie.
func TestEveryFieldOfAPolicyIsKept(t *testing.T) {
	var full engine.Policy
	n := 0
	fill(reflect.ValueOf(&full).Elem(), &n)
	for _, p := range []engine.Policy{full, {}, {Scope: "checkout", Transitions: []engine.Transition{{Name: "a"}, {Name: "b", Playbook: engine.Playbook{Verify: 2}}}}} {
		b, err := explain.EncodePolicy(p)
		if err != nil {
			t.Fatal(err)
		}
		got, err := explain.DecodePolicy(b)
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(got, p) {
			t.Errorf("got\n%+v\nwant\n%+v", got, p)
		}
		again, err := explain.EncodePolicy(got)
		if err != nil || string(again) != string(b) {
			t.Errorf("encoded again, %v:\n%s\n%s", err, again, b)
		}
	}
}

func TestRulesThatAreNotWholeAreNotDecoded(t *testing.T) {
	for _, text := range []string{"", "{", `{"policy":{"Transitions":[{}]},"verify":[1,2]}`} {
		if p, err := explain.DecodePolicy([]byte(text)); err == nil {
			t.Errorf("%q decoded to %+v", text, p)
		}
	}
}

// shop is a scope that sheds load by itself and fails over when people say yes.
var shop = engine.Policy{
	Digest: "0123456789abcdef", Scope: "checkout", Interval: 15 * time.Second, BlindAfter: 5 * time.Minute, Owner: "team-payments",
	Modes: []engine.ModeRule{{Name: "normal"}, {Name: "degraded", Flags: engine.Flags{"recommendations": false}}, {Name: "read-only"}, {Name: "failover", Beside: true}},
	Conditions: []engine.Condition{
		{Name: "shed.when", Text: `burning("availability", "page")`}, {Name: "stop.when", Text: `sli("p99") > 2.0`},
		{Name: "fail-over.when", Text: `burn_rate("availability", "5m") > 14.4`}, {Name: "fail-over.verify", Text: `sli("p99") < 0.5`},
		{Name: "recover.when", Text: `sli("p99") < 0.1`},
	},
	Transitions: []engine.Transition{
		{Name: "shed", From: []engine.Mode{"normal"}, To: "degraded", When: 0, Severity: engine.SeverityPage, Digest: "t1", Position: "checkout.yaml:30:5"},
		{Name: "stop", From: []engine.Mode{"normal", "degraded"}, To: "read-only", When: 1, For: time.Minute, Digest: "t2", Position: "checkout.yaml:40:5"},
		{Name: "fail-over", From: []engine.Mode{"degraded"}, To: "failover", When: 2, Digest: "t3", Position: "checkout.yaml:50:5", Severity: engine.SeverityPage,
			Gate: &engine.Gate{Groups: []engine.Group{{Role: "oncall", Count: 1}, {Role: "lead", Count: 1}}, Within: 15 * time.Minute},
			Playbook: engine.Playbook{Verify: 4, Steps: []engine.Step{
				{Name: "drain", Kind: "webhook", Undo: true, Keyed: true, Attempts: 3}, {Name: "repoint", Kind: "webhook", Destructive: true, Undo: true, Keyed: true}}}},
		{Name: "recover", From: []engine.Mode{"degraded"}, To: "normal", When: 4, For: 10 * time.Minute, Digest: "t4", Position: "checkout.yaml:60:5"},
	},
}

var nine = time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC)

// story is a stream being written.
type story struct {
	t      *testing.T
	policy engine.Policy
	state  engine.State
	events []engine.Event
	prev   time.Time
}

func (s *story) decide(at time.Duration, by string, what engine.Happening) []engine.Event {
	s.t.Helper()
	events := engine.Decide(s.policy, s.state, engine.Input{At: nine.Add(at), Term: 3, By: engine.Actor{Principal: by, Person: by}, What: what})
	for _, e := range events {
		s.state = engine.Apply(s.state, e)
	}
	s.events = append(s.events, events...)
	return events
}

// see observes the conditions, given as letters.
func (s *story) see(at time.Duration, letters string) []engine.Event {
	o := &engine.Observed{Instant: nine.Add(at), Prev: s.prev}
	for i, c := range letters {
		seen := engine.Observation{Asked: c != '-', Truth: map[rune]engine.Truth{'t': engine.True, 'f': engine.False}[c], Blind: c == 'b'}
		if seen.Asked {
			seen.Readings = []engine.Reading{{Signal: s.policy.Conditions[i].Name, Value: float64(i), Query: "q", Source: "main", Sample: nine.Add(at)}}
		}
		o.Conditions = append(o.Conditions, seen)
	}
	s.prev = o.Instant
	return s.decide(at, "", o)
}

func (s *story) review(at time.Duration, who, role string, yes bool) {
	s.decide(at, who, &engine.ReviewGiven{Digest: s.state.Proposals[0].Digest, Yes: yes, Roles: []string{role}, Reason: "the gateway is dead"})
}

func (s *story) step(at time.Duration, name string, outcome engine.Outcome, detail string) {
	s.decide(at, "", &engine.StepReported{Step: name, Outcome: outcome, Detail: detail})
}

// failedOver is a whole life: degraded by itself, failed over after two people said yes and a step was tried twice.
func failedOver(t *testing.T) *story {
	s := &story{t: t, policy: shop}
	s.decide(0, "", &engine.TimePassed{})
	s.see(15*time.Second, "ft-ff")
	s.see(30*time.Second, "tt-ff") // shed
	s.see(45*time.Second, "tftuf") // fail-over is proposed
	s.review(60*time.Second, "bob", "nobody", true)
	s.review(70*time.Second, "bob", "oncall", true)
	s.review(80*time.Second, "carol", "lead", true)
	s.step(82*time.Second, "drain", engine.OutcomeFailed, "503 Service Unavailable")
	s.step(85*time.Second, "drain", engine.OutcomeDone, "204 No Content")
	s.step(90*time.Second, "repoint", engine.OutcomeDone, "200 OK")
	s.see(105*time.Second, "ff-tf")
	if s.state.Mode != "failover" {
		t.Fatalf("the story went wrong: %+v", s.state)
	}
	return s
}

func kept(ps ...engine.Policy) explain.Policies {
	return func(scope engine.Scope, digest engine.Digest) (list []engine.Policy) {
		for _, p := range ps {
			if p.Scope == scope && p.Digest == digest {
				list = append(list, p)
			}
		}
		return list
	}
}

func TestAReplayOfTheStoredEventsGivesTheSameEvents(t *testing.T) {
	s := failedOver(t)
	read := make([]engine.Event, len(s.events))
	for i, e := range s.events {
		b, err := e.Encode()
		if err != nil {
			t.Fatal(err)
		}
		if read[i], err = engine.Decode(b); err != nil {
			t.Fatal(err)
		}
	}
	moved := shop // the same rules, written elsewhere
	moved.Transitions = append([]engine.Transition{}, shop.Transitions...)
	moved.Transitions[0].Position = "checkout.yaml:99:5"
	for name, ps := range map[string]explain.Policies{"the rules alone": kept(shop), "a later text of them first": kept(moved, shop)} {
		if r := explain.Run(read, ps); r.Decisions != 11 || r.Difference != nil || r.NotKept != 0 || r.String() != "replayed: 11 decisions, all the same" {
			t.Errorf("%s: %s, %+v", name, r, r)
		}
	}
	if r := explain.Run(read, kept()); r.Decisions != 0 || r.NotKept != 11 || !strings.Contains(r.String(), "not replayed: the rules 0123456789ab of checkout were not kept") {
		t.Errorf("without rules: %s", r)
	}
}

func TestAReplayNamesTheFirstDecisionThatDiffers(t *testing.T) {
	for _, c := range []struct {
		name  string
		spoil func(events []engine.Event) engine.Policy
		want  string
	}{
		{"a truth that was not so", func(events []engine.Event) engine.Policy {
			for i := range events {
				if g := events[i].Cause.Given; g != nil && g.Truths == "tt-ff" {
					other := *g
					other.Truths = "ft-ff"
					events[i].Cause.Given = &other
				}
			}
			return shop
		}, "does not follow"},
		{"another reason", func(events []engine.Event) engine.Policy {
			for i := range events {
				if events[i].Kind() == "ChangeStarted" {
					events[i].Reason.Text = "because"
				}
			}
			return shop
		}, "is ChangeStarted (because) in the log"},
		{"a vote that was not cast", func(events []engine.Event) engine.Policy {
			for i := range events {
				if g := events[i].Cause.Given; g != nil && g.Review != nil && events[i].Cause.Person == "carol" {
					other, review := *g, *g.Review
					review.Roles = []string{"oncall"}
					other.Review = &review
					events[i].Cause.Given = &other
				}
			}
			return shop
		}, "ApprovalGranted"},
		{"evidence of something else", func(events []engine.Event) engine.Policy {
			for i := range events {
				if events[i].Kind() == "DirectivePublished" {
					events[i].Evidence = []engine.Reading{{Signal: "made up"}}
				}
			}
			return shop
		}, "has evidence that it was not decided on"},
		{"rules that do not fit", func([]engine.Event) engine.Policy {
			other := shop
			other.Conditions = other.Conditions[:4]
			return other
		}, "it cannot be made again"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := failedOver(t)
			p := c.spoil(s.events)
			r := explain.Run(s.events, kept(p))
			if r.Difference == nil || !strings.Contains(r.String(), c.want) {
				t.Errorf("%s, want …%s…", r, c.want)
			}
		})
	}
}

func TestEventsWithoutTheirInputsAreNotReplayedAndDoNotHinderTheOthers(t *testing.T) {
	s := failedOver(t)
	old := 0
	for i := range s.events {
		if s.events[i].Cause.Input == "observed" {
			break
		}
		s.events[i].Cause.Given = nil
		old++
	}
	if r := explain.Run(s.events, kept(shop)); r.Decisions != 10 || r.NotKept != old || r.Difference != nil || !strings.Contains(r.Why, "the input was not kept") {
		t.Errorf("%s, of %d old events", r, old)
	}
}
