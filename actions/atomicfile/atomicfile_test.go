package atomicfile_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/modeshift/modeshift/actions/atomicfile"
)

func TestAFileIsReplacedAsAWholeAndNothingIsLeftBeside(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "mode.json")
	for _, content := range []string{"a long first content", "short", ""} {
		if err := atomicfile.Write(path, []byte(content), 0o640); err != nil {
			t.Fatal(err)
		}
		if got, err := os.ReadFile(path); err != nil || string(got) != content {
			t.Errorf("got %q, %v; want %q", got, err, content)
		}
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o640 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 1 {
		t.Errorf("the folder holds %v, %v", left, err)
	}
}

func TestAWriteThatFailsLeavesTheOldContentAndNothingBeside(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "mode.json")
	if err := os.Mkdir(path, 0o700); err != nil { // a folder is not renamed over
		t.Fatal(err)
	}
	if err := atomicfile.Write(path, []byte("new"), 0o600); err == nil {
		t.Error("a file replaced a folder")
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 1 {
		t.Errorf("the folder holds %v, %v", left, err)
	}
	if err := atomicfile.Write(filepath.Join(dir, "nowhere", "mode.json"), nil, 0o600); err == nil {
		t.Error("a file was written into a folder that does not exist")
	}
}
