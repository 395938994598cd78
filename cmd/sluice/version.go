package main

import (
	"fmt"
	"runtime/debug"
)

// version says which commit this is, as the go command wrote it down: a release's tag, or a pseudo-version of the
// commit, with +dirty where files differ from it.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "sluice, built without the go command"
	}
	return fmt.Sprintf("sluice %s, %s", info.Main.Version, info.GoVersion)
}
