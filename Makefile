# `make` lists what there is; every line below with ## is a target for people.
GO ?= go
SYSTEMS = ./bmv2-tests/... ./cmd/... ./controller # tests of whole systems, which want the machine for themselves
PURE = ./controller/config/... ./controller/core ./controller/plan ./controller/rows ./gslb/config # one goroutine each: no races

help: ## list the targets
	@awk -F':.*## ' '/^[a-z0-9-]+:.*## /{printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: build ## see a P4 switch balance real HTTP traffic under DSR: no root, half a minute; the first time minutes to compile
	bin/sluice demo

lab: build ## two data centers of Linux hosts, with a prompt: docs/lab.md (root, mininet, nginx; SWITCH=bmv2: on real bmv2)
	$(GO) build -o bin/lab ./bmv2-tests/lab/mininet && bin/lab prompt docs/lab.md

lab-tour: build ## do what docs/lab.md says, and fail where it is not so (as lab)
	$(GO) build -o bin/lab ./bmv2-tests/lab/mininet && bin/lab tour docs/lab.md

test: ## run the tests: no root needed; the summary lists those that need more, and why they were skipped
	$(GO) tool gotestsum --format pkgname --format-hide-empty-pkg -- ./...

check: ## what CI runs: vet, staticcheck, race tests
	$(GO) vet ./...
	$(GO) tool staticcheck ./...
	$(GO) test $(PURE)
	$(GO) test -race $$($(GO) list ./... | grep -vxF "$$($(GO) list $(SYSTEMS) $(PURE))")
	$(GO) test -race -p 1 $(SYSTEMS)

fuzz: ## the fast path's answers to DNS queries against the full path's, for 60 s
	$(GO) test -run '^$$' -fuzz '^FuzzFastEqualsFull$$' -fuzztime 60s ./gslb/fastpath

bench: ## packets/s, ns/packet, allocations, slot-table updates; beside bmv2 where it is installed
	$(GO) run ./bmv2-tests/bench

bench-dns: ## DNS: CPU per query, qps, p99 and loss beside gdnsd, Knot, NSD, CoreDNS, miekg/dns
	$(GO) run ./gslb/bench

bmv2: ## run the scenarios on real bmv2 (root, simple_switch_grpc on PATH)
	$(GO) test -count=1 -v -run 'TestScenarios' ./bmv2-tests

p4: ## recompile the pipeline (needs p4c-bm2-ss)
	sh p4/build.sh

build: ## build bin/sluice
	@GO="$(GO)" sh cmd/sluice/build.sh

.PHONY: help demo lab lab-tour test check fuzz bench bench-dns bmv2 p4 build
.DEFAULT_GOAL := help
