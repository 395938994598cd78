#!/bin/sh
# Builds bin/sluice, and shows that it goes on: the first time go has every library to compile, and says nothing for minutes.
set -eu
cd "$(dirname "$0")/../.."
go=${GO:-go}
command -v "${go%% *}" >/dev/null || {
    echo "  needs $go, which is not on PATH: get it from https://go.dev/dl, or say where it is: make GO=/usr/local/go/bin/go ..." >&2
    exit 1
}

announced=
announce() {
    [ -z "$announced" ] || return 0
    announced=yes
    cat >&2 <<-TEXT
	The first build downloads and compiles the libraries: about
	3 minutes of processor time, which two idle processors do
	in half of that, and 0.8 GB of caches (their places:
	\`go env GOCACHE GOMODCACHE\`). Later builds take seconds.
	TEXT
}

# A line that replaces the one before on a terminal.
before= after='\n'
if [ -t 2 ]; then before='\r\033[K' after=; fi
say() { printf "$before  %s$after" "$*" >&2; }

downloaded=0 compiled=0 packages=
show() {
    while IFS= read -r line; do
        case $line in
        "go: downloading "*)
            announce
            downloaded=$((downloaded + 1))
            if [ -t 2 ] || [ $((downloaded % 20)) = 1 ]; then say "library $downloaded: ${line#go: downloading }"; fi
            ;;
        "build.sh: exit "*)
            [ ! -t 2 ] || printf '\r\033[K' >&2
            echo "  the build failed" >&2
            exit "${line#build.sh: exit }"
            ;;
        *[!A-Za-z0-9._/~-]*) # what go complains about
            printf "$before%s\n" "$line" >&2
            ;;
        github.com/sluicelb/sluice/cmd/sluice)
            say "compiling and linking sluice"
            ;;
        *)
            case $line in github.com/sluicelb/sluice/*) ;; *) announce ;; esac
            : "${packages:=$($go list -deps ./cmd/sluice | wc -l)}"
            compiled=$((compiled + 1))
            if [ -t 2 ] || [ $((compiled % 20)) = 1 ]; then say "package $compiled of" $packages "or less"; fi
            ;;
        esac
    done
    [ ! -t 2 ] || printf '\r\033[K' >&2
}

{ $go build -v -o bin/sluice ./cmd/sluice 2>&1 || echo "build.sh: exit $?"; } | show
