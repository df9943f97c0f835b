SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-builtin-rules --no-print-directory

# An older Go says so instead of fetching a newer one unasked; GOTOOLCHAIN=auto
# lets it.
export GOTOOLCHAIN ?= local

LINT_VERSION := v2.12.2
LINT := .tools/golangci-lint-$(LINT_VERSION)
# A shared cache would name the files of another checkout, which no rule knows.
export GOLANGCI_LINT_CACHE := $(CURDIR)/.tools/cache

# The brokers of test-real; the version stands in the pom too.
KAFKA := .tools/kafka-4.3.1
KAFKA_POM := integration/harness/kafka/pom.xml

# What the acceptance tests read our topics with: jars by pom, and archives.
CONSUMER_JARS := .tools/connect .tools/avro .tools/debezium
JDBC_SINK := .tools/jdbc-sink-3.6.0.Final
APICURIO := .tools/apicurio-3.0.9
$(JDBC_SINK): ARTIFACT := io.debezium:debezium-connector-jdbc:$(JDBC_SINK:.tools/jdbc-sink-%=%):tar.gz:plugin
$(APICURIO): ARTIFACT := io.apicurio:apicurio-registry-app:$(APICURIO:.tools/apicurio-%=%):tar.gz:all

# The tests whose producers are fenced or refused on purpose.
SARAMA_RACES := AnsweredErrors|BrokenConnections|SecondProcess|PausedProcess|StaleMember|ComeAndGo|LateCopyOfCommit

# The tests of integration whose program is built with the race detector.
RACED := KilledEdge|StartsWithoutKafka|StreamOutlives|NewKeyIsReleased|OddPayloads|BadRequests

ARGS ?=
PKG ?= ./...
FUZZTIME ?= 30s
FUZZ ?=

# The fuzz targets of every push: framing, envelopes, state rows.
FUZZ_CI := FuzzUnframe|FuzzDecodeCanonical|FuzzDecodeChange|FuzzDecodeEntity|FuzzDecodeSeen

# The fault suite of every push; SEED=0 takes one from the clock and prints it,
# MINUTES=0 is the shortest run that leaves the faults room. N is how many defects
# sabotage tries.
EVENTS ?= 100000
KILLS ?= 10
PAUSES ?= 3
DISKS ?= 1
BROKERS ?= 2
CUTS ?= 1
LATE ?= 1
N ?= 1000
SEED ?= 0
MINUTES ?= 0
RESULTS ?=

##@ Run

.PHONY: run
run: build ## the whole pipeline with simulated vendors; ARGS='--fresh' passes flags on, Ctrl-C drains and stops
	@exec bin/trunkline dev $(ARGS)

.PHONY: dev
dev: run ## the same as run

.PHONY: build
build: go ## bin/trunkline
	@go build -o bin/ ./cmd/trunkline

##@ Check

.PHONY: test
test: go ## unit tests and the integration suite on the embedded broker; PKG=./state for one package
	@mkdir -p bin
	@go test -count=1 -timeout 20m -v $(PKG) | tee bin/test.log | awk -f .ci/report.awk

.PHONY: test-real
test-real: go kafka consumers ## the integration suite on three real Kafka brokers and with real consumers; needs Java 17, Maven, PostgreSQL; ARGS='-run Killed'
	@mkdir -p bin
	@TRUNKLINE_TEST_KAFKA=real go test -count=1 -p 1 -timeout 30m -v $(ARGS) ./integration/... \
		| tee bin/test-real.log | awk -v real=1 -f .ci/report.awk

