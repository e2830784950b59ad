"""What a mix can be: said once, and checked before anybody has joined."""

from __future__ import annotations

SIDES = (64, 4096)  # pixels
MOST_FPS = 60
BITRATES = (50_000, 100_000_000)  # bits a second


def check_mix(size: tuple[int, int], fps: int, bitrate: int) -> None:
    """Refuse what `PictureMixer` cannot make.

    Parameters
    ----------
    size : tuple of int
        Width and height of the mixed picture in pixels.
    fps, bitrate : int
        Its pictures and bits a second.

    Raises
    ------
    ValueError
        One of them is out of its range; the message names it.
    """
    low, high = SIDES
    if len(size) != 2 or any(not _whole(side, low, high) or side % 2 for side in size):
        raise ValueError(f"size must be an even width and height of {low} to {high} pixels, not {size!r}")
    if not _whole(fps, 1, MOST_FPS):
        raise ValueError(f"fps must be a whole number from 1 to {MOST_FPS}, not {fps!r}")
    if not _whole(bitrate, *BITRATES):
        low, high = BITRATES
        raise ValueError(f"bitrate must be a whole number from {low} to {high}, not {bitrate!r}")


def _whole(value: object, low: int, high: int) -> bool:
    return isinstance(value, int) and low <= value <= high
