package main

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

const limit = 3 * time.Minute // for a lab to be up, or gone

// A lab leaves nothing behind, however it ends, and labs do not meet.
func TestNothingIsLeft(t *testing.T) {
	if err := missing(os.Geteuid(), "", has); err != nil {
		if os.Getenv("SLUICE_PRIVILEGED") == "required" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	dir := t.TempDir()
	for name, of := range map[string]string{"lab": ".", "sluice": "../../../cmd/sluice"} {
		if out, err := exec.Command("go", "build", "-o", filepath.Join(dir, name), of).CombinedOutput(); err != nil {
			t.Fatalf("building %s: %v\n%s", name, err, out)
		}
	}
	type row struct {
		name, does string
		typed      string                      // at the prompt, which the lab gives then instead of the tour
		end        func(lab *os.Process) error // as soon as what it does has begun
		code       int
		says       string // a pattern of its output
		logs       int    // directories with logs
	}
	signal := func(s syscall.Signal) func(*os.Process) error {
		return func(lab *os.Process) error { return lab.Signal(s) }
	}
	// Some at a time: each has a network of its own, with the same addresses.
	var rows sync.WaitGroup
	room := make(chan struct{}, 3)
	for _, r := range []row{
		{name: "finished", does: "true", says: `All 1 steps are as the page has them:\n`},
		{
			name: "left", does: "true", typed: "berlin-web1 curl -s http://198.51.100.100/\n" +
				"operator sluice gslb status --socket https://gslb:9683",
			says: "(?s)to begin with, try\n  client1 true\nand `exit` to end it all\\.\n.*mininet> web1\\.berlin" +
				".*mininet> .*DATA CENTER.*https://berlin-ctl:9680",
		},
		{
			name: "failed", does: "sh -c 'echo here; exit 3'", code: 1, logs: 1,
			says: `lab: .*failed.md:4: client1 sh -c 'echo here; exit 3': exit status 3\nhere\n\n` +
				`lab: the logs of all hosts are in `,
		},
		{name: "terminated", does: "sleep 1000", end: signal(syscall.SIGTERM), code: -1},
		{name: "killed", does: "sleep 1000", end: signal(syscall.SIGKILL), code: -1},
		{
			name: "crashed", does: "sleep 1000", code: 1, logs: 1, says: "lab: the logs of all hosts are in ",
			end: func(*os.Process) error { return crash(filepath.Join(dir, "crashed.md")) },
		},
		{
			name: "interrupted", does: "sleep 1000", code: interrupted,
			end: func(lab *os.Process) error { return syscall.Kill(-lab.Pid, syscall.SIGINT) }, // as a terminal does
		},
	} {
		rows.Go(func() {
			room <- struct{}{}
			defer func() { <-room }()
			fail := func(format string, args ...any) { t.Errorf(r.name+": "+format, args...) }
			page, temp := filepath.Join(dir, r.name+".md"), filepath.Join(dir, r.name)
			text := fmt.Sprintf("## Do\n\n```\n%sclient1 %s\n```\n", prompt, r.does)
			if err := errors.Join(os.WriteFile(page, []byte(text), 0o644), os.Mkdir(temp, 0o755)); err != nil {
				fail("%v", err)
				return
			}
			var output buffer
			what := "tour"
			if r.typed != "" {
				what = "prompt"
			}
			cmd := exec.Command(filepath.Join(dir, "lab"), what, page)
			cmd.Stdin = strings.NewReader(r.typed + "\n")
			cmd.Env = append(os.Environ(), "TMPDIR="+temp, "SWITCH=")
			cmd.Stdout, cmd.Stderr = &output, &output
			cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
			cmd.WaitDelay = limit
			if err := cmd.Start(); err != nil {
				fail("%v", err)
				return
			}
			if r.end != nil {
				if !eventually(func() bool { return strings.Contains(output.String(), prompt+"client1") }) {
					fail("the lab is not up:\n%s", output.String())
				}
				if err := unseen(); err != nil {
					fail("%v", err)
				}
				if err := r.end(cmd.Process); err != nil {
					fail("%v", err)
				}
			}
			_ = cmd.Wait() // the exit code says it
			if got := cmd.ProcessState.ExitCode(); got != r.code {
				fail("exit code %d, want %d:\n%s", got, r.code, output.String())
			}
			if !regexp.MustCompile(r.says).MatchString(output.String()) {
				fail("it does not say %s:\n%s", r.says, output.String())
			}
			if !eventually(func() bool { return len(processesOf(page)) == 0 }) {
				fail("processes are left: %v", processesOf(page))
			}
			if logs, err := filepath.Glob(temp + "/*"); err != nil || len(logs) != r.logs {
				fail("logs in %v, want %d, error %v", logs, r.logs, err)
			}
		})
	}
	rows.Wait()
	if err := unseen(); err != nil {
		t.Error(err)
	}
}

// unseen says whether something of a lab shows outside of it.
func unseen() error {
	mounts, err := os.ReadFile("/proc/mounts")
	if err != nil {
		return err
	}
	for line := range strings.Lines(string(mounts)) {
		if strings.HasPrefix(line, "lab ") || strings.Contains(line, labDir) {
			return fmt.Errorf("a mount shows: %s", line)
		}
	}
	for _, name := range []string{"mgmt", "wan"} {
		if _, err := net.InterfaceByName(name); err == nil {
			return fmt.Errorf("an interface shows: %s", name)
		}
	}
	return nil
}

// processesOf returns the processes of a lab, which all know its page.
func processesOf(page string) []string {
	var left []string
	environments, _ := filepath.Glob("/proc/[0-9]*/environ")
	for _, file := range environments {
		if env, err := os.ReadFile(file); err == nil && bytes.Contains(env, []byte("LAB_PAGE="+page+"\x00")) {
			left = append(left, file)
		}
	}
	return left
}

// crash kills what has built the network of a lab.
func crash(page string) error {
	for _, file := range processesOf(page) {
		process := filepath.Dir(file)
		line, err := os.ReadFile(filepath.Join(process, "cmdline"))
		if err == nil && bytes.Contains(line, []byte("/scripts/lab.py\x00")) {
			pid, err := strconv.Atoi(filepath.Base(process))
			return errors.Join(err, syscall.Kill(pid, syscall.SIGKILL))
		}
	}
	return errors.New("no process runs lab.py")
}

func eventually(is func() bool) bool {
	for late := time.Now().Add(limit); time.Now().Before(late); time.Sleep(20 * time.Millisecond) {
		if is() {
			return true
		}
	}
	return is()
}

// buffer may be read while a process writes to it.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// Logs of a lab that failed are kept, and neither keys nor stores.
func TestKeepLogs(t *testing.T) {
	from := t.TempDir()
	for _, file := range []string{
		"ctl/log", "ctl/sluice.yaml", "ctl/ctl.key", "ctl/data/head", "web/error.log", "ca/ca.key", "nodes",
	} {
		path := filepath.Join(from, file)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(file), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("TMPDIR", t.TempDir())
	to, err := keepLogs(from)
	if err != nil {
		t.Fatal(err)
	}
	var kept []string
	err = filepath.WalkDir(to, func(path string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			name, _ := filepath.Rel(to, path)
			kept = append(kept, name)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"ctl/log", "ctl/sluice.yaml", "web/error.log"}, kept); diff != "" {
		t.Errorf("kept (-want +got):\n%s", diff)
	}
}
