package flags

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"hash/fnv"
	"strings"
	"time"
)

// tickets makes and reads what opens an event stream.
//
// A browser's EventSource sends no headers, so its URL has to carry a credential, and URLs end up in places: the log of a
// proxy, a bug report. A ticket is worth little there. It opens the event stream of one scope as one instance sees it, which
// says when something changed and not what; it opens nothing else; it runs out within a day; and it is as good as the
// token it was given for: a stream whose reader may not read any more is cut off at the next heartbeat.
//
// It reads READER.EXPIRY.MAC, the reader being the name Guard gave.
type tickets struct {
	key []byte
	now func() time.Time
}

// ticketSlot is how often the ticket of a reader changes; it is good for at least as long, and at most twice that. All
// answers within a slot carry the same ticket, so that they can have the same ETag.
const ticketSlot = 12 * time.Hour

func newTickets(key string) *tickets {
	if key == "" {
		key = rand.Text()
	}
	return &tickets{key: []byte(key), now: time.Now}
}

// issue gives a ticket to a reader, who has shown a better credential.
func (t *tickets) issue(who asker) string {
	// Readers change slots at different times, or all would fetch at once.
	h := fnv.New64a()
	_, _ = h.Write([]byte(who.reader + "\x00" + who.instance))
	offset := time.Duration(h.Sum64() % uint64(ticketSlot))
	expiry := t.now().Add(offset).Truncate(ticketSlot).Add(2*ticketSlot - offset).Unix()
	return strings.Join([]string{who.reader, encodeExpiry(expiry), t.mac(who, expiry)}, ".")
}

// admit fills in whose ticket it is and says until when it is good; false: it is none, has run out, or is for something
// else.
func (t *tickets) admit(ticket string, who *asker) (until time.Time, ok bool) {
	rest, mac, found := cutLast(ticket)
	reader, expiry, also := cutLast(rest)
	if !found || !also {
		return until, false
	}
	raw, err := base64.RawURLEncoding.DecodeString(expiry)
	if err != nil || len(raw) != 8 || encodeExpiry(int64(binary.BigEndian.Uint64(raw))) != expiry {
		return until, false
	}
	seconds := int64(binary.BigEndian.Uint64(raw))
	claimed := asker{reader: reader, scope: who.scope, instance: who.instance}
	if !hmac.Equal([]byte(mac), []byte(t.mac(claimed, seconds))) {
		return until, false
	}
	until = time.Unix(seconds, 0)
	if !t.now().Before(until) {
		return until, false
	}
	who.reader = reader
	return until, true
}

func cutLast(s string) (before, after string, found bool) {
	i := strings.LastIndexByte(s, '.')
	if i < 0 {
		return s, "", false
	}
	return s[:i], s[i+1:], true
}

func encodeExpiry(seconds int64) string {
	return base64.RawURLEncoding.EncodeToString(binary.BigEndian.AppendUint64(nil, uint64(seconds)))
}

// mac binds a ticket to all it is for. Each part comes with its length, so that no two tickets have one text.
func (t *tickets) mac(who asker, expiry int64) string {
	h := hmac.New(sha256.New, t.key)
	_, _ = h.Write([]byte("modeshift flags event stream 1\n"))
	for _, part := range []string{who.reader, string(who.scope), who.instance} {
		_, _ = h.Write(binary.BigEndian.AppendUint64(nil, uint64(len(part))))
		_, _ = h.Write([]byte(part))
	}
	_, _ = h.Write(binary.BigEndian.AppendUint64(nil, uint64(expiry)))
	return base64.RawURLEncoding.EncodeToString(h.Sum(nil))
}
