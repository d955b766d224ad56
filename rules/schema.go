package rules

import (
	"maps"
	"slices"

	"github.com/modeshift/modeshift/engine"
	"github.com/modeshift/modeshift/rules/form"
)

// The JSON Schema of a rule file: see form. A test holds it to the loader.

var (
	nameSchema      = form.Schema{"type": "string", "pattern": nameShape.String(), "maxLength": maxName}
	percentSchema   = form.Schema{"type": "string", "pattern": percentShape.String(), "examples": []string{"99%"}}
	daySchema       = form.Schema{"type": "string", "pattern": `^[0-9]{4}-[0-9]{2}-[0-9]{2}$`, "examples": []string{"2027-03-01"}}
	labelsSchema    = form.MapOf(form.Schema{"type": "string"})
	conditionSchema = form.Schema{"type": "string", "minLength": 1, "maxLength": maxConditionBytes, "examples": usages()}
	querySchema     = form.Schema{"type": "string", "minLength": 1, "maxLength": maxQueryBytes}
	windowQuery     = form.Schema{"type": "string", "minLength": 1, "maxLength": maxQueryBytes, "pattern": `\{\{-?\s*\$?\.window\s*-?\}\}`}
	flagSchema      = form.Schema{"type": []string{"boolean", "number", "string", "object"}}
	severitySchema  = form.Word(string(engine.SeverityInfo), string(engine.SeverityTicket), string(engine.SeverityPage))
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
var slothKeys = []form.Key{
	form.Must("name", nameSchema, "The SLO's name, unique in the service."),
	form.Must("objective", form.Schema{"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 100}, "The percentage of good events, such as 99.9. The error budget is the rest of 100."),
	form.Can("description", form.Text, "What it means to users."),
	form.Can("labels", labelsSchema, "Labels of its alerts."),
	form.Must("sli", form.Ref("sli"), "How it is measured: `events` or `raw`."),
	form.Must("alerting", form.Ref("alerting"), "Its alerts: a page and a ticket, unless disabled."),
}

// Described is a Kind that tells which keys its specification has, each with what it means.
type Described interface{ Keys() map[string]string }

// specSchema is that of what stands under a kind's key. Values may be templates, and are left to the kind.
func specSchema(kind Kind) form.Schema {
	d, ok := kind.(Described)
	if !ok {
		return form.Schema{"type": "object"}
	}
	properties := form.Schema{}
	for name, about := range d.Keys() {
		properties[name] = form.Schema{"description": about}
	}
	return form.Schema{"type": "object", "properties": properties, "additionalProperties": false}
}

// shapes are all mappings of a rule file. The shape of a Sloth file has the name slothFile.
func shapes(kinds map[string]Kind) []form.Shape {
	action := []form.Key{
		form.Must("name", nameSchema, "The step's name, unique in its transition."),
		form.Can("destructive", form.Truth, "Whether it does harm that people have to agree to; the kind says so of itself where this does not."),
		form.Can("why", form.Text, "Why a step that its kind calls destructive is not."),
		form.Can("undo", form.Ref("an undo"), "How it is taken back, by the same kind."),
		form.Can("irreversible", form.Truth, "It cannot be taken back; approvers see it."),
		form.Can("attempts", form.Whole(1, maxAttempts), "How often it is tried; 1 when left out."),
		form.Can(timeoutKey, form.Duration, "How long an attempt may take, up to 1h; 30s when left out."),
		form.Can(targetsKey, form.Ref("targets"), "What it acts on, found when it begins."),
	}
	var undo []form.Key
	var one []form.Schema // of the kinds
	for _, k := range slices.Sorted(maps.Keys(kinds)) {
		one = append(one, form.Schema{"required": []string{k}})
		action = append(action, form.Can(k, specSchema(kinds[k]), "What is done, by "+k+"."))
		undo = append(undo, form.Can(k, specSchema(kinds[k]), "What takes it back, by "+k+"."))
	}
	tier := []form.Key{
		form.Can("disable", form.Truth, "Leave the alert out."),
		form.Can("labels", labelsSchema, "Labels of this alert alone. A label called disable disables nothing."),
		form.Can("annotations", labelsSchema, "Annotations of this alert alone."),
	}
	group := []form.Key{
		form.Must("role", nameSchema, "The role of those who are asked, as tokens have it."),
		form.Can("count", form.Whole(1, maxCount), "How many of them have to say yes; 1 when left out."),
	}
	if one == nil {
		one = []form.Schema{{}} // an action may then be anything
	}
	return []form.Shape{
		{What: "a rule file", Keys: []form.Key{
			form.Must("version", form.Word(versionOwn), "The rule language."),
			form.Must("service", nameSchema, "The service's name: the scope of its modes. Unique over all files."),
			form.Can("labels", labelsSchema, "Labels of all alerts of the service."),
			form.Can("owner", form.Text, "Whose it is: pages say so."),
			form.Can("runbook", form.Schema{"type": "string", "pattern": `^https?://\S+$`}, "What to do when it pages; an address."),
			form.Can("parent", nameSchema, "The service above it, whose modes may impose modes here."),
			form.Can("automation", form.Word("on", "suggest", "off"), "How far automation goes: `suggest` says what it would do and starts nothing."),
			form.Can("flapping", form.Ref("flapping"), "How many changes in a while are too many: then the scope stays in the more restrictive mode, with a ticket."),
			form.Can("escalation", form.List(form.Ref("an escalation")), "To whom incidents that burn on are told further; `[]` for nobody."),
			form.Can("stuck_after", form.Duration, "How long a mode's way out may stand open before a ticket says so, up to 7d."),
			form.Can("source", form.Text, "The Prometheus to ask, by its name in modeshift.yaml."),
			form.Can("evaluate", form.Word("raw", "recorded"), "`recorded` reads the series that Sloth's rules record."),
			form.Can("slos", form.List(form.Ref("an SLO")), "Objectives, with Sloth's fields."),
			form.Can("slis", form.List(form.Ref("an SLI")), "Values with no objective, for conditions."),
			form.Can("schedules", form.List(form.Ref("a schedule")), "Windows of time, for conditions."),
			form.Can("modes", form.Schema{"type": "array", "items": form.Ref("a mode"), "minItems": 2}, "From least to most restrictive. The first is where the service starts."),
			form.Can("transitions", form.List(form.Ref("a transition")), "What leads from mode to mode."),
			form.Can("flags", form.MapOf(form.Ref("the declaration of a flag")), "Whose the flags are, and when they have to go."),
			form.Can("allow", form.List(form.Ref("a finding that is allowed")), "Findings of `rules check` that are right here, each with the reason."),
			form.Can("instances", form.Ref("instances"), "How far instances have to follow."),
			form.Can("lease", form.Duration, "How long an instance trusts what it heard last; for ever when left out."),
			form.Can("on_loss", nameSchema, "What it does then: `hold`, or the name of a mode."),
		}},
		{What: slothFile, Open: true, Keys: []form.Key{
			form.Must("version", form.Word(versionSloth), "The rule language: a Sloth file, read unchanged."),
			form.Must("service", nameSchema, "The service's name. Unique over all files."),
			form.Can("labels", labelsSchema, "Labels of all alerts of the service."),
			form.Must("slos", form.Some(form.Ref(slothSLO)), "Objectives."),
		}},
		{What: slothSLO, Open: true, Keys: slothKeys},
		{What: "an SLO", Keys: append(slices.Clone(slothKeys),
			form.Can("period", form.Duration, "The rolling period of its error budget; 30d when left out."),
			form.Can("calendar", form.Word(calendarNames()...), "The piece of the calendar that its budget is for, in place of `period`."),
			form.Can("timezone", form.Text, "The calendar's, such as Europe/Berlin; UTC when left out."),
			form.Can("max_age", form.Duration, "A sample that is older is stale, and so unknown; 5m when left out."),
			form.Can("source", form.Text, "The Prometheus to ask, by its name in modeshift.yaml."),
			form.Can("agree", form.Whole(2, maxReplicas), "How many replicas of the source have to come to the same truth."),
			form.Can("evaluate", form.Word("raw", "recorded"), "`recorded` reads the series that Sloth's rules record."),
			form.Can("windows", form.List(form.Ref("a window")), "Burn-rate pairs in place of the workbook's: page 14.4 over 1h and 5m or 6 over 6h and 30m, ticket 3 over 1d and 2h or 1 over 3d and 6h."),
			form.Can("escalation", form.List(form.Ref("an escalation")), "To whom its incidents that burn on are told further; `[]` for nobody."),
			form.Can("min_events", form.Factor, "Fewer events in a window are unknown, whatever the ratio."),
			form.Can("no_traffic", form.Word(string(NoTrafficUnknown), string(NoTrafficGood)), "What no traffic is; unknown when left out."),
		), More: form.Schema{"not": form.Schema{"required": []string{"period", "calendar"}}, "dependentRequired": form.Schema{"timezone": []string{"calendar"}}}},
		{What: "sli", Keys: []form.Key{
			form.Can("events", form.Ref("events"), "Bad events and all events."),
			form.Can("raw", form.Ref("raw"), "The share of bad events, from 0 to 1."),
		}, More: form.Schema{"minProperties": 1, "maxProperties": 1}},
		{What: "events", Keys: []form.Key{
			form.Must("error_query", windowQuery, "PromQL that counts the bad events, with {{.window}} for the range and, for waves, instance=~\"{{.instances}}\"."),
			form.Must("total_query", windowQuery, "PromQL that counts all events, likewise."),
		}},
		{What: "raw", Keys: []form.Key{
			form.Must("error_ratio_query", windowQuery, "PromQL that gives the share of bad events, from 0 to 1, with {{.window}} for the range."),
		}},
		{What: "alerting", Keys: []form.Key{
			form.Can("name", form.Text, "The name of both alerts; needed unless both are disabled."),
			form.Can("labels", labelsSchema, "Labels of both alerts."),
			form.Can("annotations", labelsSchema, "Annotations of both alerts."),
			form.Can("page_alert", form.Ref("page_alert"), "The alert that wakes somebody."),
			form.Can("ticket_alert", form.Ref("ticket_alert"), "The alert that waits until morning."),
		}},
		{What: "page_alert", Keys: tier, More: form.Schema{"type": []string{"object", "null"}}},
		{What: "ticket_alert", Keys: tier, More: form.Schema{"type": []string{"object", "null"}}},
		{What: "a window", Keys: []form.Key{
			form.Must("severity", form.Word(string(engine.SeverityPage), string(engine.SeverityTicket)), "Of which alert it is."),
			form.Must("long", form.Duration, "The long range, at most the period."),
			form.Must("short", form.Duration, "The short range, which shows that it still burns; a twelfth of the long one is usual."),
			form.Must("factor", form.Factor, "The burn rate that both ranges have to exceed."),
		}},
		{What: "an escalation", Keys: []form.Key{
			form.Must("severity", form.Word(string(engine.SeverityExec), string(engine.SeverityPage)), "Who is told: exec of pages, page of tickets."),
			form.Must("burn_rate", form.Factor, "It burns on while the rate is above this."),
			form.Must("for", form.Duration, "For how long."),
			form.Can("window", form.Duration, "Over which range; the tier's shortest when left out."),
		}},
		{What: "an SLI", Keys: []form.Key{
			form.Must("name", nameSchema, "The value's name, for sli(\"…\")."),
			form.Must("query", querySchema, "PromQL that gives one number."),
			form.Can("unit", form.Text, "The value's unit, such as seconds or ratio."),
			form.Can("max_age", form.Duration, "A sample that is older is stale, and so unknown; 5m when left out."),
			form.Can("source", form.Text, "The Prometheus to ask, by its name in modeshift.yaml."),
			form.Can("agree", form.Whole(2, maxReplicas), "How many replicas of the source have to come to the same truth."),
		}},
		{What: "a schedule", Keys: []form.Key{
			form.Must("name", nameSchema, "The window's name, for schedule(\"…\")."),
			form.Must("cron", form.Text, "When it opens: minute, hour, day of the month, month, day of the week."),
			form.Must("duration", form.Duration, "How long it stays open."),
			form.Can("timezone", form.Text, "Of the clock it goes by, such as Europe/Berlin; UTC when left out."),
		}},
		{What: "a mode", Keys: []form.Key{
			form.Must("name", nameSchema, "The mode's name."),
			form.Can("beside", form.Truth, "It has no rank among the others: failover, canary, cost."),
			form.Can("flags", form.MapOf(flagSchema), "What instances are told of each flag while it is in force. A flag has one type in all modes."),
			form.Can("min_duration", form.Duration, "It is not left sooner by itself."),
			form.Can("max_duration", form.Duration, "How long it may last before `on_expiry`."),
			form.Can("on_expiry", form.Schema{"anyOf": []form.Schema{form.Word("page"), form.Ref("on_expiry")}}, "What happens then: a page (also when left out), or `propose: NAME` of a gated transition out of it."),
			form.Can("drill_every", form.Duration, "How often its way back has to be used, for `rules check --readiness`."),
			form.Can("stuck_after", form.Duration, "How long its way out may stand open before a ticket says so, up to 7d."),
			form.Can("unavailable", form.Ref("unavailable"), "What a service that does not answer in this mode answers in place of that."),
			form.Can("imposes", nameSchema, "The least restrictive mode that services below may be in meanwhile."),
			form.Can("slos", form.MapOf(form.Ref("an SLO of a mode")), "SLOs that it pauses: {availability: {pause: true}}."),
			form.Can("suppress", form.Ref("suppress"), "Incidents that are kept quiet until it ends."),
		}, More: form.Schema{"dependentRequired": form.Schema{"on_expiry": []string{"max_duration"}}}},
		{What: "on_expiry", Keys: []form.Key{form.Must("propose", nameSchema, "The gated transition to propose.")}},
		{What: "an SLO of a mode", Keys: []form.Key{form.Must("pause", form.Truth, "Its tiers open nothing, and its budget leaves the time out.")}},
		{What: "suppress", Keys: []form.Key{
			form.Must("slos", form.Some(nameSchema), "Of which SLOs."),
			form.Must("severities", form.Some(form.Word(string(engine.SeverityPage), string(engine.SeverityTicket))), "Which tiers."),
		}},
		{What: "unavailable", Keys: []form.Key{
			form.Must("message", form.Text, "The text that is answered, with status 503."),
			form.Can("retry_after", form.Duration, "The header Retry-After, in whole seconds."),
		}},
		{What: "a transition", Keys: []form.Key{
			form.Must("name", nameSchema, "The transition's name."),
			form.Must("from", form.Some(nameSchema), "The modes it leads from."),
			form.Must("to", nameSchema, "The mode it leads to."),
			form.Must("when", conditionSchema, "A CEL expression over signals: true, false or unknown. Unknown starts nothing."),
			form.Can("for", form.DurationOrNone, "How long it has to be true."),
			form.Can("severity", severitySchema, "Who is told; info when left out."),
			form.Can("approval", form.Ref("an approval"), "Who has to say yes first."),
			form.Can("actions", form.Schema{"type": "array", "items": form.Ref("an action"), "minItems": 1, "maxItems": maxActions}, "What is done, in this order."),
			form.Can("publish", form.Word("first", "last"), "The directive before the actions (also when left out), or after them."),
			form.Can("rollout", form.Ref("a rollout"), "Instances are told in waves."),
			form.Can("verify", conditionSchema, "Has to be true at the end; {{.instances}} does not narrow it."),
			form.Can("on_failure", form.Word(string(engine.OnFailureHold), string(engine.OnFailureUndo)), "What becomes of it when it fails; when left out, an ungated move to more restriction is held, all else undone."),
			form.Can("until", conditionSchema, "Takes the change back when it is true, while its own mode still holds."),
			form.Can("undo", form.Word("entry"), "`entry` takes back what was done to enter the mode it leaves."),
			form.Can("retry_after", form.Duration, "How soon it may be proposed again after it came to nothing; 1h when left out."),
		}, More: form.Schema{"not": form.Schema{"required": []string{"until", "undo"}}}},
		{What: "an approval", Keys: []form.Key{
			form.Must("groups", form.Some(form.Ref("a group")), "Each of them has to be satisfied."),
			form.Must("within", form.Duration, "How long they have, up to 24h."),
			form.Can("otherwise", form.Word(string(engine.OtherwiseDeny), string(engine.OtherwisePage), string(engine.OtherwiseEscalate)), "What then; deny when left out. It is never a yes."),
			form.Can("to", form.Some(form.Ref("a group")), "Whom `otherwise: escalate` asks."),
		}, More: form.Schema{
			"if":   form.Schema{"properties": form.Schema{"otherwise": form.Schema{"const": string(engine.OtherwiseEscalate)}}, "required": []string{"otherwise"}},
			"then": form.Schema{"required": []string{"to"}},
			"else": form.Schema{"properties": form.Schema{"to": false}},
		}},
		{What: "a group", Keys: group},
		{What: "an action", Keys: action, More: form.Schema{"oneOf": one}},
		{What: "an undo", Keys: undo, More: form.Schema{"minProperties": 1, "maxProperties": 1}},
		{What: "targets", Keys: []form.Key{
			form.Must("query", querySchema, "PromQL whose series are the targets."),
			form.Can("label", form.Text, "The label whose values they are; instance when left out."),
			form.Can("source", form.Text, "The Prometheus to ask, by its name in modeshift.yaml."),
			form.Must("max", form.Whole(1, maxTargets), "More of them hold the step, and ask people again."),
		}},
		{What: "a rollout", Keys: []form.Key{
			form.Must("waves", form.Schema{"type": "array", "items": form.Whole(1, 100), "uniqueItems": true, "minItems": 2, "maxItems": maxWaves, "contains": form.Schema{"const": 100}},
				"The percentages that have been reached after each wave; the last is 100."),
			form.Can("pause", form.DurationOrNone, "How long to wait after each, up to 24h."),
			form.Can("verify", conditionSchema, "Has to be true before the next wave goes out; {{.instances}} in a query is the wave."),
		}},
		{What: "the declaration of a flag", Keys: []form.Key{
			form.Can("description", form.Text, "What it does."),
			form.Can("owner", form.Text, "Whose it is; the service's owner when left out."),
			form.Can("level", form.Whole(1, 5), "1 is most critical, 5 least."),
			form.Can("expires", daySchema, "The last day on which it should be there."),
			form.Can("tested", daySchema, "The last day on which somebody saw it work."),
			form.Can("saves", form.Text, "What switching it saves, for people."),
		}},
		{What: "a finding that is allowed", Keys: []form.Key{
			form.Must("code", form.Word(findingCodes()...), "The finding."),
			form.Must("why", form.Text, "Why it is right here."),
		}},
		{What: "instances", Keys: []form.Key{
			form.Can("min_applied", percentSchema, "How many have to have a mode for a change to be done; 99% when left out."),
			form.Can("grace", form.Duration, "How long they may take; 30s when left out."),
			form.Can("page_above", percentSchema, "More of them astray are a page; 1% when left out."),
		}},
		{What: "flapping", Keys: []form.Key{
			form.Must("changes", form.Whole(2, engine.MaxFlap), "So many changes"),
			form.Must("within", form.Duration, "in so long, up to 7d, are too many."),
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

// Schema is the JSON Schema of a document of a rule file. kinds are the kinds of action there are.
func Schema(kinds map[string]Kind) []byte {
	return form.Write(form.Schema{
		"title":       "modeshift rule file",
		"description": "SLOs, modes and the transitions between them of one service. A file may hold several documents.",
		"type":        "object",
		"required":    []string{"version", "service"},
		"properties":  form.Schema{"version": form.Word(versionOwn, versionSloth)},
		"if":          form.Schema{"properties": form.Schema{"version": form.Schema{"const": versionSloth}}, "required": []string{"version"}},
		"then":        form.Ref(slothFile),
		"else":        form.Ref("a rule file"),
	}, shapes(kinds))
}
