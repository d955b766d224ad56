package flags

import (
	"cmp"
	"log/slog"
	"time"

	"github.com/modeshift/modeshift/engine"
	"github.com/modeshift/modeshift/engine/secret"
)

// Guard says who may read flags. Both methods are quick and safe for concurrent use.
type Guard interface {
	// Reader says whose credential this is, as a name that tells nothing of it: the same one gives the same name. Status 0
	// lets it pass, else 401 or 403 and the detail are the answer. The credential may be empty.
	Reader(credential string) (reader string, status int, detail string)
	// May says whether a reader, of whom only the name is known any more, may read a scope now; status and detail as above.
	May(reader string, scope engine.Scope) (status int, detail string)
}

// Fetch is a reader that now has a directive. What it makes of it is not known.
type Fetch struct {
	Scope    engine.Scope
	Revision engine.Version
	Instance string // as the client names itself; empty: it does not
	Client   string // the kind of client: its User-Agent, as it wrote it
	Via      string // ViaOFREP: it got the flags, or was told that what it has is right; ViaFlagd: they were sent
}

// How a reader gets its flags.
const (
	ViaOFREP = "ofrep"
	ViaFlagd = "flagd"
)

// Options are what the servers of both protocols may be told besides. The zero value serves anybody.
type Options struct {
	// Guard says who may read. Nil: anybody may.
	Guard Guard
	// Default is the scope of a reader that names none; false: it has to. Nil: every reader has to. reader is what Guard
	// calls it, empty without one.
	Default func(reader string) (engine.Scope, bool)
	// Meta is what is known of a flag besides its value, such as owner and expiry; clients get it as the flag's metadata.
	// Texts, numbers and truths are passed on, nothing else. It is asked again when the scope's policy or directive changes.
	Meta func(scope engine.Scope, key string) map[string]any
	// Origins are the origins whose pages may read flags, such as https://shop.example.com; "*" stands for all.
	Origins []string
	// Fetched, where set, hears of each reader that now has a directive. It must be quick and safe for concurrent use.
	Fetched func(Fetch)
	// Limited, where set, hears of each request that was refused because its client asks too often.
	Limited func()
	// TicketKey signs what opens an event stream where there is a Guard. It is random, and the same after a restart; without
	// one it is drawn, and clients have to fetch a new address when the server was away.
	TicketKey secret.Secret
	// Rate is how many requests a second one client may send: one credential at one address. It may save up two seconds'
	// worth, and ten requests at least. 0: as many as it likes.
	Rate float64
	// MaxStreams bounds the streams that are open at once; 0: DefaultMaxStreams.
	MaxStreams int
	// Heartbeat is how often a stream says that it is still there, and how often it is asked whether its reader still may
	// read; 0: DefaultHeartbeat.
	Heartbeat time.Duration
	// WriteWait is how long the reader of an event stream may take for one message; 0: DefaultWriteWait.
	WriteWait time.Duration
	// Logger is for what goes wrong; nil: slog.Default.
	Logger *slog.Logger
}

// What holds where Options say nothing.
const (
	DefaultMaxStreams = 12_000 // some ten thousand instances at 25 kB each
	DefaultHeartbeat  = 15 * time.Second
	DefaultWriteWait  = 10 * time.Second
)

func (o *Options) complete() {
	o.MaxStreams = cmp.Or(o.MaxStreams, DefaultMaxStreams)
	o.Heartbeat = cmp.Or(o.Heartbeat, DefaultHeartbeat)
	o.WriteWait = cmp.Or(o.WriteWait, DefaultWriteWait)
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
}
