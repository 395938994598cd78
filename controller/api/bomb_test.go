package api_test

import (
	"bytes"
	"compress/gzip"
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/sluicelb/sluice/controller/api"
	"github.com/sluicelb/sluice/controller/config"
	"github.com/sluicelb/sluice/healthd/probe"
	"github.com/sluicelb/sluice/internal/alloctest"
	"github.com/sluicelb/sluice/internal/rpc"
)

func TestIntentFits(t *testing.T) {
	if api.MaxIntent != config.MaxBytes {
		t.Errorf("the API takes an intent of %d bytes, and one may have %d", api.MaxIntent, config.MaxBytes)
	}
}

// The longest report there may be passes, and so does the answer that knows none of its backends.
func TestLongestReportFits(t *testing.T) {
	c, err := api.Dial(serve(t, "unix:"+filepath.Join(t.TempDir(), "api")), rpc.Security{})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	name, now := strings.Repeat("n", 63), timestamppb.Now()
	r := &api.ReportVerdictsRequest{Full: true, Healthd: name, Session: name}
	for range api.MaxVerdicts {
		r.Verdicts = append(r.Verdicts, &api.Verdict{
			Pool: name, Backend: name, Health: api.Health_HEALTH_UNCHECKED, Reason: strings.Repeat("r", probe.MaxLine),
			Since: now, DetectedAt: now,
		})
	}
	m, err := c.ReportVerdicts(t.Context(), r)
	if err != nil || len(m.Unknown) != api.MaxVerdicts {
		t.Errorf("%d unknown, %v; want %d", len(m.GetUnknown()), err, api.MaxVerdicts)
	}
}

// A request costs no more than its method is worth, however it is written.
func TestBombs(t *testing.T) {
	address := serve(t, "unix:"+filepath.Join(t.TempDir(), "api"))
	c, err := rpc.Dial(address, rpc.Security{})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	zipped := func(text string) string {
		var b bytes.Buffer
		z := gzip.NewWriter(&b)
		_, _ = io.WriteString(z, text)
		_ = z.Close()
		return b.String()
	}
	const apply, report, drain = api.ControllerServiceApplyIntentProcedure, api.HealthServiceReportVerdictsProcedure,
		api.ControllerServiceSetBackendAdminProcedure
	for _, test := range []struct{ name, procedure, kind, encoding, body, want string }{
		{"a compressed intent", apply, "application/json", "gzip",
			zipped(`{"yaml":"` + strings.Repeat("- ", 8<<20) + `"}`),
			`{"code":"unimplemented","message":"unknown compression \"gzip\": supported encodings are "}`},
		{"an intent that is too long", apply, "application/json", "", `{"yaml":"` + strings.Repeat("- ", 8<<20) + `"}`,
			`{"code":"resource_exhausted","message":"`},
		{"empty verdicts", report, "application/proto", "", strings.Repeat("\x0a\x00", 4<<20),
			`{"code":"invalid_argument","message":"unmarshal message: too many items in a ` +
				`sluice.v1.ReportVerdictsRequest: must be at most 131072"}`},
		{"empty verdicts in JSON", report, "application/json", "",
			`{"verdicts":[{}` + strings.Repeat(",{}", 2<<20) + "]}",
			`{"code":"invalid_argument","message":"unmarshal message: 4194307 items in the message: must be at most ` +
				`131072"}`},
		{"a long name", drain, "application/json", "", `{"backend":"` + strings.Repeat("x", 100<<10) + `"}`,
			`{"code":"resource_exhausted","message":"`},
	} {
		var got string
		used := alloctest.MiB(func() {
			r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, c.URL+test.procedure,
				strings.NewReader(test.body))
			if err != nil {
				t.Fatal(err)
			}
			r.Header.Set("Content-Type", test.kind)
			if test.encoding != "" {
				r.Header.Set("Content-Encoding", test.encoding)
			}
			resp, err := c.HTTP().Do(r)
			if err != nil {
				t.Fatalf("%s: %v", test.name, err)
			}
			text, err := io.ReadAll(resp.Body)
			resp.Body.Close()
			if err != nil {
				t.Fatalf("%s: %v", test.name, err)
			}
			got = string(text)
		})
		if !strings.HasPrefix(got, test.want) {
			t.Errorf("%s: got %s, want %s", test.name, got, test.want)
		}
		// A body is read into a buffer that grows; of four million verdicts it would be half a GiB.
		if most := 16 + 12*len(test.body)>>20; used > most {
			t.Errorf("%s: took %d MiB, want %d at most", test.name, used, most)
		}
	}
}
