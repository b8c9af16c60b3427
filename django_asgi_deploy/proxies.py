"""What may stand in TRUSTED_PROXIES and FORWARDED_HEADERS, and whom a list of proxies means."""

import ipaddress
from collections.abc import Iterable

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address

UNIX = "unix"
EVERYBODY = "*"
EXPECTED = 'expected an address, a network such as "10.0.0.0/8", "unix" or "*"'

CLIENT_HEADERS = ("x-forwarded-for", "x-real-ip", "forwarded")  # each says who the client is: a proxy sets one of them
FORWARDED_HEADERS = (*CLIENT_HEADERS, "x-forwarded-proto", "x-forwarded-host", "x-forwarded-port", "x-forwarded-prefix")

_REMEMBERED = 4096  # hosts, so that nobody can fill the memory with addresses


def parse_proxy(text: str) -> Network | None:
    """The network that ``text`` means; None for "unix" and "*". Raises ValueError with the expected forms."""
    if text in (UNIX, EVERYBODY):
        return None
    try:
        return ipaddress.ip_network(text)
    except ValueError as error:
        if "has host bits set" in str(error):
            nearest = ipaddress.ip_network(text, strict=False)
            raise ValueError(f"an address in a network; the network is {nearest}") from None
        raise ValueError(EXPECTED) from None


def check_forwarded_header(name: str) -> None:
    """Raises ValueError if ``name`` is none of the headers that are understood."""
    if name.lower() not in FORWARDED_HEADERS:
        raise ValueError(f"expected one of {', '.join(FORWARDED_HEADERS)}")


class TrustedHosts(dict[str, bool]):
    """By host as ``scope["client"]`` has it: whether TRUSTED_PROXIES, given as ``entries``, names it.

    An empty host is a peer without an address: the other end of a unix socket. Answers are remembered, because the
    proxies of a site are few. Raises ValueError if one of ``entries`` is none.
    """

    def __init__(self, entries: Iterable[str]) -> None:
        super().__init__()
        entries = [*entries]
        self.networks = [network for network in map(parse_proxy, entries) if network is not None]
        self.unix = UNIX in entries
        self.everybody = EVERYBODY in entries

    def __missing__(self, host: str) -> bool:
        if len(self) >= _REMEMBERED:
            self.clear()
        self[host] = found = self._names(host)
        return found

    def _names(self, host: str) -> bool:
        if not host:
            return self.unix or self.everybody
        return self.everybody or self.has(parse_host(host))

    def has(self, address: IPAddress | None) -> bool:
        """Whether a network is named that the address is in; "*" names none."""
        return address is not None and any(address in network for network in self.networks)


def parse_host(host: str) -> IPAddress | None:
    """The address, an IPv4 one where it is written as IPv6 (``::ffff:127.0.0.1``); None if it isn't one."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address
