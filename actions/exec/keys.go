package exec

import "github.com/modeshift/modeshift/actions/spec"

// keys are what a step of this kind has, for reading one and for editors.
var keys = spec.Keys{
	{Name: "program", About: "The name or path of a program on the server's allow-list."},
	{Name: "args", About: "Its arguments, one entry each; no shell is between."},
	{Name: "env", About: "Its environment, by name."},
	{Name: "dir", About: "The folder it runs in."},
	{Name: "timeout", About: "How long an attempt may take; 30s when left out."},
	{Name: "stdin", About: "What it reads from its standard input."},
	{Name: "expect", About: "What end means that it happened: an exit status, an output."},
	{Name: "done", About: "A program that says whether it has happened already: {program: …, args: …, expect: …}."},
	{Name: "keyed", About: "Whether the program knows a repeated MODESHIFT_KEY; false when left out."},
}

// Keys implements rules.Described.
func (*Kind) Keys() map[string]string { return keys.Map() }
