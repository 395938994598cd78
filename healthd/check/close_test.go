package check_test

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/sluicelb/sluice/healthd/check"
)

// A check that closes by FIN waits for the server's FIN, and is patient with a program that is in no hurry.
func TestWaitForTheServersFIN(t *testing.T) {
	answered := func(c net.Conn) {
		http.ReadRequest(bufio.NewReader(c))
		io.WriteString(c, "HTTP/1.1 200 OK\r\n\r\n")
	}
	for _, tt := range []struct {
		name   string
		wait   time.Duration
		server func(c net.Conn, done <-chan struct{})
	}{
		{"closes first", patience, func(c net.Conn, _ <-chan struct{}) { c.Close() }},
		{"closes on the FIN", patience, func(c net.Conn, _ <-chan struct{}) { silent(c) }},
		{"resets on the FIN", patience, func(c net.Conn, _ <-chan struct{}) {
			io.Copy(io.Discard, c)
			c.(*net.TCPConn).SetLinger(0)
			c.Close()
		}},
		{"talks on and closes", patience, func(c net.Conn, _ <-chan struct{}) {
			io.WriteString(c, "220 mail.example.com ESMTP\r\n")
			silent(c)
		}},
		{"never closes", 20 * time.Millisecond, func(c net.Conn, done <-chan struct{}) {
			<-done
			c.Close()
		}},
		{"never ends talking", 20 * time.Millisecond, func(c net.Conn, done <-chan struct{}) {
			defer c.Close()
			for {
				if _, err := io.WriteString(c, "220 wait\r\n"); err != nil {
					return
				}
			}
		}},
		{"nobody waits", 0, func(c net.Conn, done <-chan struct{}) {
			<-done
			c.Close()
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			done := make(chan struct{})
			defer close(done)
			address := listen(t, func(c net.Conn) { tt.server(c, done) })
			if err := run(t, check.TCP{Network: check.Kernel{}, Address: address, Close: check.CloseFIN, Wait: tt.wait},
				patience); err != nil {
				t.Errorf("TCP: %v", err)
			}
			web := listen(t, func(c net.Conn) {
				answered(c)
				tt.server(c, done)
			})
			head, err := check.NewHTTP(check.Kernel{},
				check.HTTPOptions{Address: web, Method: "HEAD", Close: check.CloseFIN,
					Wait: tt.wait})
			if err != nil {
				t.Fatal(err)
			}
			if err := run(t, head, patience); err != nil {
				t.Errorf("HEAD: %v", err)
			}
		})
	}
}

// When the check has ended, the server has closed its side.
func TestServerHasClosedWhenTheCheckEnds(t *testing.T) {
	closing := make(chan struct{}, 1)
	address := listen(t, func(c net.Conn) {
		io.Copy(io.Discard, c)
		closing <- struct{}{}
		c.Close()
	})
	if err := run(t, check.TCP{Network: check.Kernel{}, Address: address, Close: check.CloseFIN, Wait: patience},
		patience); err != nil {
		t.Fatal(err)
	}
	select {
	case <-closing:
	default:
		t.Error("the check did not wait for the server")
	}
}
