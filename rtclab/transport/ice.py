"""ICE-lite (RFC 8445) without I/O: answers a client's connectivity checks and learns its address.

A check is a STUN binding request (RFC 8489) signed with the password that this side signaled, with the
username ``local-ufrag:remote-ufrag``. A lite agent has host candidates only, sends no checks and is always
controlled:

    client                                     here
      | binding request (USERNAME, PRIORITY, MESSAGE-INTEGRITY, FINGERPRINT)
      | ------------------------------------->   the source is validated
      | <-------------------------------------   success (XOR-MAPPED-ADDRESS)
      | binding request (.. USE-CANDIDATE)       the source is nominated: media goes there

An ICE restart gives both sides new credentials. The old ones stay good until a pair is nominated with the
new ones, so that media flows on meanwhile. Checks that keep coming are also the consent to send (RFC 7675).
"""

from __future__ import annotations

import base64
import os
import struct
from typing import NamedTuple

from aioice import stun

from ..rtp.drops import Drop, Drops

DISCONNECTED_AFTER = 7.0  # s; aioice renews its consent every 4 to 6 s, browsers every 2.5 s
EXPIRED_AFTER = 12.0  # s
MAX_SOURCES = 16

_COOKIE = struct.pack("!I", stun.COOKIE)
_ATTRIBUTE = struct.Struct("!HH")
_USERNAME = 0x0006


class Source(NamedTuple):
    """Where a datagram came from, and the socket it came in by (one for each local address)."""

    host: str
    port: int
    local: int = 0


class Credentials(NamedTuple):
    """What one side signals for ICE."""

    ufrag: str
    pwd: str


def new_credentials() -> Credentials:
    """A random ufrag (48 bits) and password (144 bits)."""
    # the base64 alphabet is exactly the ice-char of RFC 8839
    return Credentials(base64.b64encode(os.urandom(6)).decode(), base64.b64encode(os.urandom(18)).decode())


def local_ufrag(data: bytes) -> str | None:
    """The local part of a binding request's USERNAME; None when this is no request that has one.

    Finds the client that a check is for without parsing all of it.
    """
    size = len(data)
    if size < 20 or data[:2] != b"\x00\x01" or data[4:8] != _COOKIE or size != 20 + (data[2] << 8 | data[3]):
        return None
    at = 20
    while at + 4 <= size:
        kind, length = _ATTRIBUTE.unpack_from(data, at)
        at += 4
        if kind == _USERNAME:
            local, colon, _ = data[at : at + length].partition(b":")
            return local.decode("ascii", "replace") if colon and at + length <= size else None
        at += length + 3 & ~3
    return None


