package engine

import (
	"testing"

	"github.com/sluicelb/sluice/p4"
)

func TestLoadSluice(t *testing.T) {
	p, err := Load(p4.DeviceConfig())
	if err != nil {
		t.Fatal(err)
	}
	t.Log(len(p.Tables()), p.words, p.bytes, p.bigs, p.buffers)
}
