package render

import (
	"fmt"
	"strings"
)

// Progress is one line that says how far long work is: what it is, the share
// that is done, 0…1, and how many keys it came to, where that is not negative.
func Progress(what string, share float64, keys int64, o Options) string {
	const cellsOfBar = 20
	full := int(min(max(share, 0), 1)*cellsOfBar + 0.5)
	line := fmt.Sprintf("%s  %s%s %3.0f%%", clean(what), strings.Repeat("█", full), strings.Repeat("░", cellsOfBar-full), 100*share)
	if keys >= 0 {
		line += "  " + count(keys) + " keys"
	}
	if o.Width > 0 {
		line = fit(line, o.Width-1)
	}
	return strings.TrimRight(line, " ")
}
