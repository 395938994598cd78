package softswitch

import (
	"strconv"

	"github.com/sluicelb/sluice/internal/metrics"
	"github.com/sluicelb/sluice/p4/softswitch/port"
)

func figure(name, help string, labels ...string) *metrics.Desc {
	return metrics.NewDesc("sluice_switch_"+name, help, labels...)
}

var (
	programFigure  = figure("programmed", "1 while there is a program that forwards.")
	entriesFigure  = figure("table_entries", "Entries of the table.", "table")
	sizeFigure     = figure("table_size", "Entries that the table has room for.", "table")
	upFigure       = figure("port_up", "1 while the port is up.", "port", "name")
	receivedFigure = figure("port_received_packets_total", "Frames received.", "port", "name")
	lostFigure     = figure("port_received_dropped_packets_total", "Frames lost before the pipeline.", "port",
		"name")
	sentFigure        = figure("port_sent_packets_total", "Frames sent.", "port", "name")
	unsentFigure      = figure("port_sent_dropped_packets_total", "Frames that could not be sent.", "port", "name")
	unprogrammed      = figure("unprogrammed_packets_total", "Frames that came before there was a program.")
	unconnected       = figure("unconnected_packets_total", "Frames for a port that is not there.")
	undeliveredFigure = figure("undelivered_messages_total", "Stream messages that clients were too slow for.", "kind")
)

// Show implements metrics.Source.
func (s *Switch) Show(page *metrics.Page) {
	status, program := s.Status(), s.program.Load()
	page.Truth(programFigure, program != nil)
	if program != nil {
		for _, t := range program.Tables() {
			if len(t.Keys()) == 0 {
				continue // the compiler's, for a statement
			}
			page.Gauge(entriesFigure, float64(t.Len()), t.Name())
			page.Gauge(sizeFigure, float64(t.Size()), t.Name())
		}
	}
	for id, p := range status.Ports {
		of := []string{strconv.Itoa(int(id)), p.Name}
		page.Truth(upFigure, p.Status == port.Up, of...)
		page.Counter(receivedFigure, p.Received, of...)
		page.Counter(lostFigure, p.ReceiveDropped, of...)
		page.Counter(sentFigure, p.Sent, of...)
		page.Counter(unsentFigure, p.SendDropped, of...)
	}
	page.Counter(unprogrammed, status.Unprogrammed)
	page.Counter(unconnected, status.Unconnected)
	for kind, n := range map[string]uint64{
		"idle_timeout": status.Undelivered.IdleTimeouts, "digest": status.Undelivered.Digests,
		"error": status.Undelivered.Errors, "packet_in": status.Undelivered.PacketIns,
	} {
		page.Counter(undeliveredFigure, n, kind)
	}
}
