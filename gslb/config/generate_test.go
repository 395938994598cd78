package config

import (
	"fmt"
	"testing"
)

func TestGenerateProblems(t *testing.T) {
	const form = "must have ${OFFSET,WIDTH,BASE}, BASE being d, o, x, X, n or N, has "
	for _, tt := range []struct{ name, record, want string }{
		{"too little", "1-9 A 192.0.2.$",
			"must be a range, a name, perhaps a TTL, a type and data, as 1-9 host-$ A 192.0.2.$"},
		{"no range", "1 a$ A 192.0.2.$", `must begin with a range, as 1-9 or 0-254/2, begins with "1"`},
		{"a sign", "-1-9 a$ A 192.0.2.$", `must begin with a range, as 1-9 or 0-254/2, begins with "-1-9"`},
		{"downwards", "9-1 a$ A 192.0.2.$", `range must be of 0..2147483647, upwards, in steps of at least 1, is "9-1"`},
		{"no step", "1-9/0 a$ A 192.0.2.$",
			`range must be of 0..2147483647, upwards, in steps of at least 1, is "1-9/0"`},
		{"a large number", "1-2147483648/1000000 a$ A 192.0.2.1",
			`range must be of 0..2147483647, upwards, in steps of at least 1, is "1-2147483648/1000000"`},
		{"too many", "1-2147483647 a$ A 192.0.2.1",
			fmt.Sprintf("must give at most %d records, gives 2147483647", maxRecords)},
		{"no base", "1-9 a${0,2,q} A 192.0.2.1", form + `"${0,2,q}": is not of this form`},
		{"no end", "1-9 a${0 A 192.0.2.1", form + `"${0 A 192.0.2.1}": is not of this form`},
		{"an offset", "1-9 a${2147483647} A 192.0.2.1",
			form + `"${2147483647}": makes 2147483648 of a number, which must have 32 bits`},
		{"lines", "1-9 a$ TXT \"x\ny\"", "must have no end of line in quotes"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := speller{lineReader: &lineReader{data: []byte("$GENERATE " + tt.record + "\n")}}
			if _, err := s.ReadByte(); err == nil || err.Error() != "bad $GENERATE: "+tt.want {
				t.Errorf("%v, want %s", err, tt.want)
			}
		})
	}
}
