package rules

import "slices"

// Code names a kind of diagnostic in one short word that stays the same while messages get better: editors and pipelines sort by it,
// and a file that lives with a finding names it.
type Code string

// The codes of errors. They are broad: what is wrong is said by the message, and a code says which sort of mistake it is.
const (
	CodeNoFiles        Code = "no-files"          // there is nothing to read
	CodeUnreadable     Code = "unreadable"        // the file is empty, not UTF-8, or larger or deeper than a rule file may be
	CodeNotYAML        Code = "not-yaml"          // the YAML parser cannot get past it
	CodeTooManyFaults  Code = "too-many-faults"   // of one file; the others are not shown
	CodeUnknownVersion Code = "unknown-version"   // of the rule language
	CodeUnknownKey     Code = "unknown-key"       // in a Sloth file, which Sloth would read, a warning
	CodeMissingKey     Code = "missing-key"       //
	CodeDuplicateKey   Code = "duplicate-key"     //
	CodeDuplicateName  Code = "duplicate-name"    // two of a kind have one name; of services, over all files
	CodeUnknownName    Code = "unknown-name"      // a reference to what nobody declares
	CodeInvalidValue   Code = "invalid-value"     // of the wrong type, out of its bounds, or at odds with another one
	CodeBadQuery       Code = "bad-query"         // not PromQL, not a template, or not measuring what it has to
	CodeBadCondition   Code = "bad-condition"     // not CEL, or not true or false
	CodeUngatedHarm    Code = "ungated-harm"      // a destructive action that nobody is asked about
	CodeHarmForGood    Code = "harm-without-undo" // a destructive action that cannot be taken back and does not say so
	CodeEndless        Code = "endless"           // a mode that does what has to end, and may be in force for ever
	CodeUnplanned      Code = "unplanned-pause"   // a mode that pauses SLOs is entered by what neither people nor a plan decided
	CodeCircle         Code = "circle"            // services that stand below themselves
	CodeBadReference   Code = "broken-reference"  // to a service whose own file does not load
	CodeModeInForce    Code = "mode-in-force"     // a mode would vanish while a scope is in it
	CodeFlagType       Code = "flag-changes-type"
	CodeOurFault       Code = "our-fault" // modeshift failed, and nothing in the file has to be wrong
)

// The codes of findings: what loads, and is most likely not what was meant. Each has a section in FINDINGS.md.
const (
	CodeNothingDeclared   Code = "nothing-declared"
	CodeNoOwner           Code = "no-owner"
	CodeNoRunbook         Code = "no-runbook"
	CodeManyModes         Code = "many-modes"
	CodeUnreachable       Code = "unreachable-mode"
	CodeNoWayOut          Code = "no-way-out"
	CodeNoMaxDuration     Code = "no-max-duration"
	CodeTogether          Code = "entry-and-exit-together"
	CodeCompeting         Code = "competing-transitions"
	CodePageOnTheWayBack  Code = "page-on-the-way-back"
	CodeUndoOfNothing     Code = "undo-of-nothing"
	CodePublishOfNothing  Code = "publish-without-actions"
	CodeIrreversible      Code = "irreversible-action"
	CodeNeverEntered      Code = "pause-never-entered"
	CodeVerifyAll         Code = "verify-not-of-wave"
	CodeConstantCondition Code = "constant-condition"
	CodeNeverTrue         Code = "never-true"
	CodePercent           Code = "ratio-as-percent"
	CodeObjectiveAsRatio  Code = "objective-as-ratio"
	CodeUnreachableFactor Code = "unreachable-factor"
	CodeOneError          Code = "one-error-pages"
	CodeShortWindow       Code = "short-window"
	CodeDisabledByLabel   Code = "disabled-by-label"
	CodeShortLease        Code = "short-lease"
	CodeUntold            Code = "instances-without-modes"
	CodeNoReceiver        Code = "no-receiver"
	CodeFlagUnset         Code = "flag-never-set"
	CodeFlagUndeclared    Code = "flag-undeclared"
	CodeFlagExpired       Code = "flag-expired"
	CodeFlagUntested      Code = "flag-untested"
	CodeNoSuchSeries      Code = "no-such-series"
	CodeNoSuchLabel       Code = "no-such-label"
	CodeAllowed           Code = "allow-of-nothing"
)

// findings are the codes of what does not keep a file from loading, sorted.
var findings = slices.Sorted(slices.Values([]Code{CodeNothingDeclared, CodeNoOwner, CodeNoRunbook, CodeManyModes, CodeUnreachable,
	CodeNoWayOut, CodeNoMaxDuration, CodeTogether, CodeCompeting, CodePageOnTheWayBack, CodeUndoOfNothing, CodePublishOfNothing,
	CodeIrreversible, CodeNeverEntered, CodeVerifyAll, CodeConstantCondition, CodeNeverTrue, CodePercent, CodeObjectiveAsRatio,
	CodeUnreachableFactor, CodeOneError, CodeShortWindow, CodeDisabledByLabel, CodeShortLease, CodeUntold, CodeNoReceiver, CodeFlagUnset,
	CodeFlagUndeclared, CodeFlagExpired, CodeFlagUntested, CodeNoSuchSeries, CodeNoSuchLabel, CodeAllowed}))

// Findings are all of them, sorted.
func Findings() []Code { return slices.Clone(findings) }

// Docs is where a finding is explained, from the repository's root; empty for an error, which explains itself.
func (c Code) Docs() string {
	if _, found := slices.BinarySearch(findings, c); !found {
		return ""
	}
	return "rules/FINDINGS.md#" + string(c)
}
