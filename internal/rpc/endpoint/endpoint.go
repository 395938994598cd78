// Package endpoint is how an address of a Sluice process is written: a unix socket, or a host and a port, with TLS or
// in plain text. It opens nothing and looks nothing up, so configurations are read by it too; package rpc listens and
// connects.
package endpoint

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
)

// MaxPath is how long the path of a unix socket may be: sun_path of unix(7), less its end.
const MaxPath = 107

// Forms says in a message what Parse takes.
const Forms = "unix:/path, host:port or https://host:port"

// Endpoint is a parsed address.
type Endpoint struct {
	Network string // "unix" or "tcp"
	Address string // the path, or host:port
	TLS     bool   // both ends show a certificate; without it TCP is in plain text
	// User is the name or number of an account that may serve the unix socket, beside root and the client's own;
	// "": no other. Who listens does not use it.
	User string
}

// Parse reads "unix:/run/sluice/controller.sock", the same with "?user=NAME" behind it, "127.0.0.1:9680",
// "http://127.0.0.1:9680/", which is the same, or "https://controller.example.net:9680". The error says what is wrong,
// without the address.
func Parse(text string) (Endpoint, error) {
	if path, ok := strings.CutPrefix(text, "unix:"); ok {
		return parseUnix(path)
	}
	rest, secure := strings.CutPrefix(text, "https://")
	if !secure {
		rest, _ = strings.CutPrefix(text, "http://")
	}
	hostPort := strings.TrimSuffix(rest, "/")
	host, port, err := net.SplitHostPort(hostPort)
	if err != nil || host == "unix" {
		return Endpoint{}, errors.New("must be " + Forms)
	}
	if _, notIP := netip.ParseAddr(host); host != "" && notIP != nil && !hostForm.MatchString(host) {
		return Endpoint{}, errors.New("must be " + Forms)
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || port != strconv.FormatUint(n, 10) {
		return Endpoint{}, &PortError{port}
	}
	return Endpoint{Network: "tcp", Address: hostPort, TLS: secure}, nil
}

// PortError says that a port is not a number of 16 bits.
type PortError struct{ Port string }

func (e *PortError) Error() string { return e.Text(0) }

// Text is the message of the error where the lowest port that is allowed is another.
func (e *PortError) Text(least int) string {
	return fmt.Sprintf("the port must be %d..65535, is %q", least, e.Port)
}

var (
	hostForm = regexp.MustCompile(`^[A-Za-z0-9_]([A-Za-z0-9_.-]{0,252}[A-Za-z0-9_.])?$`)
	userForm = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.-]{0,31}$`)
)

func parseUnix(text string) (Endpoint, error) {
	text, query, has := strings.Cut(text, "?")
	if rest, ok := strings.CutPrefix(text, "//"); ok {
		text = rest
	}
	e := Endpoint{Network: "unix", Address: text}
	switch user, ok := strings.CutPrefix(query, "user="); {
	case text == "":
		return Endpoint{}, errors.New("must name a socket, as unix:/path")
	case len(text) > MaxPath:
		return Endpoint{}, fmt.Errorf("the path of the socket must have at most %d bytes, has %d: the kernel takes no "+
			"longer one", MaxPath, len(text))
	case strings.ContainsRune(text, 0):
		return Endpoint{}, errors.New("the path of the socket must have no zero byte")
	case has && (!ok || !userForm.MatchString(user)):
		return Endpoint{}, fmt.Errorf("behind the path there may be ?user=NAME, who serves the socket beside root and "+
			"you, not %q", "?"+query)
	case has:
		e.User = user
	}
	return e, nil
}

// String returns the address as Parse takes it.
func (e Endpoint) String() string {
	switch {
	case e.TLS:
		return "https://" + e.Address
	case e.Network != "unix":
		return e.Address
	case e.User != "":
		return "unix:" + e.Address + "?user=" + e.User
	}
	return "unix:" + e.Address
}

// Unix says whether it is a unix socket.
func (e Endpoint) Unix() bool { return e.Network == "unix" }

// Absolute says whether it means the same in every working directory.
func (e Endpoint) Absolute() bool { return !e.Unix() || filepath.IsAbs(e.Address) }

// Host is the part before the port; "" for a unix socket, and for every address of the machine.
func (e Endpoint) Host() string {
	host, _, err := net.SplitHostPort(e.Address)
	if e.Unix() || err != nil {
		return ""
	}
	return host
}

// Local says whether nothing that is sent there leaves this machine: a unix socket, or a loopback address.
func (e Endpoint) Local() bool {
	if e.Unix() || e.Host() == "localhost" {
		return true
	}
	ip, err := netip.ParseAddr(e.Host())
	return err == nil && ip.IsLoopback()
}

// Port is 0 for a unix socket.
func (e Endpoint) Port() uint16 {
	_, port, err := net.SplitHostPort(e.Address)
	if e.Unix() || err != nil {
		return 0
	}
	n, _ := strconv.ParseUint(port, 10, 16)
	return uint16(n)
}
