package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

const (
	heldSocket = "/run/sluice/held.sock"
	share      = 4                      // connections held with each server
	tries      = 64                     // to find a server that has fewer
	pace       = 200 * time.Millisecond // between the requests of a connection
	slow       = 2 * time.Second        // without an answer a connection waits
	given      = 2 * time.Minute        // without an answer it is over
	dialling   = 2 * time.Second
)

// holder keeps connections open to a VIP, as clients with keep-alive do, and knows what became of them.
type holder struct {
	name, vip string

	mu      sync.Mutex // guards what follows
	open    map[*heldConnection]bool
	ended   map[string]int // since the last `again`, by server
	servers []string       // all that ever answered, sorted
}

// heldConnection is one of them. Each has a goroutine of its own, which ends with it.
type heldConnection struct {
	net.Conn
	reader *bufio.Reader
	server string    // who answered first
	asked  time.Time // since when a request has had no answer; zero: none is under way; guarded by the holder
}

// hold keeps connections to the VIPs, given as NAME=ADDRESS:PORT, and answers at its socket, until ctx ends.
func hold(ctx context.Context, vips []string) error {
	var holders []*holder
	for _, v := range vips {
		name, vip, ok := strings.Cut(v, "=")
		if !ok {
			return fmt.Errorf("a VIP must be NAME=ADDRESS:PORT, is %q", v)
		}
		h := &holder{name: name, vip: vip, open: make(map[*heldConnection]bool), ended: make(map[string]int)}
		h.fill()
		holders = append(holders, h)
	}
	l, err := net.Listen("unix", heldSocket)
	if err != nil {
		return err
	}
	defer l.Close()
	context.AfterFunc(ctx, func() { l.Close() })
	for {
		conn, err := l.Accept()
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return err
		}
		question, _ := bufio.NewReader(conn).ReadString('\n')
		for _, h := range holders {
			last := question == "again\n"
			fmt.Fprintln(conn, h.report(time.Now(), last))
			if last {
				h.fill()
			}
		}
		conn.Close()
	}
}

// held asks the holder on this host.
func held(out io.Writer, question string) error {
	conn, err := net.Dial("unix", heldSocket)
	if err != nil {
		return err
	}
	defer conn.Close()
	if _, err := fmt.Fprintln(conn, question); err != nil {
		return err
	}
	_, err = io.Copy(out, conn)
	return err
}

// fill opens connections until every server in reach has its share.
func (h *holder) fill() {
	for range tries {
		// One that fails is in the log, and the report says who has none.
		c, err := open(h.vip)
		if err != nil {
			fmt.Printf("%s: no new connection: %v\n", h.name, err)
			return
		}
		if !h.add(c) {
			c.Close()
		}
	}
}

// add takes a connection, if its server has fewer than its share.
func (h *holder) add(c *heldConnection) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if i, known := slices.BinarySearch(h.servers, c.server); !known {
		h.servers = slices.Insert(h.servers, i, c.server)
	}
	n := 0
	for o := range h.open {
		if o.server == c.server {
			n++
		}
	}
	if n >= share {
		return false
	}
	h.open[c] = true
	go h.keep(c)
	return true
}

// keep asks on a connection until that ends.
func (h *holder) keep(c *heldConnection) {
	defer c.Close()
	for {
		h.mu.Lock()
		c.asked = time.Now()
		h.mu.Unlock()
		server, err := c.ask()
		if err == nil && server != c.server {
			err = fmt.Errorf("answered by %s", server)
		}
		h.mu.Lock()
		c.asked = time.Time{}
		if err != nil {
			delete(h.open, c)
			h.ended[c.server]++
			h.mu.Unlock()
			fmt.Printf("%s: a connection with %s ended: %v\n", h.name, c.server, err)
			return
		}
		h.mu.Unlock()
		time.Sleep(pace)
	}
}

// report says of each server that ever answered whether its connections are held, wait for an answer, have ended since
// the last `again`, or never were. With forget, this is the last time that it says so of those that ended.
func (h *holder) report(now time.Time, forget bool) string {
	h.mu.Lock()
	defer h.mu.Unlock()
	if forget {
		defer clear(h.ended)
	}
	var states []string
	for _, server := range h.servers {
		n, waiting := 0, 0
		for c := range h.open {
			if c.server != server {
				continue
			}
			n++
			if !c.asked.IsZero() && now.Sub(c.asked) > slow {
				waiting++
			}
		}
		state := "held"
		switch ended := h.ended[server]; {
		case ended > 0 && n > 0:
			state = fmt.Sprintf("%d of %d ended", ended, ended+n)
		case ended > 0:
			state = "ended"
		case n == 0:
			state = "none"
		case waiting > 0:
			state = "waits"
		}
		states = append(states, server+" "+state)
	}
	if states == nil {
		states = []string{"no server answers"}
	}
	return h.name + ": " + strings.Join(states, ", ")
}

// open makes a connection, and asks once who it is with.
func open(vip string) (*heldConnection, error) {
	conn, err := net.DialTimeout("tcp", vip, dialling)
	if err != nil {
		return nil, err
	}
	c := &heldConnection{Conn: conn, reader: bufio.NewReader(conn)}
	if c.server, err = c.ask(); err != nil {
		conn.Close()
		return nil, err
	}
	return c, nil
}

// ask sends a request and takes the answer, which names the server: web1 of "web1.berlin".
func (c *heldConnection) ask() (server string, err error) {
	if err := c.SetDeadline(time.Now().Add(given)); err != nil {
		return "", err
	}
	if _, err := io.WriteString(c, "GET / HTTP/1.1\r\nHost: www.example.com\r\n\r\n"); err != nil {
		return "", err
	}
	response, err := http.ReadResponse(c.reader, nil)
	if err != nil {
		return "", err
	}
	body, err := io.ReadAll(io.LimitReader(response.Body, 256))
	if err != nil {
		return "", err
	}
	server, _, named := strings.Cut(string(body), ".")
	if response.StatusCode != http.StatusOK || !named || response.Close {
		return "", fmt.Errorf("answer %s %q, which ends the connection: %t", response.Status, body, response.Close)
	}
	return server, nil
}
