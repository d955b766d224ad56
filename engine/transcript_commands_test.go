package engine_test

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/modeshift/modeshift/engine"
)

// do carries one command out and returns what it yields. What is not built yet says so.
func (s *session) do(c command) (string, error) {
	g := commands[c.name]
	if g.do == nil {
		return "(not built yet: " + c.name + ")\n", nil
	}
	for _, w := range append(slices.Clone(c.pairs), c.words...) {
		if slices.Contains(g.later, w) {
			return "(not built yet: " + w + ")\n", nil
		}
	}
	return g.do(s, c)
}

// instant reads an offset that was checked when it was parsed.
func instant(v string) time.Time {
	d, _ := time.ParseDuration(v)
	return start.Add(d)
}

func notBuilt(c command) string {
	if later := laterWords(c.policy); len(later) > 0 {
		return "(not built yet: " + strings.Join(later, ", ") + ")\n"
	}
	return ""
}

func (s *session) doPolicy(c command) (string, error) {
	p, err := c.compile()
	if err != nil {
		return "", err
	}
	for name := range strings.SplitSeq(string(p.Scope), ",") {
		p.Scope = engine.Scope(name)
		if _, twice := s.streams[p.Scope]; twice {
			return "", fmt.Errorf("there is a policy of %s already; reload changes it", p.Scope)
		}
		s.add(p)
	}
	return notBuilt(c), nil
}

// doReload puts other rules in force. The loop says so at once; silent, it is left to whatever input comes first.
func (s *session) doReload(c command) (string, error) {
	p, err := c.compile()
	if err != nil {
		return "", err
	}
	st, err := s.on(string(p.Scope))
	if err != nil {
		return "", err
	}
	st.loaded++
	p.Digest = engine.Digest("rules-" + strconv.Itoa(st.loaded))
	st.policy, st.past = p, append(st.past, p)
	if c.word("silent") {
		return notBuilt(c), nil
	}
	return notBuilt(c) + s.decide(st, c, instant(c.args[0]), &engine.TimePassed{}), nil
}

// doGiven brings a scope to a mode by a person's hand, unpins it, and prints only where that has led.
func (s *session) doGiven(c command) (string, error) {
	st, err := s.on(c.key("on"))
	if err != nil {
		return "", err
	}
	at, mode := instant(c.args[0]), engine.Mode(c.args[1])
	c.keys = map[string]string{"by": "given"}
	s.decide(st, c, at, &engine.TimePassed{})
	if st.state.Target != mode {
		// By the first transition that is declared, or else by a directive only.
		by := &engine.SetRequested{Mode: mode, Reason: "given", DirectiveOnly: true}
		for _, t := range slices.Backward(st.policy.Transitions) {
			if t.To == mode && slices.Contains(t.From, st.state.Target) {
				by.Via = t.Name
			}
		}
		s.decide(st, c, at, by)
		s.decide(st, c, at, &engine.UnpinRequested{Reason: "given"})
	}
	if st.state.Mode != mode {
		return "", fmt.Errorf("%s is not in %s: its gate or its steps are in the way", st.state.Scope, mode)
	}
	st.prev = at
	return fmt.Sprintf("%s/%d %s\n", st.state.Scope, st.state.Version, st.state.Mode), nil
}

func (s *session) doObserve(c command) (string, error) {
	st, err := s.on(c.key("on"))
	if err != nil {
		return "", err
	}
	return s.observe(st, c, instant(c.args[0]))
}

