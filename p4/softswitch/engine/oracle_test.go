package engine

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "compile the programs of testdata anew, and record what simple_switch makes "+
	"of packets")

// traffic is a run of a program: what went in, and what came out of each port, in order.
type traffic struct {
	in  []framed
	out map[uint16][]string
}

type framed struct {
	port  uint16
	frame []byte
}

// TestOracle compares the engine with bmv2 on the programs of testdata. What bmv2 made of the
// packets is on file: NAME.txt has a line `PORT < FRAME` for each frame in, and `PORT > FRAME` for
// each frame out. With -update, p4c compiles the programs and simple_switch runs them again.
func TestOracle(t *testing.T) {
	programs, err := filepath.Glob("testdata/*.json")
	if err != nil || len(programs) == 0 {
		t.Fatalf("testdata has no programs: %v", err)
	}
	for _, path := range programs {
		name := strings.TrimSuffix(filepath.Base(path), ".json")
		t.Run(name, func(t *testing.T) {
			golden := filepath.Join("testdata", name+".txt")
			if *update {
				compile(t, name)
				writeTraffic(t, golden, askOracle(t, path, packetsFor(t, name)))
			}
			want := readTraffic(t, golden)
			config, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			got := make(map[uint16][]string)
			rec := new(recorder)
			for some := range slices.Chunk(want.in, burst) {
				p, err := Load(config)
				if err != nil {
					t.Fatal(err)
				}
				r := p.NewRunner(rec)
				for _, in := range some {
					r.Process(in.port, in.frame, time.Second)
				}
			}
			for _, s := range rec.frames {
				got[s.Port] = append(got[s.Port], s.Frame)
			}
			for _, port := range oraclePorts {
				for i := range min(len(want.out[port]), len(got[port])) {
					if want.out[port][i] != got[port][i] {
						t.Errorf("port %d, frame %d: %s", port, i, firstDifference(want.out[port][i], got[port][i]))
					}
				}
			}
			if diff := cmp.Diff(counts(want.out), counts(got)); diff != "" {
				t.Errorf("frames per port (-want +got):\n%s", diff)
			}
		})
	}
}

// oraclePorts are the ports that simple_switch is started with.
var oraclePorts = []uint16{1, 2, 3}

// burst is how many packets a switch is given before the next one starts afresh: simple_switch reads
// them in one go, and drops what its queues do not hold.
const burst = 60

func counts(out map[uint16][]string) map[uint16]int {
	n := make(map[uint16]int)
	for port, frames := range out {
		if slices.Contains(oraclePorts, port) {
			n[port] = len(frames)
		}
	}
	return n
}

func firstDifference(want, got string) string {
	i := 0
	for i < len(want) && i < len(got) && want[i] == got[i] {
		i++
	}
	return fmt.Sprintf("differs from byte %d\nwant %s\n got %s", i/2, want, got)
}

// packetsFor makes the packets of a program: random, and where the program is about operands, with
// many zeros and ones among them.
func packetsFor(t *testing.T, name string) []framed {
	random := rand.New(rand.NewPCG(1, uint64(len(name))))
	var in []framed
	if by := special[name]; by != nil {
		return by(random)
	}
	for range 60 {
		frame := make([]byte, 100)
		for i := range frame {
			switch random.IntN(4) {
			case 0:
			case 1:
				frame[i] = 0xff
			default:
				frame[i] = byte(random.Uint32())
			}
		}
		in = append(in, framed{oraclePorts[random.IntN(len(oraclePorts))], frame})
	}
	return in
}

