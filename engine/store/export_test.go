package store

import "context"

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

// Waiting counts the writes the writer has not taken yet.
func (s *SQLite) Waiting() int { return len(s.writes) }
