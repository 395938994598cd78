#!/bin/sh
# Regenerates the Go code from control.proto. Needs protoc; the plugins come at go.mod's versions.
set -eu
cd "$(dirname "$0")"
bin=$(mktemp -d)
trap 'rm -rf "$bin"' EXIT
version() { go list -m -f '{{.Version}}' "$1"; }
GOBIN=$bin go install "google.golang.org/protobuf/cmd/protoc-gen-go@$(version google.golang.org/protobuf)"
GOBIN=$bin go install "connectrpc.com/connect/cmd/protoc-gen-connect-go@$(version connectrpc.com/connect)"
PATH=$bin:$PATH protoc --go_out=. --go_opt=paths=source_relative \
    --connect-go_out=. --connect-go_opt=paths=source_relative,package_suffix=,simple=true control.proto
