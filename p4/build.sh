#!/bin/sh
# Compiles sluice.p4 with p4c and records which sources the artefacts were made from.
set -eu
cd "$(dirname "$0")"
if ! command -v p4c-bm2-ss >/dev/null; then
    echo "p4: p4c-bm2-ss is not on PATH; the committed files in p4/build stay as they are" >&2
    exit 1
fi
p4c-bm2-ss --std p4-16 --p4runtime-files build/sluice.p4info.txt -o build/sluice.json sluice.p4
cat sluice.p4 include/*.p4 | sha256sum | cut -d' ' -f1 > build/sources.sha256
