package controller

import (
	"github.com/sluicelb/sluice/controller/config"
	"github.com/sluicelb/sluice/controller/plan"
	"github.com/sluicelb/sluice/controller/rows"
	"github.com/sluicelb/sluice/p4/packet"
)

func vipKey(v config.VIP) rows.VIPKey {
	return rows.VIPKey{Address: v.Address, Protocol: v.Protocol, Port: v.Port}
}

// backendMACs are the addresses whose owners can be named.
func backendMACs(intent *config.Intent) map[packet.MAC]bool {
	macs := make(map[packet.MAC]bool)
	for _, pool := range intent.Pools {
		for _, b := range pool.Backends {
			macs[b.MAC] = true
		}
	}
	return macs
}

// ownerOf names the backend with this MAC: the server that has the ARP problem.
func (l *loop) ownerOf(mac packet.MAC) string {
	for _, pool := range l.core.Intent().Pools {
		for _, b := range pool.Backends {
			if b.MAC == mac {
				return plan.BackendKey{Pool: pool.Name, Backend: b.Name}.String()
			}
		}
	}
	return ""
}
