package store

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/sluicelb/sluice/controller/config"
	"github.com/sluicelb/sluice/controller/core"
	"github.com/sluicelb/sluice/controller/plan"
	"github.com/sluicelb/sluice/controller/rows"
	"github.com/sluicelb/sluice/p4/packet"
)

// Documents, under data/. A pool has its own, so that a change writes the pools it touches.
const (
	docIntent   = "intent"
	docText     = "intent.yaml" // the intent's text, as it is
	docPlan     = "plan"
	docAdmin    = "admin"
	docVerdicts = "verdicts/" // and the pool's name
	docPool     = "pool/"     // and its name
	docPins     = "pins/"     // and the number of the part
)

type planDoc struct {
	NextPool    rows.PoolID    `json:"next_pool"`
	NextBackend rows.BackendID `json:"next_backend"`
	NextEpoch   uint32         `json:"next_epoch"`
	Secret      rows.Secret    `json:"secret,omitzero"`
	VIPAge      []ageDoc       `json:"vip_age"`

	Retired map[packet.MAC]time.Time `json:"retired,omitempty"`
	PortIDs config.PortIDs           `json:"port_ids,omitempty"`
	Suspect time.Time                `json:"suspect,omitzero"`
}

type ageDoc struct {
	Address  netip.Addr      `json:"address"`
	Protocol config.Protocol `json:"protocol"`
	Port     uint16          `json:"port"`
	Revision int64           `json:"revision"`
}

type adminDoc struct {
	Pool    string     `json:"pool"`
	Backend string     `json:"backend"`
	Admin   plan.Admin `json:"admin"`
}

// encodedVerdicts is a document and what it was made of, by backend.
type encodedVerdicts struct {
	of  map[string]core.Verdict
	doc []byte
}

// encode returns the documents of st. What is the same as in the last call is not encoded again.
func (s *Store) encode(st core.Stored) (map[string][]byte, error) {
	doc := planDoc{
		NextPool: st.Plan.NextPool, NextBackend: st.Plan.NextBackend, NextEpoch: st.Plan.NextEpoch,
		Secret: st.Plan.Secret, Retired: st.Retired,
		PortIDs: st.PortIDs, Suspect: st.Suspect,
	}
	for k, revision := range st.VIPAge {
		doc.VIPAge = append(doc.VIPAge, ageDoc{k.Address, k.Protocol, k.Port, revision})
	}
	slices.SortFunc(doc.VIPAge, func(a, b ageDoc) int {
		return cmp.Or(a.Address.Compare(b.Address), cmp.Compare(a.Protocol, b.Protocol), cmp.Compare(a.Port, b.Port))
	})
	var admin []adminDoc
	for _, k := range backends(st.Admin) {
		admin = append(admin, adminDoc{k.Pool, k.Backend, st.Admin[k]})
	}
	docs := make(map[string][]byte)
	if err := encodeIntent(st.Intent, docs); err != nil {
		return nil, err
	}
	for name, value := range map[string]any{docPlan: doc, docAdmin: admin} {
		b, err := json.Marshal(value)
		if err != nil {
			return nil, fmt.Errorf("encoding %s: %w", name, err)
		}
		docs[name] = b
	}
	if err := s.encodeVerdicts(st.Verdicts, docs); err != nil {
		return nil, err
	}
	encoded := make(map[*plan.Pool][]byte)
	for name, pool := range st.Plan.Pools {
		b, ok := s.encoded[pool]
		if !ok {
			var err error
			if b, err = encodePool(pool); err != nil {
				return nil, fmt.Errorf("encoding pool %s: %w", name, err)
			}
		}
		encoded[pool] = b
		docs[docPool+name] = b
	}
	s.encoded = encoded
	if s.pins.docs == nil || s.pins.of != st.Plan.Pins {
		s.pins.of, s.pins.docs = st.Plan.Pins, encodePins(st.Plan.Pins)
	}
	maps.Copy(docs, s.pins.docs)
	return docs, nil
}

