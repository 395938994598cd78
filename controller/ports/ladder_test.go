package ports

import (
	"errors"
	"io"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// What is tried next follows from how the target ended what was tried.
func TestLadder(t *testing.T) {
	unimplemented := status.Error(codes.Unimplemented, "unknown service")
	invalid := status.Error(codes.InvalidArgument, "no\nSTREAM")
	lost := status.Error(codes.Unavailable, "reset")
	last := len(ways) - 1
	for _, tt := range []struct {
		name string
		from ladder
		told bool
		err  error
		want ladder
		next step
	}{
		{"a stream is unimplemented", ladder{}, false, unimplemented, ladder{at: 1,
			reason: "is refused: Unimplemented: unknown service"}, onward},
		{"a stream is refused", ladder{}, false, invalid, ladder{at: 1,
			reason: "is refused: InvalidArgument: no STREAM", exists: true}, onward},
		{"a path is not there", ladder{at: 2}, false, status.Error(codes.NotFound, "config/id"), ladder{at: 3,
			reason: "is refused: NotFound: config/id", exists: true}, onward},
		{"silence", ladder{at: 2}, false, errSilent, ladder{at: 3, reason: "is not answered", exists: true}, onward},
		{"nothing", ladder{at: 2}, false, ErrNothing, ladder{at: 3, reason: "tells of no interface", exists: true},
			onward},
		{"lost", ladder{at: 1}, false, lost, ladder{at: 1, losses: 1, exists: true}, again},
		{"lost for the third time", ladder{at: 1, losses: 2}, false, lost, ladder{at: 2,
			reason: "fails: Unavailable: reset", exists: true}, onward},
		{"lost after it told", ladder{at: 3, reason: "x", exists: true}, true, lost, ladder{}, anew},
		{"refused after it told", ladder{at: 3}, true, invalid, ladder{}, anew},
		{"ended after it told", ladder{at: 3}, true, io.EOF, ladder{}, anew},
		{"nothing is implemented", ladder{at: last}, false, unimplemented, ladder{at: last + 1,
			reason: "is refused: Unimplemented: unknown service"}, leave},
		{"nothing works", ladder{at: last, exists: true}, false, unimplemented, ladder{}, again},
		{"the last is silent", ladder{at: last}, false, errSilent, ladder{}, again},
	} {
		got, next := tt.from.after(tt.told, tt.err)
		if next == leave {
			tt.want = ladder{}
		}
		if got != tt.want || next != tt.next {
			t.Errorf("%s: got %+v, %d, want %+v, %d", tt.name, got, next, tt.want, tt.next)
		}
	}
}

// The note says what was tried before.
func TestLadderNote(t *testing.T) {
	l, _ := ladder{}.after(false, status.Error(codes.InvalidArgument, "2s is too often"))
	if got, want := l.note(), "streamed is refused: InvalidArgument: 2s is too often"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got := (ladder{}).note(); got != "" {
		t.Errorf("the first way has the note %q", got)
	}
	if got, want := line(errors.New("a\x1b[31m\nb")), `a\u001b[31m b`; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
