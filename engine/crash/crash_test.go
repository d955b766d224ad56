package crash

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"unicode/utf8"
)

// boom truly panics, by itself: an index that is not there.
func boom(list []int) int { return list[len(list)] }

func TestAPanicBecomesAnErrorThatSaysWhereItBegan(t *testing.T) {
	err := Try(func() error {
		boom([]int{1, 2})
		return nil
	})
	var e *Error
	if !errors.As(err, &e) {
		t.Fatalf("%v", err)
	}
	want := "modeshift failed, which is a fault of its own: runtime error: index out of range [2] with length 2; report it with the files and this place: crash_test.go:13"
	if err.Error() != want {
		t.Errorf("it says\n%s\nwant\n%s", err, want)
	}
	if !strings.Contains(string(e.Stack), "crash.boom(") {
		t.Errorf("the stack does not show where it began:\n%s", e.Stack)
	}
}

func TestWhatIsNoPanicStaysAsItIs(t *testing.T) {
	if err := Try(func() error { return nil }); err != nil {
		t.Error(err)
	}
	if err := Try(func() error { return os.ErrNotExist }); err != os.ErrNotExist { //nolint:errorlint // it is the very same
		t.Error(err)
	}
}

func TestAPanicPassedOnFromAnotherGoroutineKeepsItsStack(t *testing.T) {
	caught := make(chan error)
	go func() {
		caught <- Try(func() error {
			boom(nil)
			return nil
		})
	}()
	first := <-caught
	again := Try(func() error { panic(fmt.Errorf("one of many: %w", errors.Join(nil, first))) })
	var e *Error
	if !errors.As(again, &e) || e != first { //nolint:errorlint // it is the very same
		t.Errorf("%#v, want the one that was passed on", again)
	}
	if !strings.HasPrefix(again.Error(), "one of many: modeshift failed") {
		t.Error(again)
	}
}

func TestAnErrorThatIsThrownIsAPanicLikeAnyOther(t *testing.T) {
	err := Try(func() error { panic(os.ErrNotExist) })
	var e *Error
	if !errors.As(err, &e) || e.What != "file does not exist" {
		t.Errorf("%#v", err)
	}
}

func TestALongTextIsCutBetweenCharacters(t *testing.T) {
	var e *Error
	if err := Try(func() error { panic(strings.Repeat("é", 1000) + "\xff") }); !errors.As(err, &e) || len(e.What) > most+len("…") || !utf8.ValidString(e.What) {
		t.Errorf("%q", e.What)
	}
}

func TestEachPlaceIsToldOnce(t *testing.T) {
	crash := func(list []int) error {
		return Try(func() error {
			boom(list)
			return nil
		})
	}
	other := Try(func() error { panic("elsewhere") })
	list := Of(errors.Join(fmt.Errorf("a: %w", crash(nil)), errors.New("b"), errors.Join(crash([]int{1}), other), nil))
	if len(list) != 2 || list[0].What != "runtime error: index out of range [0] with length 0" || list[1].What != "elsewhere" {
		t.Errorf("%v", list)
	}
	if Of(nil) != nil || Of(os.ErrNotExist) != nil {
		t.Error("there is something where nothing is")
	}
}
