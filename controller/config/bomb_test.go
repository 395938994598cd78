package config

import (
	"fmt"
	"strings"
	"testing"

	"github.com/sluicelb/sluice/internal/alloctest"
	"github.com/sluicelb/sluice/internal/strict"
)

// Texts that are made to fill the memory are refused before that.
func TestBombs(t *testing.T) {
	const tooLong, tooMany = "f: must have at most 8388608 bytes, has more",
		"f: must have at most 1048576 keys and values, has up to "
	for _, test := range []struct {
		name, text, want string
		most             int // MiB
	}{
		{"two million keys", strings.Repeat("a: 1\n", 2400000), tooLong, 1},
		{"as many as there is room for", strings.Repeat("a:\n", MaxBytes/3), tooMany, 1},
		{"lists in lists", strings.Repeat("- ", MaxBytes/2), tooMany, 1},
		{"a flat list", "[" + strings.Repeat("a,", MaxBytes/2-1) + "]", tooMany, 1},
		{"a flat set", "{" + strings.Repeat("a,", MaxBytes/2-1) + "}", tooMany, 1},
		{"open brackets", strings.Repeat("[", MaxBytes), tooMany, 1},
		// What passes takes what its values take: some two hundred bytes each, and again the text.
		{"lines that are not known", strings.Repeat("a: 1\n", 500000), "f:1: a: is not a known key", 400},
		{"statuses", "pools: [{checks: [{type: http, expect_status: [" + strings.Repeat("200,", 500000) + "]}]}]",
			"f:1: pools[0].backends: is missing", 500},
	} {
		var err error
		used := alloctest.MiB(func() { _, err = Parse("f", []byte(test.text)) })
		problems := strict.Problems(err)
		if err == nil || !strings.Contains(err.Error(), test.want) || len(problems) > strict.MaxProblems+1 {
			t.Errorf("%s: %d problems, the first is %.200v, want %s", test.name, len(problems), err, test.want)
		}
		if used > test.most+len(test.text)>>20 {
			t.Errorf("%s: took %d MiB, want %d at most", test.name, used, test.most)
		}
	}
}

// An intent with all the VIPs and backends that there may be, every key given, is no bomb.
func TestIntentAtTheLimits(t *testing.T) {
	var b strings.Builder
	b.WriteString("switches:\n  - {name: leaf1, address: 127.0.0.1:9559, device_id: 1, ports: [1, 2, 3]}\n" +
		"vip_mac: 02:53:4c:00:00:01\npools:\n")
	const pools, perPool = 128, maxBackends / 128
	for p := range pools {
		fmt.Fprintf(&b, "  - name: pool-%d\n    slots: %d\n    drain_idle: 60s\n"+
			"    checks: [{type: http, path: /healthz, port: 80}]\n    backends:\n", p, maxSlots/pools/2)
		for k := range perPool {
			n := p*perPool + k
			fmt.Fprintf(&b, "      - name: server-%d.rack-%d\n        address: 10.1.%d.%d\n"+
				"        mac: 02:00:00:00:%02x:%02x\n        switch_port: 3\n        weight: 100\n"+
				"        enabled: true\n",
				n, p, n>>8, n&255, n>>8, n&255)
		}
	}
	b.WriteString("vips:\n")
	for v := range maxVIPs {
		fmt.Fprintf(&b, "  - {name: service-%d, address: 10.2.%d.%d, protocol: tcp, port: 80, pool: pool-%d, "+
			"persistence: none, enabled: true, tags: [shop], capacity: 1000}\n", v, v>>8, v&255, v%pools)
	}
	text := b.String()
	if n := strict.Values([]byte(text)); n > maxValues*3/4 {
		t.Errorf("it has up to %d values of %d", n, maxValues)
	}
	if len(text) > MaxBytes/2 {
		t.Errorf("it has %d bytes of %d", len(text), MaxBytes)
	}
	intent, err := Parse("f", []byte(text))
	if err != nil {
		t.Fatalf("%.500v", err)
	}
	if len(intent.VIPs) != maxVIPs || len(intent.Pools) != pools {
		t.Errorf("%d VIPs, %d pools", len(intent.VIPs), len(intent.Pools))
	}
}
