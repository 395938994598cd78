package loadreport

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"time"
)

// version is the protocol's; magic and version begin every datagram.
const version = 1

var magic = [3]byte{'S', 'L', 'R'}

// kind of datagram.
type kind uint8

const (
	request kind = 1
	reply   kind = 2
)

// status of a reply; 0 in a request.
type status uint8

const (
	statusOK    status = 0
	statusClock status = 1 // the request's time is too far from the server's, which the reply has; no items
)

// Offsets in a datagram, and sizes.
const (
	atVersion  = 3
	atKind     = 4
	atStatus   = 5
	atCount    = 6
	atReserved = 7
	atKey      = 8
	atTime     = 12
	atNonce    = 20
	headerSize = 36
	macSize    = sha256.Size
	reportSize = 6 // of one item in a reply
	nonceSize  = headerSize - atNonce
)

// What an item's first byte says; the second is the length of its value.
const (
	itemIPv4 = 1
	itemIPv6 = 2
	itemTag  = 3
)

// Flags of a report.
const (
	flagKnown  = 1
	flagUnseen = 2
)

// header is what requests and replies have in common.
type header struct {
	kind   kind
	status status
	count  uint8
	key    uint32
	millis int64 // since 1970
	nonce  [nonceSize]byte
}

func (h header) time() time.Time { return time.UnixMilli(h.millis) }

func (h header) append(b []byte) []byte {
	b = append(b, magic[:]...)
	b = append(b, version, byte(h.kind), byte(h.status), h.count, 0)
	b = binary.BigEndian.AppendUint32(b, h.key)
	b = binary.BigEndian.AppendUint64(b, uint64(h.millis))
	return append(b, h.nonce[:]...)
}

// errForeign is the error for a datagram that is not of this version of the protocol.
var errForeign = errors.New("not a load report of version 1")

// parseHeader reads what comes before the items. It is all that is believed before the MAC is checked.
func parseHeader(b []byte) (header, error) {
	if len(b) < headerSize+macSize || len(b) > MaxSize || !bytes.Equal(b[:atVersion], magic[:]) ||
		b[atVersion] != version {
		return header{}, errForeign
	}
	h := header{
		kind:   kind(b[atKind]),
		status: status(b[atStatus]),
		count:  b[atCount],
		key:    binary.BigEndian.Uint32(b[atKey:]),
		millis: int64(binary.BigEndian.Uint64(b[atTime:])),
		nonce:  [nonceSize]byte(b[atNonce:headerSize]),
	}
	return h, nil
}

// seal appends the MAC over all of b.
func (k Key) seal(b []byte) []byte {
	m := k.mac()
	m.Write(b)
	return m.Sum(b)
}

// open returns what lies between the header and the MAC, if the MAC is k's.
func (k Key) open(b []byte) (body []byte, ok bool) {
	end := len(b) - macSize
	m := k.mac()
	m.Write(b[:end])
	var sum [macSize]byte
	if !hmac.Equal(m.Sum(sum[:0]), b[end:]) {
		return nil, false
	}
	return b[headerSize:end], true
}

// replySize is the size of a reply with so many reports.
func replySize(items int) int { return headerSize + items*reportSize + macSize }

// encodeRequest makes a request, which is never smaller than its reply.
func encodeRequest(k Key, at time.Time, nonce [nonceSize]byte, items []Item) ([]byte, error) {
	if len(items) == 0 || len(items) > MaxItems {
		return nil, fmt.Errorf("a request must have 1..%d items, has %d", MaxItems, len(items))
	}
	h := header{kind: request, count: uint8(len(items)), key: k.id, millis: at.UnixMilli(), nonce: nonce}
	b := h.append(make([]byte, 0, MaxSize))
	for _, item := range items {
		if err := item.Check(); err != nil {
			return nil, err
		}
		b = item.append(b)
	}
	if pad := replySize(len(items)) - macSize - len(b); pad > 0 {
		b = append(b, make([]byte, pad)...)
	}
	if size := len(b) + macSize; size > MaxSize {
		return nil, fmt.Errorf("a request must be at most %d bytes, is %d with %d items: ask for fewer at a time",
			MaxSize,
			size, len(items))
	}
	return k.seal(b), nil
}

