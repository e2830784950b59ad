"""STUN and TURN servers as the W3C describes them (``RTCIceServer``): checked once, then one for each URL.

stun:HOST[:PORT]                        RFC 7064; stuns: for TLS
turn:HOST[:PORT][?transport=udp|tcp]    RFC 7065; turns: for TLS; with a username and a credential
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from ..errors import IceServerError

Policy = Literal["all", "relay"]
POLICIES: tuple[Policy, ...] = ("all", "relay")
PORTS = {"stun": 3478, "turn": 3478, "stuns": 5349, "turns": 5349}
MAX_TEXT = 1024  # characters of a URL, a username or a credential

_URL = re.compile(
    r"(?P<scheme>stuns?|turns?):(?P<host>\[[0-9a-f:.]+\]|[^\s\[\]:?/@]+)(:(?P<port>[0-9]{1,5}))?"
    r"(\?transport=(?P<transport>udp|tcp))?",
    re.IGNORECASE,
)
_FORM = 'write it like "turn:turn.example.org:3478?transport=udp"'


@dataclass(frozen=True, slots=True)
class Server:
    """One URL of a STUN or TURN server.

    Attributes
    ----------
    scheme : str
        ``"stun"``, ``"stuns"``, ``"turn"`` or ``"turns"``.
    host : str
        Name or address.
    port : int
        The scheme's own unless the URL has one.
    transport : {"udp", "tcp"}
        How to reach it; TLS runs over ``"tcp"``.
    url : str
        As it was written.
    """

    scheme: str
    host: str
    port: int
    transport: str
    url: str
    username: str | None = None
    credential: str | None = field(default=None, repr=False)

    @property
    def relays(self) -> bool:
        """Whether it is a TURN server."""
        return self.scheme.startswith("turn")


def parse_url(url: str) -> Server:
    """Read one URL.

    Raises
    ------
    rtclab.errors.IceServerError
        It is none of a STUN or TURN server.
    """
    found = _URL.fullmatch(url) if len(url) <= MAX_TEXT else None
    if found is None:
        raise IceServerError(f"{url[:80]!r} is no URL of a STUN or TURN server: {_FORM}")
    scheme = found["scheme"].lower()
    port = int(found["port"] or PORTS[scheme])
    if not 0 < port < 65536:
        raise IceServerError(f"{url!r} has no usable port: {_FORM}")
    if found["transport"] and scheme.startswith("stun"):
        raise IceServerError(f"{url!r}: a STUN server's URL has no ?transport=; leave it out")
    transport = (found["transport"] or ("tcp" if scheme.endswith("s") else "udp")).lower()
    return Server(scheme, found["host"].strip("[]"), port, transport, url)


def checked(servers: object, policy: Policy = "all") -> list[dict[str, Any]]:
    """The servers in one form: a list of ``{"urls": [...], "username", "credential"}``.

    Parameters
    ----------
    servers : sequence of dict or str
        Dictionaries of the W3C's form, or bare URLs of STUN servers.
    policy : {"all", "relay"}
        With ``"relay"`` there has to be a TURN server among them.

    Raises
    ------
    rtclab.errors.IceServerError
        One is malformed or lacks something; the message says which and what.
    """
    if isinstance(servers, (str, bytes, Mapping)) or not isinstance(servers, Iterable):
        raise IceServerError(
            f'ice_servers is a list such as ["stun:stun.example.org"], not {type(servers).__name__}'
        )
    found = [_checked_one(server) for server in servers]
    if policy == "relay" and not any(server.relays for server in each(found)):
        raise IceServerError(
            'ice_transport_policy="relay" needs a TURN server in ice_servers: without one there is no way '
            'at all. Add one, or use the policy "all"'
        )
    return found


def _checked_one(server: object) -> dict[str, Any]:
    if isinstance(server, str):
        server = {"urls": server}
    if not isinstance(server, Mapping):
        raise IceServerError(f'an ICE server is a dictionary with "urls", not {type(server).__name__}')
    urls = server.get("urls")
    urls = [urls] if isinstance(urls, str) else urls
    if not isinstance(urls, Sequence) or not urls or not all(isinstance(url, str) for url in urls):
        raise IceServerError(f'an ICE server has one or more URLs in "urls", this one has {urls!r}')
    parsed = [parse_url(url) for url in urls]
    result: dict[str, Any] = {"urls": [server.url for server in parsed]}
    for name in ("username", "credential"):
        value = server.get(name)
        if value is not None and (not isinstance(value, str) or len(value) > MAX_TEXT):
            raise IceServerError(f"the {name} of {parsed[0].url} must be a text")
        if value:
            result[name] = value
    relays = next((one for one in parsed if one.relays), None)
    missing = [name for name in ("username", "credential") if name not in result]
    if relays is not None and missing:
        raise IceServerError(f"{relays.url} is a TURN server and needs a {' and a '.join(missing)}")
    return result


def each(servers: Iterable[Mapping[str, Any]]) -> Iterator[Server]:
    """One entry for each URL of `checked` servers, in their order."""
    for server in servers:
        for url in server["urls"]:
            one = parse_url(url)
            yield Server(
                one.scheme,
                one.host,
                one.port,
                one.transport,
                one.url,
                server.get("username"),
                server.get("credential"),
            )
