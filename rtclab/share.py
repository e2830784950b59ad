"""Share links: how people without the notebook come into a room, by a phone or a second laptop.

A link leads to a small page and carries a token of `rtclab.signaling.shares` behind its ``#``, which no
browser sends to a server by itself, so that it stands in no log. The page comes through the Jupyter server,
where the kernel has one that knows rtclab, or from a port of the kernel's own.
"""

from __future__ import annotations

import asyncio
import datetime
import html
import math
import re
import time
from typing import TYPE_CHECKING, Any, Final

from .errors import RtclabError
from .signaling.shares import Grant, Ticket, granted
from .signaling.web import ShareAccess
from .web_server import WebServer, bind, shown_host
from .widgets.share_card import ShareCard

if TYPE_CHECKING:
    from .engine import Engine
    from .jupyter.uplink import Listing
    from .signaling.carrier import Carrier, Connect, Endpoint
    from .signaling.server import SignalingServer

_PART = re.compile(r"(\d+(?:\.\d+)?)\s*([smhd])")
_LISTEN = re.compile(r"(?P<host>\[[0-9a-fA-F:.]+\]|[^:\[\]]*):(?P<port>\d{1,5})")

UNITS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86400}
NO_WAY: Final = (
    "there is no Jupyter server with rtclab's extension to lead through; "
    'open a port of the kernel\'s own, for instance room.share(listen="0.0.0.0:8090")'
)
ROLES: Final = {"viewer": "to watch", "participant": "to watch and to publish"}

_CARD = """<div style="display:flex;flex-wrap:wrap;gap:12px 16px;align-items:center;max-width:640px;\
border:1px solid #8b91994d;border-radius:4px;padding:12px 14px;font-family:system-ui,sans-serif;\
font-size:13px;line-height:1.5">
<img alt="QR code of the link" src="{code}" style="flex:none;background:#fff;border-radius:4px">
<div style="flex:1 1 260px;min-width:0"><strong>A link {what}</strong><br>
<a href="{url}" target="_blank" rel="noopener noreferrer" style="overflow-wrap:anywhere">{url}</a><br>
{end}<br><span style="opacity:.75">{note}</span></div></div>"""


class Share:
    """A link into a room; `Room.share` makes it.

    Displayed in a notebook it shows the link, a QR code of it, and when it ends.
    """

    def __init__(self, room: Sharing, ticket: Ticket) -> None:
        self._room = room
        self._ticket = ticket
        self._address: str | None = None  # else it leads through the Jupyter server
        self._card: ShareCard | None = None

    @property
    def id(self) -> str:
        """Names the share; no secret."""
        return self._ticket.grant.share

    @property
    def role(self) -> str:
        """``"viewer"`` or ``"participant"``."""
        return self._ticket.grant.role

    @property
    def url(self) -> str:
        """The link. Whoever has it may use it, so show it to nobody else."""
        return f"{self._address or self._room._listing.share_url}#token={self._ticket.token}"

    @property
    def expires_at(self) -> datetime.datetime:
        """When it ends, in the time zone of this machine."""
        return datetime.datetime.fromtimestamp(self._ticket.expires_at).astimezone()

    @property
    def live(self) -> bool:
        """Whether it lets people in: it was not revoked and has not expired, and the room is open."""
        return self in self._room.shares

    @property
    def people(self) -> list[str]:
        """Names of those who are in the room by it now."""
        return self._room._people(self.id)

    def revoke(self) -> None:
        """End it now, for those who are in the room by it, too. Revoking twice does nothing."""
        self._room._revoke(self.id)
        if self._card is not None:
            self._card.redraw()

    def __repr__(self) -> str:
        return f"<Share {self.id} {ROLES[self.role]}, {self._end()}>"

    def _end(self) -> str:
        if not self.live:
            return "ended"
        left = self._ticket.expires_at - time.time()
        at = self.expires_at
        day = "%H:%M" if at.date() == datetime.datetime.now().astimezone().date() else "%Y-%m-%d %H:%M"
        return f"ends at {at.strftime(day)} (in {_about(left)})"

    def _repr_mimebundle_(self, **kwargs: Any) -> Any:
        own = {"text/plain": repr(self), "text/html": self._repr_html_()}
        if self._address is not None:
            return own
        self._card = self._card or ShareCard(self._repr_html_, self._room._listing.shown_at)
        shown = self._card._repr_mimebundle_(**kwargs)
        data, metadata = shown if isinstance(shown, tuple) else (shown or {}, {})
        return {**data, **own}, metadata

    def _repr_html_(self) -> str:
        import segno  # its tables take a while, and few rooms are shared

        end = self._end()
        if not self.live:
            return f"<div>This link {ROLES[self.role]} has ended.</div>"
        code = segno.make(self.url, error="m", micro=False)
        people = self._ticket.grant.at_once
        notes = [] if people is None else [f"For {people} at once." if people > 1 else "For one at a time."]
        if re.match(r"https?://(localhost|127\.|\[::1\])", self.url):
            notes.append("This address leads here only from this machine.")
        notes.append("Whoever has the link may use it; end it by <code>.revoke()</code>.")
        return _CARD.format(
            code=html.escape(code.svg_data_uri(scale=3, border=4, dark="#000", light="#fff")),
            what=ROLES[self.role],
            url=html.escape(self.url),
            end=f"It {end}.",
            note=" ".join(notes),
        )


