package gslb

import "testing"

func TestRcodeName(t *testing.T) {
	for rcode, want := range map[int]string{
		0: "NOERROR", 3: "NXDOMAIN", 5: "REFUSED",
		16:   "BADVERS", // the same number is BADSIG in TSIG records, which are no responses
		23:   "BADCOOKIE",
		4000: "RCODE4000",
	} {
		if got := rcodeName(rcode); got != want {
			t.Errorf("RCODE %d is called %s, want %s", rcode, got, want)
		}
	}
}
