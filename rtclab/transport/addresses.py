"""Socket addresses as bytes, the addresses of this host, and host candidates (RFC 8445, RFC 8839).

The kernel takes and gives addresses as a C `sockaddr`; kept as bytes it is at once what `recvmmsg` wrote, the
key of a dictionary, and what `sendmmsg` wants. An IPv4 address fills 16 of the 28 bytes and zeros follow.
"""

from __future__ import annotations

import ipaddress
import socket
import struct
from collections.abc import Sequence

import ifaddr

NAME_SIZE = 28  # bytes of a sockaddr_in6

_FAMILY = struct.Struct("=H")
_IPV4 = struct.Struct(f"=H2s4s{NAME_SIZE - 8}x")
_IPV6 = struct.Struct("=H2s4x16s4x")


def family_of(host: str) -> int:
    """`socket.AF_INET` or `socket.AF_INET6`.

    Raises
    ------
    ValueError
        `host` is not an IP address.
    """
    return socket.AF_INET if ipaddress.ip_address(host).version == 4 else socket.AF_INET6


def name_length(family: int) -> int:
    """Bytes of a `sockaddr` that count."""
    return 16 if family == socket.AF_INET else NAME_SIZE


def pack_name(host: str, port: int) -> bytes:
    """The 28 bytes of an address, as Linux lays them out; elsewhere only a key."""
    family = family_of(host)
    layout = _IPV4 if family == socket.AF_INET else _IPV6
    return layout.pack(family, port.to_bytes(2, "big"), socket.inet_pton(family, host))


def unpack_name(name: bytes) -> tuple[str, int]:
    """Host and port of `pack_name`'s or the kernel's bytes."""
    (family,) = _FAMILY.unpack_from(name)
    layout = _IPV4 if family == socket.AF_INET else _IPV6
    family, port, packed = layout.unpack(name)
    return socket.inet_ntop(family, packed), int.from_bytes(port, "big")


def host_addresses() -> list[str]:
    """This host's addresses in order of preference: IPv4, IPv6, then loopback.

    Link-local IPv6 is left out: a candidate cannot carry the interface it needs.
    """
    found: list[str] = []
    for adapter in ifaddr.get_adapters():
        for entry in adapter.ips:
            host = entry.ip if isinstance(entry.ip, str) else entry.ip[0]
            if not ipaddress.ip_address(host).is_link_local or entry.is_IPv4:
                found.append(host)
    return sorted(dict.fromkeys(found), key=_preference)


def _preference(host: str) -> tuple[bool, int]:
    address = ipaddress.ip_address(host)
    return address.is_loopback, address.version


def candidate_lines(hosts: Sequence[str], port: int) -> list[str]:
    """Host candidates, best first, as they stand after ``a=`` in SDP.

    Each host has its own foundation, and a local preference that falls along the list.
    """
    type_preference, component = 126, 1
    return [
        f"candidate:{index + 1} {component} udp "
        f"{type_preference << 24 | 65535 - index << 8 | 256 - component} {host} {port} typ host"
        for index, host in enumerate(hosts)
    ]
