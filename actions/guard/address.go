package guard

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// Allow says which addresses may be called though they are not public. The zero value allows none.
type Allow struct {
	prefixes []netip.Prefix
	hosts    []string // lower case, without the last dot
}

// ParseAllow reads an allow-list: addresses (10.1.2.3), blocks (10.0.0.0/8, fd00::/8) and names of hosts (dns.internal).
//
// A name allows the private addresses, the unique local ones, the shared ones and loopback for calls to that very name; but
// never link-local ones, multicast and the like: those need their address or block. A cloud's metadata service, which gives
// away the machine's own keys, needs its very address: neither a name that is at home nor a block around it leads there.
func ParseAllow(entries []string) (Allow, error) {
	var a Allow
	for _, entry := range entries {
		switch {
		case strings.Contains(entry, "/"):
			p, err := netip.ParsePrefix(entry)
			if err != nil {
				return Allow{}, fmt.Errorf("%q is not a block of addresses, such as 10.0.0.0/8", entry)
			}
			if p.Addr().Is4In6() {
				return Allow{}, fmt.Errorf("%q: write the block as one of IPv4, such as 10.0.0.0/8", entry)
			}
			a.prefixes = append(a.prefixes, p.Masked())
		default:
			if ip, err := netip.ParseAddr(entry); err == nil {
				ip = ip.Unmap().WithZone("")
				a.prefixes = append(a.prefixes, netip.PrefixFrom(ip, ip.BitLen()))
				continue
			}
			if !isHost(entry) {
				return Allow{}, fmt.Errorf("%q is not an address, a block of addresses or the name of a host", entry)
			}
			a.hosts = append(a.hosts, host(entry))
		}
	}
	return a, nil
}

func isHost(s string) bool {
	s = strings.TrimSuffix(s, ".")
	if s == "" || len(s) > 253 {
		return false
	}
	for label := range strings.SplitSeq(s, ".") {
		if label == "" || strings.Trim(strings.ToLower(label), "abcdefghijklmnopqrstuvwxyz0123456789-_") != "" {
			return false
		}
	}
	return true
}

func host(s string) string { return strings.ToLower(strings.TrimSuffix(s, ".")) }

func (a Allow) address(ip netip.Addr) bool {
	return slices.ContainsFunc(a.prefixes, func(p netip.Prefix) bool { return p.Contains(ip) })
}

// named reports whether an address itself is on the list, and not only a block around it.
func (a Allow) named(ip netip.Addr) bool {
	return slices.Contains(a.prefixes, netip.PrefixFrom(ip, ip.BitLen()))
}

// metadata are the addresses of clouds' metadata services, and of what stands in for them. Some are in blocks where hosts on the
// allow-list may be, some among public addresses. Source: the clouds' documentation of their instances' metadata.
var metadata = map[netip.Addr]bool{
	netip.MustParseAddr("169.254.169.254"): true, // most of them
	netip.MustParseAddr("169.254.169.253"): true, // Amazon, names
	netip.MustParseAddr("169.254.170.2"):   true, // Amazon, of containers
	netip.MustParseAddr("169.254.170.23"):  true,
	netip.MustParseAddr("100.100.100.200"): true, // Alibaba
	netip.MustParseAddr("168.63.129.16"):   true, // Azure
	netip.MustParseAddr("192.0.0.192"):     true, // Oracle
	netip.MustParseAddr("fd00:ec2::254"):   true, // Amazon
	netip.MustParseAddr("fd00:ec2::23"):    true,
	netip.MustParseAddr("fd20:ce::254"):    true, // Google
	netip.MustParseAddr("fe80::a9fe:a9fe"): true, // OpenStack
}

// block is a range of addresses that is not public.
type block struct {
	prefix netip.Prefix
	why    string
	home   bool // a host on the allow-list may be there
}

