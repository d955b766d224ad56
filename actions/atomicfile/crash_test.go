package atomicfile_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/modeshift/modeshift/actions/atomicfile"
)

// content is one that shows whether it is whole: many times the same byte.
func content(n int) []byte { return bytes.Repeat([]byte{'a' + byte(n%26)}, 100_000+n%7) }

func whole(data []byte) bool {
	return len(data) >= 100_000 && bytes.Count(data, data[:1]) == len(data)
}

func TestAWriterThatIsKilledLeavesAWholeFile(t *testing.T) {
	const dirOf = "ATOMICFILE_WRITER"
	if dir := os.Getenv(dirOf); dir != "" { // this is the writer
		for n := 0; ; n++ {
			if err := atomicfile.Write(filepath.Join(dir, "file"), content(n), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	dir := t.TempDir()
	path := filepath.Join(dir, "file")
	if err := atomicfile.Write(path, content(0), 0o600); err != nil {
		t.Fatal(err)
	}
	for round := range 20 {
		writer := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$")
		writer.Env = append(os.Environ(), dirOf+"="+dir)
		if err := writer.Start(); err != nil {
			t.Fatal(err)
		}
		// A reader sees whole files only, before the kill and after it. The time of the kill is another one in each round.
		for until := time.Now().Add(time.Duration(20+7*round) * time.Millisecond); time.Now().Before(until); {
			if data, err := os.ReadFile(path); err != nil || !whole(data) {
				t.Fatalf("round %d: read %d bytes, %v", round, len(data), err)
			}
		}
		if err := writer.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = writer.Wait() // killed
		if data, err := os.ReadFile(path); err != nil || !whole(data) {
			t.Fatalf("round %d: left %d bytes, %v", round, len(data), err)
		}
	}
}
