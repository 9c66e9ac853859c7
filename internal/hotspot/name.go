package hotspot

import "strings"

// ShortName drops the import path from a function's name:
// github.com/acme/pulse/engine.cosine is engine.cosine. Only slashes before the
// first "(" or "[" count, because type arguments hold paths too.
func ShortName(name string) string {
	head := name
	if i := strings.IndexAny(name, "(["); i >= 0 {
		head = name[:i]
	}
	return name[strings.LastIndexByte(head, '/')+1:]
}

// PackageOf returns the import path of the package that a Go function's name
// begins with, or "" for names without one.
func PackageOf(name string) string {
	base := ShortName(name)
	pkg, _, ok := strings.Cut(base, ".")
	if !ok || strings.ContainsAny(pkg, "([ :<") {
		return ""
	}
	return strings.TrimSuffix(name, base) + pkg
}