.PHONY: chaos
chaos: go kafka ## kills, pauses, lost disks and broker faults on real Kafka: EVENTS= KILLS= PAUSES= DISKS= BROKERS= CUTS= LATE= SEED= MINUTES= RESULTS=file
	@TRUNKLINE_TEST_KAFKA=real go test -count=1 -timeout 0 -v -run TestFaults ./integration/chaos -args \
		-events $(EVENTS) -kills $(KILLS) -pauses $(PAUSES) -disks $(DISKS) -brokers $(BROKERS) -cuts $(CUTS) -late $(LATE) \
		-seed $(SEED) -minutes $(MINUTES) -results '$(if $(RESULTS),$(abspath $(RESULTS)))'

.PHONY: acceptance
acceptance: go kafka consumers ## Debezium's JDBC sink into PostgreSQL and Debezium's own checks over our change topics: EVENTS= SEED=
	@CI=true TRUNKLINE_TEST_KAFKA=real go test -count=1 -timeout 0 -v -run TestConsumersAccept ./integration/acceptance -args \
		-events $(EVENTS) -seed $(SEED)

.PHONY: sabotage
sabotage: go ## builds the program with one seeded defect at a time, which a test must catch; N=3 SEED=7 tries three of them
	@go test -count=1 -timeout 0 -v -run DefectsAreCaught ./integration/sabotage -args -n $(N) -seed $(SEED)

.PHONY: kafka
kafka: ## the jars of the real brokers, into .tools, once
	@for tool in java mvn; do \
		$$tool -version >/dev/null 2>&1 || { echo "NOT RUN on real Kafka: there is no $$tool on the PATH; install Java 17 and Maven" >&2; exit 3; }; \
	done
	@$(MAKE) -s $(KAFKA)

.PHONY: consumers
consumers: kafka ## what the acceptance tests read our topics with, into .tools, once
	@$(MAKE) -s $(CONSUMER_JARS) $(JDBC_SINK) $(APICURIO)

$(KAFKA): $(KAFKA_POM)
	$(call fetch,dependency:copy-dependencies -f $< -DincludeScope=runtime)

$(CONSUMER_JARS): .tools/%: integration/harness/%/pom.xml
	$(call fetch,dependency:copy-dependencies -f $< -DincludeScope=runtime)

