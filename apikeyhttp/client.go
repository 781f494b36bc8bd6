package apikeyhttp

import (
	"net/http"
	"net/netip"
	"strings"
)

// This file finds the address of a client: a pure function of the peer, the
// headers and the proxies that the host trusts.

// maxHops bounds how many entries of a header are read. A chain of the host's
// own proxies is short.
const maxHops = 32

// client returns the address that a request came from, or the zero Addr if it
// cannot be known: the peer, and if that is a trusted proxy, whom it names,
// and so on. The entries are read from the right, since each proxy adds its
// own at the end, and whatever stands left of the first that is not trusted
// could be anyone's invention.
//
// If all entries are trusted proxies, the last of them named nobody. To take
// it for the client would let everyone use the keys that are bound to its
// network.
//
// near is the client, or if that is not known, the proxy that did not name it:
// whose client it is.
func (c *config) client(r *http.Request) (client, near netip.Addr) {
	near = peer(r.RemoteAddr)
	if !c.trusts(near) {
		return near, near
	}
	hops := 0
	lines := r.Header[c.proxyHeader]
	for i := len(lines) - 1; i >= 0; i-- {
		rest, more := lines[i], true
		for more {
			var entry string
			if rest, entry, more = cutLast(rest); hops == maxHops {
				return netip.Addr{}, near
			}
			hops++
			if c.proxyHeader == "Forwarded" {
				entry = forwardedFor(entry)
			}
			named := hop(strings.Trim(entry, " \t"))
			switch {
			case !named.IsValid():
				return named, near
			case !c.trusts(named):
				return named, named
			}
			near = named
		}
	}
	return netip.Addr{}, near
}

// trusts reports whether an address is one of a trusted proxy. A zone, which
// link-local peers have, is no part of a prefix.
func (c *config) trusts(addr netip.Addr) bool {
	for _, p := range c.proxies {
		if p.Contains(addr.WithZone("")) {
			return true
		}
	}
	return false
}

// peer returns the address in Request.RemoteAddr, or no address.
func peer(remoteAddr string) netip.Addr {
	// On an error the AddrPort is the zero one.
	addr, _ := netip.ParseAddrPort(remoteAddr)
	return addr.Addr().Unmap()
}

// hop reads what a proxy wrote: an address, with or without a port, an IPv6
// address in brackets if it has one. What is no address, or has a zone, which
// means something on another machine only, is the zero Addr.
func hop(text string) netip.Addr {
	addr, err := netip.ParseAddr(text)
	if inner, ok := strings.CutPrefix(text, "["); err != nil && ok {
		if inner, ok = strings.CutSuffix(inner, "]"); ok && strings.Contains(inner, ":") {
			addr, err = netip.ParseAddr(inner)
		}
	}
	if err != nil {
		addr = peer(text)
	}
	if addr.Zone() != "" {
		return netip.Addr{}
	}
	return addr.Unmap()
}

// cutLast cuts the last entry off a list that is separated by commas, and
// reports whether there are more. Quotes are not looked at, since a client
// could open one in its part that swallows what the proxy wrote after it. An
// entry of Forwarded that was cut in its quotes is malformed.
func cutLast(list string) (rest, last string, more bool) {
	comma := strings.LastIndexByte(list, ',')
	if comma < 0 {
		return "", list, false
	}
	return list[:comma], list[comma+1:], true
}

// forwardedFor returns the node in the parameter "for" of an element of
// Forwarded (RFC 7239, section 4), or nothing if the element is malformed or
// has not exactly one. A quoted string with a comma, a semicolon, a quote or a
// backslash in it, which no address needs, counts as malformed.
func forwardedFor(element string) string {
	node := ""
	for pair := range strings.SplitSeq(element, ";") {
		name, value, _ := strings.Cut(strings.Trim(pair, " \t"), "=")
		inner, quoted := strings.CutPrefix(value, `"`)
		if quoted {
			if value, quoted = strings.CutSuffix(inner, `"`); !quoted {
				return ""
			}
		}
		if strings.ContainsAny(value, `"\`) || !quoted && strings.ContainsAny(value, " \t:") {
			return ""
		}
		if strings.EqualFold(name, "for") {
			if node != "" || value == "" {
				return ""
			}
			node = value
		}
	}
	return node
}

// proxyPrefix returns the prefix of trusted proxies in the form in which
// addresses are compared with it, or what is wrong with it.
func proxyPrefix(p netip.Prefix) (_ netip.Prefix, problem string) {
	bits := p.Bits()
	addr := p.Addr()
	if addr.Is4In6() {
		addr, bits = addr.Unmap(), bits-96
	}
	switch {
	case !p.IsValid() || bits < 0:
		return p, "must be valid prefixes"
	case bits == 0:
		return p, "must not be all addresses: then anyone could claim to be a proxy"
	}
	return netip.PrefixFrom(addr, bits), ""
}
