package config

import (
	"io"
	"regexp"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// FuzzSpeller: what needs no other spelling is handed out as it is, and nothing is handed out for ever.
func FuzzSpeller(f *testing.F) {
	for _, text := range []string{
		"x 60 IN A 192.0.2.1\n", "\tTXT ( \"a ( b\" ; c\n d\\;e )\n", "$TTL 60\n$include \"a b\" c\n",
		"x X25 \"1\n2\" ( \\\" ; \"\n", "a\\ b 1h CLASS1 NAPTR 1 2 a b \"c\" d",
		"x WKS 192.0.2.1 6 1 2 65535", "x NSAP 0x47", "x WKS )))\n", "\"", "(", "\\", ";", "x GPOS \"\"", "x NAPTR",
		"x IN ( NAPTR(1 2 a b c d)) ; (", "x DNSKEY 1 3 ED25519 AA", "x NID 1 a:b:c:d",
		"x SVCB 1 . key1=\\002h2 key3=\"\"",
		"$GENERATE 1-2 a$ MX \"1 \\\"\"", "x IPSECKEY",
	} {
		f.Add([]byte(text))
	}
	other := regexp.MustCompile(`(?i)X25|GPOS|NAPTR|WKS|NSAP|KEY|NID|L64|SVCB|HTTPS|LOC|\$(INCLUDE|GENERATE)`)
	all := func(r io.ByteReader, most int) (out []byte, err error) {
		for range most {
			c, err := r.ReadByte()
			if err != nil {
				return out, err
			}
			out = append(out, c)
		}
		return out, nil
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		most := 1000 + 10*len(text) + 4*1<<13 // a WKS has 8 KiB of ports, as two digits each
		got, err := all(&speller{lineReader: &lineReader{data: text}}, most)
		if err == nil {
			t.Fatalf("%q: %d bytes were handed out, and there are more", text, most)
		}
		if other.Match(text) {
			return
		}
		if want, _ := all(&lineReader{data: text}, most); err != io.EOF || !cmp.Equal(want, got) {
			t.Errorf("%q: handed out as %q, %v", text, got, err)
		}
	})
}
