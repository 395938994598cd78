package rpc

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sluicelb/sluice/internal/rpc/endpoint"
)

// Listener is an open socket. The connections that it accepts have an Addr for their remote address,
// which says who calls, and are limited by who that is.
//
// A unix socket belongs to who holds the lock on the file PATH.lock beside it. The file stays when the process ends;
// the lock does not.
type Listener struct {
	net.Listener
	access *Access
	limits limits
	log    *slog.Logger

	endpoint endpoint.Endpoint
	lobby    *lobby // nil without TLS

	path  string      // of a unix socket
	inode fs.FileInfo // of the socket there
	lock  *os.File
	close func() error

	mu    sync.Mutex // guards what follows
	held  map[key]int
	kinds [kinds]int
	told  time.Time // when a refusal was logged last
}

// Listen opens a unix socket, a TCP socket on the loopback, or with TLS a TCP socket anywhere. access says which users
// may do what; nil: nobody but root and this process's user. A unix socket is for these two, or if others have a role
// for everybody to connect to, who is then told what role is missing. Over TLS callers have the roles of their
// certificates. log may be nil.
//
// A socket file whose process is gone is replaced. One that somebody may listen on is not, whatever the reason why
// that cannot be told.
func Listen(address string, access *Access, sec Security, log *slog.Logger) (*Listener, error) {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	if err := sec.CheckListen(address); err != nil {
		return nil, err
	}
	e, err := endpoint.Parse(address)
	if err != nil {
		return nil, err
	}
	l := &Listener{endpoint: e, access: access, limits: defaultLimits, log: log, held: make(map[key]int)}
	if !e.Unix() {
		l.Listener, err = net.Listen("tcp", e.Address)
		if err != nil {
			return nil, fmt.Errorf("opening a socket: %w", err)
		}
		l.close = sync.OnceValue(l.Listener.Close)
		if e.TLS {
			l.openTLS(newLobby(sec.Identity))
		}
		return l, nil
	}
	if err := l.openUnix(e.Address); err != nil {
		return nil, fmt.Errorf("opening a socket: %w", err)
	}
	for _, name := range access.Unknown() {
		log.Warn("nobody has a role by this name: the system does not know it", "socket", e.Address, "name", name)
	}
	return l, nil
}

func (l *Listener) openTLS(b *lobby) {
	l.lobby = b
	socket := l.Listener
	l.close = sync.OnceValue(func() error {
		err := socket.Close()
		b.shut()
		return err
	})
	b.run(socket, func(from net.Addr, err error) { l.refused(from.String(), err) })
}

func (l *Listener) openUnix(path string) (err error) {
	if err := makeDir(filepath.Dir(path)); err != nil {
		return err
	}
	if l.lock, err = lockSocket(path); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			l.lock.Close()
		}
	}()
	if err := clear(path); err != nil {
		return err
	}
	socket, err := net.ListenUnix("unix", &net.UnixAddr{Net: "unix", Name: path})
	if err != nil {
		return err
	}
	socket.SetUnlinkOnClose(false) // it would remove whatever has the name by then
	mode := fs.FileMode(0o600)
	if credentials && l.access.others() {
		mode = 0o666
	}
	err = os.Chmod(path, mode)
	if err == nil {
		l.inode, err = os.Lstat(path)
	}
	if err != nil {
		return errors.Join(err, socket.Close())
	}
	l.Listener, l.path = socket, path
	l.close = sync.OnceValue(func() error {
		defer l.lock.Close() // last: then the next owner may come
		if now, err := os.Lstat(path); err == nil && os.SameFile(now, l.inode) {
			os.Remove(path)
		}
		return socket.Close()
	})
	return nil
}

// lockSocket takes the socket at path for this process, until the file is closed.
func lockSocket(path string) (*os.File, error) {
	name := path + ".lock"
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE|syscall.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, err
	}
	switch err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); {
	case errors.Is(err, unix.EWOULDBLOCK):
		holder, _ := io.ReadAll(io.LimitReader(f, 16))
		f.Close()
		return nil, fmt.Errorf("another process listens on %s (process %s)", path,
			cmp.Or(strings.TrimSpace(string(holder)), "unknown"))
	case err != nil:
		f.Close()
		return nil, fmt.Errorf("locking %s: %w", name, err)
	}
	// For the message above, in the process that comes second.
	if err := f.Truncate(0); err == nil {
		_, _ = f.WriteAt(fmt.Appendf(nil, "%d\n", os.Getpid()), 0)
	}
	return f, nil
}

// clear removes the socket that a process which is gone has left at path. The lock is held, so it is none of ours; a
// service that knows nothing of the lock may still listen there.
func clear(path string) error {
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case info.Mode()&os.ModeSocket == 0:
		return fmt.Errorf("%s exists and is no socket", path)
	}
	c, err := net.DialTimeout("unix", path, time.Second)
	switch {
	case err == nil:
		c.Close()
		return fmt.Errorf("another process listens on %s", path)
	case !errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Errorf("somebody may listen on %s: %w", path, err)
	}
	return os.Remove(path)
}

// Close closes the socket. It removes its name, unless another socket has it by now.
func (l *Listener) Close() error { return l.close() }

// Address returns the address at which Dial reaches the socket.
func (l *Listener) Address() string {
	if l.path != "" {
		return "unix:" + l.path
	}
	return endpoint.Endpoint{Network: "tcp", Address: l.Addr().String(), TLS: l.endpoint.TLS}.String()
}

// Access returns who may do what here.
func (l *Listener) Access() *Access { return l.access }

// Accept returns the next connection of a caller who has room for one more.
func (l *Listener) Accept() (net.Conn, error) {
	for {
		c, who, err := l.next()
		if err != nil {
			return nil, err
		}
		leave, full := l.enter(who)
		if full != "" {
			c.Close()
			l.refused(Addr{c.RemoteAddr(), who}.String(), full)
			continue
		}
		return &conn{Conn: c, remote: Addr{c.RemoteAddr(), who}, leave: sync.OnceFunc(leave)}, nil
	}
}

// next returns the next connection, and who calls.
func (l *Listener) next() (net.Conn, Caller, error) {
	if l.lobby != nil {
		return l.lobby.accept()
	}
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, Caller{}, err
	}
	return c, callerOf(c), nil
}

// conn is a connection that counts until it is closed.
type conn struct {
	net.Conn
	remote Addr
	leave  func()
}

func (c *conn) RemoteAddr() net.Addr { return c.remote }

func (c *conn) Close() error {
	defer c.leave()
	return c.Conn.Close()
}
