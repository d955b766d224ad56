package rules

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"github.com/modeshift/modeshift/engine"
)

// The JSON Schema of a rule file is for editors: it completes keys, shows what each means, and underlines what is surely wrong while it is
// typed. What the loader knows beyond it (names that refer to others, PromQL, CEL) it leaves to `rules check`. A test holds the two
// together: each mapping that the loader reads has a shape here, with the same keys.

// shape is a mapping of a rule file. what is the name under which the loader reads it.
type shape struct {
	what string
	keys []shapeKey
	// open: keys that are not known are no fault, or there is something beside them that other keys of the document name.
	open bool
	more schema // what else holds of it
}

type shapeKey struct {
	name     string
	of       schema
	about    string
	required bool
}

// schema is a JSON Schema, as it is written.
type schema map[string]any

func must(name string, of schema, about string) shapeKey { return shapeKey{name, of, about, true} }
func can(name string, of schema, about string) shapeKey  { return shapeKey{name, of, about, false} }

// refTo refers to a shape by its name.
func refTo(what string) schema { return schema{"$ref": "#/$defs/" + anchor(what)} }

// anchor is a name as it stands in a reference.
func anchor(what string) string {
	b := []byte(what)
	for i, c := range b {
		if c == ' ' {
			b[i] = '-'
		}
	}
	return string(b)
}

func listOf(of schema) schema       { return schema{"type": "array", "items": of} }
func someOf(of schema) schema       { return schema{"type": "array", "items": of, "minItems": 1} }
func wordOf(words ...string) schema { return schema{"enum": words} }
func wholeOf(least, most int) schema {
	return schema{"type": "integer", "minimum": least, "maximum": most}
}

var (
	textSchema     = schema{"type": "string", "minLength": 1}
	nameSchema     = schema{"type": "string", "pattern": nameShape.String(), "maxLength": maxName}
	truthSchema    = schema{"type": "boolean"}
	durationSchema = schema{"type": "string", "minLength": 1,
		"pattern": `^([0-9]+y)?([0-9]+w)?([0-9]+d)?([0-9]+h)?([0-9]+m)?([0-9]+s)?([0-9]+ms)?$`, "examples": []string{"30s", "5m", "1h30m", "30d"}}
	noneSchema      = schema{"anyOf": []schema{durationSchema, {"enum": []any{0, "0", "0s"}}}}
	percentSchema   = schema{"type": "string", "pattern": percentShape.String(), "examples": []string{"99%"}}
	daySchema       = schema{"type": "string", "pattern": `^[0-9]{4}-[0-9]{2}-[0-9]{2}$`, "examples": []string{"2027-03-01"}}
	factorSchema    = schema{"type": "number", "exclusiveMinimum": 0}
	labelsSchema    = schema{"type": "object", "additionalProperties": schema{"type": "string"}}
	conditionSchema = schema{"type": "string", "minLength": 1, "maxLength": maxConditionBytes, "examples": usages()}
	querySchema     = schema{"type": "string", "minLength": 1, "maxLength": maxQueryBytes}
	windowQuery     = schema{"type": "string", "minLength": 1, "maxLength": maxQueryBytes, "pattern": `\{\{-?\s*\$?\.window\s*-?\}\}`}
	flagSchema      = schema{"type": []string{"boolean", "number", "string", "object"}}
	severitySchema  = wordOf(string(engine.SeverityInfo), string(engine.SeverityTicket), string(engine.SeverityPage))
)

func usages() []string {
	out := make([]string, len(functions))
	for i, f := range functions {
		out[i] = f.usage
	}
	return out
}

func calendarNames() []string {
	out := make([]string, len(calendars))
	for i, c := range calendars {
		out[i] = string(c.name)
	}
	return out
}

