package webhook

import "github.com/modeshift/modeshift/actions/spec"

// keys are what a step of this kind has, for reading one and for editors.
var keys = spec.Keys{
	{Name: "url", About: "Where the request goes."},
	{Name: "method", About: "POST when left out; PUT, PATCH, DELETE or GET."},
	{Name: "headers", About: "Headers of the request, by name. Secrets do not belong here: see bearer_file."},
	{Name: "json", About: "The document that is sent; each text in it may be a template, and is encoded."},
	{Name: "form", About: "Fields that are sent as a form, in place of a document."},
	{Name: "body", About: "A text that is sent as it is, in place of a document."},
	{Name: "expect", About: "What answer means that it happened: {status: …, cel: …}."},
	{Name: "signature", About: "Signs the request: {secret_file: …, header: …}."},
	{Name: "cloudevents", About: "Sends it as a CloudEvent."},
	{Name: "idempotency_header", About: "The header that carries the key, the same for every attempt; Idempotency-Key when left out."},
	{Name: "bearer_file", About: "The file with the token to send, in the server's folder of secrets."},
	{Name: "keyed", About: "Whether the target knows a repeated key; true when left out."},
	{Name: "done", About: "Asks whether it has happened already: {url: …, expect: …}."},
	{Name: "timeout", About: "How long an attempt may take; 30s when left out."},
}

// Keys implements rules.Described.
func (*Kind) Keys() map[string]string { return keys.Map() }