func (s *session) observe(st *stream, c command, at time.Time) (string, error) {
	o := &engine.Observed{Instant: at, Prev: st.prev, SourceBlind: c.word("source-blind"),
		Conditions: make([]engine.Observation, len(st.policy.Conditions))}
	for _, k := range c.pairs {
		if slices.Contains([]string{"on", "prev", "at", "frozen", "missed"}, k) {
			continue
		}
		i := slices.IndexFunc(st.policy.Conditions, func(c engine.Condition) bool { return c.Name == k })
		if i < 0 {
			return "", fmt.Errorf("the policy has no condition %q", k)
		}
		if err := aTruth(c.key(k)); err != nil {
			return "", err
		}
		o.Conditions[i] = observation(k, c.key(k), at)
	}
	if v := c.key("prev"); v != "" {
		o.Prev = instant(v)
	}
	if v := c.key("missed"); v != "" {
		name, span, _ := strings.Cut(v, ":")
		opens, closes, _ := strings.Cut(span, "/")
		o.Missed = []engine.Window{{Transition: name, Opens: instant(opens), Closes: instant(closes)}}
	}
	if v := c.key("at"); v != "" {
		at = instant(v)
	}
	st.prev = o.Instant
	return s.decide(st, c, at, o), nil
}

// observation is a condition as it was asked, with one reading behind it.
func observation(name, word string, at time.Time) engine.Observation {
	o := engine.Observation{Asked: true}
	r := engine.Reading{Signal: name, Sample: at, Source: "main"}
	switch word {
	case "true":
		o.Truth, r.Value = engine.True, 1
	case "false":
		o.Truth = engine.False
	case "unknown":
		o.Blind, r.Why, r.Sample = true, engine.WhyFailed, time.Time{}
	case "no-traffic":
		r.Why = engine.WhyNoTraffic
	}
	o.Readings = []engine.Reading{r}
	return o
}

func (s *session) doEvery(c command) (string, error) {
	st, err := s.on(c.key("on"))
	if err != nil {
		return "", err
	}
	step, _ := time.ParseDuration(c.args[0])
	if step <= 0 {
		return "", fmt.Errorf("every %s is not often", step)
	}
	var b strings.Builder
	for at, to := instant(c.args[2]), instant(c.args[4]); !at.After(to); at = at.Add(step) {
		out, err := s.observe(st, c, at)
		if err != nil {
			return "", err
		}
		b.WriteString(out)
	}
	return b.String(), nil
}

func (s *session) doSources(c command) (string, error) {
	st, err := s.on(string(engine.Fleet))
	if err != nil {
		return "", err
	}
	var b strings.Builder
	at, until := instant(c.args[0]), instant(c.args[0])
	if v := c.key("until"); v != "" {
		until = instant(v)
	}
	for ; !at.After(until); at = at.Add(st.policy.Interval) {
		out, err := s.observeSources(st, c, at)
		if err != nil {
			return "", err
		}
		b.WriteString(out)
	}
	return b.String(), nil
}

func (s *session) observeSources(st *stream, c command, at time.Time) (string, error) {
	o := &engine.SourcesObserved{Instant: at, Prev: st.prev}
	for _, k := range c.pairs {
		switch v := c.key(k); {
		case k == "prev":
			o.Prev = instant(v)
		case k == "at":
			at = instant(v)
		case k == "until":
		case v == "ok":
			o.Sources = append(o.Sources, engine.Sight{Source: k, Asked: true})
		case v == "blind":
			o.Sources = append(o.Sources, engine.Sight{Source: k, Asked: true, Blind: true, Detail: "connection refused"})
		case v == "not-asked":
			o.Sources = append(o.Sources, engine.Sight{Source: k})
		default:
			return "", fmt.Errorf("%s=%s: a source is ok, blind or not-asked", k, v)
		}
	}
	st.prev = o.Instant
	return s.decide(st, c, at, o), nil
}

func (s *session) doSet(c command) (string, error) {
	return s.ask(c, &engine.SetRequested{Mode: engine.Mode(c.args[1]), Reason: c.key("reason"), For: c.duration("for"), Via: c.key("via"),
		DirectiveOnly: c.word("directive-only"), Force: c.word("force"), Roles: c.list("role")})
}

func (s *session) doTick(c command) (string, error) { return s.ask(c, &engine.TimePassed{}) }

func (s *session) doReview(c command) (string, error) {
	return s.ask(c, &engine.ReviewGiven{Proposal: engine.ChangeID(c.key("proposal")), Digest: s.digest(c.key("digest")), Yes: c.args[1] == "yes",
		Blind: c.word("blind"), Roles: c.list("role"), Reason: c.key("reason")})
}

