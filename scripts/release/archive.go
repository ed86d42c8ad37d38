package main

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"time"
)

// file is one in an archive.
type file struct {
	name   string // in the archive
	source string // on disk
	mode   int64
}

// extras accompany the program in an archive. The completions are what
// `authferry completion` prints.
var extras = []file{
	{"LICENSE", "LICENSE", 0o644},
	{"README.md", "README.md", 0o644},
	{"authferry.1", "docs/authferry.1", 0o644},
	{"completion/authferry.bash", "cmd/authferry/completion/authferry.bash", 0o644},
	{"completion/authferry.fish", "cmd/authferry/completion/authferry.fish", 0o644},
	{"completion/authferry.ps1", "cmd/authferry/completion/authferry.ps1", 0o644},
	{"completion/authferry.zsh", "cmd/authferry/completion/authferry.zsh", 0o644},
}

// archiveName is the name of a target's archive.
func (r *release) archiveName(t target) string {
	if t.os == "windows" {
		return r.folder(t) + ".zip"
	}
	return r.folder(t) + ".tar.gz"
}

// folder is the one that a target's archive unpacks to.
func (r *release) folder(t target) string { return "authferry-" + r.version + "-" + t.String() }

func (r *release) archive(t target) error {
	files := append([]file{{t.program(), r.program(t), 0o755}}, extras...)
	for i := range files {
		files[i].name = path.Join(r.folder(t), files[i].name)
	}
	write := writeTar
	if t.os == "windows" {
		write = writeZip
	}
	return r.create(r.archiveName(t), func(w io.Writer) error { return write(w, files, r.time) })
}

// create writes a file of the release.
func (r *release) create(name string, write func(io.Writer) error) error {
	f, err := os.OpenFile(filepath.Join(r.dist, name), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644) // #nosec G302 -- to be published
	if err != nil {
		return err
	}
	if err := write(f); err != nil {
		f.Close() // #nosec G104 -- the first error counts
		return fmt.Errorf("%s: %w", name, err)
	}
	return f.Close()
}

// writeTar writes a gzipped tar archive that tells nothing of the machine it
// was made on: every file is root's, and as old as the commit.
func writeTar(w io.Writer, files []file, age time.Time) error {
	zipped, err := gzip.NewWriterLevel(w, gzip.BestCompression)
	if err != nil {
		return err
	}
	archive := tar.NewWriter(zipped)
	for _, f := range files {
		content, err := os.ReadFile(f.source)
		if err != nil {
			return err
		}
		header := &tar.Header{Name: f.name, Mode: f.mode, Size: int64(len(content)), ModTime: age, Uname: "root", Gname: "root"}
		if err := archive.WriteHeader(header); err != nil {
			return err
		}
		if _, err := archive.Write(content); err != nil {
			return err
		}
	}
	if err := archive.Close(); err != nil {
		return err
	}
	return zipped.Close()
}

func writeZip(w io.Writer, files []file, age time.Time) error {
	archive := zip.NewWriter(w)
	for _, f := range files {
		content, err := os.ReadFile(f.source)
		if err != nil {
			return err
		}
		header := &zip.FileHeader{Name: f.name, Method: zip.Deflate, Modified: age}
		header.SetMode(os.FileMode(f.mode)) // #nosec G115 -- permissions
		entry, err := archive.CreateHeader(header)
		if err != nil {
			return err
		}
		if _, err := entry.Write(content); err != nil {
			return err
		}
	}
	return archive.Close()
}

// gzipped is the file's content as manual pages are installed.
func gzipped(source string) ([]byte, error) {
	content, err := os.ReadFile(source)
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	w, err := gzip.NewWriterLevel(&b, gzip.BestCompression)
	if err != nil {
		return nil, err
	}
	if _, err := w.Write(content); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}