// append adds the item's kind, length and value.
func (i Item) append(b []byte) []byte {
	if i.Tag != "" {
		b = append(b, itemTag, byte(len(i.Tag)))
		return append(b, i.Tag...)
	}
	address := i.Address.Unmap()
	code := byte(itemIPv4)
	if address.Is6() {
		code = itemIPv6
	}
	b = append(b, code, byte(3+address.BitLen()/8), i.Protocol)
	b = binary.BigEndian.AppendUint16(b, i.Port)
	return append(b, address.AsSlice()...)
}

// parseItems reads a request's items. An item of a kind that is not known comes back as the zero Item. A body
// that says one thing and holds another, or is too small for its reply, is refused.
func parseItems(h header, body []byte) ([]Item, error) {
	if h.count == 0 || h.count > MaxItems || h.status != statusOK {
		return nil, fmt.Errorf("%d items, status %d", h.count, h.status)
	}
	if len(body) < int(h.count)*reportSize {
		return nil, errors.New("smaller than its reply would be")
	}
	items := make([]Item, h.count)
	for n := range items {
		if len(body) < 2 || len(body)-2 < int(body[1]) {
			return nil, fmt.Errorf("items[%d] is cut off", n)
		}
		code, value := body[0], body[2:2+int(body[1])]
		body = body[2+len(value):]
		var err error
		if items[n], err = parseItem(code, value); err != nil {
			return nil, fmt.Errorf("items[%d]: %w", n, err)
		}
	}
	for _, x := range body {
		if x != 0 {
			return nil, errors.New("bytes after the items are not zero")
		}
	}
	return items, nil
}

func parseItem(code byte, value []byte) (Item, error) {
	switch code {
	case itemTag:
		if len(value) == 0 || len(value) > MaxTag {
			return Item{}, fmt.Errorf("a tag of %d bytes", len(value))
		}
		return Tag(string(value)), nil
	case itemIPv4, itemIPv6:
		want := 4
		if code == itemIPv6 {
			want = 16
		}
		if len(value) != 3+want {
			return Item{}, fmt.Errorf("a VIP of %d bytes, must be %d", len(value), 3+want)
		}
		address, _ := netip.AddrFromSlice(value[3:])
		return Item{Address: address.Unmap(), Protocol: value[0], Port: binary.BigEndian.Uint16(value[1:])}, nil
	}
	return Item{}, nil
}

// encodeReply answers the request that h heads.
func encodeReply(k Key, h header, at time.Time, s status, reports []Report) []byte {
	h.kind, h.status, h.count, h.millis = reply, s, uint8(len(reports)), at.UnixMilli()
	b := h.append(make([]byte, 0, replySize(len(reports))))
	for _, r := range reports {
		flags := byte(0)
		if r.Known {
			flags = flagKnown
		} else {
			r = Report{Load: Offline}
		}
		if r.Unseen {
			flags |= flagUnseen
			r.Load = Offline
		}
		b = append(b, flags, r.Load)
		b = binary.BigEndian.AppendUint16(b, r.Live)
		b = binary.BigEndian.AppendUint16(b, r.Total)
	}
	return k.seal(b)
}

// parseReports reads the body of a reply to a request of so many items.
func parseReports(h header, body []byte, items int) ([]Report, error) {
	if int(h.count) != items || len(body) != items*reportSize {
		return nil, fmt.Errorf("the reply has %d reports in %d bytes, to %d items", h.count, len(body), items)
	}
	reports := make([]Report, items)
	for n := range reports {
		b := body[n*reportSize:]
		reports[n] = Report{
			Known: b[0]&flagKnown != 0,
			Load:  b[1],
			// Who says that some traffic may come sees something.
			Unseen: b[0]&flagUnseen != 0 && b[1] == Offline,
			Live:   binary.BigEndian.Uint16(b[2:]),
			Total:  binary.BigEndian.Uint16(b[4:]),
		}
		if !reports[n].Known {
			reports[n] = Report{Load: Offline}
		}
	}
	return reports, nil
}
