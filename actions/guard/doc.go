// Package guard calls addresses that a rule file names, and only those that it may call.
//
// Whoever may write a URL into a rule file makes the server call it, from where the server stands: inside of the network,
// next to the cloud's metadata service and to whatever listens on loopback. The guard refuses every address that is not
// public, unless the server's own configuration allows it.
//
// It looks at the address that is connected to, after the name was resolved and before the first packet is sent
// (net.Dialer.Control). A name that is looked up, found harmless and then looked up again by the connection could mean
// another address the second time; here is no second time. Each address that a name has is judged for itself, and so is
// each redirect. An address of IPv6 that carries one of IPv4 (mapped, translated, 6to4, ISATAP) is judged by that one too.
//
// A proxy resolves names by itself: behind one, only the proxy's address is looked at, and the proxy has to guard what is
// behind it. That is why a proxy is used when it is configured and never because the environment names one.
package guard
