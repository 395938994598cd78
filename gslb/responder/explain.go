package responder

import (
	"net/netip"

	"github.com/sluicelb/sluice/gslb/selection"
)

// Story is how an answer comes about: what zones say about each name on the way, and what rules chose there.
type Story struct {
	Steps []Step `json:"steps"`
	Rcode string `json:"rcode"` // or what else becomes of the query: "forward", "wait"
	// Records are those of the response, as zone files have them.
	Answer     []string `json:"answer,omitempty"`
	Authority  []string `json:"authority,omitempty"`
	Additional []string `json:"additional,omitempty"`
	Forward    []string `json:"forward,omitempty"` // servers
	Scope      uint8    `json:"scope"`             // RFC 7871
}

// Step is one name on the way from the name that was asked for to the answer.
type Step struct {
	Name string `json:"name"`
	Zone string `json:"zone,omitempty"`
	Data string `json:"data"` // what there is at the name, in words
	// Why is the selection of the rules that balance the name, nil where none do.
	Why *selection.Why `json:"why,omitempty"`
}

// Lines is the story for people.
func (s *Story) Lines() []string { return nil }

// Explain tells how a query of class IN over TCP from client, with the client subnet unless that is invalid, would be
// answered, round robins at their start. It changes nothing. The name is in presentation form.
func Explain(v *View, name string, qtype uint16, client netip.Addr, subnet netip.Prefix) (*Story, error) {
	return &Story{}, nil
}
