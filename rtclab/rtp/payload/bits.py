"""A reader of bit fields, for the sequence headers of H.264 and AV1."""

from __future__ import annotations


class BitReader:
    """Reads bits from the most significant one on; past the end it raises `ValueError`."""

    __slots__ = ("_left", "_value")

    def __init__(self, data: bytes) -> None:
        self._value = int.from_bytes(data, "big")
        self._left = 8 * len(data)

    def read(self, bits: int) -> int:
        """Read an unsigned number of `bits` bits."""
        self._left -= bits
        if self._left < 0:
            raise ValueError("the bit stream is cut off")
        return self._value >> self._left & ((1 << bits) - 1)

    def read_golomb(self) -> int:
        """Read an unsigned Exp-Golomb number (H.264 ``ue(v)``, AV1 ``uvlc()``)."""
        zeros = 0
        while not self.read(1):
            zeros += 1
            if zeros > 32:
                raise ValueError("an Exp-Golomb number has at most 32 leading zeros")
        return (1 << zeros) - 1 + self.read(zeros)

    def read_signed_golomb(self) -> int:
        """Read a signed Exp-Golomb number (H.264 ``se(v)``)."""
        code = self.read_golomb()
        return (code + 1) // 2 if code & 1 else -(code // 2)
