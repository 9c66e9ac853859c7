package snapshot

import (
	"archive/tar"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/pulsectl/pulsectl/pkg/api"
)

// ErrFull is wrapped by the error about a part for which there is no room; the
// archive goes on without it.
var ErrFull = errors.New("no room left")

// Writer writes the archive of one server.
type Writer struct {
	gz       *gzip.Writer
	tar      *tar.Writer
	redact   *Redactor
	most     int64
	begun    time.Time
	manifest Manifest
}

// NewWriter returns a writer of an archive whose parts have so many bytes at
// most, unpacked; 0 means DefaultBytes. m is what the manifest says beside the
// parts. Everything is masked by redact.
func NewWriter(w io.Writer, m Manifest, most int64, redact *Redactor) *Writer {
	if most <= 0 {
		most = DefaultBytes
	}
	m.Format, m.Parts, m.LeftOut = Format, []Part{}, []LeftOut{}
	gz, _ := gzip.NewWriterLevel(w, gzip.BestSpeed) // the level is one there is
	return &Writer{gz: gz, tar: tar.NewWriter(gz), redact: redact, most: most, begun: time.Now().UTC(), manifest: m}
}

// Room is how many bytes the next part may have.
func (w *Writer) Room() int64 { return min(w.most-int64(w.manifest.Bytes), MaxPart) }

// Add writes a part, masked. What is too large is left out, which the manifest
// says; the error then wraps ErrFull. Any other is the archive's end. p says
// everything but size and sum.
func (w *Writer) Add(p Part, form Form, data []byte) error {
	if err := checkName(p.Name); err != nil {
		return err
	}
	data, masked, err := w.redact.Mask(form, data)
	if err != nil {
		w.LeaveOut(p.Name, fmt.Sprintf("it cannot be searched for secrets: %v", err))
		return nil
	}
	if int64(len(data)) > w.Room() {
		w.LeaveOut(p.Name, fmt.Sprintf("its %d bytes find no room: a part may have %d, and all of them %d", len(data), MaxPart, w.most))
		return fmt.Errorf("%s: %w", p.Name, ErrFull)
	}
	w.manifest.Redacted += api.Count(masked)
	sum := sha256.Sum256(data)
	p.Bytes, p.SHA256 = api.Count(len(data)), hex.EncodeToString(sum[:])
	w.manifest.Parts = append(w.manifest.Parts, p)
	w.manifest.Bytes += p.Bytes
	return writeMember(w.tar, p.Name, w.begun, data)
}

// LeaveOut notes that something is not in the archive, and why.
func (w *Writer) LeaveOut(what, why string) {
	if len(w.manifest.LeftOut) < 1000 {
		w.manifest.LeftOut = append(w.manifest.LeftOut, LeftOut{What: what, Why: why})
	}
}

// Close writes the manifest and ends the archive; it does not close what it
// writes to.
func (w *Writer) Close() error {
	m := &w.manifest
	m.Created = api.Time{Time: time.Now().UTC()} // the end, so that nothing in it is of later
	texts := []*string{&m.Service, &m.Version, &m.Environment, &m.Instance, &m.Detail}
	for i := range m.LeftOut {
		texts = append(texts, &m.LeftOut[i].What, &m.LeftOut[i].Why)
	}
	for _, t := range texts { // not the names of parts: they are made of ids, and must stay those of the files
		masked, n := w.redact.text([]byte(*t))
		*t, m.Redacted = string(masked), m.Redacted+api.Count(n)
	}
	return errors.Join(writeMember(w.tar, manifestName, m.Created.Time, encode(m)), w.tar.Close(), w.gz.Close())
}

func writeMember(w *tar.Writer, name string, t time.Time, data []byte) error {
	err := w.WriteHeader(&tar.Header{Name: name, Mode: 0o600, Size: int64(len(data)), ModTime: t.Truncate(time.Second), Typeflag: tar.TypeReg})
	if err != nil {
		return err
	}
	_, err = w.Write(data)
	return err
}
