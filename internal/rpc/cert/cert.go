// Package cert is what a certificate says of a process of Sluice: its name, its roles, the hosts that it serves at. It
// makes the authority and the certificates of a lab, and shows any. `sluice cert` is its command, package rpc asks it
// for the roles of who calls.
//
// A role is a URI among the subject alternative names (RFC 5280 section 4.2.1.6), as sluice://role/healthd; a
// certificate may have several. It is no organizational unit, though those are easier to write: an authority that
// issues certificates for other ends has words like "operator" in the units of many, and none has this URI by chance;
// and an authority can be kept from issuing it by name constraints (section 4.2.1.10).
package cert

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"
)

const (
	roleScheme = "sluice"
	roleHost   = "role"
)

// RoleURI is how a certificate says that who shows it has a role.
func RoleURI(role string) *url.URL {
	return &url.URL{Scheme: roleScheme, Host: roleHost, Path: "/" + role}
}

// Roles returns the roles that a certificate gives, known or not, in its order.
func Roles(c *x509.Certificate) []string {
	var roles []string
	for _, u := range c.URIs {
		role := strings.TrimPrefix(u.Path, "/")
		if role != "" && *u == *RoleURI(role) { // nothing else is in it: no user, no query
			roles = append(roles, role)
		}
	}
	return roles
}

// IsFor says whether a certificate may be used so: one that names uses is for these alone, any other for all (RFC 5280
// section 4.2.1.12).
func IsFor(c *x509.Certificate, use x509.ExtKeyUsage) bool {
	return len(c.ExtKeyUsage)+len(c.UnknownExtKeyUsage) == 0 ||
		slices.Contains(c.ExtKeyUsage, use) || slices.Contains(c.ExtKeyUsage, x509.ExtKeyUsageAny)
}

// Name is what people call who shows a certificate: its common name, or else its serial number.
func Name(c *x509.Certificate) string {
	if c.Subject.CommonName == "" && c.SerialNumber != nil {
		return c.SerialNumber.Text(16)
	}
	return cmp.Or(c.Subject.CommonName, "without a name")
}

// maxFile is how long a file of certificates or a key may be.
const maxFile = 1 << 20

// Read reads a file of certificates or a key.
func Read(file string) ([]byte, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err == nil && len(text) > maxFile {
		err = fmt.Errorf("%s: must have at most %d bytes", file, maxFile)
	}
	return text, err
}

// Parse reads certificates in PEM (RFC 7468), one at least. Other blocks are passed over, but each must be whole: a
// file that is being written, or was damaged, has fewer certificates than it is meant to have.
func Parse(text []byte) ([]*x509.Certificate, error) {
	var all []*x509.Certificate
	for begun := bytes.Count(text, []byte("-----BEGIN ")); ; begun-- {
		var block *pem.Block
		if block, text = pem.Decode(text); block == nil {
			if begun > 0 {
				return nil, fmt.Errorf("must have whole blocks of PEM, and %d is broken or cut off", begun)
			}
			break
		}
		if block.Type != "CERTIFICATE" {
			continue
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("certificate %d in it: %w", len(all)+1, err)
		}
		all = append(all, c)
	}
	if len(all) == 0 {
		return nil, errors.New("must have a certificate in PEM, has none")
	}
	return all, nil
}

// Shown is what a certificate says, for people and programs.
type Shown struct {
	Name        string    `json:"name"`
	Roles       []string  `json:"roles"`
	Hosts       []string  `json:"hosts"`
	For         []string  `json:"for"` // authority, server, client; neither of the last two: both
	Issuer      string    `json:"issuer"`
	NotBefore   time.Time `json:"not_before"`
	NotAfter    time.Time `json:"not_after"`
	State       string    `json:"state"` // Valid, Expired or NotYet
	Fingerprint string    `json:"sha256"`
}

// States of a certificate.
const (
	Valid   = "valid"
	Expired = "expired"
	NotYet  = "not yet valid"
)

// Show returns what a certificate says at a time.
func Show(c *x509.Certificate, now time.Time) Shown {
	s := Shown{
		Name:      Name(c),
		Roles:     append([]string{}, Roles(c)...),
		Hosts:     append([]string{}, c.DNSNames...),
		For:       []string{},
		Issuer:    cmp.Or(c.Issuer.CommonName, c.Issuer.String()),
		NotBefore: c.NotBefore.UTC(),
		NotAfter:  c.NotAfter.UTC(),
		State:     Valid,
	}
	for _, ip := range c.IPAddresses {
		s.Hosts = append(s.Hosts, ip.String())
	}
	if c.IsCA {
		s.For = append(s.For, "authority")
	}
	for _, usage := range c.ExtKeyUsage {
		switch usage {
		case x509.ExtKeyUsageServerAuth:
			s.For = append(s.For, "server")
		case x509.ExtKeyUsageClientAuth:
			s.For = append(s.For, "client")
		}
	}
	switch {
	case now.After(c.NotAfter):
		s.State = Expired
	case now.Before(c.NotBefore):
		s.State = NotYet
	}
	sum := sha256.Sum256(c.Raw)
	s.Fingerprint = hex.EncodeToString(sum[:])
	return s
}

// Text prints it as lines of a word and a value.
func (s Shown) Text(now time.Time) string {
	var b strings.Builder
	line := func(word string, values ...string) {
		if text := strings.Join(values, ", "); text != "" {
			fmt.Fprintf(&b, "%-8s %s\n", word, text)
		}
	}
	line("name", s.Name)
	line("roles", s.Roles...)
	line("hosts", s.Hosts...)
	line("for", s.For...)
	line("issuer", s.Issuer)
	line("from", s.NotBefore.Format(time.RFC3339))
	until := s.NotAfter.Format(time.RFC3339)
	if s.State == Valid {
		line("until", fmt.Sprintf("%s (%d days)", until, int(s.NotAfter.Sub(now)/(24*time.Hour))))
	} else {
		line("until", fmt.Sprintf("%s (%s)", until, s.State))
	}
	line("sha256", s.Fingerprint)
	return b.String()
}
