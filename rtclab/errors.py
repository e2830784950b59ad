"""How rtclab fails: one family of exceptions, each saying what to do next."""

from __future__ import annotations


class RtclabError(Exception):
    """Base of every error that rtclab raises on purpose."""


class Timeout(RtclabError, TimeoutError):  # noqa: N818 - the field says "timeout"
    """A wait ran out of time.

    Parameters
    ----------
    message : str
        What was waited for, and what to try.
    phase : str, optional
        The phase that hung: ``"permission"``, ``"signaling"``, ``"ICE"``, ``"DTLS"`` or ``"first frame"``.
    """

    def __init__(self, message: str, phase: str | None = None) -> None:
        super().__init__(message)
        self.phase = phase


class Closed(RtclabError):  # noqa: N818
    """The room, participant or track was closed before or during the call."""


class PortBusy(RtclabError, OSError):  # noqa: N818
    """The UDP port asked for is in use or may not be opened."""


class SignalingError(RtclabError):
    """A signaling message was refused.

    Parameters
    ----------
    code : str
        Machine-readable reason, for instance ``"bad_sdp"`` (see `rtclab.signaling.messages`).
    message : str
        The sentence shown to the person.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class NegotiationError(SignalingError):
    """An offer cannot be answered: malformed SDP, no usable codec, no fingerprint."""


class IceServerError(RtclabError, ValueError):
    """A STUN or TURN server is described wrongly, cannot be reached, or refuses."""


class ShareRefused(SignalingError):  # noqa: N818
    """A share link lets nobody in (any more).

    Parameters
    ----------
    code : str
        ``"share_forged"``, ``"share_room"``, ``"share_expired"``, ``"share_revoked"``, ``"share_rate"`` or
        ``"share_full"``.
    message : str
        The sentence shown to the person.
    retry_s : int, optional
        Seconds after which another attempt can succeed.
    """

    def __init__(self, code: str, message: str, retry_s: int | None = None) -> None:
        super().__init__(code, message)
        self.retry_s = retry_s

    @property
    def status(self) -> int:
        """The HTTP status that says so."""
        return 429 if self.retry_s is not None else 401


class SourceError(RtclabError):
    """A media source failed: a file that cannot be read, a function that raised or gave no RGB array."""


class UnknownParticipant(RtclabError, KeyError):  # noqa: N818
    """No participant or track of that name is in the room."""

    def __str__(self) -> str:
        return str(self.args[0]) if self.args else ""
