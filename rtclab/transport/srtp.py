"""The seam into pylibsrtp: libsrtp's functions on memory of our own, without giving up the GIL.

`pylibsrtp.Session` copies every packet twice and its cffi calls release the GIL, which costs a whole switch
interval beside a busy cell. The shared object of its binding exports libsrtp 2 itself, so the four packet
functions (RFC 3711, AES-GCM by RFC 7714) are called through `ctypes.PyDLL` in place. `Session` still owns the
context; keep it alive while its pointer is in use.
"""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import pylibsrtp
from pylibsrtp import _binding

from ..rtp.drops import Drop

# SRTP_MAX_TRAILER_LEN plus the 4-byte SRTCP index: what protecting may add behind a packet.
MAX_TRAILER = 16 + 128 + 4
MAX_RTCP = 1400  # bytes: with its trailer it fits an Ethernet frame, or nearly

_REPLAYED = (9, 10)  # srtp_err_status_replay_fail, srtp_err_status_replay_old
_SYMBOLS = ("srtp_protect", "srtp_unprotect", "srtp_protect_rtcp", "srtp_unprotect_rtcp")

# (context, packet, pointer to a C int with its length) -> status; packet and length are changed in place.
PacketFunction = Callable[[Any, Any, Any], int]


class Srtp(NamedTuple):
    """The packet functions of libsrtp; 0 is success.

    `protect_prepared` and `protect_rtcp_prepared` take arguments from `prepare`, made once and used for many
    packets: to convert three numbers for each packet costs a sixth of the call.
    """

    protect: PacketFunction
    unprotect: PacketFunction
    protect_rtcp: PacketFunction
    unprotect_rtcp: PacketFunction
    protect_prepared: PacketFunction
    protect_rtcp_prepared: PacketFunction


def prepare(address: int) -> Any:
    """An address as an argument of `Srtp.protect_prepared` and `Srtp.protect_rtcp_prepared`."""
    return ctypes.c_void_p.from_param(address)


@functools.cache
def load() -> Srtp:
    """Bind the packet functions.

    Raises
    ------
    ImportError
        The installed pylibsrtp does not export libsrtp 2 as expected.
    """
    library = ctypes.PyDLL(_binding.__file__)
    missing = [name for name in (*_SYMBOLS, "srtp_get_version") if not hasattr(library, name)]
    if missing:
        raise ImportError(f"pylibsrtp {pylibsrtp.__version__} does not export {', '.join(missing)}")
    library.srtp_get_version.restype = ctypes.c_uint
    major = library.srtp_get_version() >> 24
    if major != 2:
        raise ImportError(f"pylibsrtp {pylibsrtp.__version__} holds libsrtp {major}; rtclab knows libsrtp 2")
    functions: list[Any] = [getattr(library, name) for name in _SYMBOLS]
    for function in functions:
        function.restype = ctypes.c_int
        function.argtypes = (ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p)
    for name in ("srtp_protect", "srtp_protect_rtcp"):
        prepared = library[name]  # another object for the same function, without types to convert to
        prepared.restype = ctypes.c_int
        functions.append(prepared)
    return Srtp(*functions)


class Protector:
    """Protects packets one at a time, in memory of its own.

    Parameters
    ----------
    protect : PacketFunction
        What protects one.
    largest : int
        Bytes of the longest packet it takes.
    """

    def __init__(self, protect: PacketFunction, largest: int) -> None:
        self._packet = ctypes.create_string_buffer(largest + MAX_TRAILER)
        self._bytes = memoryview(self._packet).cast("B")  # ctypes.memmove would give the GIL up
        self._length = ctypes.c_int()
        self._protect = protect
        self._largest = largest

    def protect(self, context: int, packet: bytes) -> bytes | None:
        """The protected packet; None when it is too long or libsrtp refuses it."""
        if len(packet) > self._largest:
            return None
        self._bytes[: len(packet)] = packet
        self._length.value = len(packet)
        if self._protect(context, self._packet, ctypes.byref(self._length)):
            return None
        return ctypes.string_at(self._packet, self._length.value)


class RtcpProtector(Protector):
    """Protects RTCP packets of at most `MAX_RTCP` bytes."""

    def __init__(self) -> None:
        super().__init__(load().protect_rtcp, MAX_RTCP)


def context_pointer(session: pylibsrtp.Session) -> int:
    """Address of the session's libsrtp context, good for as long as `session` lives."""
    return int(_binding.ffi.cast("uintptr_t", session._srtp[0]))


def drop_reason(status: int) -> Drop:
    """Why libsrtp refused a received packet; anything but a replay means that it is not authentic."""
    return Drop.SRTP_REPLAY if status in _REPLAYED else Drop.SRTP_AUTH


if not hasattr(pylibsrtp.Session(), "_srtp") or not hasattr(_binding, "ffi"):
    raise ImportError(f"pylibsrtp {pylibsrtp.__version__} is laid out in a way rtclab does not know")
