package guard

import (
	"net/netip"
	"strings"
	"testing"
)

func TestAnAddressThatIsNotPublicIsRefusedInWhateverFormItComes(t *testing.T) {
	for _, text := range []string{
		"127.0.0.1", "127.255.255.254", "0.0.0.0", "0.1.2.3", "10.0.0.1", "10.255.255.255", "172.16.0.1", "172.31.255.255", "192.168.1.1",
		"169.254.169.254", "169.254.0.1", "100.64.0.1", "100.100.100.200", "100.127.255.255", "168.63.129.16", "192.0.0.192", "198.18.0.1",
		"224.0.0.1", "239.255.255.250", "240.0.0.1", "255.255.255.255",
		"::", "::1", "fe80::1", "fe80::1%eth0", "fc00::1", "fd00:ec2::254", "fec0::1", "ff02::1", "100::1",
		"::ffff:127.0.0.1", "::ffff:169.254.169.254", "::ffff:10.0.0.1", "::ffff:0.0.0.0", // mapped
		"::7f00:1", "::a00:1", // compatible
		"::ffff:0:7f00:1",                                                            // translated
		"64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "64:ff9b::10.0.0.1", "64:ff9b:1::1", // NAT64
		"2002:7f00:1::", "2002:a9fe:a9fe::1", "2002:c0a8:101::", // 6to4
		"2001:0:4136:e378:8000:63bf:3fff:fdd2",                    // Teredo
		"2606:4700::5efe:7f00:1", "2606:4700::200:5efe:a9fe:a9fe", // ISATAP
	} {
		if why := (Allow{}).judge("target.example", netip.MustParseAddr(text)); why == "" {
			t.Errorf("%s may be called", text)
		}
	}
}

func TestAPublicAddressMayBeCalled(t *testing.T) {
	for _, text := range []string{
		"8.8.8.8", "9.255.255.255", "11.0.0.0", "100.63.255.255", "100.128.0.0", "126.255.255.255", "128.0.0.0", "168.63.129.15", "168.63.129.17",
		"169.253.255.255", "169.255.0.0", "172.15.255.255", "172.32.0.0", "192.0.1.1", "192.167.255.255", "192.169.0.0", "198.17.255.255", "198.20.0.0", "223.255.255.255",
		"2606:4700:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808", "2002:808:808::1", "2606:4700::5efe:808:808", "fbff::1", "2001:1::1",
	} {
		if why := (Allow{}).judge("target.example", netip.MustParseAddr(text)); why != "" {
			t.Errorf("%s may not be called: %s", text, why)
		}
	}
}

func TestTheAllowListAdmitsWhatItNamesAndNothingElse(t *testing.T) {
	allow, err := ParseAllow([]string{"10.1.0.0/16", "127.0.0.1", "fd00:1::/32", "DNS.internal.", "::ffff:192.168.7.7"})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, addr string
		may        bool
	}{
		{"x.example", "10.1.0.0", true}, {"x.example", "10.1.255.255", true}, {"x.example", "10.0.255.255", false}, {"x.example", "10.2.0.0", false},
		{"x.example", "::ffff:10.1.2.3", true}, {"x.example", "64:ff9b::10.1.2.3", true}, {"x.example", "64:ff9b::10.2.2.3", false},
		{"x.example", "127.0.0.1", true}, {"x.example", "127.0.0.2", false}, {"x.example", "fd00:1::5", true}, {"x.example", "fd00:2::5", false},
		{"x.example", "192.168.7.7", true},
		{"dns.internal", "10.9.9.9", true}, {"DNS.INTERNAL.", "fd99::1", true}, {"dns.internal", "127.9.9.9", true}, {"dns.internal", "100.64.1.1", true},
		{"dns.internal", "169.254.169.254", false}, {"dns.internal", "fe80::1", false}, {"dns.internal", "0.0.0.0", false}, {"dns.internal", "224.0.0.1", false},
		{"dns.internal", "::ffff:169.254.169.254", false}, {"dns.internal", "64:ff9b::a9fe:a9fe", false}, {"dns.internal", "168.63.129.16", false},
		{"evil.dns.internal", "10.9.9.9", false}, {"dns.internal.evil", "10.9.9.9", false},
		{"dns.internal", "100.100.100.200", false}, {"dns.internal", "fd00:ec2::254", false}, {"dns.internal", "fd20:ce::254", false},
		{"dns.internal", "64:ff9b::100.100.100.200", false}, {"dns.internal", "::ffff:100.100.100.200", false},
	} {
		if why := allow.judge(c.name, netip.MustParseAddr(c.addr)); (why == "") != c.may {
			t.Errorf("%s at %s: %q, want may = %v", c.name, c.addr, why, c.may)
		}
	}
}

func TestAMetadataServiceIsReachedOnlyByItsVeryAddress(t *testing.T) {
	around, err := ParseAllow([]string{"100.64.0.0/10", "169.254.0.0/16", "168.63.0.0/16", "fc00::/7", "fe80::/10", "64:ff9b::/96", "metadata.internal"})
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{"169.254.169.254", "169.254.170.2", "100.100.100.200", "168.63.129.16", "fd00:ec2::254", "fd20:ce::254", "fe80::a9fe:a9fe",
		"64:ff9b::a9fe:a9fe", "64:ff9b::100.100.100.200", "::ffff:169.254.169.254"} {
		ip := netip.MustParseAddr(text)
		if why := around.judge("metadata.internal", ip); !strings.HasPrefix(why, "a cloud's metadata service") {
			t.Errorf("a name and the blocks around it lead to %s: %q", text, why)
		}
		very, err := ParseAllow([]string{text})
		if err != nil {
			t.Fatal(err)
		}
		if why := very.judge("x.example", ip); why != "" {
			t.Errorf("its very address does not lead to %s: %s", text, why)
		}
	}
	for _, text := range []string{"100.100.100.201", "169.254.169.252", "fd00:ec2::255", "fd20:ce::253", "fe80::1"} {
		if why := around.judge("metadata.internal", netip.MustParseAddr(text)); why != "" {
			t.Errorf("a block does not lead to %s: %s", text, why)
		}
	}
}

func TestAnEntryThatSaysNothingIsRefused(t *testing.T) {
	for _, entry := range []string{"", "10.0.0.0/33", "10.0.0.0/x", "http://dns.internal", "dns internal", "*.internal", "a..b", "::ffff:10.0.0.0/104", "dns.internal:80", "."} {
		if _, err := ParseAllow([]string{entry}); err == nil {
			t.Errorf("%q is on the allow-list", entry)
		}
	}
}

func TestTheEnvironmentNamesNoProxy(t *testing.T) {
	if Client(Options{}).Transport.(*bounded).next.Proxy != nil {
		t.Error("a client that was given no proxy asks for one")
	}
}
