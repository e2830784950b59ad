"""What the way has cost a picture: PSNR and SSIM of the frame received against the very frame sent.

FFmpeg's filters do the arithmetic (``psnr``, ``ssim``: 8x8 windows, Wang et al. 2004), on luma. What is
compared are two pictures of the same number: pair by `rtclab.measure.read_frame_code`, never by order. The
received picture is scaled to the size of the reference first (bicubic), and the strip with the frame code,
black and white cells that no camera shows, is left out.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import av
import av.filter
import numpy as np
from numpy.typing import NDArray

from ..errors import RtclabError
from .frame_code import CELLS_ACROSS, STRIP_CELLS, read_frame_code

SMALLEST_SIDE = 16
_TIME_BASE = Fraction(1, 30)


@dataclass(frozen=True)
class Quality:
    """How close a picture is to its reference.

    Attributes
    ----------
    psnr_db : float
        Peak signal-to-noise ratio of luma; infinite for equal pictures.
    ssim : float
        Structural similarity of luma, 1 for equal pictures.
    """

    psnr_db: float
    ssim: float


def quality(
    reference: NDArray[np.uint8], received: NDArray[np.uint8], *, without_code: bool | None = None
) -> Quality:
    """Compare a received picture with the one that was sent.

    Parameters
    ----------
    reference, received : numpy.ndarray
        uint8, (height, width, 3) RGB or (height, width) luma, both of the same kind; at least 16 px on each
        side.
    without_code : bool, optional
        Whether to leave out the lower part with the frame code; by default when the reference shows one.

    Raises
    ------
    ValueError
        They are no such pictures.
    rtclab.errors.RtclabError
        The installed PyAV cannot tell what a filter found.
    """
    _check(reference, received)
    if without_code is None:
        without_code = read_frame_code(reference) is not None
    sent = luma(reference)
    height, width = sent.shape
    got = luma(received, (width, height))
    if without_code:
        end = height - math.ceil(STRIP_CELLS * width / CELLS_ACROSS)
        if end < SMALLEST_SIDE:
            raise ValueError(f"without the strip of the code nothing is left of a {width}x{height} picture")
        sent, got = sent[:end], got[:end]
    psnr = _filtered("psnr", sent, got)["lavfi.psnr.psnr.y"]
    return Quality(float(psnr), float(_filtered("ssim", sent, got)["lavfi.ssim.Y"]))


def luma(picture: NDArray[np.uint8], size: tuple[int, int] | None = None) -> NDArray[np.uint8]:
    """The luma of a picture, as an encoder gets it.

    Parameters
    ----------
    picture : numpy.ndarray
        uint8, (height, width, 3) RGB, which becomes limited-range BT.601, or (height, width) luma.
    size : tuple of int, optional
        Width and height to scale it to (bicubic).

    Returns
    -------
    numpy.ndarray
        (height, width) uint8, read-only.
    """
    height, width = picture.shape[:2]
    frame = av.VideoFrame.from_ndarray(
        np.ascontiguousarray(picture), format="rgb24" if picture.ndim == 3 else "gray"
    )
    wide, high = size or (width, height)
    if (wide, high) != (width, height) or picture.ndim == 3:
        target = "yuv420p" if picture.ndim == 3 else "gray"
        frame = frame.reformat(wide, high, target, interpolation="BICUBIC")
    plane = frame.planes[0]
    return np.frombuffer(bytes(plane), np.uint8).reshape(-1, plane.line_size)[:high, :wide]


def mean_quality(values: Sequence[Quality]) -> Quality:
    """The mean over several frames: SSIM averaged as it is, PSNR through the mean squared error."""
    if not values:
        return Quality(float("nan"), float("nan"))
    error = float(np.mean([10 ** (-value.psnr_db / 10) for value in values]))
    return Quality(-10 * math.log10(error) if error else math.inf, float(np.mean([v.ssim for v in values])))


def _check(*pictures: NDArray[Any]) -> None:
    for picture in pictures:
        rgb = picture.ndim == 3 and picture.shape[2] == 3
        if (
            picture.dtype != np.uint8
            or not (rgb or picture.ndim == 2)
            or min(picture.shape[:2]) < SMALLEST_SIDE
        ):
            found = f"{picture.dtype} {picture.shape}"
            raise ValueError(
                f"a picture is uint8 of shape (height, width, 3) or (height, width), not {found}"
            )
    if len({picture.ndim for picture in pictures}) > 1:
        raise ValueError("reference and received must both be RGB or both be luma")


def _filtered(name: str, first: NDArray[np.uint8], second: NDArray[np.uint8]) -> dict[str, str]:
    """What a filter of two inputs writes into the metadata of its output."""
    height, width = first.shape
    pixels = av.VideoFormat("gray", width, height)
    graph = av.filter.Graph()
    compare, sink = graph.add(name), graph.add("buffersink")
    sources = []
    for index in range(2):
        source = graph.add_buffer(width=width, height=height, format=pixels, time_base=_TIME_BASE)
        source.link_to(compare, 0, index)
        sources.append(source)
    compare.link_to(sink)
    graph.configure()
    for source, picture in zip(sources, (first, second), strict=True):
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="gray")
        frame.pts, frame.time_base = 0, _TIME_BASE
        source.push(frame)
    found = getattr(sink.pull(), "metadata", None)
    if found is None:
        raise RtclabError("quality needs PyAV 18.1 or newer. Install it with: pip install -U 'av>=18.1'")
    return dict(found)
