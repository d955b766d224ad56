package api

import (
	"fmt"
	"net/http"
	"testing"
)

// Names and addresses can be made up by the thousand.
func TestClientsByTheHundredThousandTakeNoMoreMemoryThanThereIsForThem(t *testing.T) {
	m := NewLimiter(Limits{Reads: 1, Anonymous: 1, Streams: 1}, nil)
	for i := range 100_000 {
		m.Admit(ClassAnonymous, Stranger(&http.Request{RemoteAddr: fmt.Sprintf("10.%d.%d.%d:1", i>>16, i>>8&255, i&255)}))
		m.Admit(ClassRead, fmt.Sprint("principal ", i))
		done, err := m.open(fmt.Sprint("principal ", i))
		if err != nil {
			t.Fatal(err)
		}
		done()
	}
	if n := m.buckets[ClassAnonymous].Len(); n > maxAddresses+1 {
		t.Errorf("%d addresses are remembered", n)
	}
	if n := m.buckets[ClassRead].Len(); n > maxPrincipals+1 {
		t.Errorf("%d principals are remembered", n)
	}
	if len(m.streams) != 0 {
		t.Errorf("%d principals are remembered whose streams have ended", len(m.streams))
	}
}
