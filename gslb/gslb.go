// Package gslb is the global site selector: a DNS server that sends clients to a data center that can serve them.
// It puts the parts together: it loads the configuration (config) and compiles it (zone, selection), learns what is
// alive from keepalives (keepalive) and from the data centers' controllers (watch), and publishes both as one
// immutable View, from which the sockets (server) answer; it obeys operators (control) and tells what it did
// (Prometheus, the log). What an answer to a query is, it leaves to responder and fastpath. `sluice gslb` runs it.
//
//	file ──▶ load ──▶ compiled ─┐
//	keepalive, watch ──▶ compose ──▶ View ──▶ server
//	control ──▶ suspended ──────┘
package gslb

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"sync/atomic"
	"time"

	"github.com/sluicelb/sluice/gslb/awake"
	"github.com/sluicelb/sluice/gslb/config"
	"github.com/sluicelb/sluice/gslb/control"
	"github.com/sluicelb/sluice/gslb/keepalive"
	"github.com/sluicelb/sluice/gslb/relay"
	"github.com/sluicelb/sluice/gslb/responder"
	"github.com/sluicelb/sluice/gslb/selection"
	"github.com/sluicelb/sluice/gslb/server"
	"github.com/sluicelb/sluice/gslb/watch"
	"github.com/sluicelb/sluice/gslb/zone"
	"github.com/sluicelb/sluice/healthd/check"
	"github.com/sluicelb/sluice/internal/loadreport"
	"github.com/sluicelb/sluice/internal/metrics"
	"github.com/sluicelb/sluice/internal/rpc"
	"github.com/sluicelb/sluice/internal/strict"
	"github.com/sluicelb/sluice/internal/task"
)

// Config is what a Daemon needs to know beside its configuration file.
type Config struct {
	File     string           // the configuration
	Listen   []netip.AddrPort // in place of the file's
	Socket   string           // of control, in place of the file's
	Cores    int              // that serve UDP; default: all
	Network  check.Network    // that keepalives ask through; default check.Kernel
	Identity *rpc.Identity    // for controllers and for control at https addresses; nil: none
	Hold     time.Duration    // how long the word of a data center's controller stands; default watch.DefaultHold
	Log      *slog.Logger     // default: discards
}

// stickyClients is how many clients are remembered by sticky rules, all of them together.
const stickyClients = 1 << 20

// Daemon is one name server.
type Daemon struct {
	cfg     Config
	log     *slog.Logger
	started time.Time
	clock   *awake.Clock // by which the word of others goes by

	server     *server.Server
	relay      *relay.Relay
	negatives  *relay.Negatives
	keepalives *keepalive.Manager
	watches    *watch.Watcher
	control    []*rpc.Listener // the local socket, and one for other hosts if there is any
	metrics    *rpc.Listener   // nil without

	changed chan struct{}     // holds a token when what is observed may have changed
	reloads chan struct{}     // holds a token when the file is to be read again
	asked   chan chan<- error // who has the file read again, and wants to know what it came to
	settled chan reading      // the files have changed, from these, and seem to be complete
	unreads chan string       // of files that have changed and go unread; empty: none do
	orders  chan *order       // of operators
	loaded  chan loaded       // what a reload came to
	files   chan reading      // to the watcher of files: what the configuration was read from
	load    func(file string) (*compiled, error)
	now     atomic.Pointer[published]
	ready   chan struct{}
	sticky  *selection.StickyTable // lives through reloads: its keys are names

	// Owned by loop.
	unread    string // see published
	stateFile string // config.Server.State
	suspended suspended
	before    map[string]answerState
	teller    teller
	watched   map[string]time.Time // since when the controllers of data centers are watched
}

// published is one state of things; immutable.
type published struct {
	view        *responder.View
	compiled    *compiled
	answers     []answerState // by index of Config.Answers
	configError string
	unread      string // what goes unread of the files
}

// notRunning says why the files as they are now are not what runs; empty when they are.
func (p *published) notRunning() string {
	if p.configError == "" || p.unread == "" {
		return p.configError + p.unread
	}
	return p.configError + "\n" + p.unread
}

// compiled is what a configuration comes to.
type compiled struct {
	config   *config.Config
	files    []config.File // that it was read from
	loadedAt time.Time
	zones    *zone.Zones
	rules    *selection.Rules
}

