// Package namespaces builds the topologies of package lab from Linux hosts: a network namespace for each, and a veth
// cable to a switch that is a program of its own. It needs root. Tests and benchmarks call it; the product does not.
package namespaces

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"net"
	"os"
	"os/exec"
	"slices"
	"syscall"
	"time"

	"github.com/sluicelb/sluice/bmv2-tests/lab"
	"github.com/sluicelb/sluice/p4/limits"
)

// Process is a switch that is a program of its own.
type Process struct {
	Args func(listen string, ports map[uint16]string) []string
}

// BMv2 is the reference switch, simple_switch_grpc from PATH.
var BMv2 = Process{func(listen string, ports map[uint16]string) []string {
	args := []string{"simple_switch_grpc", "--no-p4", "--device-id", "1", "--log-console", "--log-level", "error"}
	for _, port := range slices.Sorted(maps.Keys(ports)) {
		args = append(args, "-i", fmt.Sprintf("%d@%s", port, ports[port]))
	}
	return append(args, "--", "--grpc-server-addr", listen, "--cpu-port", fmt.Sprint(limits.CPUPort))
}}

// Softswitch is `sluice switch`, from the binary at path.
func Softswitch(path string) Process {
	return Process{func(listen string, ports map[uint16]string) []string {
		args := []string{path, "switch", "--grpc", listen, "--device-id", "1"}
		for _, port := range slices.Sorted(maps.Keys(ports)) {
			args = append(args, "--port", fmt.Sprintf("%d=%s", port, ports[port]))
		}
		return args
	}}
}

// Start implements lab.Switch.
func (p Process) Start(ctx context.Context, listen string, ports map[uint16]string) (*lab.Running, error) {
	if listen == "" {
		var err error
		if listen, err = freeAddress(); err != nil {
			return nil, err
		}
	}
	args := p.Args(listen, ports)
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Cancel = func() error { return cmd.Process.Kill() }
	cmd.WaitDelay = 5 * time.Second
	var output bytes.Buffer
	cmd.Stdout, cmd.Stderr = &output, &output
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()

	deadline := time.After(20 * time.Second)
	for {
		conn, err := net.DialTimeout("tcp", listen, time.Second)
		if err == nil {
			conn.Close()
			wait := func() error {
				if err := <-ended; ctx.Err() == nil {
					return fmt.Errorf("%s ended by itself: %w\n%s", args[0], err, output.Bytes())
				}
				return nil
			}
			pause := func(paused bool) error {
				if paused {
					return cmd.Process.Signal(syscall.SIGSTOP)
				}
				return cmd.Process.Signal(syscall.SIGCONT)
			}
			return &lab.Running{Target: listen, Wait: wait, Pause: pause}, nil
		}
		select {
		case err := <-ended:
			return nil, fmt.Errorf("%s: %w\n%s", args[0], err, output.Bytes())
		case <-deadline:
			_ = cmd.Process.Signal(os.Kill)
			<-ended
			return nil, fmt.Errorf("%s does not serve P4Runtime on %s", args[0], listen)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// freeAddress returns a loopback address that nobody listens on now.
func freeAddress() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer l.Close()
	return l.Addr().String(), nil
}
