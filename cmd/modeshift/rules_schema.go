package main

import (
	"github.com/modeshift/modeshift/engine/server"
	"github.com/modeshift/modeshift/rules"
	"github.com/modeshift/modeshift/rules/ruletest"
)

type rulesSchemaCmd struct {
	Of string `arg:"" optional:"" name:"files" enum:"rules,tests" default:"rules" help:"Of which files: rules, or tests (those of modeshift rules test)."`
}

// Help shows one real example.
func (rulesSchemaCmd) Help() string {
	return `Examples:
  modeshift rules schema > modeshift.schema.json
  modeshift rules schema tests > modeshift-tests.schema.json

Editors that know JSON Schema (VS Code with the YAML extension, JetBrains, Neovim with yaml-language-server) complete keys, show on hover
what each means, and underline what is wrong while it is typed. Name the schema in the first line of a rule file:

  # yaml-language-server: $schema=modeshift.schema.json
  version: modeshift/v1

or for a folder, in VS Code's settings: "yaml.schemas": {"modeshift.schema.json": "rules/*.yaml"}. What needs more than the form of a file
(names that refer to others, PromQL, CEL) modeshift rules check says, and of test files modeshift rules test.`
}

// Run implements the verb.
func (v *rulesSchemaCmd) Run(s *streams) error {
	kinds, err := server.FormKinds()
	if err != nil {
		return err
	}
	out := rules.Schema(kinds)
	if v.Of == "tests" {
		out = ruletest.Schema()
	}
	_, err = s.out.Write(out)
	return err
}
