package store

import (
	"context"
	"sync"
)

// Exec runs a statement on the connection that writes, as the tests' way to a full or failing disk.
func (s *SQLite) Exec(query string) error {
	_, err := s.conn.ExecContext(context.Background(), query)
	return err
}

// Ask returns what a statement says on the connection that writes.
func (s *SQLite) Ask(query string) (answer string, err error) {
	err = s.conn.QueryRowContext(context.Background(), query).Scan(&answer)
	return answer, err
}

// Hold keeps the writer in the middle of a transaction, so that what is submitted after it has to wait together, until
// release.
func (s *SQLite) Hold() (release func()) {
	held, free := make(chan struct{}), make(chan struct{})
	enter := sync.OnceFunc(func() { close(held) })
	result := make(chan error, 1)
	go func() {
		result <- s.submit(context.Background(), &write{stage: func(*txn) error {
			enter()
			<-free
			return nil
		}})
	}()
	<-held
	return func() {
		close(free)
		if err := <-result; err != nil {
			panic(err)
		}
	}
}

// Waiting counts the writes the writer has not taken yet.
func (s *SQLite) Waiting() int { return len(s.writes) }
