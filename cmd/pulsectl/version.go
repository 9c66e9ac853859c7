package main

import (
	"cmp"
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
)

// Set by the linker in a release build.
var buildVersion, buildCommit string

// version is the release's, else the module's, else "devel".
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok || info.Main.Version == "(devel)" {
		return cmp.Or(buildVersion, "devel")
	}
	return cmp.Or(buildVersion, info.Main.Version, "devel")
}

// commit is the revision built, "" where the build did not record it.
func commit() string {
	if buildCommit != "" {
		return buildCommit
	}
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" {
				return s.Value
			}
		}
	}
	return ""
}

func newVersionCmd(a *app) *cobra.Command {
	return &cobra.Command{
		Annotations: map[string]string{asksNobody: "yes"},
		Use:         "version",
		Short:       "Print the version of this program",
		Args:        cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			_, err := fmt.Fprintf(a.streams.out, "pulsectl %s %s %s/%s\n", version(), cmp.Or(commit(), "unknown"), runtime.GOOS, runtime.GOARCH)
			return err
		},
	}
}