// blocks are what is not public. Source: IANA, IPv4 and IPv6 Special-Purpose Address Registries, without what is only
// meant for documentation and leads nowhere.
var blocks = []block{
	{netip.MustParsePrefix("0.0.0.0/8"), "unspecified", false},
	{netip.MustParsePrefix("10.0.0.0/8"), "private", true},
	{netip.MustParsePrefix("100.64.0.0/10"), "shared (carrier-grade NAT)", true},
	{netip.MustParsePrefix("127.0.0.0/8"), "loopback", true},
	{netip.MustParsePrefix("169.254.0.0/16"), "link-local", false},
	{netip.MustParsePrefix("172.16.0.0/12"), "private", true},
	{netip.MustParsePrefix("192.0.0.0/24"), "reserved", false},
	{netip.MustParsePrefix("192.168.0.0/16"), "private", true},
	{netip.MustParsePrefix("198.18.0.0/15"), "reserved", false},
	{netip.MustParsePrefix("224.0.0.0/4"), "multicast", false},
	{netip.MustParsePrefix("240.0.0.0/4"), "reserved", false},
	{netip.MustParsePrefix("::/128"), "unspecified", false},
	{netip.MustParsePrefix("::1/128"), "loopback", true},
	{netip.MustParsePrefix("64:ff9b:1::/48"), "translated to a private address", false},
	{netip.MustParsePrefix("100::/64"), "reserved", false},
	{netip.MustParsePrefix("2001::/32"), "a tunnel (Teredo)", false},
	{netip.MustParsePrefix("fc00::/7"), "unique local", true},
	{netip.MustParsePrefix("fe80::/10"), "link-local", false},
	{netip.MustParsePrefix("fec0::/10"), "site-local", false},
	{netip.MustParsePrefix("ff00::/8"), "multicast", false},
}

// carriers are ranges of IPv6 whose addresses hold one of IPv4, from the byte at.
var carriers = []struct {
	prefix netip.Prefix
	at     int
}{
	{netip.MustParsePrefix("::/96"), 12},           // compatible, RFC 4291, 2.5.5.1
	{netip.MustParsePrefix("::ffff:0:0:0/96"), 12}, // translated, RFC 2765
	{netip.MustParsePrefix("64:ff9b::/96"), 12},    // NAT64, RFC 6052
	{netip.MustParsePrefix("2002::/16"), 2},        // 6to4, RFC 3056
}

// carried is the address of IPv4 inside of one of IPv6.
func carried(ip netip.Addr) (netip.Addr, bool) {
	if !ip.Is6() {
		return netip.Addr{}, false
	}
	b := ip.As16()
	for _, c := range carriers {
		if c.prefix.Contains(ip) && ip != netip.IPv6Unspecified() && ip != netip.IPv6Loopback() {
			return netip.AddrFrom4([4]byte(b[c.at : c.at+4])), true
		}
	}
	// ISATAP, RFC 5214, 6.1: the identifier is 00-00-5e-fe or 02-00-5e-fe and the address.
	if b[8]&^2 == 0 && b[9] == 0 && b[10] == 0x5e && b[11] == 0xfe {
		return netip.AddrFrom4([4]byte(b[12:16])), true
	}
	return netip.Addr{}, false
}

// judge returns why an address may not be called under a name, or nothing when it may.
func (a Allow) judge(name string, ip netip.Addr) string {
	ip = ip.Unmap().WithZone("")
	if a.named(ip) {
		return ""
	}
	if metadata[ip] {
		return "a cloud's metadata service"
	}
	if inner, ok := carried(ip); ok && (!a.address(ip) || metadata[inner]) {
		if why := a.judge(name, inner); why != "" {
			return why + " (" + inner.String() + ")"
		}
	}
	for _, b := range blocks {
		if !b.prefix.Contains(ip) || a.address(ip) {
			continue
		}
		if b.home && slices.Contains(a.hosts, host(name)) {
			continue
		}
		return b.why
	}
	return ""
}
