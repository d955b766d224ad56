//go:build !linux

package ha

import "syscall"

// endWithParent is the kernel's business on Linux only.
func endWithParent() *syscall.SysProcAttr { return nil }
