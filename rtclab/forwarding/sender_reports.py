"""Sender reports to the viewers of a producer: written as columns, sent as one batch.

Each viewer is told which RTP time is now and how much it was sent (RFC 3550 section 6.4.1), about once a
second and in a compound with the publisher's CNAME, by which a receiver knows what to play together. Many
viewers take turns, so that their reports are spread over the second; one that has none yet need not wait for
its turn.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from ..rtp import rtcp
from ..transport.batch import Clients, SendBatch
from .cast import KEEPS_GIL
from .columns import Integers, ViewerColumns, wholes
from .fanout import Fanout
from .stream import Stream

TURNS = 10  # in a second
FEWEST = 16  # viewers in a turn, if there are so many: each turn costs something, whatever their number
_SSRC = slice(4, 8)  # in a sender report and in a source description
_FIELDS = slice(2, 7)  # words of a sender report: NTP time (2), RTP time, packets, octets


class _Form:
    """What stays the same in the reports to some rows, and where they are written.

    Parameters
    ----------
    columns : ViewerColumns
        Where everything about the rows is copied from.
    rows : numpy.ndarray
        Which, no more than the arena has slots.
    cname : str
        The publisher's.
    batch : SendBatch
        The way out.
    """

    def __init__(self, columns: ViewerColumns, rows: Integers, cname: str, batch: SendBatch) -> None:
        self.rows = rows
        self.clients = Clients(columns.path[rows])
        report, description = rtcp.sender_report(0, 0, 0, 0, 0), rtcp.sdes(0, cname)
        self.size = len(report) + len(description)
        form = np.empty((len(rows), self.size), np.uint8)
        form[:] = np.frombuffer(report + description, np.uint8)
        form[:, _SSRC] = form[:, len(report) :][:, _SSRC] = columns.header[rows, 8:12]
        self._form = wholes(form)
        self._slots = wholes(batch.arena[: len(rows), : self.size])
        self._fields: npt.NDArray[np.uint32] = batch.arena32[: len(rows), _FIELDS]

    def write(self, columns: ViewerColumns, ntp: int, rtp: int) -> None:
        """Write the reports; `rtp` is the time of the stream, before each row's offset, at the time `ntp`."""
        rows, fields = self.rows, self._fields
        self._slots[:] = self._form
        fields[:, 0] = ntp >> 32
        fields[:, 1] = ntp & 0xFFFFFFFF
        # numbers may be too large for their fields: what is written is their low bits
        fields[:, 2] = columns.timestamp_offset[rows] + rtp
        fields[:, 3] = columns.former_packets[rows] + columns.counted_packets[rows]
        fields[:, 4] = columns.former_octets[rows] + columns.counted_octets[rows]


class SenderReports:
    """The sender reports of one producer.

    Parameters
    ----------
    fanout : Fanout
        Its viewers.
    """

    def __init__(self, fanout: Fanout) -> None:
        self._fanout = fanout
        self._forms: dict[tuple[int, int], list[_Form]] = {}  # by stream and turn
        self._key: tuple[int, str] | None = None  # what the forms were made from

    def send(self, turn: int, ntp: int, rtp_now: Callable[[Stream], int], cname: str) -> None:
        """Report to the viewers whose turn it is, and to those who have heard nothing yet.

        Parameters
        ----------
        turn : int
            Counted on by one from call to call, ten times a second.
        ntp : int
            The room's NTP time (64 bit).
        rtp_now : callable
            Gives the RTP time of a stream at that time.
        cname : str
            The publisher's.
        """
        fanout, turn = self._fanout, turn % TURNS
        if self._key != (fanout.version, cname):
            self._key = fanout.version, cname
            self._forms.clear()
        fanout.count_all()
        for stream, rows in fanout.viewers():
            turns = min(max(len(rows) // FEWEST, 1), TURNS)
            due = slice(turn, None, turns) if turn < turns else slice(0)
            forms = self._forms.get((stream.index, turn))
            if forms is None:
                forms = self._forms[stream.index, turn] = self._new_forms(rows[due], cname)
            fresh = ~fanout.reported[rows]
            if fresh.any():
                fresh[due] = False
                fanout.reported[rows] = True
                forms = [*forms, *self._new_forms(rows[fresh], cname)]
            if not forms:
                continue
            rtp = rtp_now(stream)
            for form in forms:
                form.write(fanout, ntp, rtp)
                fanout.count_lost(form.rows, fanout.batch.send(form.clients, [form.size], rtcp=True))

    def _new_forms(self, rows: Integers, cname: str) -> list[_Form]:
        """Forms for these rows, as many as the arena holds in each."""
        return [
            _Form(self._fanout, rows[start : start + KEEPS_GIL], cname, self._fanout.batch)
            for start in range(0, len(rows), KEEPS_GIL)
        ]
