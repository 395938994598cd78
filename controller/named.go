package controller

import (
	"github.com/sluicelb/sluice/controller/config"
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