// digest finds the digest a file calls #1, #2, …
func (s *session) digest(name string) engine.Digest {
	if n, err := strconv.Atoi(strings.TrimPrefix(name, "#")); err == nil && n >= 1 && n <= len(s.digests) {
		return s.digests[n-1]
	}
	return engine.Digest(name)
}

func (s *session) doStep(c command) (string, error) {
	return s.ask(c, &engine.StepReported{Change: engine.ChangeID(c.key("change")), Step: c.args[1], Undo: c.word("undo"),
		Attempt: c.number("attempt"), Outcome: engine.Outcome(c.args[2]), Detail: c.key("detail"), Asked: c.word("asked")})
}

// doTargets says what a selector finds: so many, named t1, t2, …, or that nobody knows.
func (s *session) doTargets(c command) (string, error) {
	r := &engine.TargetsReported{Change: engine.ChangeID(c.key("change")), Step: c.args[1], Attempt: c.number("attempt")}
	if c.args[2] == "unknown" {
		r.Problem = cmp.Or(c.key("detail"), "connection refused")
		return s.ask(c, r)
	}
	r.Count, _ = strconv.Atoi(c.args[2])
	for i := range r.Count {
		r.Names = append(r.Names, fmt.Sprintf("t%d", i+1))
	}
	return s.ask(c, r)
}

func (s *session) doCancel(c command) (string, error) {
	return s.ask(c, &engine.CancelRequested{Change: engine.ChangeID(c.key("change") + c.key("proposal")), Reason: c.key("reason")})
}

func (s *session) doUndo(c command) (string, error) {
	return s.ask(c, &engine.UndoRequested{Change: engine.ChangeID(c.key("change")), Reason: c.key("reason")})
}

func (s *session) doSettle(c command) (string, error) {
	return s.ask(c, &engine.SettleRequested{Change: engine.ChangeID(c.key("change")), As: engine.SettledAs(c.key("as")), Reason: c.key("reason")})
}

func (s *session) doUnpin(c command) (string, error) {
	return s.ask(c, &engine.UnpinRequested{Reason: c.key("reason")})
}

func (s *session) doFreeze(c command) (string, error) {
	return s.ask(c, &engine.FreezeRequested{Reason: c.key("reason"), For: c.duration("for")})
}

func (s *session) doUnfreeze(c command) (string, error) {
	return s.ask(c, &engine.UnfreezeRequested{Reason: c.key("reason")})
}

func (s *session) doCorrect(c command) (string, error) {
	r := &engine.CorrectionRequested{SLO: c.key("slo"), Cron: c.key("cron"), Duration: c.duration("duration"), Timezone: c.key("timezone"), Reason: c.key("reason")}
	if v := c.key("from"); v != "" {
		r.From = instant(v)
	}
	if v := c.key("to"); v != "" {
		r.To = instant(v)
	}
	return s.ask(c, r)
}

func (s *session) doWithdraw(c command) (string, error) {
	return s.ask(c, &engine.WithdrawalRequested{Correction: engine.CorrectionID(c.key("correction")), Reason: c.key("reason")})
}

func (s *session) doRemove(c command) (string, error) { return s.ask(c, &engine.ScopeRemoved{}) }

// ask gives a stream something that comes from outside.
func (s *session) ask(c command, what engine.Happening) (string, error) {
	st, err := s.on(c.key("on"))
	if err != nil {
		return "", err
	}
	return s.decide(st, c, instant(c.args[0]), what), nil
}

// doHeads tells the fleet where the other streams end. The hashes are the store's; here they only have to differ.
func (s *session) doHeads(c command) (string, error) {
	st, err := s.on(string(engine.Fleet))
	if err != nil {
		return "", err
	}
	var heads []engine.Head
	for _, n := range s.names {
		if v := s.streams[n].state.Version; v > 0 {
			heads = append(heads, engine.Head{Stream: n, Version: v, Hash: fmt.Sprintf("hash-of-%s-%d", n, v)})
		}
	}
	return s.decide(st, c, instant(c.args[0]), &engine.HeadsObserved{Heads: heads}), nil
}