// special makes packets for programs that random bytes would not get far in.
var special = map[string]func(*rand.Rand) []framed{
	"parsers": func(random *rand.Rand) []framed {
		var in []framed
		for i := range 160 {
			frame := make([]byte, 3+random.IntN(40))
			for k := range frame {
				frame[k] = [...]byte{0, 0xff, 0xff, 0x80, byte(random.Uint32())}[random.IntN(5)]
			}
			frame[0] = byte(i) // every kind with every length
			in = append(in, framed{1, frame})
		}
		return in
	},
	"boolheader": func(random *rand.Rand) []framed {
		var in []framed
		for b := range 30 {
			in = append(in, framed{1, []byte{byte(b * 9), byte(b)}})
		}
		return append(in, framed{1, nil})
	},
	"wide": func(random *rand.Rand) []framed {
		var in []framed
		for range 60 {
			frame := make([]byte, 30+random.IntN(6))
			for k := range frame {
				frame[k] = byte(random.Uint32())
			}
			copy(frame[16:], [][]byte{{0xff, 2}, {0xff, 3}, {0xfe, 2}}[random.IntN(3)])
			in = append(in, framed{1, frame})
		}
		return in
	},
	"constructs": func(random *rand.Rand) []framed {
		var in []framed
		for i := range 240 {
			frame := make([]byte, 27+random.IntN(40)) // without a key bmv2 ends: the assertion fails
			for k := range frame {
				frame[k] = [...]byte{0, 0xff, byte(random.Uint32()), byte(random.Uint32())}[random.IntN(4)]
			}
			frame[0] = byte(i)
			in = append(in, framed{1, frame})
		}
		return in
	},
	"ranges": func(random *rand.Rand) []framed {
		var in []framed
		for range 60 {
			frame := make([]byte, 20)
			for k := range frame[:17] {
				frame[k] = [...]byte{0, 0, 1, 0xff}[random.IntN(4)]
			}
			frame[0] = [...]byte{0, 1, 2, 0xff}[random.IntN(4)]
			copy(frame[1:], unhex("20010db8 00000001 00000000")[:4+random.IntN(9)])
			in = append(in, framed{1, frame})
		}
		return in
	},
	"varbits": func(random *rand.Rand) []framed {
		var in []framed
		for i := range 120 {
			frame := make([]byte, 20)
			for k := range frame {
				frame[k] = [...]byte{0, 1, 1, 1}[random.IntN(4)]
			}
			frame[0] = byte(i) * 37
			in = append(in, framed{1, frame})
		}
		return in
	},
	"older": func(random *rand.Rand) []framed {
		var in []framed
		for range 60 {
			frame := make([]byte, 20)
			for k := range frame {
				frame[k] = byte(random.Uint32())
			}
			frame[0] = byte(random.IntN(4))
			in = append(in, framed{1, frame})
		}
		return in
	},
	"switching": func(random *rand.Rand) []framed {
		var in []framed
		for i := range 300 {
			ip := binary.BigEndian.AppendUint64(nil, random.Uint64())
			ip = binary.BigEndian.AppendUint64(ip, random.Uint64())
			ip[0] = [...]byte{0x45, 0x45, 0x60}[i%3]
			ip[1] = [...]byte{0, 1}[random.IntN(2)]
			ip[6], ip[7] = 0, 0
			if random.IntN(2) == 0 {
				binary.BigEndian.PutUint16(ip[6:], uint16(csum16(ip)))
			}
			frame := append(ip, [...]byte{0, 0, 0xff, 0xff, byte(i)}[random.IntN(5)], byte(i))
			frame = binary.BigEndian.AppendUint64(frame, random.Uint64())
			frame = append(frame, 0, 0, byte(i), byte(random.IntN(4)*73)) // tail, or what follows a tag
			frame = append(frame, byte(i), 0, 0, 0, byte(i), byte(i%7), byte(random.IntN(3)*99), 9)
			in = append(in, framed{oraclePorts[i%3], frame[:len(frame)-random.IntN(6)]})
		}
		return in
	},
}

// compile makes NAME.json of NAME.p4. A program without a source is what no compiler of today makes.
func compile(t *testing.T, name string) {
	if _, err := os.Stat(filepath.Join("testdata", name+".p4")); errors.Is(err, os.ErrNotExist) {
		return
	}
	cmd := exec.Command("p4c-bm2-ss", "--std", "p4-16", "-o", name+".json", name+".p4")
	cmd.Dir = "testdata" // the JSON names its source
	if text, err := cmd.CombinedOutput(); errors.Is(err, exec.ErrNotFound) {
		t.Skip("p4c-bm2-ss is not installed")
	} else if err != nil {
		t.Fatalf("%v: %s", err, text)
	}
}

