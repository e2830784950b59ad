"""Receiver reports of many receivers, read at once.

A receiver report leads its compound (RFC 3550 section 6.1), so in datagrams that stand side by side its
fields are columns: one NumPy operation reads a field of all of them. What follows it in a compound is mostly
a source description, of which nothing is wanted; all else is left to `rtclab.rtp.rtcp.parse_rtcp`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from .rtcp import RR, SDES, ReportBlock

_BLOCK_WORDS = 6
_BLOCK = np.arange(_BLOCK_WORDS)
_RECEIVER_REPORT = 0x80000000 | RR << 16  # version 2, without padding and count
_DESCRIPTION = 0x80000000 | SDES << 16
_KIND = 0xE0FF0000  # version, padding and type; the count and the length are not of interest


def read_blocks(
    datagrams: npt.NDArray[np.uint8], lengths: Sequence[int]
) -> tuple[list[tuple[int, ReportBlock]], list[tuple[int, int]]]:
    """Read the receiver reports that begin datagrams.

    Parameters
    ----------
    datagrams : numpy.ndarray
        ``(datagrams, bytes)`` uint8, C-contiguous, each row a multiple of 4 bytes.
    lengths : sequence of int
        How many bytes of each row are the datagram; 0 for one to be passed over.

    Returns
    -------
    list of (int, ReportBlock)
        All report blocks, each with the place of its datagram.
    list of (int, int)
        What is left to be parsed: the place of a datagram and the byte to begin at; 0 where it does not begin
        with a receiver report that is whole.
    """
    words = datagrams.view(">u4")
    places: list[int] = []
    starts: list[int] = []
    rest: list[tuple[int, int]] = []
    for place, (head, length) in enumerate(zip(words[:, 0].tolist(), lengths, strict=True)):
        count, size = head >> 24 & 0x1F, 4 * (head & 0xFFFF) + 4
        if not length:
            continue
        if length < size or head & _KIND != _RECEIVER_REPORT or size < 8 + 4 * _BLOCK_WORDS * count:
            rest.append((place, 0))
            continue
        for start in range(2, 2 + _BLOCK_WORDS * count, _BLOCK_WORDS):
            places.append(place)
            starts.append(start)
        if size < length and not _only_description(words[place], size, length):
            rest.append((place, size))
    if not places:
        return [], rest
    fields = words[np.array(places)[:, None], np.array(starts)[:, None] + _BLOCK].astype(np.int64)
    ssrc, loss, highest, jitter, lsr, dlsr = fields.T
    lost = (loss & 0xFFFFFF ^ 0x800000) - 0x800000  # 24 bits, signed
    columns = (ssrc, loss >> 24, lost, highest, jitter, lsr, dlsr)
    blocks = map(ReportBlock._make, zip(*(column.tolist() for column in columns), strict=True))
    return list(zip(places, blocks, strict=True)), rest


def _only_description(words: npt.NDArray[np.uint32], start: int, length: int) -> bool:
    """Whether nothing but one source description follows."""
    if length - start < 4 or length % 4:
        return False
    head = int(words[start // 4])
    return head & _KIND == _DESCRIPTION and start + 4 * (head & 0xFFFF) + 4 == length
