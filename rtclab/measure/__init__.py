"""What happened? Frame codes; statistics, latency and quality build on them."""

from .frame_code import FrameCode, draw_frame_code, read_frame_code

__all__ = ["FrameCode", "draw_frame_code", "read_frame_code"]