// New loads the configuration and opens the sockets. The error joins one *strict.Problem for everything that is
// wrong with the configuration. Run must be called, to close them.
func New(c Config) (_ *Daemon, err error) {
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Network == nil {
		c.Network = check.Kernel{}
	}
	c.Hold = cmp.Or(c.Hold, watch.DefaultHold)
	d := &Daemon{
		cfg: c, log: c.Log, started: time.Now(), clock: awake.New(nil), ready: make(chan struct{}),
		sticky:  selection.NewStickyTable(stickyClients),
		changed: make(chan struct{}, 1), orders: make(chan *order),
		reloads: make(chan struct{}, 1), asked: make(chan chan<- error), settled: make(chan reading),
		loaded: make(chan loaded), files: make(chan reading, 1), unreads: make(chan string, 1),
		load: load, teller: teller{log: c.Log},
	}
	first, err := d.load(c.File)
	if err != nil {
		return nil, err
	}
	d.stateFile = first.config.Server.State
	if d.suspended, err = loadSuspended(d.stateFile); err != nil {
		return nil, err
	}
	if err := d.suspended.save(d.stateFile); err != nil {
		// better heard of now than when they are wanted
		c.Log.Warn("suspend and activate will be refused", "error", err)
	}
	d.relay = relay.New(relayConfig(first.config))
	d.negatives = relay.NewNegatives(d.relay, c.Log)
	d.keepalives = keepalive.New(keepalive.Deps{
		Network: c.Network, Loads: loadReports{&loadreport.Client{Dial: c.Network.DialContext}}, Log: c.Log,
		OnChange: func(int, bool, int, string, time.Time) { d.poke() },
	})
	d.watches = watch.New(watch.Deps{
		DataCenters: first.config.DataCenters, OnChange: d.poke, Hold: c.Hold, Clock: d.clock, Log: c.Log,
		Security: rpc.Security{Identity: c.Identity},
	})
	if err := d.listen(first.config); err != nil {
		return nil, err
	}
	d.adopt(first, "")
	return d, nil
}

func relayConfig(c *config.Config) relay.Config {
	return relay.Config{Timeout: c.Server.ForwardTimeout, Max: c.Server.ForwardMax, UDPSize: c.Server.UDPSize}
}

// load reads and compiles a configuration.
func load(file string) (*compiled, error) {
	cfg, files, err := config.Load(file)
	if err != nil {
		return &compiled{files: files}, err
	}
	rules := selection.Compile(cfg)
	zones, err := zone.Build(cfg.Zones, rules.Balanced())
	if err != nil {
		return &compiled{files: files}, fmt.Errorf("building the zones of %s: %w", file, err)
	}
	return &compiled{config: cfg, files: files, loadedAt: time.Now(), zones: zones, rules: rules}, nil
}

// listen opens all sockets, or none.
func (d *Daemon) listen(c *config.Config) (err error) {
	addresses := d.cfg.Listen
	if len(addresses) == 0 {
		addresses = c.Server.Listen
	}
	if len(addresses) == 0 {
		return fmt.Errorf("%s: listen: must name at least one address, or --listen must", d.cfg.File)
	}
	d.server = server.New(server.Config{Listen: addresses, Cores: d.cfg.Cores, Relay: d.relay, Log: d.log})
	if err := d.server.Listen(); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			over, cancel := context.WithCancel(context.Background())
			cancel()
			err = errors.Join(err, d.server.Run(over)) // which closes its sockets
		}
	}()
	socket := d.cfg.Socket
	if socket == "" {
		socket = c.Server.Control.Socket
	}
	address := rpc.Socket(control.RoleName)
	if socket != "" {
		address = "unix:" + socket
	}
	access := control.Access(c.Server.Control.Operators, c.Server.Control.Viewers)
	defer func() {
		if err != nil {
			for _, l := range d.control {
				l.Close()
			}
		}
	}()
	local, err := rpc.Listen(address, access, rpc.Security{}, d.log)
	if err != nil {
		return err
	}
	d.control = append(d.control, local)
	if address := c.Server.Control.Listen; address != "" {
		l, err := rpc.Listen(address, access, rpc.Security{Identity: d.cfg.Identity}, d.log)
		if err != nil {
			return fmt.Errorf("server.control.listen: %w", err)
		}
		d.control = append(d.control, l)
	}
	if address := c.Server.Metrics; address != "" {
		if d.metrics, err = metrics.Listen(address, d.cfg.Identity, d.log); err != nil {
			return fmt.Errorf("server.metrics: %w", err)
		}
		d.log.Info("metrics are shown", "address", d.metrics.Address())
	}
	return nil
}

