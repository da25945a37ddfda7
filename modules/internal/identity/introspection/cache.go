package introspection

import (
	"container/list"
	"sync"
	"time"
)

// cache remembers responses by the hash of their token, the ones used last.
type cache struct {
	max int

	mu    sync.Mutex
	order *list.List // of *entry, used last in front
	index map[[32]byte]*list.Element
}

type entry struct {
	key [32]byte
	*response
}

func newCache(max int) *cache {
	return &cache{max: max, order: list.New(), index: make(map[[32]byte]*list.Element)}
}

func (c *cache) get(key [32]byte, now time.Time) *response {
	c.mu.Lock()
	defer c.mu.Unlock()
	el, ok := c.index[key]
	if !ok {
		return nil
	}
	e := el.Value.(*entry)
	if !now.Before(e.until) {
		c.remove(el)
		return nil
	}
	c.order.MoveToFront(el)
	return e.response
}

func (c *cache) put(key [32]byte, a *response, now time.Time) {
	if !now.Before(a.until) {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if el, ok := c.index[key]; ok {
		c.remove(el)
	}
	for len(c.index) >= c.max {
		c.remove(c.order.Back())
	}
	c.index[key] = c.order.PushFront(&entry{key, a})
}

// remove takes an entry out. Callers hold mu.
func (c *cache) remove(el *list.Element) {
	delete(c.index, el.Value.(*entry).key)
	c.order.Remove(el)
}
