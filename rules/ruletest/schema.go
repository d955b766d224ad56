package ruletest

import (
	"strings"
	"time"

	"github.com/modeshift/modeshift/engine"
	"github.com/modeshift/modeshift/rules/form"
	"github.com/modeshift/modeshift/rules/scenario"
)

// The JSON Schema of a test file: see form. A test holds it to Parse.

var (
	instantSchema = form.Schema{"type": "string", "pattern": `^[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt][0-9:.]+([Zz]|[+-][0-9]{2}:[0-9]{2})$`, "examples": []string{DefaultStart.Format(time.RFC3339)}}
	numberSchema  = form.Schema{"type": "number"}
	spanSchema    = form.Schema{"type": "array", "items": form.DurationOrNone, "minItems": 2, "maxItems": 2, "examples": [][]string{{"5m", "7m"}}}
	truthSchema   = form.Schema{"enum": []any{true, false, "true", "false", "unknown"}}
)

// scoped is something of the one service there is, or of each by its scope.
func scoped(of form.Schema) form.Schema { return form.Any(of, form.MapOf(of)) }

// incidentSchema is an incident as a test names it.
func incidentSchema() form.Schema {
	kinds := names(incidentKinds)
	return form.Schema{"type": "string", "pattern": "^(page|ticket) (" + strings.Join(kinds, "|") + ") .", "examples": []string{"page slo availability", "ticket too long degraded"}}
}

func scenarioNames() (list []string) {
	for _, k := range scenario.Kinds {
		list = append(list, string(k.Kind))
	}
	return list
}

// aStep tells steps apart by their verb: an editor then says what is wrong with this one, and not that it is none of eleven.
func aStep() form.Shape {
	out := form.Shape{What: "a step", Keys: []form.Key{form.Can("at", form.DurationOrNone, atAbout)}, Open: true}
	var one, which []form.Schema
	for _, verb := range verbs {
		out.Keys = append(out.Keys, form.Can(verb, form.Schema{}, verbAbout[verb]))
		has := form.Schema{"required": []string{verb}}
		one = append(one, has)
		if verb == "undo" { // an action says it too
			has = form.Schema{"required": []string{verb}, "not": form.Schema{"required": []string{"action"}}}
		}
		which = append(which, form.Schema{"if": has, "then": form.Ref(stepShape(verb))})
	}
	out.More = form.Schema{"anyOf": one, "allOf": which}
	return out
}

const atAbout = "When, from the start of the test on."

// verbAbout is what each verb of a step means, and what its value names.
var verbAbout = map[string]string{
	"approve":  "Somebody says yes to the proposal of this transition.",
	"reject":   "Somebody says no to the proposal of this transition.",
	"set":      "Somebody moves the scope to this mode by hand.",
	"unpin":    "Somebody gives this scope back to its rules.",
	"freeze":   "Somebody stops automation of this scope; fleet is all.",
	"unfreeze": "Somebody lets automation of this scope go on; fleet is all.",
	"cancel":   "Somebody takes back the change, or the proposal, of this transition.",
	"undo":     "Somebody takes back the last change of this transition.",
	"settle":   "Somebody says what came of a step of this transition of which nobody knows.",
	"action":   "What the attempts of this action of a transition come to.",
	"targets":  "What the selector of this action of a transition finds.",
}

// stepShapes are the steps by their verb.
func stepShapes() (list []form.Shape) {
	scope := form.Can("scope", form.Text, "Of which service, where several have it.")
	role := form.Can("role", form.Any(form.Text, form.List(form.Text)), "The role, or roles, in which it is said; all that are asked when left out.")
	lasts := form.Can("for", form.Duration, "For how long.")
	more := map[string][]form.Key{
		"approve":  {scope, role, form.Can("blind", form.Truth, "Also to what cannot be seen.")},
		"reject":   {scope, role},
		"set":      {scope, role, lasts, form.Can("via", form.Text, "The transition whose steps are carried out."), form.Can("directive_only", form.Truth, "Instances are told, and no step is carried out."), form.Can("force", form.Truth, "Go around gates and what else withholds it.")},
		"freeze":   {lasts},
		"unpin":    nil,
		"unfreeze": nil,
		"cancel":   {scope},
		"undo":     {scope},
		"settle":   {scope, form.Must("as", form.Word(string(engine.SettledDone), string(engine.SettledUndone)), "What came of it.")},
	}
	for _, verb := range verbs {
		keys, asked := more[verb]
		if !asked {
			continue
		}
		list = append(list, form.Shape{What: stepShape(verb), Keys: append([]form.Key{
			form.Must("at", form.DurationOrNone, atAbout),
			form.Must(verb, form.Text, verbAbout[verb]),
			form.Can("by", form.Text, "Who does it; somebody when left out."),
			form.Can("reason", form.Text, "Why."),
			form.Can("refused", form.Any(form.Truth, form.Text), "The answer has to be no: true, or the code of its reason."),
		}, keys...)})
	}
	return append(list,
		form.Shape{What: stepShape("action"), Keys: []form.Key{
			form.Must("action", form.Text, verbAbout["action"]),
			form.Can("at", form.DurationOrNone, "From when on; from the start when left out."),
			scope,
			form.Can("undo", form.Truth, "It is about taking it back."),
			form.Can("fails", form.Whole(1, maxAttempts), "So many attempts fail, from the first on."),
			form.Can("unknown", form.Whole(1, maxAttempts), "Of so many attempts after these nobody knows what came of them."),
			form.Can("takes", form.DurationOrNone, "How long each attempt takes."),
			form.Can("never", form.Truth, "No attempt ever ends."),
		}},
		form.Shape{What: stepShape("targets"), Keys: []form.Key{
			form.Must("targets", form.Text, verbAbout["targets"]),
			form.Can("at", form.DurationOrNone, "From when on; from the start when left out."),
			form.Must("found", form.List(form.Text), "The names that are found; [] for none."),
		}})
}

