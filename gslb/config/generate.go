package config

import (
	"errors"
	"fmt"
	"math"
	"regexp"
	"strconv"
	"strings"
)

// generate returns the lines that stand for a $GENERATE, as BIND has it: of its range, and of a record in which numbers
// of the range take the place of "$". Data of several words may be one quoted word, whose own quotes are escaped.
func generate(line tokens) (string, error) {
	if len(line) < 4 {
		return "", errors.New("must be a range, a name, perhaps a TTL, a type and data, as 1-9 host-$ A 192.0.2.$")
	}
	first, last, step, err := generatedRange(line[0].plain())
	if err != nil {
		return "", err
	}
	if data := &line[len(line)-1]; data.quoted {
		*data = token{text: strings.ReplaceAll(data.text, `\"`, `"`)}
	}
	record := line[1:].text()
	if strings.Contains(record, "\n") {
		return "", errors.New("must have no end of line in quotes")
	}
	if strings.HasPrefix(record, `$$`) {
		record = `\` + record[1:] // a name, and no directive
	}
	var all strings.Builder
	for i := first; i <= last; i += step {
		if err := number(&all, record, i); err != nil {
			return "", err
		}
		all.WriteByte('\n')
		if all.Len() > maxFileSize {
			return "", fmt.Errorf("must give at most %d bytes of records", maxFileSize)
		}
	}
	return all.String(), nil
}

var rangeForm = regexp.MustCompile(`^([0-9]{1,10})-([0-9]{1,10})(?:/([0-9]{1,10}))?$`)

// generatedRange reads START-STOP or START-STOP/STEP.
func generatedRange(text string) (first, last, step int64, err error) {
	m := rangeForm.FindStringSubmatch(text)
	if m == nil {
		return 0, 0, 0, fmt.Errorf("must begin with a range, as 1-9 or 0-254/2, begins with %q", text)
	}
	first, _ = strconv.ParseInt(m[1], 10, 64)
	last, _ = strconv.ParseInt(m[2], 10, 64)
	step = 1
	if m[3] != "" {
		step, _ = strconv.ParseInt(m[3], 10, 64)
	}
	if last > math.MaxInt32 || first > last || step < 1 || step > math.MaxInt32 {
		return 0, 0, 0, fmt.Errorf("range must be of 0..%d, upwards, in steps of at least 1, is %q", math.MaxInt32,
			text)
	}
	if n := (last-first)/step + 1; n > maxRecords {
		return 0, 0, 0, fmt.Errorf("must give at most %d records, gives %d", maxRecords, n)
	}
	return first, last, step, nil
}

// number writes what the record is for i.
func number(b *strings.Builder, record string, i int64) error {
	for at := 0; at < len(record); at++ {
		switch c := record[at]; {
		case c == '\\' && at+1 < len(record): // what is escaped stays so, "$" as well
			b.WriteString(record[at : at+2])
			at++
		case c != '$':
			b.WriteByte(c)
		case strings.HasPrefix(record[at:], "$$"):
			b.WriteByte('$')
			at++
		case strings.HasPrefix(record[at:], "${"):
			form, _, closed := strings.Cut(record[at+2:], "}")
			text, err := numbered(form, i)
			if !closed || err != nil {
				return fmt.Errorf("must have ${OFFSET,WIDTH,BASE}, BASE being d, o, x, X, n or N, has %q: %w",
					"${"+form+"}", err)
			}
			b.WriteString(text)
			at += len("${}") - 1 + len(form)
		default:
			b.WriteString(strconv.FormatInt(i, 10))
		}
	}
	return nil
}

var numberForm = regexp.MustCompile(`^([+-]?[0-9]{1,10})(?:,([0-9]{1,3})(?:,([doxXnN]))?)?$`)

// numbered is i as OFFSET,WIDTH,BASE says: with what is added to it, the least digits, and in decimal, octal or
// hexadecimal digits, or those one by one from the last with points between, in a width that counts the points (n, N).
func numbered(form string, i int64) (string, error) {
	m := numberForm.FindStringSubmatch(form)
	if m == nil {
		return "", errors.New("is not of this form")
	}
	offset, _ := strconv.ParseInt(m[1], 10, 64)
	if i += offset; i < math.MinInt32 || i > math.MaxInt32 {
		return "", fmt.Errorf("makes %d of a number, which must have 32 bits", i)
	}
	bits := uint32(i) // as BIND has negative ones
	width, _ := strconv.Atoi(m[2])
	switch m[3] {
	case "o", "x", "X":
		return fmt.Sprintf("%0*"+m[3], width, bits), nil
	case "n", "N":
		digits := "0123456789abcdef"
		if m[3] == "N" {
			digits = strings.ToUpper(digits)
		}
		text := []byte{digits[bits%16]}
		for bits /= 16; bits > 0 || len(text) < width; bits /= 16 {
			if text = append(text, '.'); bits > 0 || len(text) < width {
				text = append(text, digits[bits%16])
			}
		}
		return string(text), nil
	}
	return fmt.Sprintf("%0*d", width, i), nil
}