// encodeIntent adds the documents of the intent.
func encodeIntent(intent core.Intent, docs map[string][]byte) error {
	b, err := json.Marshal(intent)
	if err != nil {
		return fmt.Errorf("encoding %s: %w", docIntent, err)
	}
	docs[docIntent], docs[docText] = b, []byte(intent.YAML)
	return nil
}

// encodeVerdicts adds one document for each pool that has verdicts.
func (s *Store) encodeVerdicts(all map[plan.BackendKey]core.Verdict, docs map[string][]byte) error {
	pools := make(map[string]map[string]core.Verdict)
	for k, v := range all {
		if pools[k.Pool] == nil {
			pools[k.Pool] = make(map[string]core.Verdict)
		}
		pools[k.Pool][k.Backend] = v
	}
	verdicts := make(map[string]encodedVerdicts)
	for pool, of := range pools {
		e, ok := s.verdicts[pool]
		if !ok || !maps.Equal(e.of, of) {
			b, err := json.Marshal(of)
			if err != nil {
				return fmt.Errorf("encoding the verdicts of %s: %w", pool, err)
			}
			e = encodedVerdicts{of, b}
		}
		verdicts[pool] = e
		docs[docVerdicts+pool] = e.doc
	}
	s.verdicts = verdicts
	return nil
}

func backends[V any](m map[plan.BackendKey]V) []plan.BackendKey {
	return slices.SortedFunc(maps.Keys(m), func(a, b plan.BackendKey) int {
		return cmp.Or(cmp.Compare(a.Pool, b.Pool), cmp.Compare(a.Backend, b.Backend))
	})
}

// decode is the reverse of encode.
func decode(docs map[string][]byte) (core.Stored, error) {
	st := core.Stored{
		Admin:    make(map[plan.BackendKey]plan.Admin),
		Verdicts: make(map[plan.BackendKey]core.Verdict),
		VIPAge:   make(map[rows.VIPKey]int64),
	}
	var doc planDoc
	var admin []adminDoc
	var text string
	flows := make(map[rows.Flow]rows.BackendID)
	for name, b := range docs {
		var err error
		switch {
		case name == docIntent:
			err = json.Unmarshal(b, &st.Intent)
		case name == docText:
			text = string(b)
		case name == docPlan:
			err = json.Unmarshal(b, &doc)
		case name == docAdmin:
			err = json.Unmarshal(b, &admin)
		case strings.HasPrefix(name, docVerdicts):
			var of map[string]core.Verdict
			err = json.Unmarshal(b, &of)
			for backend, v := range of {
				st.Verdicts[plan.BackendKey{Pool: strings.TrimPrefix(name, docVerdicts), Backend: backend}] = v
			}
		case strings.HasPrefix(name, docPool):
			if st.Plan.Pools == nil {
				st.Plan.Pools = make(map[string]*plan.Pool)
			}
			st.Plan.Pools[strings.TrimPrefix(name, docPool)], err = decodePool(b)
		case strings.HasPrefix(name, docPins):
			err = decodePins(b, flows)
		default:
			err = fmt.Errorf("unknown document")
		}
		if err != nil {
			return core.Stored{}, fmt.Errorf("%w: %s: %w", ErrCorrupt, name, err)
		}
	}
	st.Plan.NextPool, st.Plan.NextBackend, st.Plan.NextEpoch = doc.NextPool, doc.NextBackend, doc.NextEpoch
	st.Plan.Secret, st.Retired, st.PortIDs, st.Suspect = doc.Secret, doc.Retired, doc.PortIDs, doc.Suspect
	if _, ok := docs[docText]; !ok && st.Intent.Revision > 0 {
		return core.Stored{}, fmt.Errorf("%w: %s is missing", ErrCorrupt, docText)
	}
	st.Intent.YAML, st.Plan.Pins = text, plan.NewPins(flows)
	for _, a := range doc.VIPAge {
		st.VIPAge[rows.VIPKey{Address: a.Address, Protocol: a.Protocol, Port: a.Port}] = a.Revision
	}
	for _, a := range admin {
		st.Admin[plan.BackendKey{Pool: a.Pool, Backend: a.Backend}] = a.Admin
	}
	return st, nil
}
