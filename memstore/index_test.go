package memstore

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
)

// TestIndex compares an index with a plain sorted slice, over thousands of
// random inserts and removes.
func TestIndex(t *testing.T) {
	orders := []struct {
		name    string
		compare func(a, b *key) int
	}{
		{"by id", compareID},
		{"by owner", compareOwner},
	}
	for _, order := range orders {
		for seed := range uint64(4) {
			t.Run(fmt.Sprintf("%s, seed %d", order.name, seed), func(t *testing.T) {
				random := rand.New(rand.NewPCG(seed, 1))
				owners := make([]*owner, 20)
				for i := range owners {
					owners[i] = &owner{}
					owners[i].state.ID = fmt.Sprint("owner ", i)
				}
				x := index{compare: order.compare}
				var model []*key
				made := 0
				for step := range 12000 {
					// It grows past several chunks, then shrinks to nothing.
					if grow := step < 6000; len(model) == 0 || grow == (random.IntN(4) > 0) {
						made++
						k := &key{id: fmt.Sprintf("%08d", random.IntN(1e8)) + fmt.Sprint(made), owner: owners[random.IntN(len(owners))]}
						x.insert(k)
						at, _ := slices.BinarySearchFunc(model, k, order.compare)
						model = slices.Insert(model, at, k)
					} else {
						at := random.IntN(len(model))
						x.remove(model[at])
						model = slices.Delete(model, at, at+1)
					}
					if step%97 == 0 {
						sameKeys(t, &x, model)
						if len(model) > 0 {
							x.remove(&key{id: "absent", owner: owners[0]})
						}
						sameAfter(t, &x, model, random.IntN(len(model)+1))
					}
				}
				for _, k := range slices.Clone(model) {
					x.remove(k)
				}
				sameKeys(t, &x, nil)
			})
		}
	}
}

// TestIndexInOrder inserts ascending and descending keys, which always go to
// the last or the first chunk.
func TestIndexInOrder(t *testing.T) {
	for _, name := range []string{"ascending", "descending"} {
		t.Run(name, func(t *testing.T) {
			x := index{compare: compareID}
			var model []*key
			for n := range 5 * maxChunk {
				model = append(model, &key{id: fmt.Sprintf("%08d", n)})
			}
			if name == "descending" {
				slices.Reverse(model)
			}
			for _, k := range model {
				x.insert(k)
			}
			slices.SortFunc(model, compareID)
			sameKeys(t, &x, model)
			sameAfter(t, &x, model, 3*maxChunk)
		})
	}
}

func sameKeys(t *testing.T, x *index, model []*key) {
	t.Helper()
	var all []*key
	for i, chunk := range x.chunks {
		if len(chunk) == 0 || len(chunk) > maxChunk {
			t.Fatalf("chunk %d has %d keys", i, len(chunk))
		}
		all = append(all, chunk...)
	}
	if !slices.Equal(all, model) {
		t.Fatalf("the index has %d keys, want %d, or others", len(all), len(model))
	}
	if got := slices.Collect(x.after(func(*key) bool { return true })); !slices.Equal(got, model) {
		t.Fatalf("after the beginning: got %d keys, want %d", len(got), len(model))
	}
}

// sameAfter reads from one key on, to the end and in part.
func sameAfter(t *testing.T, x *index, model []*key, from int) {
	t.Helper()
	past := func(k *key) bool { return from < len(model) && x.compare(k, model[from]) >= 0 }
	want := model[from:]
	got := slices.Collect(x.after(past))
	if !slices.Equal(got, want) {
		t.Fatalf("after key %d: got %d keys, want %d", from, len(got), len(want))
	}
	part := min(5, len(want))
	var first []*key
	for k := range x.after(past) {
		if len(first) == part {
			break
		}
		first = append(first, k)
	}
	if !slices.Equal(first, want[:part]) {
		t.Fatalf("after key %d: the first %d differ", from, part)
	}
}
