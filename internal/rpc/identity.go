package rpc

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"slices"
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
	read    contents   // the last that were looked at
	unread  string     // why the files could not be read when they were tried last; "": they could
	current material
	told    told
}

// told is what was said in the log of the certificate that is in use.
type told uint8

const (
	nothing told = iota
	endsSoon
	hasEnded
)

type contents struct{ cert, key, ca []byte }

func (c contents) equal(d contents) bool {
	return bytes.Equal(c.cert, d.cert) && bytes.Equal(c.key, d.key) && bytes.Equal(c.ca, d.ca)
}

// material is what contents come to; immutable.
type material struct {
	cert *tls.Certificate // nil: there is none
	pool *x509.CertPool
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
	i.read, i.current = read, m
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
	if m.cert == nil {
		return
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	leaf := m.cert.Leaf
	err := m.expired(i.files, i.now())
	switch {
	case err != nil && i.told < hasEnded:
		i.told = hasEnded
		i.log.Error("the certificate is of no use", "err", err)
	case err == nil && i.told < endsSoon && leaf.NotAfter.Sub(i.now()) < leaf.NotAfter.Sub(leaf.NotBefore)/10:
		i.told = endsSoon
		i.log.Warn("the certificate ends soon", "cert", i.files.Cert, "name", cert.Name(leaf),
			"until", leaf.NotAfter.UTC().Format(time.RFC3339))
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
			return m, fmt.Errorf("%s: must hold certificates of authorities, that of %q is none",
				i.files.CA, cert.Name(a))
		}
		m.pool.AddCert(a)
	}
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

// expired says why the other end will take the certificate for one whose time is over, by this end's clock.
func (m material) expired(files Files, now time.Time) error {
	if m.cert != nil && now.After(m.cert.Leaf.NotAfter) {
		return fmt.Errorf("%s: the certificate of %q was valid until %s",
			files.Cert, cert.Name(m.cert.Leaf), m.cert.Leaf.NotAfter.UTC().Format(time.RFC3339))
	}
	return nil
}

// refresh looks at the files, and returns what the next handshake goes by.
func (i *Identity) refresh() material {
	i.mu.Lock()
	defer i.mu.Unlock()
	read, err := i.load()
	if err != nil {
		if text := err.Error(); text != i.unread {
			i.unread = text
			i.log.Error("TLS goes on as before: a file cannot be read", "err", err)
		}
		return i.current
	}
	i.unread = ""
	if read.equal(i.read) {
		return i.current
	}
	i.read = read
	m, err := i.parse(read)
	if now := i.now(); err == nil && i.current.expired(i.files, now) == nil {
		err = m.expired(i.files, now)
	}
	if err != nil {
		i.log.Error("TLS goes on as before: the new files cannot be used", "err", err)
		return i.current
	}
	i.current, i.told = m, nothing
	attrs := []any{"ca", i.files.CA}
	if m.cert != nil {
		attrs = append(attrs, "cert", i.files.Cert, "name", cert.Name(m.cert.Leaf),
			"until", m.cert.Leaf.NotAfter.UTC().Format(time.RFC3339))
	}
	i.log.Info("TLS has new files", attrs...)
	return m
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
	return &tls.Config{
		MinVersion: oldest,
		ServerName: host,
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
	leaf := i.refresh().cert.Leaf
	if s := cert.Show(leaf, i.now()); len(leaf.ExtKeyUsage) > 0 && !slices.Contains(s.For, "server") {
		return fmt.Errorf("the certificate %s, of %q, is none for servers, as those with a host are", i.files.Cert, s.Name)
	}
	return nil
}