// view is what queries are answered from now.
func (d *Daemon) view() *responder.View { return d.now.Load().view }

// Addrs returns the addresses at which DNS is served.
func (d *Daemon) Addrs() []netip.AddrPort { return d.server.Addrs() }

// Socket returns the path of the control socket.
func (d *Daemon) Socket() string { return d.control[0].Addr().String() }

// Metrics returns the address of the metrics, nil without.
func (d *Daemon) Metrics() net.Addr {
	if d.metrics == nil {
		return nil
	}
	return d.metrics.Addr()
}

// Reload reads the configuration again, soon.
func (d *Daemon) Reload() {
	select {
	case d.reloads <- struct{}{}:
	default:
	}
}

// poke has what is observed looked at again, soon.
func (d *Daemon) poke() {
	select {
	case d.changed <- struct{}{}:
	default:
	}
}

// Run serves until ctx ends, and closes the sockets.
func (d *Daemon) Run(ctx context.Context) error {
	tasks := []task.Task{
		{Name: "dns", Run: d.server.Run},
		{Name: "keepalives", Run: d.keepalives.Run},
		{Name: "controllers", Run: d.watches.Run},
		{Name: "clock", Run: d.clock.Run},
		{Name: "forwarding", Run: d.negatives.Run},
		{Name: "watching files", Run: d.watchFiles},
		{Name: "reading files", Run: d.readFiles},
		{Name: "decisions", Run: d.loop},
	}
	for _, l := range d.control {
		serve := func(ctx context.Context) error { return control.Serve(ctx, l, service{d}) }
		tasks = append(tasks, task.Task{Name: "control", Run: serve})
	}
	if d.metrics != nil {
		tasks = append(tasks, task.Task{Name: "metrics", Run: func(ctx context.Context) error {
			return metrics.Serve(ctx, d.metrics, "gslb", figures{d}, nil)
		}})
	}
	now := d.now.Load()
	var sockets []string
	for _, l := range d.control {
		sockets = append(sockets, l.Address())
	}
	d.log.Info("gslb started", "file", d.cfg.File, "listen", d.Addrs(), "control", strings.Join(sockets, " "),
		"rules", len(now.view.Config.Rules), "answers", len(now.view.Config.Answers), "zones",
		len(now.view.Config.Zones))
	close(d.ready) // the sockets are open since New
	return task.Run(ctx, tasks...)
}

// Ready is closed when queries are answered.
func (d *Daemon) Ready() <-chan struct{} { return d.ready }

// loop owns all decisions: every change of the file, of what is observed and of what operators say comes
// through it, and each becomes one new View.
func (d *Daemon) loop(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-d.changed:
			d.publish(d.now.Load().compiled, d.now.Load().configError)
		case l := <-d.loaded:
			d.reload(l)
		case o := <-d.orders:
			o.done <- d.obey(o)
		case d.unread = <-d.unreads:
			if d.unread != "" {
				d.log.Warn("configuration goes unread", "file", d.cfg.File, "why", d.unread)
			}
			d.publish(d.now.Load().compiled, d.now.Load().configError)
		}
	}
}

// loaded is what the file came to when it was read again.
type loaded struct {
	next  *compiled
	err   error
	asked bool         // for, by SIGHUP: only the log can answer
	told  chan<- error // who asked by a command; nil for nobody
}