func (s *session) doLogFault(c command) (string, error) {
	st, err := s.on(string(engine.Fleet))
	if err != nil {
		return "", err
	}
	return s.decide(st, c, instant(c.args[0]), &engine.LogFaulted{From: instant(c.key("from")), Detail: c.key("detail")}), nil
}

func (s *session) doLead(c command) (string, error) {
	term, err := strconv.ParseUint(c.key("term"), 10, 64)
	s.term = term
	return "", err
}

// doInstances says how many instances there are. Those that are new have what everybody has.
func (s *session) doInstances(c command) (string, error) {
	st, err := s.on(c.key("on"))
	if err != nil {
		return "", err
	}
	st.known, _ = strconv.Atoi(c.args[1])
	return s.decide(st, c, instant(c.args[0]), &engine.InstancesReported{}), nil
}

// doReport says how many of those who were told have applied the present revision, as the table of instances would sum it up.
func (s *session) doReport(c command) (string, error) {
	st, err := s.on(c.key("on"))
	if err != nil {
		return "", err
	}
	acked, told, _ := strings.Cut(c.key("acked"), "/")
	in := &st.report
	in.Applied, _ = strconv.Atoi(acked)
	in.Told, _ = strconv.Atoi(told)
	in.Failed, in.Revision = c.number("failed"), st.state.Directive.Revision
	if c.key("revision") != "" {
		in.Revision = engine.Version(c.number("revision"))
	}
	if in.Wave = 0; st.state.Change != nil {
		in.Wave = st.state.Change.Wave
	}
	switch behind := in.Told > in.Applied; {
	case !behind:
		in.Since = time.Time{}
	case in.Since.IsZero():
		in.Since = instant(c.args[0])
	}
	return s.decide(st, c, instant(c.args[0]), &engine.InstancesReported{}), nil
}

// instances is what the table of instances says at an instant.
func (st *stream) instances(at time.Time) engine.Instances {
	in := st.report
	if in.Known = st.known; in.Known == 0 {
		return engine.Instances{}
	}
	grace := cmp.Or(st.policy.Instances.Grace, engine.DefaultGrace)
	if in.Since.IsZero() || at.Sub(in.Since) < grace {
		in.Since = time.Time{}
		return in
	}
	in.Behind = in.Told - in.Applied
	return in
}

func (s *session) doSuggestions(c command) (string, error) {
	return s.ask(c, &engine.SuggestionsDue{From: instant(c.key("from")), Instant: instant(c.key("at")), Severity: engine.Severity(c.key("severity")), Text: c.key("text")})
}

func (s *session) doHear(c command) (string, error) {
	return s.askFleet(c, &engine.TermHeard{Term: uint64(c.number("term")), Detail: c.key("detail")})
}

func (s *session) doRecover(c command) (string, error) {
	return s.askFleet(c, &engine.RecoverRequested{Term: uint64(c.number("term")), Reason: c.key("reason")})
}

func (s *session) askFleet(c command, what engine.Happening) (string, error) {
	st, err := s.on(string(engine.Fleet))
	if err != nil {
		return "", err
	}
	return s.decide(st, c, instant(c.args[0]), what), nil
}

func (s *session) doState(c command) (string, error) {
	st, err := s.on(c.key("on"))
	if err != nil {
		return "", err
	}
	at := st.state.At
	if st.prev.After(at) {
		at = st.prev
	}
	held := ""
	for _, c := range st.state.Corrections {
		held += fmt.Sprintf("  correction %s of %s by %s\n", c.ID, c.SLO, c.By)
	}
	for _, p := range st.state.Pauses {
		held += fmt.Sprintf("  pause of %s by %s (%s) from %s", p.SLO, p.Mode, p.Change, offset(p.From))
		if !p.To.IsZero() {
			held += " to " + offset(p.To)
		}
		held += "\n"
	}
	return printState(st.state, at) + held, nil
}

