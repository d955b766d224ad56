# make help says what there is. CI is `make test` and `make check`: see .ci/run.

SHELL       := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

GO     ?= go
CACHE  ?= $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/modeshift
MODULE := github.com/modeshift/modeshift

# The linter takes minutes to build, so it stays in a folder outside the repository, one file a version.
LINT_VERSION := v2.15.0
LINT         := $(CACHE)/bin/golangci-lint-$(LINT_VERSION)

# Packages with golden files, which their tests rewrite when told -update.
GOLDEN := ./engine ./engine/api ./engine/report ./rules ./rules/convert

# Packages with goroutines of their own, or whose callers have. -race makes the whole story of the demo, and the loop of
# kill -9, several times slower without showing more: they run once, under `make test`.
RACE := ./engine/... ./rules/... ./actions/... ./examples/prometheus ./examples/shop ./test/receiver ./test/sim

# Packages with benchmarks. A benchmark prints its result as BENCH name value unit; the last one of a name counts, since a
# benchmark is run several times to find out how often it has to be. The one of evaluation, in test/bench, takes a good quarter of
# an hour on two cores, and some minutes more the first time, to build Sloth.
BENCH := ./engine/... ./rules/... ./actions/agent ./test/...

.PHONY: help
help: ## say what there is
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

.PHONY: build
build: ## build bin/modeshift
	$(GO) build -trimpath -o bin/modeshift ./cmd/modeshift

.PHONY: demo
demo: build ## watch modeshift save a small shop, or STORY=lying-prometheus; nothing to install
	@./bin/modeshift demo $(if $(STORY),--story $(STORY))

# Tests fetch what they need: npm's packages by npm, Prometheus by Debian's apt; Chromium has to be installed. Where that
# cannot be had they are skipped, and with CI=true they fail.
# Go's test cache does not see what a test builds and runs: without -count=1 yesterday's answer about another program counts.
TESTFLAGS ?= -count=1

# The stories of the demo happen in seconds that are real. Beside other tests a machine of two cores may not get round to them in time,
# and what people are paged for then is no fault: they run by themselves, after the others.
STORIES := $(MODULE)/examples/demo

# What is drawn at random is the same in each run, so that a red run is due to a change. `make laws` draws something new.
export RAPID_SEED ?= 1

.PHONY: test
test: ## run all tests
	{ $(GO) test -json -timeout 30m $(TESTFLAGS) $$($(GO) list ./... | grep -vFx $(STORIES)) && green=true || green=false; \
	  $(GO) test -json -timeout 30m $(TESTFLAGS) $(STORIES) && $$green; } | $(GO) run ./test/report

# The simulation in `make test` is the same with 500 seeds. One that fails says which command repeats it.
SEEDS ?= 10000
.PHONY: sim
sim: ## simulate SEEDS=10000 worlds
	$(GO) test ./test/sim -count=1 -timeout 0 -v -run Seeds -sim.seeds=$(SEEDS)