$(JDBC_SINK) $(APICURIO):
	$(call fetch,dependency:copy -Dartifact=$(ARTIFACT) && tar -xzf $@.part/*.tar.gz -C $@.part && rm $@.part/*.tar.gz)

# fetch has Maven put into the target what its goal names.
define fetch
	@echo 'fetch $@ (once)' >&2
	@rm -rf $@ $@.part
	@mvn -q -B -Dstyle.color=never -DoutputDirectory='$(CURDIR)/$@.part' $(1)
	@touch $@.part && mv $@.part $@
endef

.PHONY: race
race: go ## unit tests and some of the integration suite under the race detector; says what it leaves out
	@echo 'NOT RUN under the race detector: tests of stream named $(SARAMA_RACES) (sarama v1.61.1 races with itself when a producer is refused)'
	@echo 'NOT RUN under the race detector: counts of allocations (its pools forget)'
	@echo 'NOT RUN under the race detector: tests of integration but those named $(RACED) (the others add load, no code)'
	@go test -race -count=1 -timeout 30m -skip '$(SARAMA_RACES)' $$(go list $(PKG) | grep -v '^trunkline/integration')
	@go test -race -count=1 -timeout 30m -run '$(RACED)' ./integration -args -edge-kills 5

.PHONY: selftest
selftest: build ## 20,000 simulated events through the real edge; fails unless the ledger balances
	@dir=$$(mktemp -d); trap 'rm -rf "$$dir"' EXIT; \
	bin/trunkline dev --events 20000 --exit --data-dir "$$dir" \
		--edge 127.0.0.1:0 --view 127.0.0.1:0 --metrics 127.0.0.1:0 \
		--kafka-listen 127.0.0.1:0 --registry-listen 127.0.0.1:0 \
		--genesys-listen 127.0.0.1:0 --cxone-listen 127.0.0.1:0 $(ARGS)

.PHONY: lint
lint: go $(LINT) ## format, vet and the other rules of .golangci.yml
	@$(LINT) run

.PHONY: fuzz
fuzz: go ## every fuzz target for FUZZTIME (30s); FUZZ='FuzzMap|FuzzBody' only those
	@grep -rHoE --include='*_test.go' '^func Fuzz[[:alnum:]_]*' . | grep -E ' ($(or $(FUZZ),.*))$$' | sort | while IFS=: read -r file func; do \
		echo "$${file%/*} $${func#func }"; \
		go test -run '^$$' -fuzz "^$${func#func }\$$" -fuzztime $(FUZZTIME) "$${file%/*}" </dev/null; \
	done

.PHONY: fuzz-ci
fuzz-ci: FUZZ = $(FUZZ_CI)
fuzz-ci: fuzz ## framing, envelopes and state rows, each for FUZZTIME (30s)

.PHONY: bench
bench: go ## every benchmark
	@go test -run '^$$' -bench . -benchmem $(PKG)

.PHONY: bench-edge
bench-edge: go ## acks of the edge with its disk log, beside a handler that stores nothing
	@go test -run '^$$' -bench BenchmarkEdge -benchtime 30000x ./ingest

# The edge under what CI has no time for: KILLS= BODIES= AWAY= CUTS= FLIPS=.
.PHONY: edge-long
edge-long: KILLS = 1000
edge-long: CUTS = 10000
edge-long: go ## 1,000 kills of the edge, 1,000,000 malformed bodies, Kafka away for 60 s, 10,000 power cuts, 100,000 bit flips
	@go test -count=1 -timeout 0 -v ./ingest/spool -args -cuts $(CUTS) -flips $(or $(FLIPS),100000)
	@go test -count=1 -timeout 0 -v -run 'KilledEdge|EdgeOutlivesKafka|HostileBodies' ./integration -args \
		-edge-kills $(KILLS) -hostile-bodies $(or $(BODIES),1000000) -kafka-away $(or $(AWAY),60s)

.PHONY: ci
ci: ## what is run on every push
	@bash .ci/run

##@ Edit

.PHONY: fmt
fmt: $(LINT) ## format the code
	@$(LINT) fmt

.PHONY: golden
golden: go ## write the golden files anew; look at the difference before you commit it
	@go test -count=1 $$(grep -rl --include='*_test.go' 'flag\.Bool("update"' . | xargs -n1 dirname | sort -u) -update

.PHONY: clean
clean: ## remove bin and .tools; what `make run` keeps in .trunkline stays
	@rm -rf bin .tools

$(LINT): | go
	@echo 'install golangci-lint $(LINT_VERSION) into .tools (once, some minutes)' >&2
	@GOBIN='$(CURDIR)/.tools' go install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(LINT_VERSION)
	@mv .tools/golangci-lint $@

# One line for who has no Go, or one that is too old.
GO_NEEDED := $(shell awk '$$1 == "go" { print $$2 }' go.mod)
GO_FOUND = $(shell GOTOOLCHAIN=$(GOTOOLCHAIN) go version 2>/dev/null | grep -Eo '[0-9]+(\.[0-9]+)+' | head -n 1)
GO_OLDEST = $(shell printf '%s\n' $(GO_NEEDED) $(GO_FOUND) | sort -V | head -n 1)

.PHONY: go
go:
	@$(if $(GO_FOUND),,$(error Go $(GO_NEEDED) or newer is needed, and there is no go on the PATH)):
	@$(if $(filter $(GO_NEEDED),$(GO_OLDEST)),,$(error Go $(GO_NEEDED) or newer is needed, this is $(GO_FOUND); \
		install a newer one, or let Go fetch it: make $(or $(MAKECMDGOALS),help) GOTOOLCHAIN=auto)):

.PHONY: help
help:
	@awk -F ':.*## ' '/^##@/ { printf "\n%s\n", substr($$0, 5) } /^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' Makefile
