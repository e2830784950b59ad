"""The path table: rows are cleared, reused, and survive growth."""

from __future__ import annotations

import ctypes
import socket

import pytest

from rtclab.transport.addresses import pack_name
from rtclab.transport.paths import PathTable


def test_rows_keep_their_contents_when_the_table_grows() -> None:
    table = PathTable()
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as ipv4,
        socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as ipv6,
    ):
        rows = [table.allocate() for _ in range(100)]
        assert sorted(rows) == list(range(100))
        for row in rows:
            host, sock = ("192.0.2.1", ipv4) if row % 2 else ("2001:db8::1", ipv6)
            table.set_address(row, pack_name(host, 1000 + row), sock)
            table.set_context(row, 2**63 + row)
        more = [table.allocate() for _ in range(200)]
        assert len(table) == 300
        assert not set(rows) & set(more)
        for row in rows:
            host, sock, length = ("192.0.2.1", ipv4, 16) if row % 2 else ("2001:db8::1", ipv6, 28)
            assert table.address(row) == (host, 1000 + row)
            assert table.name_length[row] == length
            assert table.fd[row] == sock.fileno()
            assert int(table.srtp[row]) == 2**63 + row
        assert all(table.fd[row] == -1 and table.srtp[row] == 0 for row in more)


def test_the_pointer_follows_the_names() -> None:
    table = PathTable()
    rows = [table.allocate() for _ in range(50)]
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        table.set_address(rows[-1], pack_name("192.0.2.7", 7), sock)
    name = ctypes.string_at(table.name_pointer + table.name.shape[1] * rows[-1], table.name.shape[1])
    assert name == pack_name("192.0.2.7", 7)


def test_a_freed_row_comes_back_cleared() -> None:
    table = PathTable()
    row = table.allocate()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        table.set_address(row, pack_name("192.0.2.1", 5), sock)
    table.set_context(row, 7)
    table.free(row)
    assert len(table) == 0
    assert table.allocate() == row
    assert not table.name[row].any()
    assert (table.name_length[row], table.fd[row], table.srtp[row]) == (0, -1, 0)


def test_a_row_is_freed_once() -> None:
    table = PathTable()
    row = table.allocate()
    table.free(row)
    with pytest.raises(ValueError, match="not in use"):
        table.free(row)
