package rpc

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/sluicelb/sluice/internal/rpc/cert"
)

// Files are where a process has its part of TLS, in PEM.
type Files struct {
	Cert, Key string // its certificate, with those between it and the authority, and the key; both or none
	CA        string // the authorities whose certificates it believes, its own's or others
}

// Identity is what a process shows at the other end of TLS, and whom it believes there. The files are read at each
// handshake, so a certificate, a key or an authority that was replaced counts from the next one on; connections stay as
// they are. Files that cannot be used change nothing, and are told of in the log.
type Identity struct {
	files Files
	log   *slog.Logger
	now   func() time.Time

	mu      sync.Mutex // guards what follows
	current material
	read    contents               // what current came from
	fault   string                 // why the files, as they were tried last, are not used; "": they are
	told    map[fingerprint]notice // of the certificates in use, in the log
}

type fingerprint = [sha256.Size]byte

// notice is what was said in the log of a certificate, the last of these.
type notice uint8

const (
	nothing notice = iota
	isEarly
	endsSoon
	hasEnded
)

type contents struct{ cert, key, ca []byte }

func (c contents) equal(d contents) bool {
	return bytes.Equal(c.cert, d.cert) && bytes.Equal(c.key, d.key) && bytes.Equal(c.ca, d.ca)
}

// material is what contents come to; immutable.
type material struct {
	cert        *tls.Certificate // nil: there is none
	authorities []*x509.Certificate
	pool        *x509.CertPool // of the authorities
}

// NewIdentity reads the files. log may be nil.
func NewIdentity(files Files, log *slog.Logger) (*Identity, error) {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return newIdentity(files, log, time.Now)
}

func newIdentity(files Files, log *slog.Logger, now func() time.Time) (*Identity, error) {
	i := &Identity{files: files, log: log, now: now}
	read, err := i.load()
	if err != nil {
		return nil, err
	}
	m, err := i.parse(read)
	if err != nil {
		return nil, err
	}
	i.read, i.current, i.told = read, m, make(map[fingerprint]notice)
	i.look()
	return i, nil
}

// Watch looks at the files once a minute until ctx ends, so that faulty ones, and a certificate that ends, are told of
// before a handshake needs them.
func (i *Identity) Watch(ctx context.Context) {
	tick := time.NewTicker(time.Minute)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			i.look()
		}
	}
}

// look is one round of Watch. A process whose certificate has ended goes on all the same: so does what needs no TLS,
// and each end that is refused hears why.
func (i *Identity) look() {
	m := i.refresh()
	i.mu.Lock()
	defer i.mu.Unlock()
	if m.cert != nil {
		i.tell(m.cert.Leaf, "the certificate", i.files.Cert)
	}
	for _, a := range m.authorities {
		i.tell(a, "the certificate of an authority", i.files.CA)
	}
}

// tell says in the log, once each, that a certificate is not valid yet, ends soon, or has ended.
func (i *Identity) tell(c *x509.Certificate, what, file string) {
	now, id := i.now(), sha256.Sum256(c.Raw)
	is, level, state := nothing, slog.LevelWarn, ""
	switch {
	case now.Before(c.NotBefore):
		is, level, state = isEarly, slog.LevelError, " is not valid yet"
	case now.After(c.NotAfter):
		is, level, state = hasEnded, slog.LevelError, " has ended"
	case c.NotAfter.Sub(now) < c.NotAfter.Sub(c.NotBefore)/10:
		is, state = endsSoon, " ends soon"
	}
	if is > i.told[id] {
		i.told[id] = is
		i.log.Log(context.Background(), level, what+state, "file", file, "name", cert.Name(c),
			"from", c.NotBefore.UTC().Format(time.RFC3339), "until", c.NotAfter.UTC().Format(time.RFC3339))
	}
}

func (i *Identity) load() (contents, error) {
	var c contents
	var err error
	for _, f := range []struct {
		file string
		into *[]byte
	}{{i.files.Cert, &c.cert}, {i.files.Key, &c.key}, {i.files.CA, &c.ca}} {
		if f.file == "" {
			continue
		}
		if *f.into, err = cert.Read(f.file); err != nil {
			return contents{}, err
		}
	}
	return c, nil
}

func (i *Identity) parse(c contents) (material, error) {
	m := material{pool: x509.NewCertPool()}
	authorities, err := cert.Parse(c.ca)
	if err != nil {
		return m, fmt.Errorf("%s: %w", i.files.CA, err)
	}
	for _, a := range authorities {
		if !a.IsCA {
			return m, fmt.Errorf("%s: must hold certificates of authorities, and that of %q is not one",
				i.files.CA, cert.Name(a))
		}
		m.pool.AddCert(a)
	}
	m.authorities = authorities
	if i.files.Cert == "" {
		return m, nil
	}
	if _, err := cert.Parse(c.cert); err != nil {
		return m, fmt.Errorf("%s: %w", i.files.Cert, err)
	}
	pair, err := tls.X509KeyPair(c.cert, c.key)
	if err != nil {
		return m, fmt.Errorf("%s: must have the key of the certificate in %s: %w", i.files.Key, i.files.Cert, err)
	}
	m.cert = &pair
	return m, nil
}

