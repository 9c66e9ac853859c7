package main

import (
	"cmp"
	"fmt"
	"io"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"

	"github.com/pulsectl/pulsectl/pkg/api"
	"github.com/pulsectl/pulsectl/pkg/render"
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

// build is what this program is.
type build struct {
	Version string `json:"version"`
	Commit  string `json:"commit"` // "" where the build did not record it
	OS      string `json:"os"`
	Arch    string `json:"arch"`
}

var versionView = view[build]{
	kind:  "Version",
	items: func(b build) []render.Item { return []render.Item{{Name: b.Version, Value: b}} },
	draw: func(w io.Writer, rs []api.Result[build], _ render.Options) error {
		b := rs[0].Value
		_, err := fmt.Fprintf(w, "pulsectl %s %s %s/%s\n", b.Version, cmp.Or(b.Commit, "unknown"), b.OS, b.Arch)
		return err
	},
}

func newVersionCmd(a *app) *cobra.Command {
	return &cobra.Command{
		Use:         "version",
		Short:       "Print the version of this program",
		Args:        cobra.NoArgs,
		Annotations: map[string]string{asksNobody: "yes"},
		RunE: func(*cobra.Command, []string) error {
			return show(a, local("", build{version(), commit(), runtime.GOOS, runtime.GOARCH}), versionView)
		},
	}
}
