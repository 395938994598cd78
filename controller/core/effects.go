package core

import (
	"log/slog"
	"time"

	"github.com/sluicelb/sluice/controller/config"
	"github.com/sluicelb/sluice/controller/plan"
	"github.com/sluicelb/sluice/controller/rows"
	"github.com/sluicelb/sluice/controller/tally"
	"github.com/sluicelb/sluice/p4/limits"
)

// Input is one thing that a Core hears of.
type Input interface{ input() }

// Begin takes up the stored intent after a start. Answered only with an error.
type Begin struct{ Intent *config.Intent }

// Apply makes an intent the running one. Always answered.
type Apply struct {
	File, Text string
	Intent     *config.Intent // what Text says
	Err        error          // or what is wrong with Text; nobody asks for it when Text is what runs already
	Loaded     bool           // it comes from the controller's own file
}

// SetAdmin drains a backend of the intent, or takes it back. Always answered.
type SetAdmin struct {
	Backend plan.BackendKey
	Admin   plan.Admin
}

// Report is the verdicts that a healthd tells. Answered only with an error.
type Report struct {
	Healthd, Session string
	Full             bool // it has every verdict of this healthd
	Verdicts         []Said
}

// Said is what a healthd says of one backend. A backend that is not checked is passed over.
type Said struct {
	Backend  plan.BackendKey
	Health   plan.Health // Unknown: it cannot ask
	Reason   string
	Since    time.Time // zero or in the future: now
	Detected time.Time // the same
}

// Switch is the state of a switch of the intent.
type Switch struct {
	Name      string
	Connected bool
	Connects  uint64 // times that it was read back whole
	ReadBack  int    // planned rows that it held at the last read-back

	Applied   uint64    // the sequence of the decision that it holds, apart from what it refuses
	AppliedAt time.Time // when the last row of it was written
	Writes    int       // how many that took

	Refuses  bool // some updates are refused
	Unpinned int  // flows whose pins it refuses
	// Lacks says of every wanted VIP which of its rows the switch does not hold: it refuses them, or else they are not
	// written yet. Nil until it was read back. Nobody changes it.
	Lacks map[rows.VIPKey]rows.Lack
}

// Reported are flows of former backends of moving slots, as a switch has seen them.
type Reported struct {
	Switch string
	Flows  map[rows.Flow]rows.BackendID
	Lost   [limits.Banks]bool // reports of moves in that bank may have been lost since the last Reported
}

// Silent are pinned flows from which a switch has heard nothing for the time of their row.
type Silent struct {
	Switch string
	Flows  []rows.Flow
}

// Noise is what hosts behind a switch made happen since its last Noise. A switch sends one a second at most.
type Noise struct {
	Switch string
	tally.Noise
}

// Met is what a switch held when it was connected first. A Release with the same ID answers it, now or later; nothing
// may be written to the switch before that.
type Met struct {
	Switch string
	ID     uint64
	Have   rows.Tables
}

// Saved is what became of the latest Save.
type Saved struct {
	Outcome Outcome
	Err     error // nil only when Done
}

// Passed says that time has passed.
type Passed struct{}

func (Begin) input()    {}
func (Apply) input()    {}
func (SetAdmin) input() {}
func (Report) input()   {}
func (Switch) input()   {}
func (Reported) input() {}
func (Silent) input()   {}
func (Noise) input()    {}
func (Met) input()      {}
func (Saved) input()    {}
func (Passed) input()   {}
func (Ports) input()    {}

// Ports is what a switch says of its ports.
type Ports struct {
	Switch string
	IDs    map[string]uint16 // their numbers, by its names for them
	Fresh  []Port            // how those are of which it was heard lately
}

// Port is how a port is, by its switch's word.
type Port struct {
	ID          uint16
	Name, State string // State: of OpenConfig's oper-status, such as up or lower_layer_down
	Reason      string // why it is not up, or dropped frames; empty: it is not known
	Down        bool   // it carries nothing
}

// Outcome is how a Save ended.
type Outcome uint8

// The ends of a Save.
const (
	Done      Outcome = iota
	Refused           // what was to be saved is not stored
	Unknown           // it may be stored or not
	TakenOver         // another controller has the store
)

// Effect is one thing to be done.
type Effect interface{ effect() }

// Save stores all of Stored. There is one at a time; Saved says how it ended.
type Save struct{ Stored Stored }

// TakeOn begins to work on a switch.
type TakeOn struct {
	Switch config.Switch
	Tell   Tell // what it is told first
}

// LetGo leaves a switch as it is.
type LetGo struct{ Switch string }

// Tell tells a switch what it is to hold. Nothing that is told is modified later.
type Tell struct {
	Switch   string
	Sequence uint64 // grows
	Tables   rows.Tables
	Age      map[rows.VIPKey]int64 // Stored.VIPAge
}

// Release answers Met.
type Release struct{ ID uint64 }

// Watch tells healthd what to check: the intent's backends, the Leavers of the plan, and which of them are Urgent.
type Watch struct{}

// Serve tells others the states of the VIPs, which may have changed.
type Serve struct{}

// Publish tells those who watch events.
type Publish struct{ Event Event }

// Log is a line of the log.
type Log struct {
	Level slog.Level
	Text  string
	Args  []any // as slog's
}

// Answer tells a caller what became of a change.
type Answer struct {
	Revision int64 // of the intent that is running after an Apply
	Changed  bool  // it differs from the one before
	Err      error // then nothing has changed; ErrFrozen: the store does not answer
}

// Stop ends the daemon: another controller has the store.
type Stop struct{ Err error }

func (Save) effect()    {}
func (TakeOn) effect()  {}
func (LetGo) effect()   {}
func (Tell) effect()    {}
func (Release) effect() {}
func (Watch) effect()   {}
func (Serve) effect()   {}
func (Publish) effect() {}
func (Log) effect()     {}
func (Answer) effect()  {}
func (Stop) effect()    {}
