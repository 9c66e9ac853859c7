package child

import (
	"fmt"
	"strconv"
	"strings"
)

// Codes is a set of exit statuses.
type Codes [256]bool

// ParseCodes reads a list of statuses and ranges of them: "1-255", "2,64-78".
func ParseCodes(s string) (c Codes, err error) {
	for part := range strings.SplitSeq(s, ",") {
		low, high, isRange := strings.Cut(strings.TrimSpace(part), "-")
		if !isRange {
			high = low
		}
		from, err1 := strconv.ParseUint(low, 10, 8)
		to, err2 := strconv.ParseUint(high, 10, 8)
		if err1 != nil || err2 != nil || from > to {
			return c, fmt.Errorf("exit statuses %.40q: want numbers of 0 to 255 and ranges like 1,64-78", s)
		}
		for i := from; i <= to; i++ {
			c[i] = true
		}
	}
	return c, nil
}

// Has tells whether a status is in the set.
func (c *Codes) Has(code int) bool { return code >= 0 && code < len(c) && c[code] }