// askOracle runs simple_switch on pcap files.
func askOracle(t *testing.T, program string, in []framed) traffic {
	all := traffic{in: in, out: make(map[uint16][]string)}
	for some := range slices.Chunk(in, burst) {
		for port, frames := range askOracleOnce(t, program, some) {
			all.out[port] = append(all.out[port], frames...)
		}
	}
	return all
}

func askOracleOnce(t *testing.T, program string, in []framed) map[uint16][]string {
	bin, err := exec.LookPath("simple_switch")
	if err != nil {
		t.Skip("simple_switch is not installed")
	}
	dir := t.TempDir()
	args := []string{"--use-files", "1", "--thrift-port", fmt.Sprint(freePort(t)), "--log-file",
		filepath.Join(dir, "log"), "-L", "error"}
	for _, port := range oraclePorts {
		file := filepath.Join(dir, fmt.Sprint(port))
		args = append(args, "-i", fmt.Sprintf("%d@%s", port, file))
		writePcap(t, file+"_in.pcap", port, in)
	}
	cmd := exec.Command(bin, append(args, program)...)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Wait()
	defer cmd.Process.Kill()
	// It does not say when it is done: wait until nothing has come for a while.
	var out map[uint16][]string
	for last, since := -1, time.Now(); time.Since(since) < 4*time.Second; time.Sleep(100 * time.Millisecond) {
		out = make(map[uint16][]string)
		n := 0
		for _, port := range oraclePorts {
			out[port] = readPcap(filepath.Join(dir, fmt.Sprintf("%d_out.pcap", port)))
			n += len(out[port])
		}
		if n != last {
			last, since = n, time.Now()
		}
	}
	return out
}

func freePort(t *testing.T) int {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

func writePcap(t *testing.T, file string, port uint16, in []framed) {
	b := binary.LittleEndian.AppendUint32(nil, 0xa1b2c3d4)
	b = append(b, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 0, 1, 0, 0, 0)
	for i, f := range in {
		if f.port != port {
			continue
		}
		b = binary.LittleEndian.AppendUint32(b, 0)
		b = binary.LittleEndian.AppendUint32(b, uint32(1000*i)) // in order over all ports
		b = binary.LittleEndian.AppendUint32(b, uint32(len(f.frame)))
		b = binary.LittleEndian.AppendUint32(b, uint32(len(f.frame)))
		b = append(b, f.frame...)
	}
	if err := os.WriteFile(file, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

// readPcap reads the frames of a file that may still be written.
func readPcap(file string) []string {
	b, _ := os.ReadFile(file)
	var frames []string
	if len(b) < 24 {
		return nil
	}
	for b = b[24:]; len(b) >= 16; {
		n := int(binary.LittleEndian.Uint32(b[8:]))
		if len(b) < 16+n {
			break
		}
		frames = append(frames, hex.EncodeToString(b[16:16+n]))
		b = b[16+n:]
	}
	return frames
}

func writeTraffic(t *testing.T, file string, tr traffic) {
	var b bytes.Buffer
	for _, in := range tr.in {
		fmt.Fprintf(&b, "%d < %x\n", in.port, in.frame)
	}
	for _, port := range oraclePorts {
		for _, frame := range tr.out[port] {
			fmt.Fprintf(&b, "%d > %s\n", port, frame)
		}
	}
	if err := os.WriteFile(file, b.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
}

func readTraffic(t *testing.T, file string) traffic {
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	tr := traffic{out: make(map[uint16][]string)}
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var port uint16
		var direction, text string
		fmt.Sscan(lines.Text(), &port, &direction, &text)
		switch direction {
		case "<":
			frame, err := hex.DecodeString(text)
			if err != nil {
				t.Fatalf("%s: %v", file, err)
			}
			tr.in = append(tr.in, framed{port, frame})
		case ">":
			tr.out[port] = append(tr.out[port], text)
		}
	}
	return tr
}
