package snapshot

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"path"
	"slices"
	"strings"
)

// The bounds of what is read, whatever it says of itself.
const (
	maxUnpacked = 1<<30 + 64<<20 // bytes of all members
	maxMember   = MaxPart + 1<<20
	maxMembers  = 200_000
)

// Archive is an archive that has been read and found true to its manifests. It
// holds everything in memory.
type Archive struct {
	Servers []Server
}

// Server is what an archive has of one server.
type Server struct {
	Instance string // as the client named it; of an archive that no client made, as the server does
	Manifest *Manifest
	Failed   *FleetMember // why there is nothing else; nil for a server that answered
	files    map[string][]byte
}

// File returns a part by its name.
func (s *Server) File(name string) ([]byte, bool) {
	b, found := s.files[name]
	return b, found
}

// Open reads an archive of one server or of a fleet, and checks that it is
// whole. What is wrong with it is said in one line.
func Open(r io.Reader) (*Archive, error) {
	files, err := unpack(r)
	if err != nil {
		return nil, err
	}
	fleet, found := files[fleetName]
	if !found {
		s, err := server(files)
		if err != nil {
			return nil, err
		}
		s.Instance = s.Manifest.Instance
		if s.Instance == "" {
			s.Instance = s.Manifest.Service
		}
		return &Archive{[]Server{*s}}, nil
	}
	delete(files, fleetName)
	var m FleetManifest
	if err := json.Unmarshal(fleet, &m); err != nil {
		return nil, fmt.Errorf("%s: %w", fleetName, err)
	}
	return m.servers(files)
}

// servers gives each member of the fleet the files of its folder.
func (m *FleetManifest) servers(files map[string][]byte) (*Archive, error) {
	if m.Format != FleetFormat {
		return nil, fmt.Errorf("the fleet's format is %.60q, want %q", m.Format, FleetFormat)
	}
	if len(m.Instances) == 0 {
		return nil, errors.New("it is of no server")
	}
	folders := map[string]map[string][]byte{}
	for name, data := range files {
		folder, rest, _ := strings.Cut(name, "/")
		if folders[folder] == nil {
			folders[folder] = map[string][]byte{}
		}
		folders[folder][rest] = data
	}
	var out Archive
	for i := range m.Instances {
		one := &m.Instances[i]
		if one.Folder == "" {
			out.Servers = append(out.Servers, Server{Instance: one.Instance, Failed: one})
			continue
		}
		mine, found := folders[one.Folder]
		if !found {
			return nil, fmt.Errorf("the folder %.100q of %.100q is not in it", one.Folder, one.Instance)
		}
		delete(folders, one.Folder)
		s, err := server(mine)
		if err != nil {
			return nil, fmt.Errorf("%.100s: %w", one.Folder, err)
		}
		s.Instance = one.Instance
		out.Servers = append(out.Servers, *s)
	}
	if len(folders) > 0 {
		return nil, fmt.Errorf("it holds %.100q, which its list of servers does not", slices.Min(slices.Collect(maps.Keys(folders))))
	}
	return &out, nil
}

// server checks the files of one server against their manifest.
func server(files map[string][]byte) (*Server, error) {
	raw, found := files[manifestName]
	if !found {
		return nil, fmt.Errorf("it has no %s: it is no snapshot, or its end is missing", manifestName)
	}
	delete(files, manifestName)
	s := &Server{Manifest: new(Manifest), files: files}
	if err := json.Unmarshal(raw, s.Manifest); err != nil {
		return nil, fmt.Errorf("%s: %w", manifestName, err)
	}
	if err := check(s.Manifest); err != nil {
		return nil, err
	}
	for _, p := range s.Manifest.Parts {
		data, found := files[p.Name]
		sum := sha256.Sum256(data)
		switch {
		case !found:
			return nil, fmt.Errorf("%.100q is in the manifest alone", p.Name)
		case int64(len(data)) != int64(p.Bytes) || hex.EncodeToString(sum[:]) != p.SHA256:
			return nil, fmt.Errorf("%.100q is not what the manifest says: it was changed, or the manifest was", p.Name)
		}
	}
	if len(files) > len(s.Manifest.Parts) {
		for name := range files {
			if !slices.ContainsFunc(s.Manifest.Parts, func(p Part) bool { return p.Name == name }) {
				return nil, fmt.Errorf("it holds %.100q, which its manifest does not list", name)
			}
		}
	}
	return s, nil
}

// unpack reads every member into memory, within the bounds.
func unpack(r io.Reader) (map[string][]byte, error) {
	gz, err := gzip.NewReader(r)
	if err != nil {
		return nil, fmt.Errorf("it is no gzip: %w", cut(err))
	}
	in, files, total := tar.NewReader(gz), map[string][]byte{}, int64(0)
	for {
		h, err := in.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("it cannot be read to its end: %w", cut(err))
		}
		name := h.Name
		switch {
		case h.Typeflag == tar.TypeDir:
			continue
		case h.Typeflag != tar.TypeReg:
			return nil, fmt.Errorf("%.100q is no plain file", name)
		case checkName(name) != nil:
			return nil, checkName(name)
		case path.Clean(name) != name || files[name] != nil:
			return nil, fmt.Errorf("%.100q is in it twice", name)
		case h.Size > maxMember:
			return nil, fmt.Errorf("%.100q has %d bytes, a part has at most %d", name, h.Size, maxMember)
		case len(files) >= maxMembers:
			return nil, fmt.Errorf("it has more than %d files", maxMembers)
		}
		if total += h.Size; total > maxUnpacked {
			return nil, fmt.Errorf("it unpacks to more than %d MiB", maxUnpacked>>20)
		}
		var data bytes.Buffer // grows with what comes, not with what is announced
		if n, err := io.Copy(&data, in); err != nil || n != h.Size {
			return nil, fmt.Errorf("%.100q is cut off: %w", name, cut(errors.Join(err)))
		}
		files[name] = append(make([]byte, 0, data.Len()+1), data.Bytes()...)
	}
	if _, err := io.CopyN(io.Discard, gz, 1<<20); err != nil && err != io.EOF { // the checksum of gzip stands behind the end of tar
		return nil, fmt.Errorf("it cannot be read to its end: %w", cut(err))
	}
	return files, nil
}

// cut names the end that came too early.
func cut(err error) error {
	if err == nil || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return errors.New("it ends too early")
	}
	return err
}
