// Package inputs feeds whatever reads texts of people with very many that are nearly right: a good one, or a bad one that somebody
// collected, with a few pieces left out, doubled, exchanged, or taken from another one.
//
// It is the other half of Go's fuzzing, which knows what code an input reaches, and pays for it with a program that is several times
// slower and gives a thousand inputs a second at best. Here the only guide is what comes of an input: one of which something is said
// that was never said before is changed further. A million take minutes, and the same seed makes the same ones.
package inputs

import (
	"flag"
	"math/rand/v2"
	"regexp"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

var (
	many = flag.Int("inputs", 500, "how many inputs are tried; from ten thousand on each may take a second and 200 MB at most")
	seed = flag.Uint64("inputs.seed", 1, "what they are drawn with")
)

// Bounds of an input, for a run that is long enough to say something.
const (
	bulk     = 10_000
	mostTime = time.Second // of a processor
	mostRAM  = 200 << 20   // allocated in all
	mostSize = 20_000      // bytes of a text that is changed further
	mostPool = 4_000
)

// Bulk reports whether so many inputs are tried that each may take a second and 200 MB at most.
func Bulk() bool { return *many >= bulk }

// Each calls use with as many inputs as -inputs says, each made of one of the seeds: texts that belong together. What use returns says
// what came of it: which faults, say. It runs on the test's own goroutine; whatever ends it (a panic, t.Fatal, t.Skip) names the input and
// the seed.
func Each(t *testing.T, seeds [][]string, use func(t *testing.T, r *rand.Rand, in []string) string) {
	t.Helper()
	if len(seeds) == 0 {
		t.Fatal("there is nothing to begin with")
	}
	r := rand.New(rand.NewPCG(*seed, 1))
	m := mutator{Rand: r, pool: slices.Clone(seeds)}
	m.learn(seeds)
	seen := map[string]bool{}
	try := func(in []string) {
		returned := false
		defer func() {
			if returned {
				return
			}
			// t.Fatal ends the goroutine without a panic, and without coming back to here.
			if p := recover(); p != nil {
				t.Errorf("panic: %v\n%s", p, debug.Stack())
			}
			t.Fatalf("-inputs.seed %d: the input was %q", *seed, in)
		}()
		before := now()
		said := use(t, r, in)
		took := now().since(before)
		if Bulk() && (took.cpu > mostTime || took.allocated > mostRAM) {
			t.Errorf("it took %v and %d MB", took.cpu, took.allocated>>20)
		}
		if t.Failed() {
			return // with returned false, for it to be said of which input
		}
		returned = true
		if !seen[said] && len(m.pool) < mostPool && len(strings.Join(in, "")) < mostSize {
			seen[said] = true
			m.pool = append(m.pool, in)
		}
	}
	for i := range *many {
		if i < len(seeds) {
			try(seeds[i])
			continue
		}
		try(m.next())
	}
	t.Logf("%d inputs, of which %d different things came", *many, len(seen))
}

// spent is what the process has used so far.
type spent struct {
	cpu       time.Duration
	allocated uint64
}

func now() spent {
	if !Bulk() {
		return spent{}
	}
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(err)
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return spent{time.Duration(u.Utime.Nano() + u.Stime.Nano()), m.TotalAlloc}
}

func (s spent) since(before spent) spent {
	return spent{s.cpu - before.cpu, s.allocated - before.allocated}
}

// mutator makes new inputs of old ones.
type mutator struct {
	*rand.Rand
	pool  [][]string
	words []string // that occur in seeds
}

var word = regexp.MustCompile(`[\pL_][\pL\d_.-]*|\d+[a-z]*|"[^"\n]*"|\s+|.`)

// learn takes over the words of texts.
func (m *mutator) learn(texts [][]string) {
	seen := map[string]bool{}
	for _, in := range texts {
		for _, text := range in {
			for _, w := range word.FindAllString(text, 20_000) {
				if !seen[w] && len(w) < 100 {
					seen[w] = true
					m.words = append(m.words, w)
				}
			}
		}
	}
}

// odd are pieces that readers stumble over.
var odd = []string{"\x00", "\xff", "\u0085", "\u2028", "\ufeff", "\r\n", "\t", "'", `"`, "`", "{{", "}}", "{{.window}}", "{{.instances}}", "&a ", "*a", "<<: *a", "!!int ", "---\n", "...\n", "- ", ": ", "? ",
	"|\n  ", ">-\n", "[", "]", "{", "}", "#", "NaN", "Inf", "-1", "0", "1e309", "9223372036854775808", "99.99999999999999999999", "0x10", "1_000", "010", "null", "~", "true", "5m", "0s", "1y", "1000000h", "()", "((((((((((",
	"!", "!!!!!!!!!!", " && ", " || ", "?:", "%", `\`, "🙂", "é", "x.y", "{}", "[]", "''"}

// next makes an input.
func (m *mutator) next() []string {
	// What came last is what the newest things were said of.
	i := m.IntN(len(m.pool))
	if m.IntN(3) == 0 {
		i = len(m.pool) - 1 - m.IntN(min(len(m.pool), 50))
	}
	in := slices.Clone(m.pool[i])
	for range 1 + m.IntN(4) {
		k := m.IntN(len(in))
		in[k] = m.changed(in[k])
	}
	return in
}

// span is a piece of a text: some bytes, a word or a few, a line or a few.
func (m *mutator) span(text string) (from, to int) {
	if text == "" {
		return 0, 0
	}
	switch m.IntN(3) {
	case 0:
		from = m.IntN(len(text))
		return from, min(len(text), from+1+m.IntN(8))
	case 1:
		at := m.IntN(len(text))
		near := text[at:min(len(text), at+200)]
		words := word.FindAllStringIndex(near, 4)
		n := m.IntN(len(words))
		return at + words[0][0], at + words[n][1]
	default:
		at := m.IntN(len(text))
		from = strings.LastIndexByte(text[:at], '\n') + 1
		to = from
		for range 1 + m.IntN(3) {
			end := strings.IndexByte(text[to:], '\n')
			if end < 0 {
				return from, len(text)
			}
			to += end + 1
		}
		return from, to
	}
}

// changed is a text with one change.
func (m *mutator) changed(text string) string {
	from, to := m.span(text)
	piece := text[from:to]
	switch m.IntN(9) {
	case 0: // left out
		return text[:from] + text[to:]
	case 1: // doubled, some of it often
		n := 1
		if m.IntN(20) == 0 {
			n = 1 + m.IntN(200)
		}
		return text[:to] + strings.Repeat(piece, n) + text[to:]
	case 2: // exchanged for another word
		return text[:from] + m.words[m.IntN(len(m.words))] + text[to:]
	case 3: // a word more
		return text[:from] + m.words[m.IntN(len(m.words))] + text[from:]
	case 4: // something odd in its place
		return text[:from] + odd[m.IntN(len(odd))] + text[to:]
	case 5: // something odd before it
		return text[:from] + odd[m.IntN(len(odd))] + text[from:]
	case 6: // moved
		rest := text[:from] + text[to:]
		at := m.IntN(len(rest) + 1)
		return rest[:at] + piece + rest[at:]
	case 7: // a piece of another input
		other := m.pool[m.IntN(len(m.pool))]
		with := other[m.IntN(len(other))]
		a, b := m.span(with)
		return text[:from] + with[a:b] + text[to:]
	default: // a byte is another one
		if text == "" {
			return string(rune(m.IntN(0x3000)))
		}
		b := []byte(text)
		b[m.IntN(len(b))] ^= 1 << m.IntN(8)
		return string(b)
	}
}