// readFiles loads the configuration whenever that is asked for, or the files have changed. A large one takes seconds,
// in which loop goes on. What nobody asked for is held to more: the files must not change while they are read, and
// must not drop too much.
func (d *Daemon) readFiles(ctx context.Context) error {
	for {
		var l loaded
		var was reading // without files: it was asked for
		select {
		case <-ctx.Done():
			return nil
		case <-d.reloads:
			l.asked = true
		case l.told = <-d.asked:
		case was = <-d.settled:
		}
		l.next, l.err = d.load(d.cfg.File)
		if was.files != nil {
			if changed(l.next.files) {
				d.watchAlso(was)
				continue
			}
			if l.err == nil {
				l.err = tooMuchLost(d.now.Load().compiled, l.next)
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case d.loaded <- l:
		}
	}
}

// reload makes what was loaded the running configuration, or says why not.
func (d *Daemon) reload(l loaded) {
	if l.told != nil {
		defer func() { l.told <- l.err }()
	}
	running := d.now.Load()
	d.unread = ""
	if l.err != nil {
		d.watchAlso(reading{files: l.next.files})
		if l.asked || running.configError != l.err.Error() {
			d.log.Error("configuration refused, what runs stays", "file", d.cfg.File, "error", l.err)
		}
		d.publish(running.compiled, l.err.Error())
		return
	}
	next := l.next
	for _, what := range d.needRestart(running.view.Config, next.config) {
		d.log.Warn("configuration change takes a restart", "file", d.cfg.File, "key", what)
	}
	d.adopt(next, "")
	d.log.Info("configuration loaded", "file", d.cfg.File, "rules", len(next.config.Rules), "answers",
		len(next.config.Answers), "zones", len(next.config.Zones))
}

// needRestart names what sockets and files were opened by, and changed.
func (d *Daemon) needRestart(have, want *config.Config) []string {
	var keys []string
	for _, k := range []struct {
		key  string
		same bool
	}{
		{"listen", len(d.cfg.Listen) > 0 || equalLists(have.Server.Listen, want.Server.Listen)},
		{"control", (d.cfg.Socket != "" || have.Server.Control.Socket == want.Server.Control.Socket) &&
			have.Server.Control.Listen == want.Server.Control.Listen &&
			equalLists(have.Server.Control.Operators, want.Server.Control.Operators) &&
			equalLists(have.Server.Control.Viewers, want.Server.Control.Viewers)},
		{"metrics", have.Server.Metrics == want.Server.Metrics},
		{"state", have.Server.State == want.Server.State},
	} {
		if !k.same {
			keys = append(keys, k.key)
		}
	}
	return keys
}

func equalLists[T comparable](a, b []T) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i] != b[i] {
			return false
		}
	}
	return true
}

// mostWarnings is how many warnings of a configuration are logged; `sluice gslb check` tells them all.
const mostWarnings = 10

// adopt makes a configuration the running one: what it asks for is observed, and answers follow it.
func (d *Daemon) adopt(next *compiled, configError string) {
	warnings := next.config.Warnings
	for _, w := range warnings[:min(mostWarnings, len(warnings))] {
		d.log.Warn("configuration is odd", "what", w.Error())
	}
	if n := strict.Count(warnings) - mostWarnings; n > 0 {
		d.log.Warn("configuration is odd in more places: sluice gslb check tells them", "places", n)
	}
	d.relay.Set(relayConfig(next.config))
	d.negatives.Set(next.config.Zones)
	d.keepalives.Set(next.config.Keepalives)
	d.watches.Set(next.config.DataCenters)
	watched := map[string]time.Time{}
	for _, dc := range next.config.DataCenters {
		if since, ok := d.watched[dc.Name]; ok && dc.Controller != "" {
			watched[dc.Name] = since
		} else if dc.Controller != "" {
			watched[dc.Name] = d.clock.Now()
			for _, after := range []time.Duration{firstWord, d.cfg.Hold} {
				time.AfterFunc(after, d.poke) // a controller that was not heard then counts otherwise
			}
		}
	}
	d.watched = watched
	d.watchAlso(reading{files: next.files})
	d.publish(next, configError)
}

// publish composes what is known into one View, and tells of transitions.
func (d *Daemon) publish(c *compiled, configError string) {
	now := d.clock.Now()
	results := d.keepalives.Snapshot()
	answers := compose(c.config, observed{
		keepalive: func(i int) verdict { return keepaliveVerdict(results[i], now, d.clock.Since, d.cfg.Hold) },
		controller: func(dataCenter int, vip string) verdict {
			name := c.config.DataCenters[dataCenter].Name
			return controllerVerdict(d.watches.VIP(name, vip), now, d.clock.Since(d.watched[name]), d.cfg.Hold)
		},
	}, d.suspended, d.before, now)
	states := &selection.States{Answers: make([]selection.State, len(answers)),
		RulesSuspended: make([]bool, len(c.config.Rules))}
	after := make(map[string]answerState, len(answers))
	for i, a := range answers {
		states.Answers[i] = a.State
		after[c.config.Answers[i].Name] = a
	}
	for i := range c.config.Rules {
		states.RulesSuspended[i] = c.config.Rules[i].Suspended || d.suspended.rules[c.config.Rules[i].Name]
	}
	view := &responder.View{
		Config: c.config, Zones: c.zones, Rules: c.rules, States: states, Sticky: d.sticky, Negative: d.negatives,
	}
	d.now.Store(&published{view: view, compiled: c, answers: answers, configError: configError, unread: d.unread})
	d.server.Publish(view)
	d.teller.tell(transitions(d.before, after), now)
	d.before = after
}
