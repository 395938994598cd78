package ports

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/sluicelb/sluice/internal/text"
)

// mode is a way of gNMI to ask.
type mode string

const (
	stream mode = "streamed"
	poll   mode = "polled"
	once   mode = "subscribed once, again and again"
	get    mode = "asked by Get"
)

// way is how a target is asked.
type way struct {
	mode  mode
	wide  bool // also for what not every target has: the id as configured, what a Sluice switch says besides
	every time.Duration
}

func (w way) String() string {
	if w.mode == stream && w.every == often {
		return "gNMI, streamed"
	}
	return fmt.Sprintf("gNMI, %s every %v", w.mode, w.every)
}

// ways are tried in turn. Samples come seldom in the second one, as a target must refuse an interval that is too short
// for it (gNMI specification 0.10.0, section 3.5.1.5.2).
var ways = []way{
	{stream, true, often}, {stream, false, seldom},
	{poll, true, often}, {poll, false, often},
	{once, false, often}, {get, false, often},
}

// ladder is where a Collector stands: at one of ways, for a target that refused those before. The zero value is at the
// first.
type ladder struct {
	at     int
	losses int    // in a row that came at this way before the target said anything
	reason string // what became of the way before
	exists bool   // something other than Unimplemented was heard
}

func (l ladder) way() way { return ways[l.at] }

// step is what follows.
type step uint8

const (
	onward step = iota // the next way, on the same connection
	again              // the same way, on another connection, after a pause
	anew               // the first way, the same, after a target that had told
	leave              // nothing of gNMI is there
)

var (
	errSilent = errors.New("it does not answer")
	// ErrNothing is the error of a target that answers, and has nothing to show.
	ErrNothing = errors.New("it tells of no interface")
	// errGone ends what a target ends by itself.
	errGone = errors.New("it ended the call")
)

// most is how many losses in a row show that the target does not bear a way.
const mostLosses = 3

// after is what follows when the target has ended, by err, what was asked; told says that it had answered until then.
//
//	refused, silent, empty, or lost three times in a row ---> onward; after the last way: again, from the first one
//	lost before it said anything                    ---> again
//	lost after that                                 ---> anew: it may have become another
//	every way is unimplemented                      ---> leave
func (l ladder) after(told bool, err error) (ladder, step) {
	code := status.Code(err)
	switch refused := code == codes.Unimplemented || code == codes.InvalidArgument || code == codes.NotFound; {
	case told:
		return ladder{}, anew
	case errors.Is(err, errSilent):
		l.exists, l.reason = true, "is not answered"
	case errors.Is(err, ErrNothing):
		l.exists, l.reason = true, "tells of no interface"
	case !refused:
		if l.exists, l.losses = true, l.losses+1; l.losses < mostLosses {
			return l, again
		}
		l.reason = "fails: " + line(err)
	default:
		l.exists = l.exists || code != codes.Unimplemented
		l.reason = "is refused: " + line(err)
	}
	l.at, l.losses = l.at+1, 0
	switch {
	case l.at < len(ways):
		return l, onward
	case l.exists:
		return ladder{}, again
	}
	return ladder{}, leave
}

// note says why the target is asked as it is; empty at the first way.
func (l ladder) note() string {
	if l.at == 0 {
		return ""
	}
	return fmt.Sprintf("%s %s", strings.TrimPrefix(ways[l.at-1].String(), "gNMI, "), l.reason)
}

// line is an error of a target in few words.
func line(err error) string {
	if s, ok := status.FromError(err); ok {
		return text.Cut(text.Line(fmt.Sprintf("%v: %s", s.Code(), s.Message())))
	}
	return text.Cut(text.Line(err.Error()))
}