class Sharing:
    """What a `rtclab.Room` can do about share links."""

    _engine: Engine
    _server: SignalingServer
    _listing: Listing
    _links: dict[str, Share]
    _doors: dict[str, WebServer]  # by what they were asked to listen on

    if TYPE_CHECKING:

        @property
        def closed(self) -> bool: ...
        @property
        def host_candidates(self) -> list[str]: ...
        def connect(self, carrier: Carrier, grant: Grant | None = None) -> Endpoint: ...
        def _read(self, function: Any) -> Any: ...
        def _check_open(self) -> None: ...

    def share(
        self,
        role: str = "viewer",
        expires: str | float | datetime.timedelta = "1h",
        listen: str | None = None,
        uses: int | None = None,
    ) -> Share:
        """Make a link by which people come into this room without the notebook, for instance by phone.

        Parameters
        ----------
        role : {"viewer", "participant"}
            A viewer watches and can do nothing else.
        expires : str, float or datetime.timedelta
            How long it lasts: ``"90s"``, ``"15m"``, ``"1h"``, ``"2d"``, ``"1h30m"``, or seconds.
        listen : str, optional
            A TCP port of the kernel's own, for instance ``"0.0.0.0:8090"`` for every network of this machine;
            it stays open until the room closes. By default the link leads through the Jupyter server.
        uses : int, optional
            How many may be in the room by it at once.

        Returns
        -------
        Share
            Its `Share.url` is the link; displayed, it shows a QR code, too.

        Raises
        ------
        rtclab.errors.RtclabError
            There is no Jupyter server to go through, or the address cannot be listened on.
        ValueError
            An argument is none.

        Examples
        --------
        >>> room.share(expires="15m", listen="0.0.0.0:8090")    # doctest: +SKIP
        """
        self._check_open()
        shares = self._server.guests.shares
        lasts_s = seconds_of(expires)
        if listen is None and self._listing.path is None:
            raise RtclabError(NO_WAY)

        def make() -> Share:
            share = Share(self, shares.open(role, lasts_s, time.time(), uses))
            self._links[share.id] = share
            return share

        share: Share = self._read(make)
        if listen is not None:
            try:
                share._address = self._own_address(listen)
            except BaseException:
                share.revoke()
                raise
        return share

    @property
    def shares(self) -> list[Share]:
        """Every share that is live, oldest first; `Share.revoke` ends one."""
        if self.closed:
            return []
        return list(self._read(self._live_links))

    def _live_links(self) -> list[Share]:
        live = {ticket.grant.share for ticket in self._server.guests.shares.live}
        self._links = {id: share for id, share in self._links.items() if id in live}
        return list(self._links.values())

    def _own_address(self, listen: str) -> str:
        """Open a port, unless it is open, and return its address."""
        match = _LISTEN.fullmatch(listen)
        if match is None or int(match["port"]) > 65535:
            raise ValueError(f'listen must be an address and a port, as "0.0.0.0:8090", not {listen!r}')
        host = match["host"].strip("[]")
        door = self._doors.get(listen)
        if door is None:
            try:
                sockets = bind(host, int(match["port"]))
            except OSError as error:
                raise RtclabError(
                    f"the room cannot listen on {listen} ({error.strerror or error}); "
                    "choose another port, or 0 for a free one"
                ) from None
            door = WebServer(self.connect, sockets, ShareAccess(self._server.guests.shares, time.time))
            self._engine.run(door.start())
            self._doors[listen] = door
        return f"http://{shown_host(host, self.host_candidates)}:{door.port}/"

    def _admit(self, token: str, address: str) -> Connect:
        """Let somebody in who comes through the Jupyter server."""
        grant = self._server.guests.shares.admit(token, time.time(), address, visit=True)
        return granted(self._server.connect, grant)

    def _visited(self) -> bool:
        """Whether somebody is in the room by a port of the kernel's own."""
        return any(door.busy for door in list(self._doors.values()))  # a cell may add one meanwhile

    def _people(self, share: str) -> list[str]:
        names = self._read(lambda: [member.name for member in self._server.guests.members(share)])
        return list(names)

    def _revoke(self, share: str) -> None:
        self._read(lambda: self._server.guests.revoke(share))

    async def _close_doors(self) -> None:
        await asyncio.gather(*(door.stop() for door in self._doors.values()))
        self._doors.clear()


def seconds_of(duration: str | float | datetime.timedelta) -> float:
    """Seconds of a duration as people write it.

    Raises
    ------
    ValueError
        It is none.
    """
    if isinstance(duration, datetime.timedelta):
        return duration.total_seconds()
    if isinstance(duration, str):
        parts = _PART.findall(duration)
        if parts and "".join(f"{number}{unit}" for number, unit in parts) == duration.replace(" ", ""):
            return sum(float(number) * UNITS[unit] for number, unit in parts)
    elif not isinstance(duration, bool) and isinstance(duration, int | float) and math.isfinite(duration):
        return float(duration)
    raise ValueError(f'a duration is "90s", "15m", "1h30m" or "2d", or seconds, not {duration!r}')


def _about(seconds: float) -> str:
    for unit, size in (("days", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{max(0.0, seconds):.0f} s"
