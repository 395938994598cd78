package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/sluicelb/sluice/bmv2-tests/lab"
	"github.com/sluicelb/sluice/bmv2-tests/lab/namespaces"
)

// peer is a switch to measure, or the reason why not.
type peer struct {
	name string
	sw   lab.Switch[string]
	skip error
}

// peers are the switches that can run here; build makes the softswitch.
func peers() (all []peer, clean func(), err error) {
	dir, err := os.MkdirTemp("", "sluice-bench")
	if err != nil {
		return nil, nil, err
	}
	clean = func() { os.RemoveAll(dir) }
	binary := filepath.Join(dir, "sluice")
	if out, err := exec.Command("go", "build", "-o", binary,
		"github.com/sluicelb/sluice/cmd/sluice").CombinedOutput(); err != nil {
		clean()
		return nil, nil, fmt.Errorf("building sluice: %w\n%s", err, out)
	}
	bmv2 := peer{name: "bmv2 simple_switch_grpc", sw: namespaces.BMv2}
	if _, err := exec.LookPath("simple_switch_grpc"); err != nil {
		bmv2.skip = errors.New("skipped: simple_switch_grpc is not on PATH")
	}
	return []peer{bmv2, {name: "softswitch", sw: namespaces.Softswitch(binary)}}, clean, nil
}
