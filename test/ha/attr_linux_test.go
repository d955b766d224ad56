package ha

import "syscall"

// endWithParent lets the kernel end a server whose test process died without cleaning up.
func endWithParent() *syscall.SysProcAttr { return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} }
