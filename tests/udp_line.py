"""A line of UDP between browsers and a room, which can be cut: then datagrams are lost without a word.

A page with the script `by_line` knows the room by the line's port; for the room each of its connections is a
socket of the line.
"""

from __future__ import annotations

import selectors
import socket
import threading

HERE = "127.0.0.1"
LARGEST = 2048


class UdpLine:
    """The line, until `close`.

    Attributes
    ----------
    port : int
        Where it takes datagrams, on this machine only.
    whole : bool
        Whether they arrive.
    """

    def __init__(self, room_port: int, whole: bool = True) -> None:
        self.whole = whole
        self._room = (HERE, room_port)
        self._front = self._socket()
        self.port: int = self._front.getsockname()[1]
        self._backs: dict[tuple[str, int], socket.socket] = {}
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._front, selectors.EVENT_READ, None)
        self._end, waker = socket.socketpair()
        self._waker = waker
        self._selector.register(waker, selectors.EVENT_READ, None)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    @property
    def by_line(self) -> str:
        """A script for pages: the candidates of the room are this line."""
        return f"""{{
          const original = RTCPeerConnection.prototype.setRemoteDescription;
          RTCPeerConnection.prototype.setRemoteDescription = function ({{ type, sdp }}) {{
            const lines = sdp.split("\\r\\n").flatMap((line) => {{
              if (!line.startsWith("a=candidate:")) return [line];
              return line.includes(" {HERE} ") ? [line.replace(" {self._room[1]} ", " {self.port} ")] : [];
            }});
            return original.call(this, {{ type, sdp: lines.join("\\r\\n") }});
          }};
        }}
        """

    def close(self) -> None:
        """End it."""
        self._end.close()
        self._thread.join()
        for one in (self._front, self._waker, *self._backs.values()):
            one.close()
        self._selector.close()

    def _socket(self) -> socket.socket:
        one = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        one.bind((HERE, 0))
        one.setblocking(False)
        return one

    def _run(self) -> None:
        while True:
            for key, _ in self._selector.select():
                source = key.fileobj
                assert isinstance(source, socket.socket)
                if source is self._waker:
                    return
                data, address = source.recvfrom(LARGEST)
                if not self.whole:
                    continue
                if source is self._front:
                    self._back(address).sendto(data, self._room)
                else:
                    self._front.sendto(data, key.data)

    def _back(self, address: tuple[str, int]) -> socket.socket:
        back = self._backs.get(address)
        if back is None:
            back = self._backs[address] = self._socket()
            self._selector.register(back, selectors.EVENT_READ, address)
        return back
