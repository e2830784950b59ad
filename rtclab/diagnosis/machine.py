"""``rtclab doctor``: does this machine have what rtclab needs, and if not, what to do about it.

Each check looks at one thing and says ``ok``, ``warn`` (a feature is missing) or ``fail`` (rtclab cannot
work). Only this machine is asked, and what the environment names as STUN and TURN servers.
"""

from __future__ import annotations

import ctypes
import errno
import importlib.metadata
import platform
import socket
import sys
from collections.abc import Callable
from typing import Literal

from ..chromium import ChromiumMissing, ensure_chromium, find_chromium
from . import server
from .findings import REACH, SERVERS, Check, Finding, Report, State

PACKAGES = ("aiortc", "aioice", "pylibsrtp", "av", "anywidget", "ipywidgets", "numpy", "pandas")
LAB_PACKAGES = ("jupyterlab", "ipykernel")
ECHO_TIMEOUT = 1.0
PICTURE_BYTES = 1_000_000 // 8 // 30
SKB_BYTES = 1000  # what the kernel counts besides, roughly
UDP_SEGMENT = 103  # linux/udp.h; the socket module has no name for it


def examine() -> Report:
    """Make every check; takes about a second and never raises."""
    return Report(tuple(_make(name, check) for name, check in CHECKS.items()))


def main(install: bool = False) -> int:
    """Print the report; with `install`, get Chromium first. Exit code 1 if something failed, else 0."""
    if install:
        try:
            ensure_chromium()
        except ChromiumMissing as error:
            sys.stderr.write(f"rtclab: {error}\n")
    report = examine()
    sys.stdout.write(f"{report!r}\n")
    return 0 if report.ok else 1


def _make(name: str, check: Callable[[], Finding]) -> Check:
    try:
        state, detail = check()
    except Exception as error:  # a broken installation may raise anything
        state, detail = "fail", f"{type(error).__name__}: {error}"
    return Check(name, state, detail)


def _python() -> Finding:
    found = f"{platform.python_implementation()} {platform.python_version()} on {platform.system()}"
    if sys.implementation.name != "cpython":
        return "fail", f"{found}; rtclab calls into C libraries in ways that only CPython allows"
    return "ok", f"{found} ({platform.machine()})"


def _packages() -> Finding:
    return _versions(PACKAGES, "fail", "reinstall rtclab")


def _jupyter() -> Finding:
    return _versions(LAB_PACKAGES, "warn", "for `rtclab lab`: pip install 'rtclab[lab]'")


def _versions(packages: tuple[str, ...], missing_state: State, remedy: str) -> Finding:
    found, missing = [], []
    for package in packages:
        try:
            found.append(f"{package} {importlib.metadata.version(package)}")
        except importlib.metadata.PackageNotFoundError:
            missing.append(package)
    if missing:
        return missing_state, f"missing: {', '.join(missing)}; {remedy}"
    return "ok", ", ".join(found)


def _ipv4() -> Finding:
    _echo(socket.AF_INET, "127.0.0.1")
    return "ok", "datagrams pass both ways on 127.0.0.1"


def _ipv6() -> Finding:
    try:
        _echo(socket.AF_INET6, "::1")
    except OSError as error:
        return "warn", f"no datagrams on ::1 ({error}); rooms are reachable by IPv4 only"
    return "ok", "datagrams pass both ways on ::1"


def _echo(family: socket.AddressFamily, host: str) -> None:
    with socket.socket(family, socket.SOCK_DGRAM) as one, socket.socket(family, socket.SOCK_DGRAM) as other:
        for end in (one, other):
            end.bind((host, 0))
            end.settimeout(ECHO_TIMEOUT)
        for sender, receiver in ((one, other), (other, one)):
            sender.sendto(b"rtclab", receiver.getsockname())
            if receiver.recv(64) != b"rtclab":
                raise OSError(errno.EBADMSG, "a datagram arrived changed")


def _port() -> Finding:
    from ..transport.port import UdpPort

    port = UdpPort.open()
    try:
        addresses = ", ".join(str(address) for address in port.addresses)
        return "ok", f"one UDP port opened on {addresses}"
    finally:
        port.close()


