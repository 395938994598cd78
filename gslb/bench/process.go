//go:build linux

package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"time"
)

// process is a server: a program, and all that it starts, in a process group of its own. A Ctrl-C of the terminal does
// not reach it; stop ends it.
type process struct {
	cmd    *exec.Cmd
	output *tail
	ended  chan struct{} // closed when the program has ended
}

// grace is how long a server may take to end.
const grace = 5 * time.Second

func start(cmd *exec.Cmd) (*process, error) {
	p := &process{cmd: cmd, output: new(tail), ended: make(chan struct{})}
	cmd.Stdout, cmd.Stderr = p.output, p.output
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	// A child of the program may keep its output open; waiting is for the program.
	cmd.WaitDelay = time.Second
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	go func() { // ends with the program, which stop sees to
		cmd.Wait()
		close(p.ended)
	}()
	return p, nil
}

// stop ends the program, and what is left of its group.
func (p *process) stop() {
	p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.ended:
	case <-time.After(grace):
	}
	syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL) // ESRCH as a rule: nobody is left
	<-p.ended
}

// tail keeps the last bytes that a program said.
type tail struct {
	mu   sync.Mutex
	text []byte
}

const tailSize = 2000

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.text = append(t.text, p...)
	t.text = t.text[max(0, len(t.text)-tailSize):]
	return len(p), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(bytes.TrimSpace(t.text))
}

// cpu is the time that processes have run for.
type cpu struct{ user, system time.Duration }

func (c cpu) minus(d cpu) cpu { return cpu{c.user - d.user, c.system - d.system} }

// tick is the unit of times in /proc/PID/stat: USER_HZ is 100 on all that Go runs on.
const tick = 10 * time.Millisecond

// stat is what matters of /proc/PID/stat (proc(5)). Its times are those of all threads, ended ones included.
type stat struct {
	group int
	cpu
}

func parseStat(line []byte) (s stat, err error) {
	// The second field is the program's name in parentheses, and may have anything in it, blanks and parentheses too.
	after := bytes.LastIndexByte(line, ')')
	fields := bytes.Fields(line[after+1:])
	if after < 0 || len(fields) < 13 {
		return s, fmt.Errorf("no line of /proc/PID/stat: %q", line)
	}
	number := func(field int) int { // counted from 1, as in proc(5)
		n, bad := strconv.Atoi(string(fields[field-3]))
		if bad != nil && err == nil {
			err = fmt.Errorf("field %d of /proc/PID/stat: %w", field, bad)
		}
		return n
	}
	s.group = number(5)
	s.user, s.system = time.Duration(number(14))*tick, time.Duration(number(15))*tick
	return s, err
}

// members are the processes of a group.
func members(group int) (all map[int]stat, err error) {
	names, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		return nil, err
	}
	all = map[int]stat{}
	for _, dir := range names {
		line, err := os.ReadFile(filepath.Join(dir, "stat"))
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ESRCH) {
			continue // ended meanwhile
		}
		if err != nil {
			return nil, err
		}
		s, err := parseStat(line)
		if err != nil {
			return nil, err
		}
		if pid, err := strconv.Atoi(filepath.Base(dir)); err == nil && s.group == group {
			all[pid] = s
		}
	}
	return all, nil
}

// used is the CPU time of the program and its children so far.
func (p *process) used() (total cpu, err error) {
	select {
	case <-p.ended:
		return total, errors.New("ended by itself")
	default:
	}
	all, err := members(p.cmd.Process.Pid)
	for _, s := range all {
		total.user += s.user
		total.system += s.system
	}
	return total, err
}

// level takes away the priority that a server has given itself (gdnsd does, where it may): none goes before the
// others, all have that of the benchmark.
func (p *process) level() error {
	own, err := niceness(0)
	if err != nil {
		return fmt.Errorf("asking for the priority: %w", err)
	}
	all, err := members(p.cmd.Process.Pid)
	if err != nil {
		return err
	}
	for pid := range all {
		threads, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
		if err != nil {
			return err
		}
		for _, t := range threads {
			tid, err := strconv.Atoi(t.Name())
			if err != nil {
				return err
			}
			n, err := niceness(tid)
			if err == nil && n < own {
				err = syscall.Setpriority(syscall.PRIO_PROCESS, tid, own)
			}
			if err != nil && !errors.Is(err, syscall.ESRCH) {
				return fmt.Errorf("setting the priority of thread %d: %w", tid, err)
			}
		}
	}
	return nil
}

// niceness of a thread, the own one's for 0: -20, which goes before all others, to 19 (getpriority(2), whose system
// call gives 20 less that).
func niceness(tid int) (int, error) {
	n, err := syscall.Getpriority(syscall.PRIO_PROCESS, tid)
	return 20 - n, err
}
