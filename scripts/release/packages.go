package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"text/template"
)

// linuxPackages makes deb and rpm from packaging/nfpm.yaml.
func (r *release) linuxPackages(ctx context.Context) error {
	page, err := gzipped("docs/authferry.1")
	if err != nil {
		return err
	}
	manual := filepath.Join(r.stage, "authferry.1.gz")
	if err := os.WriteFile(manual, page, 0o644); err != nil { // #nosec G306 -- to be published
		return err
	}
	nfpm, err := tool(ctx, "nfpm")
	if err != nil {
		return err
	}
	for _, t := range targets {
		if t.os != "linux" {
			continue
		}
		env := []string{
			"VERSION=" + r.version, "ARCH=" + t.arch, "PROGRAM=" + r.program(t), "MANUAL=" + manual,
			"SOURCE_DATE_EPOCH=" + strconv.FormatInt(r.time.Unix(), 10),
		}
		for _, packager := range []string{"deb", "rpm"} {
			if err := run(ctx, env, nfpm, "package", "--config", "packaging/nfpm.yaml", "--packager", packager, "--target", r.dist); err != nil {
				return err
			}
		}
	}
	return nil
}

// billsOfMaterials says which modules are in each program, as read from it.
func (r *release) billsOfMaterials(ctx context.Context) error {
	gomod, err := tool(ctx, "cyclonedx-gomod")
	if err != nil {
		return err
	}
	for _, t := range targets {
		// This module's own version may be on no proxy yet, and the others are here.
		if err := run(ctx, []string{"GOPROXY=off", "GOFLAGS=-mod=mod"}, gomod,
			"bin", "-json", "-noserial", "-notimestamp", "-std", "-version", "v"+r.version,
			"-output", filepath.Join(r.dist, r.folder(t)+".cdx.json"), r.program(t)); err != nil {
			return err
		}
	}
	return nil
}

// npm makes one package with every platform's program in it. A package per
// platform would be a smaller download, but seven to publish at the same moment,
// and an installation without optional dependencies, or from a lock file of
// another platform, would lack the program.
func (r *release) npm(context.Context) error {
	manifest := filepath.Join(r.stage, "package.json")
	f, err := os.Create(manifest)
	if err != nil {
		return err
	}
	if err := r.fill(f, "packaging/npm/package.json"); err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	files := []file{
		{"package.json", manifest, 0o644},
		{"LICENSE", "LICENSE", 0o644},
		{"README.md", "README.md", 0o644},
		{"bin/authferry.js", "packaging/npm/authferry.js", 0o755},
	}
	for _, t := range targets {
		files = append(files, file{path.Join("bin", nodePlatform(t), t.program()), r.program(t), 0o755})
	}
	for i := range files {
		files[i].name = path.Join("package", files[i].name)
	}
	return r.create("authferry-"+r.version+".tgz", func(w io.Writer) error { return writeTar(w, files, r.time) })
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

// manifests are what other package managers fetch the archives by.
func (r *release) manifests(context.Context) error {
	for _, name := range []string{"authferry.rb", "authferry.json"} {
		if err := r.create(name, func(w io.Writer) error { return r.fill(w, filepath.Join("packaging", name)) }); err != nil {
			return err
		}
	}
	return nil
}

// fill writes a template of packaging/ with the release's own data.
func (r *release) fill(w io.Writer, file string) error {
	// The templates' own brackets, for JSON and Ruby have uses for braces.
	t, err := template.New(filepath.Base(file)).Delims("<<", ">>").Option("missingkey=error").Funcs(template.FuncMap{
		"version": func() string { return r.version },
		"url":     func(system, machine string) string { return r.url + "/" + r.archiveName(target{system, machine}) },
		"folder":  func(system, machine string) string { return r.folder(target{system, machine}) },
		"sha256": func(system, machine string) (string, error) {
			return checksum(filepath.Join(r.dist, r.archiveName(target{system, machine})))
		},
	}).ParseFiles(file)
	if err != nil {
		return err
	}
	return t.Execute(w, nil)
}

// finish writes SHA256SUMS, as sha256sum --check reads it, and says what there is.
func (r *release) finish(context.Context) error {
	if err := os.RemoveAll(r.stage); err != nil {
		return err
	}
	entries, err := os.ReadDir(r.dist)
	if err != nil {
		return err
	}
	var sums bytes.Buffer
	for _, entry := range entries {
		path := filepath.Join(r.dist, entry.Name())
		sum, err := checksum(path)
		if err != nil {
			return err
		}
		fmt.Fprintf(&sums, "%s  %s\n", sum, entry.Name())
		if err := show(path); err != nil {
			return err
		}
	}
	return r.create("SHA256SUMS", func(w io.Writer) error {
		_, err := w.Write(sums.Bytes())
		return err
	})
}

func checksum(path string) (string, error) {
	content, err := os.ReadFile(path)
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(content)
	return hex.EncodeToString(sum[:]), nil
}

// show prints how big a file is.
func show(path string) error {
	info, err := os.Stat(path)
	if err == nil {
		_, err = fmt.Printf("%6.1f MB  %s\n", float64(info.Size())/1e6, path)
	}
	return err
}
