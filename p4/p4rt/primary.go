package p4rt

import (
	"context"
	"errors"
	"fmt"
	"io"

	v1 "github.com/p4lang/p4runtime/go/p4/v1"

	"github.com/sluicelb/sluice/p4/backlog"
)

// Primary is a Client while it is its device's primary. Its writes carry the election id, so a target
// refuses them once another client has taken over.
type Primary struct {
	*Client
	ctx      context.Context // ends with this time as primary
	link     *link
	messages *backlog.Backlog
}

// Info returns the names of the pipeline that the target runs.
func (p *Primary) Info() *Info { return p.info }

// Waiting returns a channel that holds a token while Next has something to return. It is not closed when
// primacy ends; the context is done then.
func (p *Primary) Waiting() <-chan struct{} { return p.messages.Waiting() }

// Next returns what the target has sent, nil when nothing waits: idle timeout notifications first, then
// digests, stream errors and packet-ins. Each kind has its own room (package backlog); what is not taken
// in time is dropped.
func (p *Primary) Next() *v1.StreamMessageResponse { return p.messages.Next() }

// Dropped counts the messages of a kind that were not taken in time.
func (p *Primary) Dropped(kind backlog.Kind) uint64 { return p.messages.Dropped(kind) }

// PacketOut sends a packet through the data plane, with precisely the metadata that the P4Info lists.
// It belongs to this connection: after it is lost nothing is sent any more, nor kept for later.
func (p *Primary) PacketOut(payload []byte, metadata ...Field) error {
	m, err := p.info.EncodePacketOut(payload, metadata...)
	if err != nil {
		return err
	}
	return p.send("packet-out", &v1.StreamMessageRequest{Update: &v1.StreamMessageRequest_Packet{Packet: m}})
}

// AckDigest acknowledges a digest list, after which the target may send its content again.
func (p *Primary) AckDigest(list *v1.DigestList) error {
	return p.send("digest acknowledgement", &v1.StreamMessageRequest{Update: &v1.StreamMessageRequest_DigestAck{
		DigestAck: &v1.DigestListAck{DigestId: list.GetDigestId(), ListId: list.GetListId()},
	}})
}

func (p *Primary) send(what string, m *v1.StreamMessageRequest) error {
	if p.ctx.Err() != nil {
		return fmt.Errorf("%s: %w (%w)", what, ErrNotPrimary, context.Cause(p.ctx))
	}
	if err := p.link.send(m); errors.Is(err, io.EOF) {
		return fmt.Errorf("%s: %w", what, errLost)
	} else if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	return nil
}
