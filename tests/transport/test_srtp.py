"""The seam into libsrtp: in-place functions agree with pylibsrtp, and a changed library is refused."""

from __future__ import annotations

import ctypes

import pylibsrtp
import pytest

from rtclab.rtp.drops import Drop
from rtclab.transport import srtp
from stock_client import rtcp, rtp

PROFILES = {
    pylibsrtp.Policy.SRTP_PROFILE_AEAD_AES_128_GCM: 28,
    pylibsrtp.Policy.SRTP_PROFILE_AEAD_AES_256_GCM: 44,
    pylibsrtp.Policy.SRTP_PROFILE_AES128_CM_SHA1_80: 30,
}


def session(profile: int, inbound: bool) -> pylibsrtp.Session:
    kind = pylibsrtp.Policy.SSRC_ANY_INBOUND if inbound else pylibsrtp.Policy.SSRC_ANY_OUTBOUND
    return pylibsrtp.Session(
        pylibsrtp.Policy(key=bytes(range(PROFILES[profile])), ssrc_type=kind, srtp_profile=profile)
    )


def in_place(function: srtp.PacketFunction, owner: pylibsrtp.Session, packet: bytes) -> tuple[int, bytes]:
    memory = ctypes.create_string_buffer(packet, len(packet) + srtp.MAX_TRAILER)
    length = ctypes.c_int(len(packet))
    status = function(srtp.context_pointer(owner), memory, ctypes.byref(length))
    return status, memory.raw[: length.value]


@pytest.mark.parametrize("profile", PROFILES)
def test_both_ways_agree_with_pylibsrtp(profile: int) -> None:
    library = srtp.load()
    packet = rtp(7, b"x" * 900)
    ours = in_place(library.protect, session(profile, False), packet)
    assert ours == (0, session(profile, False).protect(packet))
    assert in_place(library.unprotect, session(profile, True), ours[1]) == (0, packet)
    report = in_place(library.protect_rtcp, session(profile, False), rtcp())
    assert session(profile, True).unprotect_rtcp(report[1]) == rtcp()
    assert in_place(library.unprotect_rtcp, session(profile, True), report[1]) == (0, rtcp())


@pytest.mark.parametrize("profile", PROFILES)
def test_refused_packets_have_a_reason(profile: int) -> None:
    library = srtp.load()
    receiver = session(profile, True)
    packet = session(profile, False).protect(rtp(7))
    damaged = packet[:-1] + bytes([packet[-1] ^ 1])
    assert srtp.drop_reason(in_place(library.unprotect, receiver, damaged)[0]) is Drop.SRTP_AUTH
    assert in_place(library.unprotect, receiver, packet)[0] == 0
    assert srtp.drop_reason(in_place(library.unprotect, receiver, packet)[0]) is Drop.SRTP_REPLAY
    for length in range(12, len(packet)):
        assert in_place(library.unprotect, receiver, packet[:length])[0] != 0


@pytest.mark.parametrize("profile", PROFILES)
def test_rtcp_is_protected_in_memory_of_its_own(profile: int) -> None:
    protector, sender, receiver = srtp.RtcpProtector(), session(profile, False), session(profile, True)
    for size in (0, 100, srtp.MAX_RTCP - 8):
        report = rtcp() + bytes(size)
        protected = protector.protect(srtp.context_pointer(sender), report)
        assert protected is not None
        assert receiver.unprotect_rtcp(protected) == report
    assert protector.protect(srtp.context_pointer(sender), bytes(srtp.MAX_RTCP + 1)) is None
    assert protector.protect(srtp.context_pointer(sender), b"short") is None


def test_another_library_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(srtp._binding, "__file__", None)  # the process itself, which exports no srtp_protect
    srtp.load.cache_clear()
    try:
        with pytest.raises(ImportError, match="does not export srtp_protect"):
            srtp.load()
    finally:
        monkeypatch.undo()
        srtp.load.cache_clear()
    assert srtp.load()
