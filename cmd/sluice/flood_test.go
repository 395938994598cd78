package main

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/sluicelb/sluice/controller/api"
)

// What hosts do beyond all bounds shows: stations that are not learned, and claims that are not told apart.
func TestStatusOfFloods(t *testing.T) {
	now := timestamppb.New(time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC))
	m := &api.GetStatusResponse{
		Time: now,
		Switches: []*api.SwitchStatus{{Name: "leaf1", Stations: 10240,
			StationsFull: "port 4 has 10240 stations and may have no more, 6144 of 16384 are kept for other ports"}},
		ArpClaims: []*api.ARPClaim{
			{VipAddress: "10.0.0.100", Mac: "02:00:00:00:00:12", Backend: "web/web2", Switch: "leaf1", Port: 4,
				Count: 8,
				Last:  now},
			{VipAddress: "10.0.0.100", Switch: "leaf1", Port: 4, Count: 91234, Last: now},
		},
	}
	var b bytes.Buffer
	if err := writeStatus(&b, m); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"\nleaf1: new stations are not learned, frames to them are flooded: port 4 has 10240 stations and may " +
			"have no " +
			"more, 6144 of 16384 are kept for other ports\n",
		"\n10.0.0.100   02:00:00:00:00:12  reply  web/web2  leaf1      4      8  now\n",
		"\n10.0.0.100   others             reply  -         leaf1      4  91234  now\n",
	} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("no %q in\n%s", want, b.String())
		}
	}
}
