package server

import (
	"errors"
	"fmt"
	"slices"

	v1 "github.com/p4lang/p4runtime/go/p4/v1"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/protoadapt"

	"github.com/sluicelb/sluice/p4/softswitch/engine"
)

func invalid(format string, args ...any) error {
	return status.Errorf(codes.InvalidArgument, format, args...)
}

func unimplemented(what string) error {
	return status.Errorf(codes.Unimplemented, "this target has no %s", what)
}

// batchError answers a batch: nil when all went well, else UNKNOWN with one p4.Error for every element
// of the batch, in its order (section "Write RPC", "Error Reporting"). errs may have nils.
func batchError(errs []error) error {
	at := slices.IndexFunc(errs, func(err error) bool { return err != nil })
	if at < 0 {
		return nil
	}
	failed, first := 0, errs[at]
	details := make([]protoadapt.MessageV1, len(errs))
	for i, err := range errs {
		e := &v1.Error{}
		if err != nil {
			failed++
			st := status.Convert(err)
			e.CanonicalCode, e.Message = int32(st.Code()), st.Message()
		}
		details[i] = protoadapt.MessageV1Of(e)
	}
	message := fmt.Sprintf("%d of %d failed; the first: %s", failed, len(errs), status.Convert(first).Message())
	st, err := status.New(codes.Unknown, message).WithDetails(details...)
	if err != nil {
		return status.Errorf(codes.Internal, "reporting %s: %v", message, err)
	}
	return st.Err()
}

// engineError gives an error of a table write its code.
func engineError(t *table, err error) error {
	if err == nil {
		return nil
	}
	code := codes.Internal
	switch {
	case errors.Is(err, engine.ErrExists):
		code = codes.AlreadyExists
	case errors.Is(err, engine.ErrNotFound):
		code = codes.NotFound
	case errors.Is(err, engine.ErrFull):
		code = codes.ResourceExhausted
		err = fmt.Errorf("%w: it has room for %d entries", err, t.engine.Size())
	case errors.Is(err, engine.ErrConst):
		code = codes.PermissionDenied
	case errors.Is(err, engine.ErrInvalid):
		code = codes.InvalidArgument
	}
	return status.Errorf(code, "table %s: %v", t.name, err)
}
