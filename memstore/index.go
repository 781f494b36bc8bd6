package memstore

import (
	"cmp"
	"iter"
	"slices"
	"sort"
)

// index is a sorted list of keys in chunks, so that neither inserting one nor
// finding a place moves or reads more than a small part of it.
type index struct {
	compare func(a, b *key) int
	chunks  [][]*key // none empty
}

const maxChunk = 512

func compareID(a, b *key) int { return cmp.Compare(a.id, b.id) }

func compareOwner(a, b *key) int {
	return cmp.Or(cmp.Compare(a.owner.state.ID, b.owner.state.ID), cmp.Compare(a.id, b.id))
}

// chunk returns the chunk in which k is, or belongs.
func (x *index) chunk(k *key) int {
	next := sort.Search(len(x.chunks), func(i int) bool { return x.compare(x.chunks[i][0], k) > 0 })
	return max(next-1, 0)
}

func (x *index) insert(k *key) {
	if len(x.chunks) == 0 {
		x.chunks = [][]*key{{k}}
		return
	}
	i := x.chunk(k)
	at, _ := slices.BinarySearchFunc(x.chunks[i], k, x.compare)
	x.chunks[i] = slices.Insert(x.chunks[i], at, k)
	if c := x.chunks[i]; len(c) > maxChunk {
		x.chunks[i] = slices.Clone(c[:maxChunk/2])
		x.chunks = slices.Insert(x.chunks, i+1, slices.Clone(c[maxChunk/2:]))
	}
}

func (x *index) remove(k *key) {
	if len(x.chunks) == 0 {
		return
	}
	i := x.chunk(k)
	at, found := slices.BinarySearchFunc(x.chunks[i], k, x.compare)
	if !found {
		return
	}
	x.chunks[i] = slices.Delete(x.chunks[i], at, at+1)
	if len(x.chunks[i]) == 0 {
		x.chunks = slices.Delete(x.chunks, i, i+1)
	}
}

// after yields the keys from the first for which past is true, which it then
// is for all that follow.
func (x *index) after(past func(*key) bool) iter.Seq[*key] {
	return func(yield func(*key) bool) {
		i := sort.Search(len(x.chunks), func(i int) bool { c := x.chunks[i]; return past(c[len(c)-1]) })
		for ; i < len(x.chunks); i++ {
			c := x.chunks[i]
			for at := sort.Search(len(c), func(j int) bool { return past(c[j]) }); at < len(c); at++ {
				if !yield(c[at]) {
					return
				}
			}
		}
	}
}
