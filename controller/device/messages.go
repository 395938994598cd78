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
	"github.com/sluicelb/sluice/controller/rows"
	"github.com/sluicelb/sluice/controller/tally"
	"github.com/sluicelb/sluice/internal/text"
	"github.com/sluicelb/sluice/p4/limits"
	"github.com/sluicelb/sluice/p4/p4rt"
	"github.com/sluicelb/sluice/p4/packet"
)

// digests: 100 ms is the shortest that bmv2 knows; while a list waits for its acknowledgement the
// switch does not repeat it (section "Digest": 0 would mean for ever).
var digests = p4rt.DigestConfig{MaxTimeout: 100 * time.Millisecond, MaxListSize: 256, AckTimeout: time.Second}

// complaintInterval is the least time between two lines about messages that make no sense.
const complaintInterval = 10 * time.Second

// The digests of the pipeline: stations, flows that a moving slot leaves behind, and ARP requests that used a VIP as
// their sender, which not every build of it tells.
const (
	learned  = "learn_t"
	disowned = "disowned_t"
	left     = "flow_t"
)

// configureDigests turns on what the pipeline has.
func (r *reconciler) configureDigests(ctx context.Context) error {
	for _, name := range []string{learned, left, disowned} {
		if _, err := r.codec.info.DigestEntity(name, digests); err != nil && name == disowned {
			continue
		}
		if err := r.configureDigest(ctx, name); err != nil {
			return err
		}
	}
	return nil
}

