//go:build !linux

package port

import (
	"fmt"
	"runtime"
)

// OpenPacket opens a network interface as a port. It needs Linux.
func OpenPacket(name string) (Port, error) {
	return nil, fmt.Errorf("interface %s: ports on network interfaces need Linux (AF_PACKET); this is %s", name,
		runtime.GOOS)
}
