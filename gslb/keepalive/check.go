package keepalive

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"net/netip"

	"github.com/miekg/dns"

	"github.com/sluicelb/sluice/gslb/config"
	"github.com/sluicelb/sluice/healthd/check"
)

// question is what is asked of whom. A keepalive whose question stays the same keeps its state.
type question struct {
	kind                      config.KeepaliveKind
	address                   netip.AddrPort
	fin, tls, verify          bool
	host, path, expect        string
	queryName, oid, community string
	queryType                 uint16
	min, max                  int64
	tag                       string
	vip, secondary            netip.AddrPort
	nth                       int // of the variants of this question
}

// variant is how a question is asked.
type variant struct {
	timing config.Timing
	key    string
}

func questionOf(k config.Keepalive) question {
	return question{
		kind: k.Kind, address: k.Address,
		fin: k.FIN, tls: k.TLS, verify: k.VerifyTLS, host: k.Host, path: k.Path, expect: fmt.Sprint(k.ExpectStatus),
		queryName: k.QueryName, queryType: k.QueryType,
		oid: k.OID, community: k.Community, min: k.SNMPMin, max: k.SNMPMax,
		tag: k.Tag, vip: k.VIP, secondary: k.Secondary,
	}
}

// String is for logs, where a keepalive has no name: "http_head 10.0.0.11:80/healthz". It shows no secret.
func (q question) String() string {
	to := q.kind.String() + " " + q.address.String()
	switch q.kind {
	case config.ICMP:
		return q.kind.String() + " " + q.address.Addr().String()
	case config.HTTPHead:
		return to + q.path
	case config.NameServerQuery:
		return to + " " + dns.Type(q.queryType).String() + " " + q.queryName
	case config.SNMP:
		return to + " " + q.oid
	case config.LoadReport:
		return to + " " + loadOf(q.tag, q.vip)
	}
	return to
}

// check is what k asks. heard is told the load of each report, blind whether reporters see nothing.
func (m *Manager) check(k config.Keepalive, heard func(load uint8), blind func(bool)) check.Check {
	hangUp := check.CloseRST
	if k.FIN {
		hangUp = check.CloseFIN
	}
	switch k.Kind {
	case config.ICMP:
		return check.ICMP{Network: m.network, Address: k.Address.Addr()}
	case config.TCP:
		return check.TCP{Network: m.network, Address: k.Address, Close: hangUp, Wait: wait(k)}
	case config.HTTPHead:
		o := check.HTTPOptions{
			Address: k.Address, Method: http.MethodHead, Path: k.Path, Host: k.Host, Agent: "sluice-gslb",
			Expect: check.StatusRanges(k.ExpectStatus), Close: hangUp, Wait: wait(k),
		}
		if len(o.Expect) == 0 {
			o.Expect = []check.StatusRange{{Low: http.StatusOK, High: http.StatusOK}}
		}
		if k.TLS {
			o.TLS = &tls.Config{InsecureSkipVerify: !k.VerifyTLS}
		}
		head, err := check.NewHTTP(m.network, o)
		if err != nil {
			return check.Impossible{Name: questionOf(k).String(), Err: err}
		}
		return head
	case config.NameServerQuery:
		return check.DNS{Network: m.network, Address: k.Address, Name: k.QueryName, Type: k.QueryType}
	case config.SNMP:
		return check.SNMP{Network: m.network, Address: k.Address, Community: k.Community, OID: k.OID, Min: k.SNMPMin,
			Max: k.SNMPMax}
	case config.LoadReport:
		if m.loads == nil {
			return check.Impossible{Name: questionOf(k).String(), Err: errors.New("nobody here asks for load reports")}
		}
		return loadReport{m.loads, k, heard, blind}
	}
	return check.Impossible{Name: questionOf(k).String(), Err: fmt.Errorf("kind %d is not known", k.Kind)}
}