def _reach() -> Finding:
    import ifaddr

    addresses = [ip.ip if ip.is_IPv4 else ip.ip[0] for adapter in ifaddr.get_adapters() for ip in adapter.ips]
    outer = [str(ip) for ip in addresses if not str(ip).startswith(("127.", "::1", "fe80:"))]
    if not outer:
        return "warn", "only loopback addresses; browsers on this machine can join a room, others cannot"
    return "ok", f"browsers elsewhere can reach {', '.join(outer)}, firewalls permitting"


def _batches() -> Finding:
    libc = ctypes.CDLL(None) if sys.platform != "win32" else None
    missing = [name for name in ("sendmmsg", "recvmmsg") if not hasattr(libc, name)]
    if missing:
        return (
            "warn",
            f"no {' and '.join(missing)} on this system; packets go one by one, which costs more CPU",
        )
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.setsockopt(socket.IPPROTO_UDP, UDP_SEGMENT, 1200)
    except OSError:
        return "warn", "sendmmsg and recvmmsg, but no UDP GSO; Linux 4.18 or newer has it"
    return "ok", "sendmmsg, recvmmsg and UDP GSO"


def _buffers() -> Finding:
    from ..transport.sockets import BUFFER_SIZE, enlarge_buffers

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        size = enlarge_buffers(probe)
    found = f"{size // 1024} KiB wait to be sent at most"
    if size >= BUFFER_SIZE:
        return "ok", found
    viewers = size // (PICTURE_BYTES + SKB_BYTES)
    return "ok", (
        f"{found}: a picture of 1 Mbit/s video for about {viewers} viewers; for larger rooms "
        f"`sysctl -w net.core.wmem_max={BUFFER_SIZE}`"
    )


def _srtp() -> Finding:
    from pylibsrtp import Policy, Session

    from ..transport.srtp import load

    load()
    key = bytes(range(28))  # 128-bit key, 96-bit salt
    profile = Policy.SRTP_PROFILE_AEAD_AES_128_GCM
    sender = Session(Policy(key=key, ssrc_type=Policy.SSRC_ANY_OUTBOUND, srtp_profile=profile))
    receiver = Session(Policy(key=key, ssrc_type=Policy.SSRC_ANY_INBOUND, srtp_profile=profile))
    packet = b"\x80\x60" + bytes(10) + b"rtclab"
    if receiver.unprotect(sender.protect(packet)) != packet:
        return "fail", "a packet came back changed from AES-GCM; reinstall pylibsrtp"
    return "ok", "AES-128-GCM protects and unprotects"


def _codecs() -> Finding:
    from av.codec import Codec
    from av.codec.codec import UnknownCodecError

    def available(name: str, mode: Literal["r", "w"]) -> bool:
        try:
            Codec(name, mode)
        except UnknownCodecError:
            return False
        return True

    both = {"VP8": ("libvpx", "vp8"), "Opus": ("libopus", "opus")}
    more = {"H264": ("libx264", "h264"), "VP9": ("libvpx-vp9", "vp9"), "AV1": ("av1", "libdav1d")}
    have = [
        codec
        for codec, (encoder, decoder) in {**both, **more}.items()
        if available(encoder, "w") and available(decoder, "r")
    ]
    missing = [codec for codec in both if codec not in have]
    if missing:
        return (
            "fail",
            f"PyAV has no {', '.join(missing)}; install its wheel: pip install --force-reinstall av",
        )
    lesser = [codec for codec in more if codec not in have]
    if lesser:
        return "warn", f"{', '.join(have)}; headless participants cannot use {', '.join(lesser)}"
    return "ok", ", ".join(have)


def _page() -> Finding:
    return (
        "none",
        "its secure context, permissions, WebCodecs, WebSocket and comm: rtclab.doctor() in a notebook tells",
    )


def _chromium() -> Finding:
    try:
        path = find_chromium()
    except ChromiumMissing as error:
        return "warn", str(error)
    if path is None:
        return "none", "not found; only the browser tests need it"
    return "ok", path


CHECKS: dict[str, Callable[[], Finding]] = {
    "Python": _python,
    "Packages": _packages,
    "JupyterLab": _jupyter,
    "UDP over IPv4": _ipv4,
    "UDP over IPv6": _ipv6,
    "UDP port": _port,
    REACH: _reach,
    "Batched packets": _batches,
    "Socket buffers": _buffers,
    "SRTP": _srtp,
    "Codecs": _codecs,
    SERVERS[0]: server.extension,
    SERVERS[1]: server.servers,
    "STUN and TURN": server.ice,
    "Chromium": _chromium,
    "Your page": _page,
}
