package controller

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"time"

	"connectrpc.com/connect"
	"golang.org/x/sync/errgroup"

	"github.com/sluicelb/sluice/controller/api"
	"github.com/sluicelb/sluice/controller/tree"
	"github.com/sluicelb/sluice/internal/gnmi"
	"github.com/sluicelb/sluice/internal/rpc"
)

// standby serves gNMI while this controller waits for its store, which another one has: that it stands by, and for
// whom.
// Of switches it knows nothing, as it asks none. The API's methods are answered with the same.
//
// It begins to listen when there is somebody to wait for, and ends before the controller that leads listens: what a
// client has open then ends.
type standby struct {
	c       *Controller
	started time.Time
	signs   signs
	serving errgroup.Group
	stop    context.CancelFunc // nil: it does not listen

	mu     sync.Mutex // guards reason
	reason string
}

// because says for what this controller waits. It is store.Config.StandsBy.
func (s *standby) because(reason string) {
	s.mu.Lock()
	s.reason = reason
	s.mu.Unlock()
	s.signs.give()
	if s.stop == nil {
		s.begin()
	}
}

// begin listens. Where that cannot be, as the leader runs on this host and has the sockets, the controller goes on
// without: it needs them when it leads.
func (s *standby) begin() {
	ctx, cancel := context.WithCancel(context.Background())
	s.stop = cancel
	listeners, err := s.c.listen()
	if err != nil {
		s.c.log.Warn("nothing is served while this controller stands by", "err", err)
		return
	}
	server := gnmi.New(gnmi.Config{
		Schema: tree.Schema, Source: s, Lowest: lowestInterval,
		ReadOnly: "this controller stands by, and decides nothing",
	})
	services := server.Services()
	for procedure := range api.Methods {
		services = append(services, rpc.Mount(procedure, http.HandlerFunc(s.refuse)))
	}
	for _, l := range listeners {
		s.c.log.Info("gNMI is served while this controller stands by", "listen", l.Address())
		s.serving.Go(func() error { return rpc.Serve(ctx, l, methods, services...) })
	}
}

// end closes the sockets, and waits until all is over.
func (s *standby) end() {
	if s.stop == nil {
		return
	}
	s.stop()
	if err := s.serving.Wait(); err != nil {
		s.c.log.Warn("serving while this controller stood by", "err", err)
	}
}

func (s *standby) why() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.reason
}

// refuse answers the API: who calls a controller that stands by is to call another one.
func (s *standby) refuse(w http.ResponseWriter, r *http.Request) {
	err := connect.NewError(connect.CodeUnavailable, fmt.Errorf("this controller stands by: %s", s.why()))
	writer := connect.NewErrorWriter()
	if !writer.IsSupported(r) {
		http.Error(w, err.Message(), http.StatusServiceUnavailable)
		return
	}
	_ = writer.Write(w, r, err) // the caller is gone
}

// Changed implements gnmi.Source.
func (s *standby) Changed() <-chan struct{} { return s.signs.next() }

// Events implements gnmi.Source.
func (s *standby) Events(_ context.Context, t *gnmi.Tree) error {
	tree.Standby(s.started, s.why(), t)
	return nil
}

// Samples implements gnmi.Source: there are none.
func (s *standby) Samples(context.Context, *gnmi.Tree) error { return nil }
