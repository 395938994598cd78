package demo

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/sluicelb/sluice/gslb"
	"github.com/sluicelb/sluice/gslb/control"
	"github.com/sluicelb/sluice/internal/rpc"
)

const (
	webName     = "www.example.com." // of the web site
	webTTL      = 1                  // seconds
	standardDNS = "127.0.0.1:5300"   // where gslb's examples listen
)

// answerName is what gslb's configuration calls a data center's answer.
func answerName(p place) string { return vipName + "-" + p.Name }

// selectorConfig is the operator's configuration of gslb: the first data center as long as it has a server, then
// the next.
func selectorConfig(listen, socket string, sites []*site) string {
	var centers, answers, members strings.Builder
	for _, s := range sites {
		fmt.Fprintf(&centers, "  - {name: %s, controller: %q}\n", s.Name, s.system.api)
		fmt.Fprintf(&answers, "  - {name: %s, kind: vip, data_center: %s, ipv4: %v, controller_vip: %s}\n",
			answerName(s.place), s.Name, s.vip.Addr(), vipName)
		fmt.Fprintf(&members, "      - {answer: %s}\n", answerName(s.place))
	}
	name := strings.TrimSuffix(webName, ".")
	return fmt.Sprintf(`server:
  listen: [%q]
  control: {socket: %q}
data_centers:
%sanswers:
%sgroups:
  - name: www
    members:
%sdomain_lists:
  - {name: www, domains: [%s]}
rules:
  - {name: www, domains: www, ttl: %d, clauses: [{group: www, balance: ordered}]}
zones:
  - name: example.com
    records:
      - {name: "@", type: SOA, data: ns1 hostmaster 1 7200 900 1209600 1}
      - {name: "@", type: NS, data: ns1}
      - {name: ns1, type: A, data: 127.0.0.1}
`, listen, socket, &centers, &answers, &members, name, webTTL)
}

// selector is the role that picks the data center, as it runs in production.
type selector struct {
	dns     netip.AddrPort
	socket  string
	control *control.Client
	notices *journal[notice]
	stop    context.CancelFunc
	ended   chan error
}

// startSelector starts gslb. It returns when gslb knows that every data center is up.
func startSelector(
	ctx context.Context, sites []*site, directory string, standard bool, log *slog.Logger,
) (*selector, error) {
	listen := "127.0.0.1:0"
	if standard && freeUDP(standardDNS) && free(standardDNS) {
		listen = standardDNS
	}
	file, socket := filepath.Join(directory, "gslb.yaml"), filepath.Join(directory, "gslb.sock")
	if err := os.WriteFile(file, []byte(selectorConfig(listen, socket, sites)), 0o600); err != nil {
		return nil, err
	}
	s := &selector{notices: newJournal[notice](), ended: make(chan error, 1)}
	daemon, err := gslb.New(gslb.Config{File: file,
		Log: slog.New(&noticer{log.With("role", "gslb").Handler(), s.notices})})
	if err != nil {
		return nil, fmt.Errorf("starting gslb: %w", err)
	}
	s.dns, s.socket = daemon.Addrs()[0], daemon.Socket()
	if s.control, err = control.Dial("unix:"+s.socket, rpc.Security{}); err != nil {
		return nil, err
	}
	ctx, s.stop = context.WithCancel(ctx)
	go func() { s.ended <- daemon.Run(ctx) }() // until close
	if err := s.awaitUp(ctx); err != nil {
		return nil, errors.Join(err, s.close())
	}
	return s, nil
}

// awaitUp waits until every answer is up.
func (s *selector) awaitUp(ctx context.Context) error {
	for {
		why := ""
		status, err := s.control.GetStatus(ctx, &control.GetStatusRequest{})
		if err != nil {
			why = err.Error()
		}
		for _, a := range status.GetAnswers() {
			if a.GetState() != control.State_STATE_UP {
				why = fmt.Sprintf("%s is %v %s", a.GetName(), a.GetState(), a.GetReason())
			}
		}
		if why == "" {
			return nil
		}
		if err := receive(ctx, time.After(20*time.Millisecond)); err != nil {
			return fmt.Errorf("waiting until gslb is ready: %s: %w", why, err)
		}
	}
}

// explain returns what `sluice gslb explain` would say of the answers.
func (s *selector) explain(ctx context.Context) ([]string, error) {
	r, err := s.control.Explain(ctx, &control.ExplainRequest{Name: webName})
	if err != nil {
		return nil, fmt.Errorf("asking gslb to explain: %w", err)
	}
	var lines []string
	for _, line := range r.GetLines() {
		if strings.Contains(line, vipName+"-") {
			lines = append(lines, strings.TrimSpace(line))
		}
	}
	return lines, nil
}

func (s *selector) close() error {
	s.stop()
	err := <-s.ended
	s.control.Close()
	return err
}

// notice says that an answer has got another state, and that gslb answers accordingly.
type notice struct {
	at                    time.Time
	answer, state, reason string
}

func (n notice) says(answer, state string) bool { return n.answer == answer && n.state == state }

// noticer takes notices from gslb's log: it logs a transition right after it has published it.
type noticer struct {
	slog.Handler
	notices *journal[notice]
}

func (n *noticer) Enabled(ctx context.Context, level slog.Level) bool {
	return level >= slog.LevelInfo || n.Handler.Enabled(ctx, level)
}

func (n *noticer) Handle(ctx context.Context, r slog.Record) error {
	if state, ok := strings.CutPrefix(r.Message, "answer "); ok {
		said := notice{at: r.Time, state: state}
		r.Attrs(func(a slog.Attr) bool {
			switch a.Key {
			case "answer":
				said.answer = a.Value.String()
			case "reason":
				said.reason = a.Value.String()
			}
			return true
		})
		n.notices.add(said)
	}
	if !n.Handler.Enabled(ctx, r.Level) {
		return nil
	}
	return n.Handler.Handle(ctx, r)
}

func (n *noticer) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &noticer{n.Handler.WithAttrs(attrs), n.notices}
}

func (n *noticer) WithGroup(name string) slog.Handler {
	return &noticer{n.Handler.WithGroup(name), n.notices}
}

func freeUDP(address string) bool {
	c, err := net.ListenPacket("udp", address)
	if err != nil {
		return false
	}
	c.Close()
	return true
}
