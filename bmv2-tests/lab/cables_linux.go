package lab

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
)

// Cables is a switch with nothing on its ports but veth cables, whose far ends have no addresses and
// say nothing of themselves: every frame is the caller's.
type Cables struct {
	target   string
	ends     map[uint16]*linuxHost
	undo     []func() error
	stop     context.CancelFunc
	switched *Running
}

// NewCables starts sw on ports 1 to n.
func NewCables(sw Switch, n int) (c *Cables, err error) {
	c = &Cables{ends: map[uint16]*linuxHost{}}
	defer func() {
		if err != nil {
			err = errors.Join(err, c.Close())
		}
	}()
	prefix := fmt.Sprintf("sl%d-%d", os.Getpid()%100000, labs.Add(1))
	ports := map[uint16]string{}
	for port := uint16(1); int(port) <= n; port++ {
		end := &linuxHost{namespace: prefix + "-end" + strconv.Itoa(int(port)), outer: prefix + "p" + strconv.Itoa(int(port))}
		if err := run("ip", "netns", "add", end.namespace); err != nil {
			return nil, err
		}
		c.undo = append(c.undo, end.close)
		err := errors.Join(
			end.sysctl("net.ipv6.conf.all.disable_ipv6=1", "net.ipv6.conf.default.disable_ipv6=1"),
			run("ip", "link", "add", end.outer, "type", "veth", "peer", "name", "eth0", "netns", end.namespace),
			run("sysctl", "-qw", "net.ipv6.conf."+end.outer+".disable_ipv6=1"),
			run("ip", "link", "set", end.outer, "promisc", "on", "up"),
			end.ip("link", "set", "eth0", "promisc", "on", "up"),
		)
		if err != nil {
			return nil, err
		}
		c.ends[port], ports[port] = end, end.outer
	}
	if c.target, err = FreeAddress(); err != nil {
		return nil, err
	}
	ctx, stop := context.WithCancel(context.Background())
	if c.switched, err = sw.Start(ctx, c.target, ports); err != nil {
		stop()
		return nil, fmt.Errorf("starting the switch: %w", err)
	}
	c.stop = stop
	return c, nil
}

// Target is where the switch serves P4Runtime; its device id is 1.
func (c *Cables) Target() string { return c.target }

// End is the far end of a port's cable. Only Capture, Inject and SetLink make sense there.
func (c *Cables) End(port uint16) Host { return c.ends[port] }

// Blast sends the frames into a port, round and round as fast as the kernel takes them, until ctx ends.
func (c *Cables) Blast(ctx context.Context, port uint16, frames [][]byte) error {
	return c.ends[port].blast(ctx, frames)
}

// Received returns how many frames have come out of a port.
func (c *Cables) Received(port uint16) (uint64, error) { return c.ends[port].received() }

// Close takes all of it down.
func (c *Cables) Close() error {
	var err error
	if c.stop != nil {
		c.stop()
		err = c.switched.Wait()
		c.stop = nil
	}
	for _, undo := range slices.Backward(c.undo) {
		err = errors.Join(err, undo())
	}
	c.undo = nil
	return err
}
