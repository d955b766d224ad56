package sidecar

import (
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"time"
)

// manager is the service manager that started the program, as systemd has it in sd_notify(3).
type manager struct {
	socket   string        // empty: there is none that wants to know
	watchdog time.Duration // within which it wants a sign of life; 0: it does not
}

// managerOf reads what the manager says in the environment.
func managerOf(lookup func(string) string) manager {
	m := manager{socket: lookup("NOTIFY_SOCKET")}
	if pid := lookup("WATCHDOG_PID"); pid == "" || pid == strconv.Itoa(os.Getpid()) {
		if us, err := strconv.ParseInt(lookup("WATCHDOG_USEC"), 10, 64); err == nil && us > 0 {
			m.watchdog = time.Duration(us) * time.Microsecond
		}
	}
	return m
}

// tell sends lines such as READY=1 to the manager.
func (m manager) tell(lines ...string) error {
	if m.socket == "" {
		return nil
	}
	name := m.socket
	if strings.HasPrefix(name, "@") { // in the abstract name space
		name = "\x00" + name[1:]
	}
	conn, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: name, Net: "unixgram"})
	if err != nil {
		return fmt.Errorf("tell the service manager: %w", err)
	}
	defer func() { _ = conn.Close() }() // a datagram is sent or it is not
	if _, err := conn.Write([]byte(strings.Join(lines, "\n"))); err != nil {
		return fmt.Errorf("tell the service manager: %w", err)
	}
	return nil
}
