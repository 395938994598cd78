package controller_test

import (
	"bufio"
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	pb "github.com/openconfig/gnmi/proto/gnmi"
	gnmic "github.com/openconfig/gnmic/pkg/api"
	"google.golang.org/protobuf/proto"

	"github.com/sluicelb/sluice/controller/api"
	"github.com/sluicelb/sluice/internal/rpc"
	"github.com/sluicelb/sluice/internal/rpc/cert"
	"github.com/sluicelb/sluice/internal/rpc/rpctest"
)

// gnmicCommand is a command of a page, as gnmic reads it: flags that the test does not know are faults of the page.
type gnmicCommand struct {
	words                            []string
	address, verb                    string
	insecure                         bool
	path, encoding, mode, streamMode string
	interval                         time.Duration
}

func readGNMIc(t *testing.T, line string) gnmicCommand {
	t.Helper()
	c := gnmicCommand{words: strings.Fields(line)[1:]}
	flags := flag.NewFlagSet("gnmic", flag.ContinueOnError)
	flags.StringVar(&c.address, "a", "", "")
	flags.BoolVar(&c.insecure, "insecure", false, "")
	rest := c.words
	for len(rest) > 0 {
		if err := flags.Parse(rest); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		if rest = flags.Args(); len(rest) == 0 {
			break
		}
		if c.verb != "" {
			t.Fatalf("%s: what is %q?", line, rest[0])
		}
		switch c.verb, rest = rest[0], rest[1:]; c.verb {
		case "capabilities":
		case "subscribe":
			flags.StringVar(&c.mode, "mode", "stream", "")
			flags.StringVar(&c.streamMode, "stream-mode", "target-defined", "")
			flags.DurationVar(&c.interval, "sample-interval", 0, "")
			fallthrough
		case "get":
			flags.StringVar(&c.path, "path", "", "")
			flags.StringVar(&c.encoding, "encoding", "json", "")
		default:
			t.Fatalf("%s: %q is no command of gnmic that the page may have", line, c.verb)
		}
	}
	return c
}

// subscription is the request that gnmic makes of it.
func (c gnmicCommand) subscription() (*pb.SubscribeRequest, error) {
	of := []gnmic.GNMIOption{gnmic.Path(c.path)}
	if c.mode == "stream" {
		of = append(of, gnmic.SubscriptionMode(c.streamMode))
		if c.interval > 0 {
			of = append(of, gnmic.SampleInterval(c.interval))
		}
	}
	return gnmic.NewSubscribeRequest(gnmic.SubscriptionListMode(c.mode), gnmic.Encoding(c.encoding),
		gnmic.Subscription(of...))
}