# Everything that is said of histories, queries, schedules and the ledger, about so many that nobody has drawn before. One that
# fails is made small, and says which flag repeats it.
CHECKS ?= 10000
DRAWN   = $(shell grep -rl 'rapid[.]Check' --include='*_test.go' actions cmd engine rules)
.PHONY: laws
laws: ## hold CHECKS=10000 new random cases against each law
	RAPID_SEED=0 RAPID_CHECKS=$(CHECKS) $(GO) test $(addprefix ./,$(sort $(dir $(DRAWN)))) -count=1 -timeout 0 -p 1 -v \
		-run "^($$(awk '/^func / { split($$2, name, "(") } /rapid\.Check\(/ { print name[1] }' $(DRAWN) | sort -u | paste -sd '|' -))$$"

# Files, conditions, queries, schedules, importers' files, series and incidents: so many of each that are nearly right. None may end
# in a panic, or take more than a second of a processor or 200 MB.
INPUTS ?= 1000000
.PHONY: inputs
inputs: ## try INPUTS=1000000 texts of each kind that are nearly right
	$(GO) test ./rules ./rules/convert ./rules/series -count=1 -timeout 0 -p 1 -parallel 1 -v -run 'Many.*(Explained|Refused)' -inputs=$(INPUTS)

.PHONY: check
check: vet fmt-check lint tidy-check core-check generated-check bench-check race ## everything else CI wants to know
	@echo "all checks passed"

.PHONY: vet
vet:
	$(GO) vet ./...

.PHONY: fmt
fmt: $(LINT) ## format all Go files
	$(LINT) fmt

.PHONY: fmt-check
fmt-check: $(LINT)
	@echo "files are formatted"
	@diff=$$($(LINT) fmt --diff); [[ -z $$diff ]] || { echo "$$diff"; echo "make fmt mends this"; exit 1; }

.PHONY: lint
lint: $(LINT)
	$(LINT) run --allow-parallel-runners

$(LINT):
	mkdir -p $(@D)
	GOBIN=$(@D)/new-$(LINT_VERSION) $(GO) install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(LINT_VERSION)
	mv $(@D)/new-$(LINT_VERSION)/golangci-lint $@
	rmdir $(@D)/new-$(LINT_VERSION)

.PHONY: tidy-check
tidy-check:
	$(GO) mod verify
	$(GO) mod tidy -diff

# What decides must not be able to reach a database, a network or a clock library.
.PHONY: core-check
core-check:
	@echo "the core needs the standard library only"
	@deps=$$($(GO) list -deps -f '{{if not .Standard}}{{.ImportPath}}{{end}}' ./engine); \
	[[ $$deps == $(MODULE)/engine ]] || { echo "engine depends on more than the standard library:"; echo "$$deps"; exit 1; }

.PHONY: generate
generate: ## rewrite generated and golden files
	$(GO) generate ./...
	$(GO) test -count=1 $(GOLDEN) -update

# Compared with the tree as it was, not with the last commit, so that it can be asked in the middle of work.
STATE = { git status --porcelain; git diff; } | git hash-object --stdin

.PHONY: generated-check
generated-check:
	@echo "generated files are current"
	@before=$$($(STATE)); $(MAKE) --no-print-directory generate; \
	[[ $$before == $$($(STATE)) ]] || { git --no-pager diff --stat; echo "make generate changed files: look at them and commit them"; exit 1; }

# The benchmarks of changes, each once: a benchmark that broke, or a line that nobody prints any more, is noticed before the
# day on which somebody wants to compare.
.PHONY: bench-check
bench-check:
	@echo "the benchmarks of changes print their results"
	@out=$$($(GO) test -short -run '^$$' -bench 'DecisionToFirstStep|ApproveToStep|Changes|Simulation' -benchtime 1x ./engine/server ./test/sim) || \
		{ echo "$$out"; exit 1; }; \
	for name in decision_to_first_step_ms approve_to_step_ms changes_per_s sim_hours_per_s; do \
		grep -qE "BENCH $$name [0-9.e+-]+ [A-Za-z]+" <<<"$$out" || { echo "$$out"; echo "nothing says BENCH $$name"; exit 1; }; \
	done

.PHONY: race
race:
	$(GO) test -race -short -timeout 20m $(RACE)

.PHONY: bench
bench: ## measure; the last lines are BENCH name value unit
	@out=$$(mktemp); trap 'rm -f "$$out"' EXIT; \
	$(GO) test -run '^$$' -bench . -timeout 60m -p 1 $(BENCH) | tee "$$out"; \
	echo; grep -hoE 'BENCH [a-z0-9_]+ [0-9.e+-]+ [A-Za-z]+' "$$out" | \
	awk '!($$2 in last) {order[++n] = $$2} {last[$$2] = $$0} END {for (i = 1; i <= n; i++) print last[order[i]]}'
