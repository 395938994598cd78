package cert

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"time"
)

// The validity of what is made: a lab's authority outlives what it issues, and what it issues is renewed by issuing
// under another name, or after its files were moved away.
const (
	AuthorityDays   = 3650
	CertificateDays = 365

	// skew is how far a clock may be behind that of who issues.
	skew = 5 * time.Minute
)

// Pair is a certificate and its key, as files in PEM.
type Pair struct {
	Cert, Key string
	Leaf      *x509.Certificate
}

// Authority is where the authority's files are in a directory.
func Authority(dir string) Pair {
	return Pair{Cert: filepath.Join(dir, "ca.crt"), Key: filepath.Join(dir, "ca.key")}
}

// NewAuthority makes the authority of a lab: DIR/ca.crt and DIR/ca.key, which only its owner may read. The directory is
// made if it is not there. Files that are there stay, and are an error.
func NewAuthority(dir, name string, days int, now time.Time) (Pair, error) {
	// RFC 5280 section 4.1.2.4: who issues has a name; appendix A.1: of 64 characters at most.
	if !authorityForm.MatchString(name) {
		return Pair{}, wrong("name", "must be 1..64 printable characters of ASCII, with no blank at an end, is %q",
			name)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return Pair{}, err
	}
	template := &x509.Certificate{
		Subject:               pkix.Name{CommonName: name},
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
		BasicConstraintsValid: true,
		IsCA:                  true,
		MaxPathLenZero:        true, // it issues no further authorities
	}
	return issue(Authority(dir), template, nil, nil, days, now)
}

// Request is what a certificate is to say.
type Request struct {
	Name  string   // the common name, and that of the files
	Roles []string // whom it may call as
	Hosts []string // names and addresses that it may serve at; none: it is no server's
	Days  int      // of validity; 0: CertificateDays
}

// RequestError says what is wrong with a Request.
type RequestError struct {
	Field string // name, role, host or days
	text  string
}

func (e *RequestError) Error() string { return e.text }

func wrong(field, format string, args ...any) error {
	return &RequestError{field, fmt.Sprintf(format, args...)}
}

const label = `[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?` // of a host's name (RFC 1123 section 2.1)

var (
	authorityForm = regexp.MustCompile(`^[!-~]([ -~]{0,62}[!-~])?$`)

	nameForm = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$`)
	hostForm = regexp.MustCompile(`^(\*\.)?(` + label + `\.)*` + label + `$`)
)

// Issue makes DIR/NAME.crt and DIR/NAME.key with the authority of the directory. Files that are there stay, and are an
// error.
func Issue(dir string, r Request, now time.Time) (Pair, error) {
	switch {
	case !nameForm.MatchString(r.Name):
		return Pair{}, wrong("name", `must be 1..63 letters, digits, ".", "_" or "-", is %q`, r.Name)
	case r.Name == "ca":
		return Pair{}, wrong("name", `must not be "ca": those files are the authority's`)
	case len(r.Roles) == 0 && len(r.Hosts) == 0:
		return Pair{}, wrong("role", "there must be a role to call with, a host to serve at (--host), or both")
	}
	template := &x509.Certificate{Subject: pkix.Name{CommonName: r.Name}, KeyUsage: x509.KeyUsageDigitalSignature}
	if len(r.Roles) > 0 {
		template.ExtKeyUsage = append(template.ExtKeyUsage, x509.ExtKeyUsageClientAuth)
	}
	for _, role := range r.Roles {
		template.URIs = append(template.URIs, RoleURI(role))
	}
	if len(r.Hosts) > 0 {
		template.ExtKeyUsage = append(template.ExtKeyUsage, x509.ExtKeyUsageServerAuth)
	}
	for _, host := range r.Hosts {
		ip, err := netip.ParseAddr(host)
		switch {
		case err == nil && ip.Zone() == "":
			template.IPAddresses = append(template.IPAddresses, net.IP(ip.AsSlice()))
		case hostForm.MatchString(host):
			template.DNSNames = append(template.DNSNames, host)
		default:
			return Pair{}, wrong("host", "must be a name or an address without a port, is %q", host)
		}
	}
	files := Authority(dir)
	authority, err := tls.LoadX509KeyPair(files.Cert, files.Key)
	if errors.Is(err, fs.ErrNotExist) {
		return Pair{}, fmt.Errorf("%s has no authority (%w): `sluice cert ca %s` makes one", dir, err, dir)
	}
	if err != nil {
		return Pair{}, fmt.Errorf("the authority in %s: %w", dir, err)
	}
	days := r.Days
	if days == 0 {
		days = CertificateDays
	}
	if end := now.AddDate(0, 0, days); end.After(authority.Leaf.NotAfter) {
		return Pair{}, wrong("days", "the authority in %s ends on %s: "+
			"nothing that it issues may be valid for longer, as %d days are", dir,
			authority.Leaf.NotAfter.UTC().Format(time.DateOnly), days)
	}
	pair := Pair{Cert: filepath.Join(dir, r.Name+".crt"), Key: filepath.Join(dir, r.Name+".key")}
	return issue(pair, template, authority.Leaf, authority.PrivateKey, days, now)
}

// issue signs with a key of parent, or with the new one when there is none, and writes the files.
func issue(pair Pair, template, parent *x509.Certificate, signer any, days int, now time.Time) (Pair, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return Pair{}, err
	}
	if parent == nil {
		parent, signer = template, key
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return Pair{}, err
	}
	template.SerialNumber = serial.Add(serial, big.NewInt(1)) // positive (RFC 5280 section 4.1.2.2)
	template.NotBefore, template.NotAfter = now.Add(-skew), now.AddDate(0, 0, days)
	if parent != template && parent.NotBefore.After(template.NotBefore) {
		template.NotBefore = parent.NotBefore
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, signer)
	if err != nil {
		return Pair{}, err
	}
	if pair.Leaf, err = x509.ParseCertificate(der); err != nil {
		return Pair{}, err
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return Pair{}, err
	}
	// The key first: where there is one, nothing is written.
	if err := create(pair.Key, 0o600, &pem.Block{Type: "PRIVATE KEY", Bytes: private}); err != nil {
		return Pair{}, err
	}
	if err := create(pair.Cert, 0o644, &pem.Block{Type: "CERTIFICATE", Bytes: der}); err != nil {
		return Pair{}, errors.Join(err, os.Remove(pair.Key))
	}
	return pair, nil
}

// create writes a new file. One that is there is somebody's, and stays.
func create(file string, mode fs.FileMode, block *pem.Block) error {
	f, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("%s exists, and is never overwritten: move it away, or choose another name", file)
	}
	if err != nil {
		return err
	}
	err = errors.Join(pem.Encode(f, block), f.Close())
	if err != nil {
		err = errors.Join(err, os.Remove(file))
	}
	return err
}