// worse says why other ends would refuse a new certificate though they accept the one in use; nil if they accept both,
// or neither.
func (m material) worse(than material, file string, now time.Time) error {
	if m.cert == nil || than.cert == nil {
		return nil
	}
	before, after := cert.Show(than.cert.Leaf, now), cert.Show(m.cert.Leaf, now)
	if after.State != cert.Valid && before.State == cert.Valid {
		return fmt.Errorf("%s: the certificate of %q is valid from %s until %s, and the time here is %s", file,
			after.Name,
			after.NotBefore.Format(time.RFC3339), after.NotAfter.Format(time.RFC3339), now.UTC().Format(time.RFC3339))
	}
	for _, ends := range []struct {
		name string
		use  x509.ExtKeyUsage
	}{{"servers", x509.ExtKeyUsageServerAuth}, {"clients", x509.ExtKeyUsageClientAuth}} {
		if cert.IsFor(than.cert.Leaf, ends.use) && !cert.IsFor(m.cert.Leaf, ends.use) {
			return fmt.Errorf("%s: the certificate of %q is not for %s, and the one in use is", file, after.Name,
				ends.name)
		}
	}
	return nil
}

// refresh looks at the files, and returns what the next handshake goes by. Files that cannot be used are tried again
// each time: a certificate may come before its time.
func (i *Identity) refresh() material {
	i.mu.Lock()
	defer i.mu.Unlock()
	read, err := i.load()
	same := err == nil && read.equal(i.read)
	if same && i.fault == "" {
		return i.current
	}
	m := i.current
	if err == nil && !same {
		if m, err = i.parse(read); err == nil {
			err = m.worse(i.current, i.files.Cert, i.now())
		}
	}
	if err != nil {
		if text := err.Error(); text != i.fault {
			i.fault = text
			i.log.Error("TLS goes on as before: the files cannot be used", "err", err)
		}
		return i.current
	}
	i.current, i.read, i.fault = m, read, ""
	attrs := []any{"ca", i.files.CA}
	if m.cert != nil {
		attrs = append(attrs, "cert", i.files.Cert, "name", cert.Name(m.cert.Leaf),
			"until", m.cert.Leaf.NotAfter.UTC().Format(time.RFC3339))
	}
	if same {
		i.log.Info("TLS has its files back", attrs...)
		return m
	}
	i.log.Info("TLS has new files", attrs...)
	return m
}

// believes says whether one of the authorities has a name.
func (i *Identity) believes(name string) bool {
	return slices.ContainsFunc(i.refresh().authorities, func(a *x509.Certificate) bool { return cert.Name(a) == name })
}

// server is the configuration of who listens. Both ends are ours: TLS 1.3, which hides certificates from who looks on
// and has no weak choices. Sessions are not resumed, so that each handshake goes by the files as they are.
func (i *Identity) server() *tls.Config {
	return &tls.Config{GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
		m := i.refresh()
		return &tls.Config{
			MinVersion:             tls.VersionTLS13,
			Certificates:           []tls.Certificate{*m.cert},
			ClientAuth:             tls.RequireAndVerifyClientCert,
			ClientCAs:              m.pool,
			NextProtos:             []string{"h2", "http/1.1"},
			SessionTicketsDisabled: true,
			Time:                   i.now,
		}, nil
	}}
}

// client is the configuration for one connection to a host.
func (i *Identity) client(host string, oldest uint16) (*tls.Config, material) {
	m := i.refresh()
	name, _, _ := strings.Cut(host, "%") // a zone is this machine's, and in no certificate (RFC 4007 section 6)
	return &tls.Config{
		MinVersion: oldest,
		ServerName: name,
		RootCAs:    m.pool,
		NextProtos: []string{"h2"},
		Time:       i.now,
		// Also where the server names other authorities: its refusal tells why, an empty answer does not.
		GetClientCertificate: m.show,
	}, m
}

func (m material) show(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
	if m.cert == nil {
		return new(tls.Certificate), nil
	}
	return m.cert, nil
}

// mayServe says why a process with this identity cannot listen.
func (i *Identity) mayServe() error {
	if i == nil || i.files.Cert == "" {
		return errors.New("needs --tls-cert, --tls-key and --tls-ca: " +
			"who listens with TLS shows a certificate, and asks for one")
	}
	if leaf := i.refresh().cert.Leaf; !cert.IsFor(leaf, x509.ExtKeyUsageServerAuth) {
		return fmt.Errorf("the certificate %s, of %q, is not for servers: those that are name a host",
			i.files.Cert, cert.Name(leaf))
	}
	return nil
}
