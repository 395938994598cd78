package rpc

import (
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"time"

	"connectrpc.com/connect"
)

// door lets a request in, or says why not, before anything of its body is read.
type door struct {
	methods Methods
	access  *Access
	anyHost bool // the host of a request need not be checked
	within  time.Duration
	next    http.Handler
}

func (d *door) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	method, known := d.methods[r.URL.Path]
	err := checkOrigin(r)
	if err == nil && !d.anyHost {
		err = checkHost(r.Host)
	}
	if err == nil && known {
		who, _ := r.Context().Value(callerKey{}).(Caller)
		err = d.access.Permit(who, method.Role)
		if method.Owner != "" && d.access.Permit(who, method.Owner) == nil {
			r = r.WithContext(Owner(r.Context()))
		}
	}
	if err != nil {
		refuse(w, r, err)
		return
	}
	if !known {
		http.NotFound(w, r)
		return
	}
	if method.Talks {
		d.next.ServeHTTP(w, r)
		return
	}
	// The envelope of a streaming protocol is beside what the message may have.
	r.Body = http.MaxBytesReader(w, r.Body, int64(method.bytes())+64)
	// Streams over HTTP/1.1 are excepted: there the deadline would end the answer too.
	if !method.Stream || r.ProtoMajor > 1 {
		if err := http.NewResponseController(w).SetReadDeadline(time.Now().Add(d.within)); err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
	}
	d.next.ServeHTTP(w, r)
}

var errorWriter = connect.NewErrorWriter()

func refuse(w http.ResponseWriter, r *http.Request, err error) {
	if errorWriter.IsSupported(r) {
		_ = errorWriter.Write(w, r, connect.NewError(connect.CodePermissionDenied, err)) // the caller is gone
		return
	}
	http.Error(w, err.Error(), http.StatusForbidden)
}

// checkHost refuses what a web page makes a browser on this machine send to a name that only resolves to here (DNS
// rebinding). Browsers cannot reach a unix socket, where the host is a placeholder, and with TLS the certificate is for
// other names.
func checkHost(hostPort string) error {
	host := (&url.URL{Host: hostPort}).Hostname()
	if ip, err := netip.ParseAddr(host); host == "localhost" || err == nil && ip.IsLoopback() {
		return nil
	}
	return fmt.Errorf("host %q: must be localhost or a loopback address", hostPort)
}

// checkOrigin refuses the requests of web pages that are not this server's.
func checkOrigin(r *http.Request) error {
	for _, origin := range r.Header.Values("Origin") {
		if u, err := url.Parse(origin); err != nil || u.Host == "" || u.Host != r.Host {
			return fmt.Errorf("origin %q: must be this server, %q: web pages of others may not call it", origin, r.Host)
		}
	}
	return nil
}
