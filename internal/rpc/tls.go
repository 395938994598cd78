package rpc

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/sluicelb/sluice/internal/rpc/cert"
	"github.com/sluicelb/sluice/internal/rpc/endpoint"
)

// handshakeTime is how long the two ends may take until each knows who the other is.
const handshakeTime = 10 * time.Second

// The alerts by which a server refuses a client's certificate (RFC 8446 section 6.2).
const (
	alertBadCertificate      = tls.AlertError(42)
	alertCertificateExpired  = tls.AlertError(45)
	alertUnknownCA           = tls.AlertError(48)
	alertProtocolVersion     = tls.AlertError(70)
	alertCertificateRequired = tls.AlertError(116)
)

// RefusedError says that one end of a connection does not accept the certificate of the other.
type RefusedError struct {
	Address string
	why     string
	err     error
}

func (e *RefusedError) Error() string { return e.Address + " " + e.why }
func (e *RefusedError) Unwrap() error { return e.err }

// dialTLS does the client's part of a handshake.
func dialTLS(ctx context.Context, plain net.Conn, e endpoint.Endpoint, sec Security) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, handshakeTime)
	defer cancel()
	oldest := sec.Oldest
	if oldest == 0 {
		oldest = tls.VersionTLS13
	}
	config, shown := sec.Identity.client(e.Host(), oldest)
	c := &tlsConn{
		Conn:     tls.Client(plain, config),
		endpoint: e, identity: sec.Identity, shown: shown, refused: sec.Refused,
	}
	if err := c.Conn.HandshakeContext(ctx); err != nil {
		plain.Close()
		if errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET) {
			return nil, c.refuse(err, "ended the connection in the handshake: it speaks no TLS, or has no room")
		}
		return nil, c.explain(err)
	}
	return c, nil
}

// tlsConn is the client's end. In TLS 1.3 the client is done before the server has looked at its certificate, so a
// refusal is what it reads first.
type tlsConn struct {
	*tls.Conn
	endpoint endpoint.Endpoint
	identity *Identity
	shown    material
	refused  func(*RefusedError) // may be nil
}

func (c *tlsConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if err != nil {
		err = c.explain(err)
	}
	return n, err
}

// explain turns an error of TLS into one for people. Other errors stay as they are.
func (c *tlsConn) explain(err error) error {
	why := ""
	if bad, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		why = "is not trusted: " + distrusted(bad, c.endpoint.Host(), c.identity)
	} else if _, ok := errors.AsType[tls.RecordHeaderError](err); ok {
		why = "does not speak TLS"
	} else if alert, ok := errors.AsType[*net.OpError](err); ok && alert.Op == "remote error" {
		why = c.alerted(alert.Err)
	}
	if why == "" {
		return err
	}
	return c.refuse(err, why)
}

func (c *tlsConn) refuse(err error, why string) error {
	refused := &RefusedError{Address: c.endpoint.String(), why: why, err: err}
	if c.refused != nil {
		c.refused(refused)
	}
	return refused
}

// distrusted says why the other end's certificate is not believed. host is the server's, "" for a client.
func distrusted(bad *tls.CertificateVerificationError, host string, i *Identity) string {
	if len(bad.UnverifiedCertificates) == 0 {
		return bad.Err.Error()
	}
	s := cert.Show(bad.UnverifiedCertificates[0], i.now())
	if _, ok := errors.AsType[x509.UnknownAuthorityError](bad.Err); ok {
		if i.believes(s.Issuer) {
			return fmt.Sprintf(
				"its certificate is of an authority %q, but not of the one of that name in %s",
				s.Issuer, i.files.CA)
		}
		return fmt.Sprintf("its certificate is of the authority %q, which is not in %s", s.Issuer, i.files.CA)
	}
	if _, ok := errors.AsType[x509.HostnameError](bad.Err); ok {
		if len(s.Hosts) == 0 {
			return fmt.Sprintf("its certificate, of %q, is for no host, and so not for %q", s.Name, host)
		}
		return fmt.Sprintf("its certificate is for %q and not for %q", s.Hosts, host)
	}
	if invalid, ok := errors.AsType[x509.CertificateInvalidError](bad.Err); ok {
		switch {
		case invalid.Reason == x509.Expired && !invalid.Cert.Equal(bad.UnverifiedCertificates[0]):
			return fmt.Sprintf("the certificate of the authority %q above its own is %s",
				cert.Name(invalid.Cert), period(invalid.Cert, i.now()))
		case invalid.Reason == x509.Expired:
			return "its certificate is " + period(invalid.Cert, i.now())
		case invalid.Reason == x509.IncompatibleUsage && host == "":
			return fmt.Sprintf("its certificate, of %q, is not for clients", s.Name)
		case invalid.Reason == x509.IncompatibleUsage:
			return fmt.Sprintf("its certificate, of %q, is not for servers", s.Name)
		}
	}
	return bad.Err.Error()
}