class IceLite:
    """The controlled, lite side of one client's ICE session.

    Parameters
    ----------
    local_ufrag, local_pwd : str
        The credentials this side signals.
    drops : Drops, optional
        Where refused checks are counted.

    Attributes
    ----------
    selected : Source or None
        Where to send: the source nominated last, or moved to since; before any nomination the first
        validated one. A source that falls silent loses its place to the next that is validated.
    nominated : bool
        Whether the client has nominated a pair.
    sources : dict of Source to float
        Sources validated by an authentic check, with the time of the last; at most `MAX_SOURCES`.
    last_packet : float
        When the last authentic packet that is no check came in from the selected source; set by the owner.
    """

    def __init__(self, local_ufrag: str, local_pwd: str, drops: Drops | None = None) -> None:
        self.local = Credentials(local_ufrag, local_pwd)
        self.drops = Drops() if drops is None else drops
        self.remote_ufrag: str | None = None
        self.selected: Source | None = None
        self.nominated = False
        self.sources: dict[Source, float] = {}
        self.last_packet = 0.0
        self._last_check = 0.0
        self._previous: tuple[Credentials, str] | None = None

    @property
    def ufrags(self) -> set[str]:
        """The local ufrags that checks may use: two during a restart, else one."""
        return {self.local.ufrag} | ({self._previous[0].ufrag} if self._previous else set())

    @property
    def last_seen(self) -> float:
        """When the last authentic packet or check came in."""
        return max(self.last_packet, self._last_check)

    def connect(self, remote_ufrag: str, now: float) -> None:
        """Accept checks of the client that signaled `remote_ufrag`; the idle time counts from `now`."""
        self.remote_ufrag = remote_ufrag
        self._last_check = now

    def restart(self, remote_ufrag: str, local: Credentials, now: float) -> None:
        """Begin a restart: new credentials on both sides; the pair in use stays until one is nominated."""
        if self._previous is None and self.remote_ufrag is not None and self.sources:
            self._previous = self.local, self.remote_ufrag
        self.local = local
        self.connect(remote_ufrag, now)

    def receive(self, data: bytes, source: Source, now: float) -> bytes | None:
        """Take one STUN datagram and return the answer to send back to `source`, if any."""
        try:
            request = stun.parse_message(data)
        except (ValueError, struct.error, IndexError):
            self.drops.add(Drop.BAD_STUN)
            return None
        attributes = request.attributes
        if (
            request.message_class != stun.Class.REQUEST
            or request.message_method != stun.Method.BINDING
            or "FINGERPRINT" not in attributes
        ):
            self.drops.add(Drop.BAD_STUN)
            return None
        if "USERNAME" not in attributes or "MESSAGE-INTEGRITY" not in attributes:
            self.drops.add(Drop.BAD_STUN)
            return self._error(request, 400, "Bad Request")
        credentials = self._credentials(attributes["USERNAME"])
        if credentials is None:
            self.drops.add(Drop.UNKNOWN_UFRAG)
            return self._error(request, 401, "Unauthorized")
        key = credentials.pwd.encode()
        if not request.check_message_integrity(key):
            self.drops.add(Drop.BAD_INTEGRITY)
            return self._error(request, 401, "Unauthorized")
        self._validated(source, credentials is self.local, "USE-CANDIDATE" in attributes, now)
        response = self._response(request, stun.Class.RESPONSE)
        response.attributes["XOR-MAPPED-ADDRESS"] = (source.host, source.port)
        response.add_message_integrity(key)
        return bytes(response)

    def moved(self, source: Source) -> bool:
        """An authentic packet came from `source`: send there from now on, if a check has validated it."""
        if source not in self.sources:
            return False
        self.selected = source
        return True

    def disconnected(self, now: float) -> bool:
        """Whether the client has been silent for longer than its checks allow."""
        return now - self.last_seen > DISCONNECTED_AFTER

    def expired(self, now: float) -> bool:
        """Whether the client has been silent for so long that its consent to be sent to is gone."""
        return now - self.last_seen > EXPIRED_AFTER

    def _credentials(self, username: str) -> Credentials | None:
        """The generation of credentials that a check names."""
        if self.remote_ufrag is None:
            return None
        if username == f"{self.local.ufrag}:{self.remote_ufrag}":
            return self.local
        if self._previous and username == f"{self._previous[0].ufrag}:{self._previous[1]}":
            return self._previous[0]
        return None

    def _validated(self, source: Source, current: bool, nominates: bool, now: float) -> None:
        self._last_check = now
        self.sources.pop(source, None)
        self.sources[source] = now  # moved to the end: the first is the oldest
        if len(self.sources) > MAX_SOURCES:
            oldest = next(entry for entry in self.sources if entry not in (self.selected, source))
            del self.sources[oldest]
        if self._previous and not current:
            return  # a check of before the restart keeps its pair alive and chooses nothing
        if nominates:
            self.selected = source
            self.nominated = True
            if self._previous:
                self._previous = None
                self.sources = {entry: seen for entry, seen in self.sources.items() if entry == source}
        elif self._selected_silent(now):
            self.selected = source

    def _selected_silent(self, now: float) -> bool:
        if self.selected is None:
            return True
        return now - max(self.last_packet, self.sources.get(self.selected, 0.0)) > DISCONNECTED_AFTER

    @staticmethod
    def _response(request: stun.Message, kind: stun.Class) -> stun.Message:
        return stun.Message(stun.Method.BINDING, kind, transaction_id=request.transaction_id)

    def _error(self, request: stun.Message, code: int, reason: str) -> bytes:
        response = self._response(request, stun.Class.ERROR)
        response.attributes["ERROR-CODE"] = (code, reason)
        response.add_fingerprint()
        return bytes(response)
