package sharetest

import "errors"

func (n *node) signal(bool) error { return errors.ErrUnsupported }