// period says when a certificate is valid, where it is not valid now.
func period(c *x509.Certificate, now time.Time) string {
	at := func(t time.Time) string { return t.UTC().Format(time.RFC3339) }
	return fmt.Sprintf("valid from %s until %s, and the time here is %s", at(c.NotBefore), at(c.NotAfter), at(now))
}

// alerted says why the server does not believe the client's certificate.
func (c *tlsConn) alerted(alert error) string {
	if c.shown.cert == nil {
		switch alert.Error() {
		case alertCertificateRequired.Error(), alertBadCertificate.Error(): // the second in TLS 1.2
			return "asks for a certificate, and this process has none: --tls-cert and --tls-key name one"
		}
		return fmt.Sprintf("refuses the connection: %v", alert)
	}
	s := cert.Show(c.shown.cert.Leaf, c.identity.now())
	what := fmt.Sprintf("refuses the certificate %s, of %q: ", c.identity.files.Cert, s.Name)
	switch alert.Error() {
	case alertCertificateRequired.Error():
		return what + "it got none"
	case alertUnknownCA.Error():
		return what + fmt.Sprintf("its authority, %q, is not among those that the server trusts", s.Issuer)
	case alertCertificateExpired.Error():
		what += "it is " + period(c.shown.cert.Leaf, c.identity.now())
		if s.State == cert.Valid {
			what += fmt.Sprintf(": that of its authority, %q, may not be valid, or the server's clock is wrong",
				s.Issuer)
		}
		return what
	case alertBadCertificate.Error():
		if !cert.IsFor(c.shown.cert.Leaf, x509.ExtKeyUsageClientAuth) {
			return what + "it is not for clients: those that are name a role"
		}
		return what + "it is not whole"
	case alertProtocolVersion.Error():
		return "speaks other versions of TLS only"
	}
	return fmt.Sprintf("refuses the connection: %v", alert)
}

// spokenTLS is what a server with TLS answers to who speaks without.
const spokenTLS = "HTTP/1.0 400 Bad Request\r\n\r\nTLS is spoken here: https://\n"

// plainConn is the client's end of TCP without TLS. It knows spokenTLS, which is no answer in HTTP/2.
type plainConn struct {
	net.Conn
	endpoint endpoint.Endpoint
	refused  func(*RefusedError) // may be nil
	begun    bool                // for who reads
}

func (c *plainConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if n == 0 || c.begun {
		return n, err
	}
	c.begun = true
	if n < len("HTTP/1.0 400") || !strings.HasPrefix(spokenTLS, string(b[:min(n, len(spokenTLS))])) {
		return n, err
	}
	refused := &RefusedError{Address: c.endpoint.String(), why: "speaks TLS: the address must begin with https://",
		err: io.EOF}
	if c.refused != nil {
		c.refused(refused)
	}
	return 0, refused
}

// greet does the server's part of a handshake, and returns who calls. On an error the connection is closed.
func greet(c net.Conn, i *Identity, within time.Duration) (net.Conn, Caller, error) {
	ctx, cancel := context.WithTimeout(context.Background(), within)
	defer cancel()
	secure := tls.Server(c, i.server())
	if err := secure.HandshakeContext(ctx); err != nil {
		if bad, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
			err = errors.New(distrusted(bad, "", i))
		} else if plain, ok := errors.AsType[tls.RecordHeaderError](err); ok && plain.Conn != nil {
			err = errors.New("it does not speak TLS")
			fmt.Fprint(plain.Conn, spokenTLS)
		}
		if !errors.Is(err, os.ErrDeadlineExceeded) && !errors.Is(err, context.DeadlineExceeded) {
			seenOff(c)
		}
		c.Close()
		return nil, Caller{}, err
	}
	leaf := secure.ConnectionState().PeerCertificates[0]
	who := Caller{TLS: true, Name: cert.Name(leaf)}
	for _, r := range cert.Roles(leaf) {
		who.Roles = append(who.Roles, Role(r))
	}
	return secure, who, nil
}

// seenOff lets a client that was refused read why. Were the connection closed while something of the client's is
// unread, the kernel would reset it, and the reason be lost.
func seenOff(c net.Conn) {
	half, ok := c.(interface{ CloseWrite() error })
	if !ok || half.CloseWrite() != nil || c.SetReadDeadline(time.Now().Add(time.Second)) != nil {
		return
	}
	buffer := make([]byte, 4096)
	for read := 0; read < 1<<20; {
		n, err := c.Read(buffer)
		if err != nil {
			return
		}
		read += n
	}
}
