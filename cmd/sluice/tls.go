package main

import (
	"errors"
	"fmt"
	"log/slog"

	"github.com/urfave/cli/v2"

	"github.com/sluicelb/sluice/internal/rpc"
	"github.com/sluicelb/sluice/internal/rpc/endpoint"
)

// tlsFlags are a process's part of TLS, the same for every role and command.
func tlsFlags() []cli.Flag {
	return identityFlags("", "SLUICE_", "for https addresses")
}

// etcdFlags are the same for an etcd whose authority is another one.
func etcdFlags() []cli.Flag {
	return identityFlags("etcd-", "SLUICE_ETCD_", "for etcd at https addresses, in place of that for the others")
}

func identityFlags(prefix, env, what string) []cli.Flag {
	file := func(name, variable, usage string) cli.Flag {
		return &cli.PathFlag{Name: prefix + name, EnvVars: []string{env + variable}, Usage: usage}
	}
	return []cli.Flag{
		file("tls-cert", "TLS_CERT",
			"`FILE` with the certificate of this process, PEM, "+what+"; read again when it changes"),
		file("tls-key", "TLS_KEY", "`FILE` with its key"),
		file("tls-ca", "TLS_CA", "`FILE` with the authorities whose certificates it believes"),
	}
}

// insecureFlag is the same danger under the same name everywhere.
func insecureFlag(danger string) cli.Flag {
	return &cli.BoolFlag{Name: insecure, Usage: "allow plain text beyond this machine: " + danger}
}

const insecure = "insecure-plaintext"

// identity reads the files that the flags name; nil when they name none. A role that runs by itself has a log, and
// watches them until it ends; for a command log is nil.
func identity(c *cli.Context, prefix string, log *slog.Logger) (*rpc.Identity, error) {
	get := func(name string) string { return nearest(c, prefix+name) }
	files := rpc.Files{Cert: get("tls-cert"), Key: get("tls-key"), CA: get("tls-ca")}
	switch {
	case files == rpc.Files{}:
		return nil, nil
	case (files.Cert == "") != (files.Key == ""):
		return nil, usageError(fmt.Errorf("--%stls-cert and --%[1]stls-key: must be given both, or none", prefix))
	case files.CA == "":
		return nil, usageError(fmt.Errorf(
			"--%stls-ca: is missing: a certificate is believed when an authority in it has issued it", prefix))
	}
	i, err := rpc.NewIdentity(files, log)
	if err != nil {
		return nil, usageError(fmt.Errorf("TLS: %w", err))
	}
	if log != nil {
		go i.Watch(c.Context)
	}
	return i, nil
}

// nearest is what a flag says behind the subcommand, or before it: `sluice gslb --socket PATH status` must not ask
// another process than PATH's.
func nearest(c *cli.Context, name string) string {
	for _, at := range c.Lineage() {
		for _, set := range at.LocalFlagNames() {
			if set == name {
				return at.String(name)
			}
		}
	}
	return c.String(name)
}

// dialSecurity is what it takes to call a server. Where that needs no TLS the files are not read: variables of the
// environment may name them for other calls.
func dialSecurity(c *cli.Context, address string, log *slog.Logger) (rpc.Security, error) {
	if e, err := endpoint.Parse(address); err == nil && !e.TLS {
		return rpc.Security{}, nil
	}
	i, err := identity(c, "", log)
	return rpc.Security{Identity: i}, err
}

// untrusted tells a server that refuses this caller, or is not believed, from one that is not there.
func untrusted(err error) error {
	if refused, ok := errors.AsType[*rpc.RefusedError](err); ok {
		return refused
	}
	return nil
}
