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
			entry = strings.Trim(entry, " \t")
			if c.proxyHeader == "Forwarded" {
				entry = forwardedFor(entry)
			}
			named := hop(entry, c.proxyHeader == "Forwarded")
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

// peer returns the address in Request.RemoteAddr, or no address. A port is
// required.
func peer(remoteAddr string) netip.Addr {
	// On an error the AddrPort is the zero one.
	addr, _ := netip.ParseAddrPort(remoteAddr)
	return addr.Addr().Unmap()
}

// maxNode is longer than an IPv6 address in brackets with a port.
const maxNode = 64

// hop reads what a proxy wrote: an address, with or without a port, an IPv6
// address in brackets if it has one. In Forwarded an IPv6 address is always in
// brackets, so that a port without them is not taken for the address's last
// group. Text that is not an address, or has a zone, which only means something
// on another machine, is the zero Addr.
func hop(text string, forwarded bool) netip.Addr {
	if len(text) > maxNode || strings.Contains(text, "%") {
		return netip.Addr{}
	}
	if inner, ok := strings.CutSuffix(text, "]"); ok && strings.HasPrefix(inner, "[") {
		addr, err := netip.ParseAddr(inner[1:])
		if err != nil || addr.Is4() {
			return netip.Addr{}
		}
		return addr.Unmap()
	}
	addr, err := netip.ParseAddr(text)
	switch {
	case err != nil:
		return peer(text)
	case forwarded && addr.Is6():
		return netip.Addr{}
	}
	return addr.Unmap()
}

// cutLast cuts the last entry off a list that is separated by commas, and
// reports whether there are more. It ignores quotes, because a client could
// open one in its part of the header that encloses what the proxy appended.
// forwardedFor rejects an entry that was cut inside the quotes of an element.
func cutLast(list string) (rest, last string, more bool) {
	comma := strings.LastIndexByte(list, ',')
	if comma < 0 {
		return "", list, false
	}
	return list[:comma], list[comma+1:], true
}

// forwardedFor returns the node in the parameter "for" of an element of
// Forwarded (RFC 7239, section 4), or "" if the element is malformed or does
// not have exactly one.
//
// The element is read from its beginning, and all of it must be well-formed. So
// the rest of an element that was cut at a comma inside a quoted-string is
// always rejected: where the proxy was inside quotes, this is outside and the
// reverse. Each quote that the proxy escaped is then a backslash outside of
// quotes, which is malformed, and the end of the element is inside of quotes.
func forwardedFor(element string) string {
	node := ""
	for rest := element; ; {
		rest = strings.TrimLeft(rest, " \t")
		if rest != "" && rest[0] != ';' { // a pair can be empty
			name, value, after, ok := forwardedPair(rest)
			if !ok {
				return ""
			}
			if strings.EqualFold(name, "for") {
				if node != "" || value == "" {
					return ""
				}
				node = value
			}
			rest = strings.TrimLeft(after, " \t")
		}
		if rest == "" {
			return node
		}
		if rest[0] != ';' {
			return ""
		}
		rest = rest[1:]
	}
}

// forwardedPair reads the pair at the beginning of a text: a token, "=", and a
// token or a quoted-string. The value of a quoted-string with a backslash in
// it, which no address needs, is returned as it is written.
func forwardedPair(text string) (name, value, rest string, ok bool) {
	n := tokenLength(text)
	if n == 0 || n == len(text) || text[n] != '=' {
		return "", "", "", false
	}
	name, text = text[:n], text[n+1:]
	if text == "" || text[0] != '"' {
		n = tokenLength(text)
		return name, text[:n], text[n:], n > 0
	}
	for i := 1; i < len(text); i++ {
		switch c := text[i]; {
		case c == '"':
			return name, text[1:i], text[i+1:], true
		case c == '\\':
			i++
			if i == len(text) || !quotable(text[i]) {
				return "", "", "", false
			}
		case !quotable(c):
			return "", "", "", false
		}
	}
	return "", "", "", false
}

// quotable reports whether a byte can appear in a quoted-string of RFC 9110.
func quotable(c byte) bool { return c == '\t' || c >= ' ' && c != 0x7f }

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
