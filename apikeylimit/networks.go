package apikeylimit

import (
	"encoding/binary"
	"math"
	"net/netip"

	"github.com/keyturn/apikey"
)

// network is a set of addresses that share a limit for bad keys.
type network struct {
	high, low uint64 // the address, masked
	size      size
}

type size uint8

const (
	unknown size = iota // all clients without an address
	one                 // a single address
	net64
	net56
	net48

	sizes
)

// times is how many times Options.Invalid applies to a network. A site with a
// /48 has 65,536 networks of size /64, but gets 16 times the limit of one.
var times = [sizes]int{unknown: 100, one: 1, net64: 1, net56: 4, net48: 16}

// path has the networks that an address counts by, the smallest first.
type path struct {
	networks [3]network
	length   int
}

func (p *path) all() []network { return p.networks[:p.length] }

// pathOf returns the networks that a client counts by.
func pathOf(client netip.Addr) path {
	client = client.Unmap()
	if !client.IsValid() {
		return path{length: 1} // unknown
	}
	if client.Is4() {
		return single(v4(client.As4()))
	}
	a := client.As16()
	high, low := binary.BigEndian.Uint64(a[:8]), binary.BigEndian.Uint64(a[8:])
	switch {
	case high == 0x0064_ff9b<<32 && low>>32 == 0:
		// NAT64, RFC 6052: the IPv4 address is at the end of 64:ff9b::/96.
		return single(0, low)
	case high>>16 == 0x0064_ff9b_0001:
		// NAT64 within a site, RFC 8215. The site decides where in
		// 64:ff9b:1::/48 the IPv4 address is. Each has an address of its own.
		return single(high, low)
	case high>>48 == 0x2002:
		// 6to4, RFC 3056: an IPv4 address has the whole /48 that contains it.
		return single(0, high>>16&math.MaxUint32)
	case high>>32 == 0x2001_0000:
		// Teredo, RFC 4380: the client's IPv4 address is at the end, inverted.
		// The rest of the address is up to the client.
		return single(0, ^low&math.MaxUint32)
	}
	return path{length: 3, networks: [3]network{
		{high: high, size: net64},
		{high: high &^ 0xff, size: net56},
		{high: high &^ 0xffff, size: net48},
	}}
}

func single(high, low uint64) path {
	return path{length: 1, networks: [3]network{{high: high, low: low, size: one}}}
}

func v4(a [4]byte) (high, low uint64) { return 0, uint64(binary.BigEndian.Uint32(a[:])) }

// multiply returns n times a rate, at most the largest one.
func multiply(r apikey.Rate, n int) apikey.Rate {
	r = bounded(r)
	r.Requests = int(min(int64(r.Requests)*int64(n), maxRequests, math.MaxInt))
	return r
}
