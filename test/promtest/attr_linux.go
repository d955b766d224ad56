package promtest

import "syscall"

// endWithParent lets the kernel end a server whose test process died without cleaning up: a panic, a timeout, a kill.
func endWithParent() *syscall.SysProcAttr { return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} }
