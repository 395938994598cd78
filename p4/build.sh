#!/bin/sh
# Compiles sluice.p4 with p4c into build/ (or $1) and records what was made from what.
set -eu
cd "$(dirname "$0")"
out=${1:-build}
if ! command -v p4c-bm2-ss >/dev/null; then
    echo "p4c-bm2-ss is not on PATH; the committed files in p4/build stay as they are" >&2
    exit 1
fi
p4c-bm2-ss --std p4-16 --p4runtime-files "$out/sluice.p4info.txt" -o "$out/sluice.json" sluice.p4
sources=$(sha256sum sluice.p4 include/*.p4)
cd "$out"
artefacts=$(sha256sum sluice.json sluice.p4info.txt)
printf '%s\n' "$sources" "$artefacts" > SHA256SUMS
