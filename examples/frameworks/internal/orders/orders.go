// Package orders is the application that the examples protect with API keys.
// It knows nothing of keys, nor of HTTP.
package orders

import (
	"fmt"
	"slices"
	"sync"
)

// Book takes orders, and remembers what was asked of it. The zero value is
// ready.
type Book struct {
	mu    sync.Mutex
	asked []string
}

// Visit notes that an owner was let in.
func (b *Book) Visit(owner string) { b.note("visit " + owner) }

// List returns the orders of an owner.
func (b *Book) List(owner string) string {
	b.note("list " + owner)
	return fmt.Sprintf("orders of %s\n", owner)
}

// Place takes an order of an owner.
func (b *Book) Place(owner, order string) string {
	b.note("place " + owner)
	return fmt.Sprintf("%s ordered %s\n", owner, order)
}

// Asked returns what was asked of the book, in that order, and forgets it.
func (b *Book) Asked() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	asked := b.asked
	b.asked = nil
	return slices.Clone(asked)
}

// note keeps the newest entries only: a server runs for long.
func (b *Book) note(entry string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.asked) == 1000 {
		b.asked = slices.Delete(b.asked, 0, 500)
	}
	b.asked = append(b.asked, entry)
}
