package apikey

import (
	"cmp"
	"encoding/json"
	"iter"
	"net/netip"
	"slices"
	"strings"
)

// Networks is an immutable set of networks: where a key may be used from. The
// zero value, without any, means anywhere.
type Networks struct {
	list []netip.Prefix // masked, sorted, each once; never handed out
}

const maxNetworks = 100

// NewNetworks returns the set of the prefixes given, host bits cleared and
// IPv4-mapped IPv6 prefixes as IPv4. It refuses an invalid prefix, and more
// than 100, with a *FieldError for "networks".
func NewNetworks(prefixes ...netip.Prefix) (Networks, error) {
	if len(prefixes) > maxNetworks {
		return Networks{}, &FieldError{Field: "networks", Code: "too_many", Problem: "must be at most 100"}
	}
	var list []netip.Prefix
	for _, p := range prefixes {
		if addr := p.Addr(); addr.Is4In6() && p.Bits() >= 96 {
			p = netip.PrefixFrom(addr.Unmap(), p.Bits()-96)
		}
		if !p.IsValid() || p.Addr().Is4In6() {
			return Networks{}, &FieldError{Field: "networks", Code: "malformed", Problem: "must hold valid address prefixes"}
		}
		list = append(list, p.Masked())
	}
	slices.SortFunc(list, func(a, b netip.Prefix) int {
		return cmp.Or(a.Addr().Compare(b.Addr()), cmp.Compare(a.Bits(), b.Bits()))
	})
	return Networks{slices.Compact(list)}, nil
}

// ParseNetworks reads prefixes in CIDR form and single addresses, separated by
// spaces, as Networks.String writes them.
func ParseNetworks(text string) (Networks, error) {
	var list []netip.Prefix
	for field := range strings.FieldsSeq(text) {
		p, err := netip.ParsePrefix(field)
		if err != nil {
			addr, err := netip.ParseAddr(field)
			if err != nil || addr.Zone() != "" {
				return Networks{}, &FieldError{Field: "networks", Code: "malformed", Problem: "must hold address prefixes like 192.0.2.0/24 or addresses"}
			}
			p = netip.PrefixFrom(addr, addr.BitLen())
		}
		list = append(list, p)
	}
	return NewNetworks(list...)
}

// Contains reports whether an address lies in one of the networks. An
// IPv4-mapped IPv6 address counts as its IPv4 address, a zone is passed over.
func (n Networks) Contains(addr netip.Addr) bool {
	addr = addr.Unmap().WithZone("")
	for _, p := range n.list {
		if p.Contains(addr) {
			return true
		}
	}
	return false
}

// within reports whether each of the networks lies in one of others. No
// networks are anywhere, which lies in no others but none.
func (n Networks) within(others Networks) bool {
	if len(others.list) == 0 {
		return true
	}
	for _, p := range n.list {
		if !slices.ContainsFunc(others.list, func(other netip.Prefix) bool {
			return other.Bits() <= p.Bits() && other.Contains(p.Addr())
		}) {
			return false
		}
	}
	return len(n.list) > 0
}

// All yields the networks, IPv4 first, in ascending order.
func (n Networks) All() iter.Seq[netip.Prefix] { return slices.Values(n.list) }

// Slice returns the networks in a slice of the caller's own.
func (n Networks) Slice() []netip.Prefix { return slices.Clone(n.list) }

// Len returns how many networks the set has.
func (n Networks) Len() int { return len(n.list) }

// Equal reports whether two sets hold the same networks.
func (n Networks) Equal(other Networks) bool { return slices.Equal(n.list, other.list) }

// String returns the networks in CIDR form, separated by single spaces.
func (n Networks) String() string {
	var b strings.Builder
	for i, p := range n.list {
		if i > 0 {
			b.WriteByte(' ')
		}
		b.WriteString(p.String())
	}
	return b.String()
}

// MarshalJSON writes the set as an array of strings in CIDR form.
func (n Networks) MarshalJSON() ([]byte, error) {
	return json.Marshal(append([]netip.Prefix{}, n.list...))
}

// UnmarshalJSON reads an array of strings as ParseNetworks takes them. What it
// refuses is a *FieldError for "networks"; null leaves the set as it is, since
// an empty one means anywhere.
func (n *Networks) UnmarshalJSON(b []byte) error {
	if string(b) == "null" {
		return nil
	}
	var list []string
	if err := json.Unmarshal(b, &list); err != nil {
		return &FieldError{Field: "networks", Code: "malformed", Problem: "must be an array of texts"}
	}
	var prefixes []netip.Prefix
	for _, text := range list {
		one, err := ParseNetworks(text)
		if err != nil || one.Len() != 1 {
			return &FieldError{Field: "networks", Code: "malformed", Problem: "must hold address prefixes like 192.0.2.0/24 or addresses"}
		}
		prefixes = append(prefixes, one.list...)
	}
	networks, err := NewNetworks(prefixes...)
	if err == nil {
		*n = networks
	}
	return err
}
