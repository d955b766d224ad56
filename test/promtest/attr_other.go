//go:build !linux

package promtest

import "syscall"

// endWithParent is the kernel's business on Linux only. Elsewhere there is no Debian package to run either.
func endWithParent() *syscall.SysProcAttr { return nil }
