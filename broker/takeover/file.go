package takeover

import (
	"context"
	"errors"
	"io/fs"
	"strings"

	"github.com/authferry/authferry/broker/fault"
	"github.com/authferry/authferry/broker/folder"
	"github.com/authferry/authferry/broker/record"
	"github.com/authferry/authferry/broker/takeover/source"
	"github.com/authferry/authferry/keystore"
)

// openFile reads the file or the keychain item that holds the logins.
func openFile(ctx context.Context, f *folder.Folder, req Request) (*source.File, error) {
	if req.Path != "" {
		file, err := source.Open(req.Source, req.Path)
		return file, fileError(err, req)
	}
	item, ok := foreignItem(req.Source)
	if !ok {
		return nil, fileError(fs.ErrNotExist, req)
	}
	ctx, cancel := context.WithTimeout(ctx, f.KeychainTimeout)
	defer cancel()
	v, err := item.Get(ctx)
	if errors.Is(err, keystore.ErrNotFound) {
		return nil, fileError(fs.ErrNotExist, req)
	}
	if err != nil {
		return nil, record.Fault(err)
	}
	file, err := source.Parse(req.Source, "the keychain item "+item.Service, []byte(v.Reveal()))
	return file, fileError(err, req)
}

func foreignItem(s source.Source) (keystore.Foreign, bool) {
	service, account, ok := s.Item()
	return keystore.Foreign{Service: service, Account: account}, ok
}

func fileError(err error, req Request) error {
	if err == nil {
		return nil
	}
	if bad, ok := errors.AsType[*source.BadFileError](err); ok {
		return fault.Errorf(fault.Usage, "nothing can be taken over from %s: %s; nothing was changed", bad.Path, bad.Reason)
	}
	if errors.Is(err, fs.ErrNotExist) {
		where := req.Path
		if where == "" {
			where = strings.Join(req.Source.Places(), " or ")
		}
		return fault.Errorf(fault.NoAccount, "there are no logins of %s here: no file %s", req.Source.Title, where).
			Try(fault.Remedy{Do: fault.Import, Name: req.Source.Name, Path: "PATH"})
	}
	return fault.Errorf(fault.Internal, "the logins of %s can't be read; nothing was changed", req.Source.Title).Because(err)
}
