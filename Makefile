# make demo    build, run the demo and walk through it
# make test    every test, set-up included
# make check   format, vet, staticcheck, go.mod, fuzz targets
# make bench   our figures beside the peers', into bench/
# make bench-ingest   what it costs to take spans in, over each protocol
# make bench-wrk      a bare and a monitored server under load
# make build   bin/pulsectl

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := build

VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo devel)
COMMIT  ?= $(shell git rev-parse HEAD 2>/dev/null)
LDFLAGS := -s -w -X main.buildVersion=$(VERSION) -X main.buildCommit=$(COMMIT)
FUZZSECONDS ?= 3
BENCHCOUNT ?= 6
BENCHFLAGS ?=
BENCHFILE  ?= results/$(shell date -u +%F).txt
INGESTFILE ?= results/$(shell date -u +%F)-ingest.txt
INGESTFLAGS ?=
WRKFILE    ?= results/$(shell date -u +%F)-wrk.txt
WRKFLAGS   ?=

.PHONY: build demo test check fuzz bench bench-ingest bench-wrk clean

build:
	CGO_ENABLED=0 go build -trimpath -ldflags '$(LDFLAGS)' -o bin/pulsectl ./cmd/pulsectl

demo: build
	@scripts/demo bin/pulsectl

# The race detector would sleep a second at the end of each package's tests.
test: export GORACE := atexit_sleep_ms=0 $(GORACE)
test:
	@scripts/setup
	go test -race -timeout 8m ./...
	@# What is allocated is pinned without the race detector, which allocates itself.
	go test -run Alloc $$(grep -rl --include='*_test.go' AllocsPerRun . | xargs -n1 dirname | sort -u)
	@for dir in test/*/ pkg/monitoring/breaker/grpcbreaker/; do echo "cd $$dir && go test ./..."; (cd $$dir && go test -race ./...); done

check:
	@test -z "$$(gofmt -l $$(git ls-files '*.go'))" || { gofmt -d $$(git ls-files '*.go'); exit 1; }
	go vet ./...
	go tool -modfile=tools/go.mod staticcheck ./...
	@for mod in $$(git ls-files '*go.mod'); do echo "cd $$(dirname $$mod) && go mod tidy -diff"; (cd $$(dirname $$mod) && go mod tidy -diff); done
	cd bench && go vet ./... && go test ./cmd/...
	cd bench/otlpload && go vet ./... && go test ./...
	@scripts/fuzz $(FUZZSECONDS)

fuzz:
	@scripts/fuzz $(FUZZSECONDS)

# The profile rows come first and alone: a process that is started by one that is
# large already counts its memory, too.
bench:
	@cd bench && mkdir -p results && go test -c -o ../bin/bench.test .
	@cd bench && { echo "commit: $(VERSION)"; for set in '-test.bench ProfilesTop' '-test.bench . -test.skip ProfilesTop'; do \
		../bin/bench.test -test.run '^$$' $$set -test.benchtime 100ms -test.count $(BENCHCOUNT) -test.timeout 30m $(BENCHFLAGS); done; } | tee $(BENCHFILE)
	@cd bench && go run ./cmd/ratios -readme README.md $(BENCHFILE) && go run ./cmd/ratios $(BENCHFILE)

bench-ingest: build
	@cd bench/otlpload && go build -o ../../bin/otlpload . && go build -o ../../bin/ingest ./ingest
	@cd bench && mkdir -p results && ../bin/ingest -pulsectl ../bin/pulsectl -otlpload ../bin/otlpload -commit $(VERSION) $(INGESTFLAGS) | tee $(INGESTFILE)

bench-wrk:
	@cd bench && mkdir -p results && go build -o ../bin/wrkbench ./cmd/wrk
	@cd bench && ../bin/wrkbench -commit $(VERSION) $(WRKFLAGS) | tee $(WRKFILE)

clean:
	rm -rf bin
