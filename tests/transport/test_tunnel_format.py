"""The tunnel's messages: what is written can be read, what is no message is refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtclab.transport.tunnel_format import Ack, Frame, KeyframeRequest, MalformedMedia, parse

numbers = st.integers(0, 2**32 - 1)
mids = st.sampled_from(["0", "video", "x" * 64])
rids = st.sampled_from(["", "h", "y" * 64])
payloads = st.binary(min_size=1, max_size=20)
sizes = st.integers(0, 65535)
flags = st.booleans()
pictures = st.builds(
    lambda number, time, mid, rid, payload, flags, size: Frame(
        number, time, mid, rid, payload, flags[0], False, flags[1], *size
    ),
    numbers,
    st.integers(0, 2**64 - 1),
    mids,
    rids,
    payloads,
    st.tuples(flags, flags),
    st.tuples(sizes, sizes),
)
sounds = st.builds(
    lambda number, mid, payload, level: Frame(number, 1, mid, "", payload, audio=True, level=level),
    numbers,
    mids,
    payloads,
    st.integers(-1, 255),
)
messages = st.one_of(
    pictures, sounds, st.builds(Ack, numbers, numbers), st.builds(KeyframeRequest, mids, rids)
)


@given(messages)
def test_what_is_written_can_be_read(message: Frame | Ack | KeyframeRequest) -> None:
    assert parse(message.encode()) == message


def test_the_bytes_are_the_ones_described() -> None:
    frame = Frame(7, 0x0102030405060708, "0", "hi", b"\xaa\xbb", keyframe=True, width=640, height=360)
    assert frame.encode() == bytes.fromhex("01 01 00000007 0102030405060708 0280 0168 01 30 02 6869 aabb")
    assert Frame(1, 2, "a", "", b"x", audio=True, level=130).encode() == bytes.fromhex(
        "01 02 00000001 0000000000000002 0182 0000 01 61 00 78"
    )
    assert Ack(258, 40).encode() == bytes.fromhex("02 00 00000102 00000028")
    assert KeyframeRequest("1", "f").encode() == bytes.fromhex("03 00 01 31 01 66")


@given(
    st.one_of(
        st.binary(max_size=60),
        st.tuples(st.integers(0, 4), st.binary(max_size=60)).map(lambda parts: bytes((parts[0],)) + parts[1]),
    )
)
def test_garbage_is_refused_or_read(data: bytes) -> None:
    try:
        message = parse(data)
    except MalformedMedia:
        return
    if isinstance(message, Frame):
        assert message.mid
        assert message.payload


@given(messages, st.data())
def test_a_message_that_is_cut_off_is_refused(
    message: Frame | Ack | KeyframeRequest, data: st.DataObject
) -> None:
    whole = message.encode()
    payload = len(message.payload) if isinstance(message, Frame) else 1
    with pytest.raises(MalformedMedia):
        parse(whole[: data.draw(st.integers(0, len(whole) - payload))])


def test_names_are_ascii_and_not_too_long() -> None:
    for name in (b"\xc3\xa4", b"x" * 65):
        with pytest.raises(MalformedMedia):
            parse(bytes((3, 0, len(name))) + name + b"\0")
    with pytest.raises(MalformedMedia):
        parse(Frame(1, 1, "0", "", bytes(1024 * 1024)).encode())
