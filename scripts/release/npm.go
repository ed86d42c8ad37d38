package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
)

// npm makes one package with every platform's program in it. A package per
// platform would be a smaller download, but seven to publish at the same moment,
// and an installation without optional dependencies, or from a lock file of
// another platform, would lack the program.
func (r *release) npm(stage string) error {
	return create(filepath.Join(r.dist, "authferry-"+r.version+".tgz"), func(w io.Writer) error {
		zipped, err := gzip.NewWriterLevel(w, gzip.BestCompression)
		if err != nil {
			return err
		}
		archive := tar.NewWriter(zipped)
		manifest, err := os.ReadFile("packaging/npm/package.json")
		if err != nil {
			return err
		}
		if err := r.add(archive, "package.json", 0o644, bytes.ReplaceAll(manifest, []byte("<<version>>"), []byte(r.version))); err != nil {
			return err
		}
		files := [][2]string{{"LICENSE", "LICENSE"}, {"README.md", "README.md"}, {"bin/authferry.js", "packaging/npm/authferry.js"}}
		for _, t := range targets {
			built, err := filepath.Glob(filepath.Join(stage, "authferry_"+t.os+"_"+t.arch+"_*", t.program()))
			if err != nil || len(built) != 1 {
				return fmt.Errorf("%s: %d programs were built: %w", t, len(built), err)
			}
			files = append(files, [2]string{path.Join("bin", nodePlatform(t), t.program()), built[0]})
		}
		for _, f := range files {
			content, err := os.ReadFile(f[1])
			if err != nil {
				return err
			}
			mode := int64(0o644)
			if path.Dir(f[0]) != "." {
				mode = 0o755
			}
			if err := r.add(archive, f[0], mode, content); err != nil {
				return err
			}
		}
		if err := archive.Close(); err != nil {
			return err
		}
		return zipped.Close()
	})
}

// add tells nothing of the machine that packs: a file is root's, and as old as the commit.
func (r *release) add(archive *tar.Writer, name string, mode int64, content []byte) error {
	header := &tar.Header{Name: path.Join("package", name), Mode: mode, Size: int64(len(content)), ModTime: r.time, Uname: "root", Gname: "root"}
	if err := archive.WriteHeader(header); err != nil {
		return err
	}
	_, err := archive.Write(content)
	return err
}

// nodePlatform names a target as process.platform and process.arch do.
func nodePlatform(t target) string {
	system, machine := t.os, t.arch
	if system == "windows" {
		system = "win32"
	}
	if machine == "amd64" {
		machine = "x64"
	}
	return system + "-" + machine
}

func create(name string, write func(io.Writer) error) error {
	f, err := os.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644) // #nosec G302 -- to be published
	if err != nil {
		return err
	}
	if err := write(f); err != nil {
		f.Close() // #nosec G104 -- the first error counts
		return fmt.Errorf("%s: %w", name, err)
	}
	return f.Close()
}
