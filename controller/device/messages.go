package device

import (
	"context"
	"fmt"
	"slices"
	"time"

	v1 "github.com/p4lang/p4runtime/go/p4/v1"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/sluicelb/sluice/controller/learn"
	"github.com/sluicelb/sluice/controller/plan"
	"github.com/sluicelb/sluice/internal/text"
	"github.com/sluicelb/sluice/p4"
	"github.com/sluicelb/sluice/p4/p4rt"
	"github.com/sluicelb/sluice/p4/packet"
)

// digests: 100 ms is the shortest that bmv2 knows; while a list waits for its acknowledgement the
// switch does not repeat it (section "Digest": 0 would mean for ever).
var digests = p4rt.DigestConfig{MaxTimeout: 100 * time.Millisecond, MaxListSize: 256, AckTimeout: time.Second}

// The digests of the pipeline: stations, and ARP requests that used a VIP as their sender, which not every build of it
// tells.
const (
	learned  = "learn_t"
	disowned = "disowned_t"
)

// configureDigests turns on what the pipeline has.
func (r *reconciler) configureDigests(ctx context.Context) error {
	if err := r.configureDigest(ctx, learned); err != nil {
		return err
	}
	if _, err := r.codec.info.DigestEntity(disowned, digests); err != nil {
		return nil
	}
	return r.configureDigest(ctx, disowned)
}

// configureDigest turns a digest on, unless it is.
func (r *reconciler) configureDigest(ctx context.Context, name string) error {
	want, err := r.codec.info.DigestEntity(name, digests)
	if err != nil {
		return err
	}
	query := &v1.Entity{Entity: &v1.Entity_DigestEntry{DigestEntry: &v1.DigestEntry{DigestId: want.GetDigestEntry().GetDigestId()}}}
	update := p4rt.Insert(want)
	for have, err := range r.target.Read(ctx, query) {
		switch {
		case status.Code(err) == codes.NotFound: // bmv2's way to say that there is none
		case err != nil:
			return fmt.Errorf("reading the digest configuration: %w", err)
		case proto.Equal(have.GetDigestEntry().GetConfig(), want.GetDigestEntry().GetConfig()):
			return nil
		default:
			update = p4rt.Modify(want)
		}
	}
	if err := r.target.Write(ctx, []*v1.Update{update}); err != nil {
		return fmt.Errorf("configuring digests: %w", err)
	}
	return nil
}

// message takes one message of the switch. Malformed ones are the switch's fault and are passed over.
func (r *reconciler) message(ctx context.Context, m *v1.StreamMessageResponse) {
	var err error
	switch u := m.GetUpdate().(type) {
	case *v1.StreamMessageResponse_Digest:
		err = r.digest(ctx, u.Digest)
	case *v1.StreamMessageResponse_IdleTimeoutNotification:
		r.idle(ctx, u.IdleTimeoutNotification)
	case *v1.StreamMessageResponse_Packet:
		err = r.packetIn(ctx, u.Packet)
	case *v1.StreamMessageResponse_Error:
		err = fmt.Errorf("code %v: %s", codes.Code(u.Error.GetCanonicalCode()), text.Cut(u.Error.GetMessage()))
	}
	if err != nil {
		r.cfg.Log.Warn("message of the switch", "switch", r.cfg.Name, "err", err)
	}
}

func (r *reconciler) digest(ctx context.Context, list *v1.DigestList) error {
	r.acks = append(r.acks, list)
	decoded, err := r.codec.info.DecodeDigests(list)
	if err != nil {
		return err
	}
	for _, fields := range decoded.Messages {
		mac, port := fields[0].Value.MAC(), uint16(fields[1].Value.Uint())
		if decoded.Digest == disowned {
			r.cfg.Report(ctx, Report{Switch: r.cfg.Name, Claim: &Claim{
				VIP: toAddr(fields[2].Value.Uint()), Port: port, MAC: mac, Disowned: true,
			}})
			continue
		}
		if from, moved := r.learner.Seen(mac, port); moved {
			r.cfg.Report(ctx, Report{Switch: r.cfg.Name, Moved: &Moved{mac, from, port}})
		}
	}
	return nil
}

func (r *reconciler) idle(ctx context.Context, n *v1.IdleTimeoutNotification) {
	var idle []plan.SlotRef
	now := time.Now()
	for _, e := range n.GetTableEntry() {
		switch e.GetTableId() {
		case r.codec.station.id:
			if k, ok := r.codec.station.key(e); ok {
				r.learner.Aged(toMAC(k[0]))
			}
		case r.codec.slotOld.id:
			if k, ok := r.codec.slotOld.key(e); ok {
				if ref, ok := r.held.idleRow(oldKey{toSlotTable(k), uint16(k[2])}, now); ok {
					idle = append(idle, ref)
				}
			}
		}
	}
	if len(idle) > 0 {
		r.cfg.Report(ctx, Report{Switch: r.cfg.Name, Idle: idle})
	}
}

func (r *reconciler) packetIn(ctx context.Context, p *v1.PacketIn) error {
	in, err := r.codec.info.DecodePacketIn(p)
	if err != nil {
		return err
	}
	reason, port := in.Field("reason").Uint(), uint16(in.Field("ingress_port").Uint())
	frame := packet.Ethernet(in.Payload)
	if !frame.IsValid() {
		return nil
	}
	if reason == reasonSpoof {
		r.sighted(frame.Src(), port, time.Now())
		return nil
	}
	if reason != p4.ReasonARPClaim || frame.Type() != packet.TypeARP {
		return nil
	}
	arp := packet.ARP(frame.Payload())
	if !arp.IsValid() {
		return nil
	}
	r.cfg.Report(ctx, Report{Switch: r.cfg.Name, Claim: &Claim{
		VIP: arp.Sender(), Port: port, MAC: arp.SenderMAC(),
	}})
	return nil
}

// someOtherPort stands for the unknown port of a row that turned out to exist.
const someOtherPort = 0xffff

// writeStations writes what was learned, then acknowledges the digests: until then the switch need not
// repeat them.
func (r *reconciler) writeStations(ctx context.Context) error {
	const rounds = 3 // what is still refused then waits for the next message
	for range rounds {
		changes := r.learner.Changes()
		if len(changes) == 0 {
			break
		}
		for part := range slices.Chunk(changes, chunk) {
			updates := make([]*v1.Update, len(part))
			for i, ch := range part {
				updates[i] = r.codec.learned(ch, r.cfg.StationIdle)
			}
			refused, err := r.refused(r.target.Write(ctx, updates))
			if err != nil {
				return fmt.Errorf("writing %d stations: %w", len(part), err)
			}
			for i, ch := range part {
				e, bad := refused[i]
				switch {
				case !bad:
					r.learner.Done(ch)
				case e.Code == codes.AlreadyExists:
					r.learner.Done(learn.Change{Op: learn.Insert, Table: ch.Table, MAC: ch.MAC, Port: someOtherPort})
				case e.Code == codes.NotFound:
					r.learner.Done(learn.Change{Op: learn.Delete, Table: ch.Table, MAC: ch.MAC})
				case ch.Op != learn.Delete:
					r.learner.GiveUp(ch.MAC)
				}
			}
		}
	}
	r.learned.Store(int64(r.learner.Len()))
	r.look(time.Now())
	for _, list := range r.acks {
		if err := r.target.AckDigest(list); err != nil {
			return err
		}
	}
	r.acks = r.acks[:0]
	return nil
}
