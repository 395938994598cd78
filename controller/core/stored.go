package core

import (
	"crypto/sha256"
	"encoding/hex"
	"time"

	"github.com/sluicelb/sluice/controller/config"
	"github.com/sluicelb/sluice/controller/plan"
	"github.com/sluicelb/sluice/controller/rows"
	"github.com/sluicelb/sluice/p4/packet"
)

// Stored is what the controller goes on from after a restart. The zero Stored is that of a new store. What it points to
// is never modified, but replaced.
type Stored struct {
	Intent   Intent
	Plan     plan.State
	Admin    map[plan.BackendKey]plan.Admin
	Verdicts map[plan.BackendKey]Verdict
	// VIPAge is the revision of the intent with which each VIP came.
	VIPAge map[rows.VIPKey]int64
	// Retired are MACs that VIPs had, and until when they are kept from being flooded.
	Retired map[packet.MAC]time.Time
	// PortIDs are the numbers that switches gave last to the ports that the intent names.
	PortIDs config.PortIDs
	// Suspect is since when a switch is the suspect, and not the servers; zero: none is.
	Suspect time.Time
}

// Intent is the operator's configuration as committed.
type Intent struct {
	YAML      string    `json:"-"`        // a document of its own
	File      string    `json:"file"`     // its name in messages
	Revision  int64     `json:"revision"` // 0: none was ever applied
	AppliedAt time.Time `json:"applied_at"`
	// Loaded is the Fingerprint of the text last taken from the controller's own --config file. While the
	// file still says that, a restart does not undo what was applied by other ways since.
	Loaded string `json:"loaded"`
}

// Fingerprint tells one text from another.
func Fingerprint(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])
}

// Verdict is healthd's last word on a backend.
type Verdict struct {
	Health     plan.Health `json:"health"`
	Reason     string      `json:"reason"`
	Since      time.Time   `json:"since"`
	DetectedAt time.Time   `json:"detected_at"`
	// Author is the healthd that gave it, Session the start of that healthd.
	Author  string `json:"healthd,omitzero"`
	Session string `json:"session,omitzero"`
	// Heard is when it came in first.
	Heard time.Time `json:"heard,omitzero"`
	// Fell is when the backend was last called down or failing after it had been up.
	Fell time.Time `json:"fell,omitzero"`
}
