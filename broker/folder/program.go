package folder

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"

	"github.com/authferry/authferry/broker/fault"
	"github.com/authferry/authferry/broker/index"
	"github.com/authferry/authferry/version"
)

// shareProgram speaks to the engine of a shared pool.
const shareProgram = "authferry-share"

// sharePath is the path of authferry-share: beside this program, wherever links to this
// one are, and nowhere else. Errors: EngineUnreachable if it isn't there.
func sharePath(f *Folder) (string, error) {
	self, err := program(f)
	if err != nil {
		return "", err
	}
	if real, err := filepath.EvalSymlinks(self); err == nil {
		self = real
	}
	path := filepath.Join(filepath.Dir(self), shareProgram)
	if runtime.GOOS == "windows" {
		path += ".exe"
	}
	if info, err := os.Stat(path); err != nil || !info.Mode().IsRegular() {
		return "", fault.Errorf(fault.EngineUnreachable, "shared pools need the program %s, which is missing; it comes with authferry and belongs beside it", path).
			Try(fault.Remedy{Do: fault.InstallShare, Value: version.String()})
	}
	return path, nil
}

func program(f *Folder) (string, error) {
	if f.Self != "" {
		return f.Self, nil
	}
	self, err := os.Executable()
	if err != nil {
		return "", fault.Errorf(fault.Internal, "the path of authferry itself is unknown").Because(err)
	}
	return self, nil
}

// Rotator is the program that refreshes a, with its arguments after its name.
func Rotator(f *Folder, a *index.Account, args ...string) (*exec.Cmd, error) {
	if a.Share == nil {
		self, err := program(f)
		if err != nil {
			return nil, err
		}
		return lasting(f, self, "authferry", args)
	}
	return LastingShare(f, args...)
}

// LastingShare is authferry-share with these arguments, as a command that outlives its
// caller. It checks that the two are of one version.
func LastingShare(f *Folder, args ...string) (*exec.Cmd, error) {
	share, err := sharePath(f)
	if err != nil {
		return nil, err
	}
	return lasting(f, share, shareProgram, append(args, "--of", version.String()))
}

// lasting is a command that outlives its caller, and so keeps no other directory busy.
func lasting(f *Folder, path, name string, args []string) (*exec.Cmd, error) {
	cmd, err := command(context.Background(), f, path, name, args)
	if err == nil {
		cmd.Dir = f.Dir
	}
	return cmd, err
}

// ShareCommand is authferry-share with these arguments. It is killed when ctx ends, unless
// the caller sets Cancel. Errors: EngineUnreachable if it isn't installed.
func ShareCommand(ctx context.Context, f *Folder, args ...string) (*exec.Cmd, error) {
	share, err := sharePath(f)
	if err != nil {
		return nil, err
	}
	return command(ctx, f, share, shareProgram, args)
}

// command is another program for this folder: its environment says what this one was told.
func command(ctx context.Context, f *Folder, path, name string, args []string) (*exec.Cmd, error) {
	cmd := exec.CommandContext(ctx, path) // #nosec G204 -- this program, or the one beside it
	cmd.Args = append([]string{name}, args...)
	cmd.Env = append(os.Environ(), "AUTHFERRY_DIR="+f.Dir, "AUTHFERRY_LOCK_TIMEOUT="+f.LockTimeout.String(),
		"AUTHFERRY_KEYCHAIN_TIMEOUT="+f.KeychainTimeout.String())
	if f.KeyFile != "" {
		abs, err := filepath.Abs(f.KeyFile)
		if err != nil {
			return nil, fault.Errorf(fault.Usage, "AUTHFERRY_KEY_FILE has no path").Because(err)
		}
		cmd.Env = append(cmd.Env, "AUTHFERRY_KEY_FILE="+abs)
	}
	return cmd, nil
}
