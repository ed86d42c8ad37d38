package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// callbacks are the pages with which a login ends in the browser.
func callbacks(dir, folder string) error {
	done, err := callback(dir, "approve")
	if err != nil {
		return err
	}
	denied, err := callback(dir, "deny")
	if err != nil {
		return err
	}
	for _, p := range []photo{
		{"callback-light.png", done, 640, 420, false},
		{"callback-dark.png", done, 640, 420, true},
		{"callback-phone.png", denied, 360, 560, false},
	} {
		if err := p.take(dir, folder); err != nil {
			return err
		}
	}
	return nil
}

// callback logs in at authferry-sim and returns the page at the end.
func callback(dir, consent string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	sim := exec.CommandContext(ctx, filepath.Join(dir, "authferry-sim"), "serve", "--consent", consent) // #nosec G204
	said, err := sim.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := sim.Start(); err != nil {
		return nil, err
	}
	defer func() { cancel(); _ = sim.Wait() }()
	lines, url := bufio.NewScanner(said), ""
	for url == "" && lines.Scan() {
		_, url, _ = strings.Cut(lines.Text(), "Authorization server on ")
	}
	if url == "" {
		return nil, errors.New("authferry-sim does not say where it is")
	}

	s := newStage(dir, consent)
	s.run("", "keystore", "init", "--key-file", filepath.Join(s.home, "key"))
	s.run("", "provider", "add", "acme", "--issuer", url, "--client-id", "authferry-sim")
	if s.err != nil {
		return nil, s.err
	}
	login := s.command("login", "acme", "--label", "Personal", "--no-input", "--json")
	events, err := login.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := login.Start(); err != nil {
		return nil, err
	}
	defer func() { _ = login.Process.Kill(); _ = login.Wait() }()
	var event struct{ URL string }
	if err := json.NewDecoder(events).Decode(&event); err != nil {
		return nil, fmt.Errorf("authferry login: %w", err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, event.URL, http.NoBody)
	if err != nil {
		return nil, err
	}
	resp, err := (&http.Client{Timeout: time.Minute}).Do(req) // #nosec G704 -- of this machine
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	return io.ReadAll(resp.Body)
}

// photo is a picture of a page in a window of that size.
type photo struct {
	name       string
	page       []byte
	wide, high int
	dark       bool
}

// take leaves a picture alone that was taken of the same page: browsers and fonts
// differ, and the picture says of which page it is.
func (p photo) take(dir, folder string) error {
	path := filepath.Join(folder, p.name)
	sum := sha256.Sum256(p.page)
	mark := textChunk("Source", fmt.Sprintf("%dx%d page %s", p.wide, p.high, hex.EncodeToString(sum[:])))
	if old, err := os.ReadFile(path); err == nil && bytes.Contains(old, mark) { // #nosec G304
		return nil
	}
	chromium, err := exec.LookPath("chromium")
	if err != nil {
		return fmt.Errorf("the page of %s has changed, and its picture needs chromium: %w", p.name, err)
	}
	page, shot := filepath.Join(dir, "page.html"), filepath.Join(dir, p.name)
	if err := os.WriteFile(page, p.page, 0o600); err != nil {
		return err
	}
	scheme := "1"
	if p.dark {
		scheme = "0"
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	browser := exec.CommandContext(ctx, chromium, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", // #nosec G204
		"--user-data-dir="+filepath.Join(dir, "browser"), "--force-device-scale-factor=2", "--blink-settings=preferredColorScheme="+scheme,
		fmt.Sprintf("--window-size=%d,%d", p.wide, p.high), "--screenshot="+shot, "file://"+page)
	if out, err := browser.CombinedOutput(); err != nil {
		return fmt.Errorf("chromium: %w: %s", err, out)
	}
	png, err := os.ReadFile(shot) // #nosec G304
	if err != nil {
		return err
	}
	const header = 8 + 4 + 4 + 13 + 4 // the signature and IHDR
	if len(png) < header {
		return errors.New("chromium: no picture")
	}
	return os.WriteFile(path, bytes.Join([][]byte{png[:header], mark, png[header:]}, nil), 0o644) // #nosec G306 -- a picture for everyone
}

// textChunk is a tEXt chunk of a PNG file (PNG specification, 11.3.3.2).
func textChunk(keyword, text string) []byte {
	body := []byte("tEXt" + keyword + "\x00" + text)
	chunk := binary.BigEndian.AppendUint32(nil, uint32(len(body)-4)) // #nosec G115 -- a line of text
	chunk = append(chunk, body...)
	return binary.BigEndian.AppendUint32(chunk, crc32.ChecksumIEEE(body))
}