// doEvidence prints the readings the last events were decided on.
func (s *session) doEvidence(command) (string, error) {
	var b strings.Builder
	for _, e := range s.last {
		fmt.Fprintf(&b, "%s/%d %s\n", e.Stream, e.Version, e.Kind())
		for _, r := range e.Evidence {
			fmt.Fprintf(&b, "  %s", r.Signal)
			if r.Why != "" {
				fmt.Fprintf(&b, " unknown: %s", r.Why)
			} else {
				fmt.Fprintf(&b, " = %v at %s", r.Value, offset(r.Sample))
			}
			fmt.Fprintf(&b, " from %s\n", r.Source)
		}
	}
	return b.String(), nil
}

func (s *session) doCheck(command) (string, error) {
	if err := s.checkFold(); err != nil {
		return "", err
	}
	return "ok\n", nil
}

// compile makes a policy of a body. Words that are not built yet are left out.
func (c command) compile() (engine.Policy, error) {
	p := engine.Policy{Scope: "checkout", Digest: "rules-1", Interval: 15 * time.Second, BlindAfter: 5 * time.Minute}
	condition := func(name string) int {
		if name == "" {
			return -1
		}
		i := slices.IndexFunc(p.Conditions, func(c engine.Condition) bool { return c.Name == name })
		if i < 0 {
			i = len(p.Conditions)
			p.Conditions = append(p.Conditions, engine.Condition{Name: name, Text: name, Digest: engine.Digest(name)})
		}
		return i
	}
	for _, l := range c.policy {
		switch l.name {
		case "scope":
			p.Scope = engine.Scope(l.args[0])
		case "interval":
			p.Interval, _ = time.ParseDuration(l.args[0])
		case "blind_after":
			p.BlindAfter, _ = time.ParseDuration(l.args[0])
		case "owner":
			p.Owner = l.args[0]
		case "runbook":
			p.Runbook = l.args[0]
		case "condition":
			k := &p.Conditions[condition(l.args[0])]
			k.Every, k.Scheduled = l.duration("every"), l.word("scheduled")
			if t := l.key("text"); t != "" {
				k.Text, k.Digest = t, engine.Digest(t)
			}
		case "mode":
			m := engine.ModeRule{Name: engine.Mode(l.args[0]), Beside: l.word("beside"), MinDuration: l.duration("min"), MaxDuration: l.duration("max"),
				StuckAfter: l.duration("stuck"), Imposes: engine.Mode(l.key("imposes")), Pause: l.list("pause")}
			if err := unmarshal(l.key("flags"), &m.Flags); err != nil {
				return p, fmt.Errorf("mode %s: flags: %w", m.Name, err)
			}
			if q := l.list("suppress"); len(q) > 0 {
				m.Suppress = &engine.Suppress{SLOs: q}
				for _, v := range l.list("severities") {
					m.Suppress.Severities = append(m.Suppress.Severities, engine.Severity(v))
				}
			}
			_, m.OnExpiry, _ = strings.Cut(l.key("on_expiry"), "propose:")
			p.Modes = append(p.Modes, m)
		case "alert":
			a := engine.Alert{SLO: l.args[0], Severity: engine.Severity(l.args[1]), Name: l.key("name"), Condition: condition(l.key("when"))}
			if a.Condition < 0 {
				return p, fmt.Errorf("alert %s has no when=", a.SLO)
			}
			if err := unmarshal(l.key("labels"), &a.Labels); err != nil {
				return p, fmt.Errorf("alert %s: labels: %w", a.SLO, err)
			}
			if err := unmarshal(l.key("notes"), &a.Notes); err != nil {
				return p, fmt.Errorf("alert %s: notes: %w", a.SLO, err)
			}
			if to := engine.Severity(l.key("escalate")); to != "" {
				a.Escalation = &engine.Escalation{Severity: to, Condition: condition(l.key("burns")), For: l.duration("for"), Nobody: l.word("nobody")}
			}
			p.Alerts = append(p.Alerts, a)
		case "transition":
			t := engine.Transition{Name: l.args[0], To: engine.Mode(l.key("to")), When: condition(l.key("when")), For: l.duration("for"),
				Severity: engine.Severity(l.key("severity")), Digest: engine.Digest(strings.TrimSpace(l.key("text") + " " + l.args[0])), RetryAfter: l.duration("retry_after"), UndoEntry: l.key("undo") == "entry"}
			t.Playbook.PublishLast, t.Playbook.OnFailure = l.key("publish") == "last", engine.OnFailure(l.key("on_failure"))
			if g := l.groups("approval"); len(g) > 0 {
				t.Gate = &engine.Gate{Groups: g, Within: l.duration("within"), Otherwise: engine.Otherwise(l.key("otherwise")), To: l.groups("escalate-to")}
			}
			for _, f := range l.list("from") {
				t.From = append(t.From, engine.Mode(f))
			}
			if t.When < 0 || t.To == "" || len(t.From) == 0 {
				return p, fmt.Errorf("transition %s needs from=, to= and when=", t.Name)
			}
			for _, tier := range l.list("alerts") {
				i := slices.IndexFunc(p.Alerts, func(a engine.Alert) bool { return a.SLO+"/"+string(a.Severity) == tier })
				if i < 0 {
					return p, fmt.Errorf("transition %s: there is no alert %s above it", t.Name, tier)
				}
				t.Alerts = append(t.Alerts, i)
			}
			t.Until = engine.ConditionRef(condition(l.key("until")) + 1)
			t.Playbook.Verify = engine.ConditionRef(condition(l.key("verify")) + 1)
			p.Transitions = append(p.Transitions, t)
		case "action":
			t := &p.Transitions[len(p.Transitions)-1]
			attempts, _ := strconv.Atoi(l.key("attempts"))
			t.Playbook.Steps = append(t.Playbook.Steps, engine.Step{Name: l.args[0], Destructive: l.word("destructive"), Undo: l.word("undo"),
				Irreversible: l.word("irreversible"), Keyed: l.word("key"), Attempts: attempts, Spec: l.key("text"),
				Targets: engine.Targets{Selector: l.key("selector"), Max: l.number("targets")}})
		case "rollout":
			r := &engine.Rollout{Pause: l.duration("pause"), Verify: engine.ConditionRef(condition(l.key("verify")) + 1)}
			for _, w := range l.list("waves") {
				n, _ := strconv.Atoi(w)
				r.Waves = append(r.Waves, engine.Percent(n))
			}
			p.Transitions[len(p.Transitions)-1].Rollout = r
		case "parent":
			p.Parent = engine.Scope(l.args[0])
		case "brake":
			p.Brake = engine.BrakeRule{Max: l.number("max"), Share: share(l.key("share")), Within: l.duration("within")}
		case "flap":
			p.Flap = engine.Flap{Changes: l.number("changes"), Within: l.duration("within")}
		case "informs":
			p.Informs = true
		case "stuck_after":
			p.StuckAfter, _ = time.ParseDuration(l.args[0])
		case "automation":
			p.Automation = engine.Automation(l.args[0])
		case "min_applied":
			p.Instances.MinApplied = share(l.args[0])
		case "divergence":
			p.Instances.Grace, p.Instances.PageAbove = l.duration("grace"), share(l.key("page"))
		}
	}
	for _, t := range p.Transitions {
		for _, m := range append(slices.Clone(t.From), t.To) {
			if _, declared := p.Mode(m); !declared {
				return p, fmt.Errorf("transition %s: there is no mode %s", t.Name, m)
			}
		}
	}
	return p, nil
}

// share is a percentage that was checked when it was parsed.
func share(v string) float64 {
	f, _ := strconv.ParseFloat(strings.TrimSuffix(v, "%"), 64)
	return f / 100
}

// groups of a pair that was checked when it was parsed: oncall:1,lead:1.
func (p phrase) groups(name string) (list []engine.Group) {
	for _, g := range p.list(name) {
		role, count, _ := strings.Cut(g, ":")
		n, _ := strconv.Atoi(count)
		list = append(list, engine.Group{Role: role, Count: n})
	}
	return list
}

func unmarshal(v string, into any) error {
	if v == "" {
		return nil
	}
	return json.Unmarshal([]byte(v), into)
}