// run does what the command does by gnmic's packages, and returns the first answer that has something to say.
func (c gnmicCommand) run(ctx context.Context, options ...gnmic.TargetOption) (proto.Message, error) {
	target, err := gnmic.NewTarget(append([]gnmic.TargetOption{
		gnmic.Name("page"), gnmic.Address(c.address), gnmic.Timeout(patience),
	}, options...)...)
	if err != nil {
		return nil, err
	}
	if err := target.CreateGNMIClient(ctx); err != nil {
		return nil, err
	}
	defer target.Close()
	switch c.verb {
	case "capabilities":
		return target.Capabilities(ctx)
	case "get":
		r, err := gnmic.NewGetRequest(gnmic.Path(c.path), gnmic.Encoding(c.encoding))
		if err != nil {
			return nil, err
		}
		return target.Get(ctx, r)
	}
	r, err := c.subscription()
	if err != nil {
		return nil, err
	}
	if c.mode == "once" {
		all, err := target.SubscribeOnce(ctx, r)
		if err != nil || len(all) == 0 || all[0].GetSyncResponse() {
			return nil, fmt.Errorf("there is nothing at %s: %v, %w", c.path, all, err)
		}
		return all[0], nil
	}
	answers, failed := target.SubscribeStreamChan(ctx, r, "page")
	for {
		select {
		case m := <-answers:
			if m.GetSyncResponse() {
				return nil, fmt.Errorf("there is nothing at %s", c.path)
			}
			return m, nil
		case err := <-failed:
			return nil, err
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// byBinary runs the command by gnmic itself, and returns when it has printed the last name of the path.
func (c gnmicCommand) byBinary(ctx context.Context, binary string, words []string) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	p := exec.CommandContext(ctx, binary, words...)
	var complaints strings.Builder
	p.Stderr = &complaints
	out, err := p.StdoutPipe()
	if err != nil {
		return err
	}
	if err := p.Start(); err != nil {
		return err
	}
	defer p.Wait()
	defer cancel()
	want := "JSON_IETF" // of the encodings that Capabilities tells
	if c.path != "" {
		want = c.path[strings.LastIndexByte(c.path, '/')+1:]
	}
	for lines := bufio.NewScanner(out); lines.Scan(); {
		if strings.Contains(lines.Text(), want) {
			return nil
		}
	}
	return fmt.Errorf("it does not print %s: %s", want, complaints.String())
}

// The commands of gnmic that telemetry.md shows work as they are there, but for the address: at a controller and at a
// switch, in plain text and over TLS with the flags that the page names; by gnmic's packages, and by gnmic where it is
// on PATH. One that is wrong fails.
func TestGNMIcOfThePage(t *testing.T) {
	page, err := os.ReadFile("../docs/telemetry.md")
	if err != nil {
		t.Fatal(err)
	}
	certificates := rpctest.NewLab(t, "lab")
	tg := newTarget(t)
	dir := t.TempDir()
	d := startController(t, options{
		dir: dir, file: writeFile(t, dir, intent(tg.Target())), identity: certificates.Server(t, "ctl"),
		also: "https://127.0.0.1:0",
	})
	d.synced()
	d.until("how the ports are is known",
		func(m *api.GetStatusResponse) bool { return len(m.Switches[0].Ports) == 4 })
	viewer := certificates.Issue(t, cert.Request{Name: "monitor", Roles: []string{string(rpc.Viewer)}})
	binary, _ := exec.LookPath("gnmic")
	const secure = "Over TLS: `--tls-ca`, `--tls-cert` and `--tls-key` in place of `--insecure`"
	if !strings.Contains(string(page), secure) {
		t.Errorf("the page does not say %q", secure)
	}
	verbs := make(map[string][]string) // by address
	for line := range strings.Lines(string(page)) {
		line, ok := strings.CutPrefix(line, "    gnmic ")
		if !ok {
			continue
		}
		line = "gnmic " + strings.TrimSpace(line)
		c := readGNMIc(t, line)
		shown := c.address
		verb := c.verb
		if c.verb == "subscribe" {
			verb = c.mode
			if c.mode == "stream" {
				verb = c.streamMode
			}
		}
		verbs[shown] = append(verbs[shown], verb)
		at := map[string][]string{
			"127.0.0.1:9680": {d.Address(), strings.TrimPrefix(d.Addresses()[1], "https://")},
			"127.0.0.1:9559": {tg.Target()},
		}[shown]
		if at == nil || !c.insecure {
			t.Errorf("%s: must be for 127.0.0.1:9680 or 127.0.0.1:9559, and --insecure", line)
			continue
		}
		for i, address := range at {
			c.address = address
			options, flags := []gnmic.TargetOption{gnmic.Insecure(true)}, []string{"--insecure"}
			if i == 1 {
				options = []gnmic.TargetOption{
					gnmic.TLSCA(viewer.CA), gnmic.TLSCert(viewer.Cert), gnmic.TLSKey(viewer.Key),
				}
				flags = []string{"--tls-ca", viewer.CA, "--tls-cert", viewer.Cert, "--tls-key", viewer.Key}
			}
			name := fmt.Sprintf("%s %s", map[int]string{0: "plain", 1: "TLS"}[i], line)
			t.Run(name, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), patience)
				defer cancel()
				if m, err := c.run(ctx, options...); err != nil || proto.Size(m) == 0 {
					t.Errorf("by gnmic's packages: %v, %v", m, err)
				}
				if binary == "" {
					t.Skip("gnmic is not on PATH (github.com/openconfig/gnmic): run by its packages alone")
				}
				words := slices.Clone(c.words)
				words[slices.Index(words, shown)] = address
				at := slices.Index(words, "--insecure")
				words = slices.Replace(words, at, at+1, flags...)
				if err := c.byBinary(ctx, binary, words); err != nil {
					t.Errorf("gnmic %s: %v", strings.Join(words, " "), err)
				}
			})
		}
	}
	for address, all := range verbs {
		slices.Sort(all)
		verbs[address] = slices.Compact(all)
	}
	want := map[string][]string{
		"127.0.0.1:9680": {"capabilities", "get", "on_change", "once", "sample"},
		"127.0.0.1:9559": {"capabilities", "get", "on_change", "once", "sample"},
	}
	if diff := cmp.Diff(want, verbs); diff != "" {
		t.Errorf("what is shown (-want +got):\n%s", diff)
	}
}
