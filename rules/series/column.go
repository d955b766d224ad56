package series

import (
	"slices"

	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
)

// kept is a series as a store has it, or a span of one.
type kept struct {
	labels labels.Labels
	column
}

// column is the samples of a series, in the order of time. Times and values are apart from the histograms, which few series have: a
// slice without pointers is nothing that the garbage collector has to look through, and a query reads no more than it needs.
type column struct {
	at         []int64 // Unix milliseconds
	values     []float64
	histograms []*histogram.FloatHistogram // beside the values, nil where there is none; empty: there are none at all
}

func columnOf(list []Sample) column {
	c := column{at: make([]int64, len(list)), values: make([]float64, len(list))}
	for i := range list {
		c.at[i], c.values[i] = list[i].At, list[i].Value
		if list[i].Histogram != nil && c.histograms == nil {
			c.histograms = make([]*histogram.FloatHistogram, len(list))
		}
		if c.histograms != nil {
			c.histograms[i] = list[i].Histogram
		}
	}
	return c
}

// between is the samples not before from and not after to.
func (c *column) between(from, to int64) column {
	first, _ := slices.BinarySearch(c.at, from)
	end, there := slices.BinarySearch(c.at[first:], to)
	if end += first; there {
		end++
	}
	out := column{at: c.at[first:end], values: c.values[first:end]}
	if c.histograms != nil {
		out.histograms = c.histograms[first:end]
	}
	return out
}

// Labels implements storage.Series.
func (k *kept) Labels() labels.Labels { return k.labels }

// Iterator implements storage.Series.
func (k *kept) Iterator(used chunkenc.Iterator) chunkenc.Iterator {
	it, ok := used.(*iterator)
	if !ok {
		it = &iterator{}
	}
	it.column, it.i = k.column, -1
	return it
}

var _ storage.Series = (*kept)(nil)

// iterator goes through a column.
type iterator struct {
	column
	i int // -1: before the first
}

// kind is the type of the sample it stands at.
func (it *iterator) kind() chunkenc.ValueType {
	switch {
	case it.i >= len(it.at):
		return chunkenc.ValNone
	case it.histograms != nil && it.histograms[it.i] != nil:
		return chunkenc.ValFloatHistogram
	}
	return chunkenc.ValFloat
}

// Next implements chunkenc.Iterator.
func (it *iterator) Next() chunkenc.ValueType {
	if it.i < len(it.at) {
		it.i++
	}
	return it.kind()
}

// millis is Unix milliseconds. It has a name of its own because vet takes what has a Seek(int64) for an io.Seeker gone wrong.
type millis = int64

// Seek implements chunkenc.Iterator.
func (it *iterator) Seek(t millis) chunkenc.ValueType {
	it.i = max(it.i, 0)
	if it.i < len(it.at) && it.at[it.i] < t {
		n, _ := slices.BinarySearch(it.at[it.i:], t)
		it.i += n
	}
	return it.kind()
}

// At implements chunkenc.Iterator.
func (it *iterator) At() (int64, float64) { return it.at[it.i], it.values[it.i] }

// AtHistogram implements chunkenc.Iterator: histograms are of floats alone.
func (it *iterator) AtHistogram(*histogram.Histogram) (int64, *histogram.Histogram) {
	return it.at[it.i], nil
}

// AtFloatHistogram implements chunkenc.Iterator, with a copy: the engine adds up in what it was given.
func (it *iterator) AtFloatHistogram(used *histogram.FloatHistogram) (int64, *histogram.FloatHistogram) {
	h := it.histograms[it.i]
	if used == nil {
		return it.at[it.i], h.Copy()
	}
	h.CopyTo(used)
	return it.at[it.i], used
}

// AtT implements chunkenc.Iterator.
func (it *iterator) AtT() int64 { return it.at[it.i] }

// AtST implements chunkenc.Iterator: a start is not kept.
func (it *iterator) AtST() int64 { return 0 }

// Err implements chunkenc.Iterator.
func (it *iterator) Err() error { return nil }
