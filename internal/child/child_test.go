package child_test

import (
	"errors"
	"io/fs"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/pulsectl/pulsectl/internal/child"
)

func TestSplit(t *testing.T) {
	for _, tt := range []struct {
		in   string
		want []string
	}{
		{"", nil},
		{"  \t\n", nil},
		{"cp a b", []string{"cp", "a", "b"}},
		{` cp  'last report.csv'	"now $HOME.csv" `, []string{"cp", "last report.csv", "now $HOME.csv"}},
		{`a'b'"c"d`, []string{"abcd"}},
		{`'' ""`, []string{"", ""}},
		{`"say \"hi\" \\ \n" '\"'`, []string{`say "hi" \ \n`, `\"`}},
		{`a\ b \'`, []string{"a b", "'"}},
		{"$(reboot); `reboot` | a > b *", []string{"$(reboot);", "`reboot`", "|", "a", ">", "b", "*"}},
	} {
		got, err := child.Split(tt.in)
		if err != nil || !slices.Equal(got, tt.want) {
			t.Errorf("Split(%q) = %q, %v; want %q", tt.in, got, err, tt.want)
		}
	}
	for _, bad := range []string{"'open", `say "open`, `"open\"`, `end\`} {
		if got, err := child.Split(bad); err == nil {
			t.Errorf("Split(%q) = %q", bad, got)
		}
	}
}

// Words that are quoted come back as they were.
func FuzzSplit(f *testing.F) {
	for _, s := range []string{"", "a b", `'"\`, "a\x00b", "ä\xff"} {
		f.Add(s, s)
	}
	f.Fuzz(func(t *testing.T, a, b string) {
		single := "'" + strings.ReplaceAll(a, "'", `'\''`) + "'"
		double := `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(b) + `"`
		got, err := child.Split(single + " " + double)
		if err != nil || !slices.Equal(got, []string{a, b}) {
			t.Errorf("Split(%q) = %q, %v", single+" "+double, got, err)
		}
		_, _ = child.Split(a) // whatever it is
	})
}

func TestParseCodes(t *testing.T) {
	for _, tt := range []struct {
		in      string
		has     []int
		without []int
	}{
		{"1-255", []int{1, 137, 255}, []int{0, -1, 256}},
		{"0", []int{0}, []int{1}},
		{"2, 64-78,137", []int{2, 64, 78, 137}, []int{1, 63, 79}},
	} {
		c, err := child.ParseCodes(tt.in)
		if err != nil {
			t.Errorf("ParseCodes(%q): %v", tt.in, err)
		}
		for _, n := range tt.has {
			if !c.Has(n) {
				t.Errorf("%q has not %d", tt.in, n)
			}
		}
		for _, n := range tt.without {
			if c.Has(n) {
				t.Errorf("%q has %d", tt.in, n)
			}
		}
	}
	for _, bad := range []string{"", "256", "-1", "5-3", "1,,2", "a", "1-", "1-2-3", "+1"} {
		if _, err := child.ParseCodes(bad); err == nil {
			t.Errorf("ParseCodes(%q) is content", bad)
		}
	}
}

func TestStartStatus(t *testing.T) {
	for _, tt := range []struct {
		err  error
		want int
	}{
		{&exec.Error{Name: "x", Err: exec.ErrNotFound}, 127},
		{&fs.PathError{Op: "fork/exec", Path: "/x", Err: syscall.ENOENT}, 127},
		{&fs.PathError{Op: "fork/exec", Path: "/x", Err: syscall.EACCES}, 126},
		{&fs.PathError{Op: "fork/exec", Path: "/x", Err: syscall.ENOEXEC}, 126},
		{&fs.PathError{Op: "fork/exec", Path: "/x", Err: syscall.EAGAIN}, 125},
		{errors.New("whatever"), 126},
	} {
		if got := child.StartStatus(tt.err); got != tt.want {
			t.Errorf("StartStatus(%v) = %d, want %d", tt.err, got, tt.want)
		}
	}
}
