"""What each architecture costs on paper, for N people who all publish and all watch everybody else.

With B bits/s for one person's media, B_S for the sum of its simulcast layers, B_mix for the mix (RFC 7667
names the topologies):

=================  ==========  ================  ================  ===============
figure             mesh        relay             sfu               mcu
=================  ==========  ================  ================  ===============
uplink             (N-1) B     B                 B_S               B
downlink           (N-1) B     (N-1) B           n B               B_mix
encodes / decodes  N-1 / N-1   1 / N-1           L / n             1 / 1
connections        N-1         1                 1                 1
server in / out    0 / 0       N B / N (N-1) B   N B_S / N n B     N B / N B_mix
server codecs      none        none              none              N dec, 1 enc
=================  ==========  ================  ================  ===============

n is how many videos a viewer gets: N-1, or ``last_n`` if that is less. Last-N leaves videos out, sound never.
"""

from __future__ import annotations

from collections.abc import Sequence

ARCHITECTURES = ("mesh", "relay", "sfu", "mcu")


def formulas(
    architecture: str,
    participants: int,
    video_bps: float,
    *,
    audio_bps: float = 0.0,
    layers_bps: Sequence[float] = (),
    last_n: int | None = None,
    mix_bps: float | None = None,
    mix_audio_bps: float | None = None,
) -> dict[str, float]:
    """The figures of one architecture.

    Parameters
    ----------
    architecture : {"mesh", "relay", "sfu", "mcu"}
        Which one.
    participants : int
        N, at least 1.
    video_bps, audio_bps : float
        Bits per second of one person's picture, as a viewer gets it, and of their sound.
    layers_bps : sequence of float
        Bits per second of each simulcast layer of a picture; empty means one encoding of `video_bps`.
    last_n : int, optional
        How many videos a viewer gets at most. Only the SFU knows it.
    mix_bps, mix_audio_bps : float, optional
        Bits per second of the mixed picture and of a mixed sound; by default those of one person.

    Returns
    -------
    dict of str to float
        ``uplink_bps``, ``downlink_bps``, ``encodes``, ``decodes`` (of video) and ``connections`` for each
        participant, ``server_in_bps``, ``server_out_bps``, ``server_encodes`` and ``server_decodes`` (of
        video) for the server.

    Raises
    ------
    ValueError
        There is no such architecture, or `participants` is less than 1.

    Examples
    --------
    >>> formulas("mesh", 4, 1e6)["uplink_bps"]
    3000000.0
    >>> formulas("sfu", 30, 1e6, last_n=10)["downlink_bps"]
    10000000.0
    """
    if participants < 1:
        raise ValueError(f"participants must be at least 1, not {participants}")
    people, others = participants, participants - 1
    watching = bool(others)  # nobody else: nothing is asked for, so nothing is sent
    person = video_bps + audio_bps
    if architecture == "mesh":
        return _figures(others * person, others * person, others, others, others)
    if architecture == "relay":
        up, down = person * watching, others * person
        return _figures(up, down, watching, others, 1, people * up, people * down)
    if architecture == "sfu":
        videos = others if last_n is None else min(last_n, others)
        layers = list(layers_bps) or [video_bps]
        up = (sum(layers) + audio_bps) * watching
        down = videos * video_bps + others * audio_bps
        return _figures(up, down, len(layers) * watching, videos, 1, people * up, people * down)
    if architecture == "mcu":
        mix = video_bps if mix_bps is None else mix_bps
        mix += audio_bps if mix_audio_bps is None else mix_audio_bps
        return _figures(person, mix, 1, 1, 1, people * person, people * mix, 1, people)
    raise ValueError(f"architecture must be one of {', '.join(ARCHITECTURES)}, not {architecture!r}")


def _figures(
    uplink_bps: float,
    downlink_bps: float,
    encodes: float,
    decodes: float,
    connections: float,
    server_in_bps: float = 0.0,
    server_out_bps: float = 0.0,
    server_encodes: float = 0.0,
    server_decodes: float = 0.0,
) -> dict[str, float]:
    return {name: float(value) for name, value in locals().items()}