// configureDigest turns a digest on, unless it is.
func (r *reconciler) configureDigest(ctx context.Context, name string) error {
	want, err := r.codec.info.DigestEntity(name, digests)
	if err != nil {
		return err
	}
	query := &v1.Entity{Entity: &v1.Entity_DigestEntry{
		DigestEntry: &v1.DigestEntry{DigestId: want.GetDigestEntry().GetDigestId()}}}
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

// take handles messages of the switch, some weight of them: whatever it sends at line rate, others get their
// turn. It writes nothing.
func (r *reconciler) take(ctx context.Context, weight int) {
	var silent []rows.Flow
	for weight > 0 {
		m := r.target.Next()
		if m == nil {
			break
		}
		entries, err := 1, error(nil)
		switch u := m.GetUpdate().(type) {
		case *v1.StreamMessageResponse_Digest:
			entries = len(u.Digest.GetData())
			err = r.digest(u.Digest)
		case *v1.StreamMessageResponse_IdleTimeoutNotification:
			entries = len(u.IdleTimeoutNotification.GetTableEntry())
			silent = append(silent, r.idle(u.IdleTimeoutNotification)...)
		case *v1.StreamMessageResponse_Packet:
			err = r.packetIn(u.Packet)
		case *v1.StreamMessageResponse_Error:
			err = fmt.Errorf("code %v: %s", codes.Code(u.Error.GetCanonicalCode()), text.Cut(u.Error.GetMessage()))
		}
		weight -= max(1, entries)
		if err != nil {
			r.complain(err)
		}
	}
	if len(silent) > 0 {
		r.cfg.Observe(ctx, Observation{Switch: r.cfg.Name, Silent: silent})
	}
}

// complain logs what is wrong with a message of the switch, at most once an interval. Malformed ones are
// the switch's fault and are passed over.
func (r *reconciler) complain(err error) {
	r.complaints++
	if now := time.Now(); now.Sub(r.complained) >= complaintInterval {
		r.cfg.Log.Warn("message of the switch", "switch", r.cfg.Name, "err", err, "times", r.complaints)
		r.complained, r.complaints = now, 0
	}
}

// digest learns stations. A list of which nothing is left to do is acknowledged once its stations are
// written. One with stations for which there is no room is not: the switch repeats it, later.
func (r *reconciler) digest(list *v1.DigestList) error {
	decoded, err := r.codec.info.DecodeDigests(list)
	if err != nil {
		r.acks = append(r.acks, ack{list, time.Now()})
		return err
	}
	now, all := time.Now(), true
	if decoded.Digest == left {
		for _, fields := range decoded.Messages {
			r.leavers.add(rows.Flow(fields[0].Value.Uint()), rows.BackendID(fields[1].Value.Uint()))
		}
		r.acks = append(r.acks, ack{list, now})
		return nil
	}
	named := r.get().Named
	for _, fields := range decoded.Messages {
		mac, port := fields[0].Value.MAC(), uint16(fields[1].Value.Uint())
		by := tally.Sender{MAC: mac, Known: named[mac], Count: tally.Once(now)}
		if decoded.Digest == disowned {
			r.noise.claims.Add(tally.Claimed{VIP: fields[2].Value.Addr(), Port: port, Disowned: true}, by)
			r.noise.loud = true
			continue
		}
		switch from, what := r.learner.Seen(mac, port, now); what {
		case learn.Moved:
			r.noise.moves.Add(tally.Move{From: from, To: port}, by)
			r.noise.loud = true
		case learn.NoRoom:
			r.noise.noRoom.Add(port, by)
			r.noise.loud = true
			all = false
		}
	}
	if all {
		r.acks = append(r.acks, ack{list, now})
	}
	return nil
}

// idle returns the pinned flows that are silent.
func (r *reconciler) idle(n *v1.IdleTimeoutNotification) (silent []rows.Flow) {
	for _, e := range n.GetTableEntry() {
		t := r.codec.byID[e.GetTableId()]
		if t == nil {
			continue
		}
		entry, ok := t.parseKey(e)
		switch {
		case !ok:
		case t.Table == rows.Station:
			r.learner.Aged(rows.ReadLearned(entry).MAC)
		case t.Table == rows.PinRow{}.Kind().Table:
			silent = append(silent, rows.Pinned(entry))
		}
	}
	return silent
}

func (r *reconciler) packetIn(p *v1.PacketIn) error {
	in, err := r.codec.info.DecodePacketIn(p)
	if err != nil {
		return err
	}
	port := uint16(in.Field("ingress_port").Uint())
	switch in.Field("reason").Uint() {
	case limits.ReasonARPClaim:
		if arp, ok := packet.FindARP(in.Payload); ok {
			mac := arp.SenderMAC()
			r.noise.claims.Add(tally.Claimed{VIP: arp.Sender(), Port: port},
				tally.Sender{MAC: mac, Known: r.get().Named[mac], Count: tally.Once(time.Now())})
			r.noise.loud = true
		}
	case limits.ReasonSpoof:
		if frame := packet.Ethernet(in.Payload); frame.IsValid() {
			r.sighted(frame.Src(), port, time.Now())
			r.noise.spoofs.Add(tally.Spoofed{Port: port},
				tally.Sender{MAC: frame.Src(), Known: true, Count: tally.Once(time.Now())})
			r.noise.loud = true
		}
	case limits.ReasonARPSpoof:
		if arp, ok := packet.FindARP(in.Payload); ok {
			mac := arp.SenderMAC()
			r.noise.spoofs.Add(tally.Spoofed{Port: port, Address: arp.Sender()},
				tally.Sender{MAC: mac, Known: r.get().Named[mac], Count: tally.Once(time.Now())})
			r.noise.loud = true
		}
	}
	return nil
}

// someOtherPort stands for the unknown port of a row that turned out to exist.
const someOtherPort = 0xffff

// ack is a digest list to acknowledge.
type ack struct {
	list *v1.DigestList
	came time.Time
}

const (
	// stationsAtOnce is how many updates of stations are written in one go, and stationsPause the least
	// time between two: stations that hosts invent must not keep the switch from what is planned.
	stationsAtOnce = 128
	stationsPause  = 10 * time.Millisecond
)

// stationsDue returns when there is something to do for stations; the zero Time for never.
func (r *reconciler) stationsDue(now time.Time) time.Time {
	due := r.learner.Due(now)
	if len(r.acks) > 0 {
		due = now
	}
	if next := r.stationsAt.Add(stationsPause); !due.IsZero() && due.Before(next) {
		return next
	}
	return due
}

// writeStations writes a part of what was learned. When nothing is left to write it acknowledges the
// digests: until then the switch need not repeat them.
func (r *reconciler) writeStations(ctx context.Context) error {
	changes := r.learner.Changes(stationsAtOnce, time.Now())
	updates := make([]*v1.Update, len(changes))
	for i, ch := range changes {
		updates[i] = r.codec.learned(ch, r.cfg.StationIdle)
	}
	if len(changes) > 0 {
		refused, err := r.refused(r.target.Write(ctx, updates))
		if err != nil {
			return fmt.Errorf("writing %d stations: %w", len(updates), err)
		}
		now := time.Now()
		for i, ch := range changes {
			e, bad := refused[i]
			switch {
			case !bad:
				r.learner.Done(ch)
			case e.Code == codes.AlreadyExists:
				r.learner.Done(learn.Change{Op: learn.Insert, Table: ch.Table, MAC: ch.MAC, Port: someOtherPort})
			case e.Code == codes.NotFound:
				r.learner.Done(learn.Change{Op: learn.Delete, Table: ch.Table, MAC: ch.MAC})
			default:
				r.learner.Refused(ch, now)
			}
		}
	}
	r.stationsAt = time.Now()
	return r.acknowledge(len(changes) < stationsAtOnce)
}

// acknowledge sends what is owed, if nothing is left to write. What is too old the switch repeats anyway.
func (r *reconciler) acknowledge(written bool) error {
	late := time.Now().Add(-digests.AckTimeout)
	r.acks = slices.DeleteFunc(r.acks, func(a ack) bool { return a.came.Before(late) })
	if !written {
		return nil
	}
	for _, a := range r.acks {
		if err := r.target.AckDigest(a.list); err != nil {
			return err
		}
	}
	r.acks = r.acks[:0]
	return nil
}
