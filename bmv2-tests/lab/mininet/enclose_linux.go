package main

import (
	_ "embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"
)

// Where all is that the lab writes. Only the lab sees it: another file system lies over it there.
const runDir = "/run"

// The network, and the word by which its hosts start and kill what runs on them.
//
//go:embed lab.py
var network []byte

//go:embed role
var role []byte

// enclose runs lab again in namespaces of its own for network, processes and mounts. Those end with the process that is
// their first, and that one ends with this one, however this one ends: the kernel leaves nothing of the lab behind.
func enclose(what, page string) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	if page, err = filepath.Abs(page); err != nil {
		return err
	}
	if _, err := os.Stat(page); err != nil {
		return err
	}
	// The one to be interrupted is who has the prompt, or the tour.
	signal.Notify(make(chan os.Signal, 1), os.Interrupt)
	// The kernel means this thread, where it says parent.
	runtime.LockOSThread()
	cmd := exec.Command(self, "inside", what, page)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: unix.CLONE_NEWNET | unix.CLONE_NEWPID | unix.CLONE_NEWNS,
		Pdeathsig:  unix.SIGKILL,
	}
	err = cmd.Run()
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		return exitCode(exit.ExitCode())
	}
	if err != nil {
		return fmt.Errorf("making namespaces: %w", err)
	}
	return nil
}

// inside is the first process of the lab's namespaces.
func inside(what, page string) error {
	signal.Notify(make(chan os.Signal, 1), os.Interrupt)
	for _, m := range []struct {
		source, target, kind string
		flags                uintptr
	}{
		{"", "/", "", unix.MS_REC | unix.MS_PRIVATE},
		{"proc", "/proc", "proc", 0},
		{"lab", runDir, "tmpfs", 0},
	} {
		if err := unix.Mount(m.source, m.target, m.kind, m.flags, ""); err != nil {
			return fmt.Errorf("mounting %s: %w", m.target, err)
		}
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	scripts := filepath.Join(runDir, "scripts")
	script := filepath.Join(scripts, "lab.py")
	if err := errors.Join(
		os.MkdirAll(labDir, 0o755),
		os.MkdirAll("/run/sluice", 0o755), // where each host mounts its own
		os.MkdirAll(scripts, 0o755),
		os.WriteFile(script, network, 0o644),
		os.WriteFile(filepath.Join(scripts, "role"), role, 0o755),
		os.Setenv("PATH", searchPath(filepath.Dir(self), scripts, os.Getenv("PATH"))),
		os.Setenv("LAB_PAGE", page),
		os.Setenv("HOME", labDir), // where the prompt keeps what was typed, and nobody has a .curlrc
	); err != nil {
		return err
	}
	args := []string{python, script}
	if what == "tour" {
		args = append(args, self, "walk", page)
	}
	process, err := os.StartProcess(python, args, &os.ProcAttr{Files: []*os.File{os.Stdin, os.Stdout, os.Stderr}})
	if err != nil {
		return err
	}
	// The first process inherits the orphans of all others, and must take note of their ends.
	for {
		var status unix.WaitStatus
		pid, err := unix.Wait4(-1, &status, 0, nil)
		switch {
		case errors.Is(err, unix.EINTR) || err == nil && pid != process.Pid:
			continue
		case err != nil:
			return err
		case status.ExitStatus() == 0:
			return nil
		case status.ExitStatus() == interrupted:
			return exitCode(interrupted)
		}
		kept, err := keepLogs(labDir)
		if err != nil {
			return fmt.Errorf("keeping the logs: %w", err)
		}
		fmt.Fprintln(os.Stderr, "lab: the logs of all hosts are in", kept)
		return exitCode(1)
	}
}

// keepLogs copies what the hosts' roles were told and have said, and no keys, to a new directory that outlives the lab.
func keepLogs(from string) (string, error) {
	to, err := os.MkdirTemp("", "sluice-lab-")
	if err != nil {
		return "", err
	}
	root := os.DirFS(from)
	files, err := fs.Glob(root, "*/*")
	if err != nil {
		return "", err
	}
	for _, file := range files {
		switch filepath.Ext(file) {
		case "", ".yaml", ".conf", ".log":
		default:
			continue
		}
		if info, err := fs.Stat(root, file); err != nil || !info.Mode().IsRegular() {
			continue
		}
		data, err := fs.ReadFile(root, file)
		if err != nil {
			return "", err
		}
		if err := os.MkdirAll(filepath.Dir(filepath.Join(to, file)), 0o755); err != nil {
			return "", err
		}
		if err := os.WriteFile(filepath.Join(to, file), data, 0o644); err != nil {
			return "", err
		}
	}
	return to, nil
}