// slothKeys of an SLO are those that Sloth knows.
var slothKeys = []shapeKey{
	must("name", nameSchema, "The SLO's name, unique in the service."),
	must("objective", schema{"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 100}, "The percentage of good events, such as 99.9. The error budget is the rest of 100."),
	can("description", textSchema, "What it means to users."),
	can("labels", labelsSchema, "Labels of its alerts."),
	must("sli", refTo("sli"), "How it is measured: `events` or `raw`."),
	must("alerting", refTo("alerting"), "Its alerts: a page and a ticket, unless disabled."),
}

// Described is a Kind that tells which keys its specification has, each with what it means.
type Described interface{ Keys() map[string]string }

// specSchema is that of what stands under a kind's key. Values may be templates, and are left to the kind.
func specSchema(kind Kind) schema {
	d, ok := kind.(Described)
	if !ok {
		return schema{"type": "object"}
	}
	properties := schema{}
	for name, about := range d.Keys() {
		properties[name] = schema{"description": about}
	}
	return schema{"type": "object", "properties": properties, "additionalProperties": false}
}

// shapes are all mappings of a rule file. The shape of a Sloth file has the name slothFile.
func shapes(kinds map[string]Kind) []shape {
	action := []shapeKey{
		must("name", nameSchema, "The step's name, unique in its transition."),
		can("destructive", truthSchema, "Whether it does harm that people have to agree to; the kind says so of itself where this does not."),
		can("why", textSchema, "Why a step that its kind calls destructive is not."),
		can("undo", refTo("an undo"), "How it is taken back, by the same kind."),
		can("irreversible", truthSchema, "It cannot be taken back; approvers see it."),
		can("attempts", wholeOf(1, maxAttempts), "How often it is tried; 1 when left out."),
		can(timeoutKey, durationSchema, "How long an attempt may take, up to 1h; 30s when left out."),
		can(targetsKey, refTo("targets"), "What it acts on, found when it begins."),
	}
	var undo []shapeKey
	var one []schema // of the kinds
	for _, k := range slices.Sorted(maps.Keys(kinds)) {
		one = append(one, schema{"required": []string{k}})
		action = append(action, can(k, specSchema(kinds[k]), "What is done, by "+k+"."))
		undo = append(undo, can(k, specSchema(kinds[k]), "What takes it back, by "+k+"."))
	}
	tier := []shapeKey{
		can("disable", truthSchema, "Leave the alert out."),
		can("labels", labelsSchema, "Labels of this alert alone. A label called disable disables nothing."),
		can("annotations", labelsSchema, "Annotations of this alert alone."),
	}
	group := []shapeKey{
		must("role", nameSchema, "The role of those who are asked, as tokens have it."),
		can("count", wholeOf(1, maxCount), "How many of them have to say yes; 1 when left out."),
	}
	if one == nil {
		one = []schema{{}} // an action may then be anything
	}
	return []shape{
		{what: "a rule file", keys: []shapeKey{
			must("version", wordOf(versionOwn), "The rule language."),
			must("service", nameSchema, "The service's name: the scope of its modes. Unique over all files."),
			can("labels", labelsSchema, "Labels of all alerts of the service."),
			can("owner", textSchema, "Whose it is: pages say so."),
			can("runbook", schema{"type": "string", "pattern": `^https?://\S+$`}, "What to do when it pages; an address."),
			can("parent", nameSchema, "The service above it, whose modes may impose modes here."),
			can("automation", wordOf("on", "suggest", "off"), "How far automation goes: `suggest` says what it would do and starts nothing."),
			can("flapping", refTo("flapping"), "How many changes in a while are too many: then the scope stays in the more restrictive mode, with a ticket."),
			can("escalation", listOf(refTo("an escalation")), "To whom incidents that burn on are told further; `[]` for nobody."),
			can("stuck_after", durationSchema, "How long a mode's way out may stand open before a ticket says so, up to 7d."),
			can("source", textSchema, "The Prometheus to ask, by its name in modeshift.yaml."),
			can("evaluate", wordOf("raw", "recorded"), "`recorded` reads the series that Sloth's rules record."),
			can("slos", listOf(refTo("an SLO")), "Objectives, with Sloth's fields."),
			can("slis", listOf(refTo("an SLI")), "Values with no objective, for conditions."),
			can("schedules", listOf(refTo("a schedule")), "Windows of time, for conditions."),
			can("modes", schema{"type": "array", "items": refTo("a mode"), "minItems": 2}, "From least to most restrictive. The first is where the service starts."),
			can("transitions", listOf(refTo("a transition")), "What leads from mode to mode."),
			can("flags", schema{"type": "object", "additionalProperties": refTo("the declaration of a flag")}, "Whose the flags are, and when they have to go."),
			can("allow", listOf(refTo("a finding that is allowed")), "Findings of `rules check` that are right here, each with the reason."),
			can("instances", refTo("instances"), "How far instances have to follow."),
			can("lease", durationSchema, "How long an instance trusts what it heard last; for ever when left out."),
			can("on_loss", nameSchema, "What it does then: `hold`, or the name of a mode."),
		}},
		{what: slothFile, open: true, keys: []shapeKey{
			must("version", wordOf(versionSloth), "The rule language: a Sloth file, read unchanged."),
			must("service", nameSchema, "The service's name. Unique over all files."),
			can("labels", labelsSchema, "Labels of all alerts of the service."),
			must("slos", someOf(refTo(slothSLO)), "Objectives."),
		}},
		{what: slothSLO, open: true, keys: slothKeys},
		{what: "an SLO", keys: append(slices.Clone(slothKeys),
			can("period", durationSchema, "The rolling period of its error budget; 30d when left out."),
			can("calendar", wordOf(calendarNames()...), "The piece of the calendar that its budget is for, in place of `period`."),
			can("timezone", textSchema, "The calendar's, such as Europe/Berlin; UTC when left out."),
			can("max_age", durationSchema, "A sample that is older is stale, and so unknown; 5m when left out."),
			can("source", textSchema, "The Prometheus to ask, by its name in modeshift.yaml."),
			can("agree", wholeOf(2, maxReplicas), "How many replicas of the source have to come to the same truth."),
			can("evaluate", wordOf("raw", "recorded"), "`recorded` reads the series that Sloth's rules record."),
			can("windows", listOf(refTo("a window")), "Burn-rate pairs in place of the workbook's: page 14.4 over 1h and 5m or 6 over 6h and 30m, ticket 3 over 1d and 2h or 1 over 3d and 6h."),
			can("escalation", listOf(refTo("an escalation")), "To whom its incidents that burn on are told further; `[]` for nobody."),
			can("min_events", factorSchema, "Fewer events in a window are unknown, whatever the ratio."),
			can("no_traffic", wordOf(string(NoTrafficUnknown), string(NoTrafficGood)), "What no traffic is; unknown when left out."),
		), more: schema{"not": schema{"required": []string{"period", "calendar"}}, "dependentRequired": schema{"timezone": []string{"calendar"}}}},
		{what: "sli", keys: []shapeKey{
			can("events", refTo("events"), "Bad events and all events."),
			can("raw", refTo("raw"), "The share of bad events, from 0 to 1."),
		}, more: schema{"minProperties": 1, "maxProperties": 1}},
		{what: "events", keys: []shapeKey{
			must("error_query", windowQuery, "PromQL that counts the bad events, with {{.window}} for the range and, for waves, instance=~\"{{.instances}}\"."),
			must("total_query", windowQuery, "PromQL that counts all events, likewise."),
		}},
		{what: "raw", keys: []shapeKey{
			must("error_ratio_query", windowQuery, "PromQL that gives the share of bad events, from 0 to 1, with {{.window}} for the range."),
		}},
		{what: "alerting", keys: []shapeKey{
			can("name", textSchema, "The name of both alerts; needed unless both are disabled."),
			can("labels", labelsSchema, "Labels of both alerts."),
			can("annotations", labelsSchema, "Annotations of both alerts."),
			can("page_alert", refTo("page_alert"), "The alert that wakes somebody."),
			can("ticket_alert", refTo("ticket_alert"), "The alert that waits until morning."),
		}},
		{what: "page_alert", keys: tier, more: schema{"type": []string{"object", "null"}}},
		{what: "ticket_alert", keys: tier, more: schema{"type": []string{"object", "null"}}},
		{what: "a window", keys: []shapeKey{
			must("severity", wordOf(string(engine.SeverityPage), string(engine.SeverityTicket)), "Of which alert it is."),
			must("long", durationSchema, "The long range, at most the period."),
			must("short", durationSchema, "The short range, which shows that it still burns; a twelfth of the long one is usual."),
			must("factor", factorSchema, "The burn rate that both ranges have to exceed."),
		}},
		{what: "an escalation", keys: []shapeKey{
			must("severity", wordOf(string(engine.SeverityExec), string(engine.SeverityPage)), "Who is told: exec of pages, page of tickets."),
			must("burn_rate", factorSchema, "It burns on while the rate is above this."),
			must("for", durationSchema, "For how long."),
			can("window", durationSchema, "Over which range; the tier's shortest when left out."),
		}},
		{what: "an SLI", keys: []shapeKey{
			must("name", nameSchema, "The value's name, for sli(\"…\")."),
			must("query", querySchema, "PromQL that gives one number."),
			can("unit", textSchema, "The value's unit, such as seconds or ratio."),
			can("max_age", durationSchema, "A sample that is older is stale, and so unknown; 5m when left out."),
			can("source", textSchema, "The Prometheus to ask, by its name in modeshift.yaml."),
			can("agree", wholeOf(2, maxReplicas), "How many replicas of the source have to come to the same truth."),
		}},
		{what: "a schedule", keys: []shapeKey{
			must("name", nameSchema, "The window's name, for schedule(\"…\")."),
			must("cron", textSchema, "When it opens: minute, hour, day of the month, month, day of the week."),
			must("duration", durationSchema, "How long it stays open."),
			can("timezone", textSchema, "Of the clock it goes by, such as Europe/Berlin; UTC when left out."),
		}},
		{what: "a mode", keys: []shapeKey{
			must("name", nameSchema, "The mode's name."),
			can("beside", truthSchema, "It has no rank among the others: failover, canary, cost."),
			can("flags", schema{"type": "object", "additionalProperties": flagSchema}, "What instances are told of each flag while it is in force. A flag has one type in all modes."),
			can("min_duration", durationSchema, "It is not left sooner by itself."),
			can("max_duration", durationSchema, "How long it may last before `on_expiry`."),
			can("on_expiry", schema{"anyOf": []schema{wordOf("page"), refTo("on_expiry")}}, "What happens then: a page (also when left out), or `propose: NAME` of a gated transition out of it."),
			can("drill_every", durationSchema, "How often its way back has to be used, for `rules check --readiness`."),
			can("stuck_after", durationSchema, "How long its way out may stand open before a ticket says so, up to 7d."),
			can("unavailable", refTo("unavailable"), "What a service that does not answer in this mode answers in place of that."),
			can("imposes", nameSchema, "The least restrictive mode that services below may be in meanwhile."),
			can("slos", schema{"type": "object", "additionalProperties": refTo("an SLO of a mode")}, "SLOs that it pauses: {availability: {pause: true}}."),
			can("suppress", refTo("suppress"), "Incidents that are kept quiet until it ends."),
		}, more: schema{"dependentRequired": schema{"on_expiry": []string{"max_duration"}}}},
		{what: "on_expiry", keys: []shapeKey{must("propose", nameSchema, "The gated transition to propose.")}},
		{what: "an SLO of a mode", keys: []shapeKey{must("pause", truthSchema, "Its tiers open nothing, and its budget leaves the time out.")}},
		{what: "suppress", keys: []shapeKey{
			must("slos", someOf(nameSchema), "Of which SLOs."),
			must("severities", someOf(wordOf(string(engine.SeverityPage), string(engine.SeverityTicket))), "Which tiers."),
		}},
		{what: "unavailable", keys: []shapeKey{
			must("message", textSchema, "The text that is answered, with status 503."),
			can("retry_after", durationSchema, "The header Retry-After, in whole seconds."),
		}},
		{what: "a transition", keys: []shapeKey{
			must("name", nameSchema, "The transition's name."),
			must("from", someOf(nameSchema), "The modes it leads from."),
			must("to", nameSchema, "The mode it leads to."),
			must("when", conditionSchema, "A CEL expression over signals: true, false or unknown. Unknown starts nothing."),
			can("for", noneSchema, "How long it has to be true."),
			can("severity", severitySchema, "Who is told; info when left out."),
			can("approval", refTo("an approval"), "Who has to say yes first."),
			can("actions", schema{"type": "array", "items": refTo("an action"), "minItems": 1, "maxItems": maxActions}, "What is done, in this order."),
			can("publish", wordOf("first", "last"), "The directive before the actions (also when left out), or after them."),
			can("rollout", refTo("a rollout"), "Instances are told in waves."),
			can("verify", conditionSchema, "Has to be true at the end; {{.instances}} does not narrow it."),
			can("on_failure", wordOf(string(engine.OnFailureHold), string(engine.OnFailureUndo)), "What becomes of it when it fails; when left out, an ungated move to more restriction is held, all else undone."),
			can("until", conditionSchema, "Takes the change back when it is true, while its own mode still holds."),
			can("undo", wordOf("entry"), "`entry` takes back what was done to enter the mode it leaves."),
			can("retry_after", durationSchema, "How soon it may be proposed again after it came to nothing; 1h when left out."),
		}, more: schema{"not": schema{"required": []string{"until", "undo"}}}},
		{what: "an approval", keys: []shapeKey{
			must("groups", someOf(refTo("a group")), "Each of them has to be satisfied."),
			must("within", durationSchema, "How long they have, up to 24h."),
			can("otherwise", wordOf(string(engine.OtherwiseDeny), string(engine.OtherwisePage), string(engine.OtherwiseEscalate)), "What then; deny when left out. It is never a yes."),
			can("to", someOf(refTo("a group")), "Whom `otherwise: escalate` asks."),
		}, more: schema{
			"if":   schema{"properties": schema{"otherwise": schema{"const": string(engine.OtherwiseEscalate)}}, "required": []string{"otherwise"}},
			"then": schema{"required": []string{"to"}},
			"else": schema{"properties": schema{"to": false}},
		}},
		{what: "a group", keys: group},
		{what: "an action", keys: action, more: schema{"oneOf": one}},
		{what: "an undo", keys: undo, more: schema{"minProperties": 1, "maxProperties": 1}},
		{what: "targets", keys: []shapeKey{
			must("query", querySchema, "PromQL whose series are the targets."),
			can("label", textSchema, "The label whose values they are; instance when left out."),
			can("source", textSchema, "The Prometheus to ask, by its name in modeshift.yaml."),
			must("max", wholeOf(1, maxTargets), "More of them hold the step, and ask people again."),
		}},
		{what: "a rollout", keys: []shapeKey{
			must("waves", schema{"type": "array", "items": wholeOf(1, 100), "uniqueItems": true, "minItems": 2, "maxItems": maxWaves, "contains": schema{"const": 100}},
				"The percentages that have been reached after each wave; the last is 100."),
			can("pause", noneSchema, "How long to wait after each, up to 24h."),
			can("verify", conditionSchema, "Has to be true before the next wave goes out; {{.instances}} in a query is the wave."),
		}},
		{what: "the declaration of a flag", keys: []shapeKey{
			can("description", textSchema, "What it does."),
			can("owner", textSchema, "Whose it is; the service's owner when left out."),
			can("level", wholeOf(1, 5), "1 is most critical, 5 least."),
			can("expires", daySchema, "The last day on which it should be there."),
			can("tested", daySchema, "The last day on which somebody saw it work."),
			can("saves", textSchema, "What switching it saves, for people."),
		}},
		{what: "a finding that is allowed", keys: []shapeKey{
			must("code", wordOf(findingCodes()...), "The finding."),
			must("why", textSchema, "Why it is right here."),
		}},
		{what: "instances", keys: []shapeKey{
			can("min_applied", percentSchema, "How many have to have a mode for a change to be done; 99% when left out."),
			can("grace", durationSchema, "How long they may take; 30s when left out."),
			can("page_above", percentSchema, "More of them astray are a page; 1% when left out."),
		}},
		{what: "flapping", keys: []shapeKey{
			must("changes", wholeOf(2, engine.MaxFlap), "So many changes"),
			must("within", durationSchema, "in so long, up to 7d, are too many."),
		}},
	}
}

// The shapes of a Sloth file that are not those of our own.
const (
	slothFile = "a Sloth file"
	slothSLO  = "an SLO of a Sloth file"
)

func findingCodes() []string {
	out := make([]string, len(findings))
	for i, c := range findings {
		out[i] = string(c)
	}
	return out
}

// schema is the shape as a JSON Schema.
func (s shape) schema() schema {
	properties, required := schema{}, []string{}
	for _, k := range s.keys {
		of := schema{"description": k.about}
		for key, v := range k.of {
			of[key] = v
		}
		properties[k.name] = of
		if k.required {
			required = append(required, k.name)
		}
	}
	out := schema{"type": "object", "properties": properties}
	if !s.open {
		out["additionalProperties"] = false
	}
	if len(required) > 0 {
		out["required"] = required
	}
	for key, v := range s.more {
		out[key] = v
	}
	return out
}

// Schema is the JSON Schema (draft 2020-12) of a document of a rule file. It uses no more of the draft than what editors that know an
// older one read the same way. kinds are the kinds of action there are.
func Schema(kinds map[string]Kind) []byte {
	defs := schema{}
	for _, s := range shapes(kinds) {
		defs[anchor(s.what)] = s.schema()
	}
	out, err := json.MarshalIndent(schema{
		"$schema":     "https://json-schema.org/draft/2020-12/schema",
		"title":       "modeshift rule file",
		"description": "SLOs, modes and the transitions between them of one service. A file may hold several documents.",
		"type":        "object",
		"required":    []string{"version", "service"},
		"properties":  schema{"version": wordOf(versionOwn, versionSloth)},
		"if":          schema{"properties": schema{"version": schema{"const": versionSloth}}, "required": []string{"version"}},
		"then":        refTo(slothFile),
		"else":        refTo("a rule file"),
		"$defs":       defs,
	}, "", "  ")
	if err != nil {
		panic(fmt.Sprintf("the schema of rule files: %v", err)) // it is a constant
	}
	return append(out, '\n')
}
