package controller

import (
	"log/slog"
	"strings"

	"github.com/sluicelb/sluice/controller/api"
	"github.com/sluicelb/sluice/internal/text"
)

// logEvent writes to the log what changed. Forced ends of moves are logged where their limit is known.
func logEvent(log *slog.Logger, ev *api.Event) {
	switch d := ev.Detail.(type) {
	case *api.Event_Verdict:
		m := d.Verdict
		log.Info("verdict", "backend", m.Pool+"/"+m.Backend, "health", strings.ToLower(strings.TrimPrefix(m.Health.String(), "HEALTH_")), "reason", m.Reason)
	case *api.Event_SlotsMoved:
		logMoves(log, d.SlotsMoved, ev.Text)
	case *api.Event_Reprogrammed:
		m := d.Reprogrammed
		log.Info("switches reprogrammed", "cause", m.Cause, "switches", text.List(m.Switches, few), "writes", m.Writes, "ms", m.ReprogramMs)
	case *api.Event_ArpClaim:
		m := d.ArpClaim
		what := "somebody claims a VIP"
		if m.Disowned {
			what = "somebody asks for its neighbours as a VIP"
		}
		log.Warn(what, "vip", m.VipAddress, "mac", m.Mac, "switch", m.Switch, "port", m.Port, "backend", m.Backend,
			"times", m.Count, "also", m.Also)
	case *api.Event_Switch:
		m := d.Switch
		log.Info("switch", "name", m.Switch, "state", strings.ToLower(strings.TrimPrefix(m.State.String(), "STATE_")),
			"read_back", m.RowsReadBack, "written", m.EntriesWritten, "err", m.Error)
	case *api.Event_IntentApplied:
		log.Info("intent applied", "revision", d.IntentApplied.Revision)
	case *api.Event_Admin:
		word := "undrain"
		if d.Admin.Admin == api.Admin_ADMIN_DRAIN {
			word = "drain"
		}
		log.Info(word, "backend", d.Admin.Pool+"/"+d.Admin.Backend)
	case *api.Event_DrainDone:
		log.Info("drain done", "backend", d.DrainDone.Pool+"/"+d.DrainDone.Backend, "forced", d.DrainDone.Forced)
	case *api.Event_SlotsSettled:
		m := d.SlotsSettled
		if !m.Forced {
			log.Debug("slots settled", "pool", m.Pool, "slots", m.Slots, "moving", m.Moving)
		}
	case *api.Event_PoolHeld:
		if m := d.PoolHeld; m.Reason != "" {
			log.Error("too much fell at once", "pool", m.Pool, "reason", m.Reason)
		} else {
			log.Info("backends that are down have their grace again, and no more", "pool", m.Pool)
		}
	case *api.Event_Store:
		if d.Store.Frozen {
			log.Error("the store takes no changes: the configuration is frozen, verdicts go on", "err", d.Store.Error)
			return
		}
		log.Info("the store answers again")
	case *api.Event_SlotsAdopted:
		m := d.SlotsAdopted
		log.Warn("the store is older than a switch, or was not written to it: open connections stay where the switch has them",
			"switch", m.Switch, "slots", m.Slots, "of", m.SlotsTotal, "unknown_backends", m.Unknown)
	case *api.Event_Healthd:
		if !d.Healthd.Connected {
			log.Warn("healthd has left: its verdicts stand, and nobody notices a server that dies")
			return
		}
		log.Info("healthd is connected")
	case *api.Event_Station:
		m := d.Station
		log.Info("station moved", "mac", m.Mac, "backend", m.Backend, "switch", m.Switch, "from", m.FromPort, "to", m.ToPort,
			"times", m.Times, "also", m.Also)
	case *api.Event_StationsFull:
		m := d.StationsFull
		log.Warn("stations are not learned: frames to them are flooded", "switch", m.Switch, "port", m.Port, "mac", m.Mac,
			"reason", m.Reason, "also", m.Also)
	case *api.Event_Spoof:
		m := d.Spoof
		if m.Address != "" {
			log.Warn("somebody says by ARP that he has the address of a station", "mac", m.Mac, "sender", m.Sender,
				"address", m.Address, "station", m.Station, "station_mac", m.StationMac, "switch", m.Switch, "port", m.Port)
			return
		}
		log.Warn("somebody sends under the MAC of a pinned station", "mac", m.Mac, "station", m.Station,
			"station_port", m.StationPort, "switch", m.Switch, "port", m.Port)
	}
}

// logMoves also tells when a pool loses its last live backend: only then do slots go to nobody.
func logMoves(log *slog.Logger, m *api.SlotsMoved, told string) {
	lost := make(map[string]bool)
	for _, move := range m.Moves {
		if move.To == "" && !lost[move.Pool] {
			lost[move.Pool] = true
			log.Warn("pool has no live backend", "pool", move.Pool, "cause", m.Cause)
		}
	}
	log.Info("slots moved", "cause", m.Cause, "slots", m.SlotsTotal, "moves", strings.TrimPrefix(told, m.Cause+": "))
}
