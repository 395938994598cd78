package control

import (
	"os/exec"
	"os/user"
	"strconv"
	"syscall"
	"testing"
)

// asUser calls a method as another user, with curl.
func asUser(t *testing.T, name, socket, method, body string) string {
	t.Helper()
	u, err := user.Lookup(name)
	if err != nil {
		t.Skip(err)
	}
	if _, err := exec.LookPath("curl"); err != nil {
		t.Skip("curl is not on PATH")
	}
	uid, _ := strconv.ParseUint(u.Uid, 10, 32)
	gid, _ := strconv.ParseUint(u.Gid, 10, 32)
	cmd := exec.CommandContext(t.Context(), "curl", "-s", "--max-time", "60", "--unix-socket", socket, "-H", "Content-Type: application/json", "-d", body,
		"http://gslb/sluice.gslb.v1.ControlService/"+method)
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return string(out)
}