// shapes are all mappings of a test file.
func shapes() []form.Shape {
	var severities []form.Key
	for _, s := range noticeSeverities {
		severities = append(severities, form.Can(string(s), form.Whole(0, maxNotices), "How many of severity "+string(s)+" were sent so far."))
	}
	readings := form.MapOf(truthSchema)
	return append([]form.Shape{
		{What: "a test file", Keys: []form.Key{
			form.Must("rule_files", form.Some(form.Text), "The rules that are tested: files, folders and patterns, beside this file."),
			form.Can("evaluation", form.Ref("evaluation"), "How the server evaluates."),
			form.Can("interval", form.Duration, "How far apart the samples of input_series are; as the ticks when left out."),
			form.Can("start", instantSchema, "The time that 0s stands for."),
			form.Must("tests", form.Some(form.Ref("a test")), "The tests. Each begins anew."),
		}},
		{What: "evaluation", Keys: []form.Key{
			form.Can("interval", form.Duration, "How far apart the ticks are; 15s when left out."),
			form.Can("query_offset", form.DurationOrNone, "How far behind the tick queries ask; 5s when left out."),
			form.Can("blind_after", form.Duration, "After so long without sight people are told; 5m when left out."),
		}},
		{What: "a test", Keys: []form.Key{
			form.Must("name", form.Text, "What has to be so, in a sentence; unique in the file."),
			form.Can("interval", form.Duration, "How far apart the samples of its input_series are."),
			form.Can("input_series", form.List(form.Ref("a series")), "What Prometheus shows, in promtool's notation."),
			form.Can("scenarios", form.List(form.Ref("a scenario")), "What happens to SLOs, whose series are drawn from their queries."),
			form.Can("instances", scoped(form.List(form.Text)), "The instances of the service, or of each by its scope."),
			form.Can("steps", form.List(form.Ref("a step")), "What people do, and what comes of actions."),
			form.Must("expect", form.Some(form.Ref("an expectation")), "What has to come of it, and when."),
			form.Can("until", form.DurationOrNone, "How long it goes on, if longer than what is expected."),
		}},
		{What: "a series", Keys: []form.Key{
			form.Must("series", form.Text, "The series, such as up{job=\"api\"}."),
			form.Must("values", form.Schema{"type": []string{"string", "number"}, "examples": []string{"0+10x40", "1x20 _x4 stale"}}, "Its samples, as promtool has them."),
		}},
		{What: "a scenario", Keys: []form.Key{
			form.Must("name", form.Word(scenarioNames()...), "What happens."),
			form.Must("slo", form.Text, "To which SLO: its name, or SCOPE/SLO."),
			form.Can("at", form.DurationOrNone, "When it begins; at once when left out."),
			form.Can("for", form.Duration, "How long it lasts."),
			form.Can("before", form.Duration, "How far back there are samples; as far as the SLO looks when left out."),
			form.Can("after", form.Duration, "How long after its end there are samples."),
			form.Can("share", numberSchema, "The share of the requests that fail meanwhile, from 0 to 1."),
			form.Can("background", numberSchema, "The share that fails at all other times."),
			form.Can("every", form.Duration, "From spike to spike."),
			form.Can("spike", form.Duration, "How long each spike lasts."),
			form.Can("rate", numberSchema, "Requests a second, of all instances together; 20 when left out."),
			form.Can("scrape", form.Duration, "How far apart the samples are; 15s when left out."),
		}},
		{What: "an expectation", Keys: []form.Key{
			form.Can("at", form.DurationOrNone, "It is so at this time."),
			form.Can("between", spanSchema, "It comes true between these times."),
			form.Can("during", spanSchema, "It is so at each tick between these times."),
			form.Can("never", spanSchema, "It is so at no tick between these times."),
			form.Can("mode", scoped(form.Text), "The mode that is in force."),
			form.Can("incidents", scoped(form.List(incidentSchema())), "All incidents that are open: severity, kind and what it is about. [] for none."),
			form.Can("proposals", scoped(form.List(form.Text)), "All transitions that wait for people. [] for none."),
			form.Can("withheld", form.MapOf(form.Any(form.Text, form.MapOf(form.Text))), "All transitions that are ready and do not start, each with the code of what keeps it. {} for none."),
			form.Can("reason", scoped(form.Text), "Why it is in its mode: the code of the reason, or part of its text."),
			form.Can("flags", form.Schema{"type": "object"}, "What instances are told of flags, among others."),
			form.Can("notices", scoped(form.Ref("notices")), "How many notices were sent so far, by severity."),
			form.Can("readings", form.Any(form.List(form.Text), readings, form.MapOf(form.Any(form.List(form.Text), readings))), "Expressions, as conditions have them, and what each comes to: true, false or unknown."),
		}, More: form.Schema{
			"oneOf": []form.Schema{{"required": []string{"at"}}, {"required": []string{"between"}}, {"required": []string{"during"}}, {"required": []string{"never"}}},
			// Beside the time there is something that is expected.
			"minProperties": 2,
		}},
		{What: "notices", Keys: severities},
		aStep(),
	}, stepShapes()...)
}

// Schema is the JSON Schema of a test file.
func Schema() []byte {
	return form.Write(form.Schema{
		"title":       "modeshift test file",
		"description": "Tests of rule files: what happens, and what has to come of it.",
		"type":        "object",
		"allOf":       []form.Schema{form.Ref("a test file")},
	}, shapes())
}
