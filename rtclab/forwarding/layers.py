"""Which layer does a viewer get, and why not more?

The viewer picks a layer, or ``auto``. ``auto`` follows the size of its view: the smallest layer that is
at least as high as the view. Loss caps it: above 10 % one layer less, then no step up until loss has
stayed below 2 % for ten seconds (the rule of libwebrtc's loss-based controller, RFC 8698 names the same
bounds). So does the viewer's own estimate (draft-alvestrand-rmcat-remb): one layer less when it has said for
three seconds that less comes through than it is sent. An estimate never raises the cap: of what a viewer is
not sent, it knows nothing. Where there is no smaller layer the frame rate gives way, one temporal layer a
step; on the way back it returns first. Of a track with neither there is a bitrate that would come through:
its publisher is asked for no more than the best of its viewers can take. A layer that its publisher does not
send is never chosen.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

HIGH_LOSS = 0.10
LOW_LOSS = 0.02
STEP_DOWN_S = 2.0
STEP_UP_S = 10.0
ENOUGH = 0.9  # an overused path is estimated at 0.85 of what arrives (draft-ietf-rmcat-gcc section 5.5)
SHORT_S = 3.0
FITS = 0.85  # of the estimate, for a track that has to fit into it
MIN_BPS = 40_000
MAX_BPS = 10_000_000  # no bound any more
ROOMY = 3.0  # an estimate so many times what is sent tells of a fast path


class Reason(str, Enum):
    """Why a viewer gets less than it could, or nothing; why a publisher shall send less."""

    PUBLISHER_SENDS_NOTHING = "publisher_sends_nothing"
    MUTED = "muted"
    HIDDEN = "hidden"
    CODEC_NOT_SUPPORTED = "codec_not_supported"
    WAITING_FOR_KEYFRAME = "waiting_for_keyframe"
    LAYER_NOT_SENT = "layer_not_sent"
    VIEW_SIZE = "view_size"
    LOSS = "loss"
    BANDWIDTH = "bandwidth"
    PICKED = "picked"
    DIRECT = "direct"
    MIXED = "mixed"
    LAST_N = "last_n"
    NOT_ASKED = "not_asked"
    NOT_WATCHED = "not_watched"
    LAYER_NOT_NEEDED = "layer_not_needed"


@dataclass(frozen=True)
class Layer:
    """One stream as the selector sees it: its place, name, picture height in pixels, and whether it
    flows."""

    index: int
    rid: str | None
    height: int | None
    alive: bool


@dataclass(frozen=True)
class Choice:
    """The stream chosen (None: nothing can be sent) and the reason if it is not the best one.

    With `pause` the viewer is sent nothing even of a stream that it has at the moment. `temporal` is the
    highest temporal layer to forward; None is all.
    """

    index: int | None
    reason: Reason | None
    pause: bool = False
    temporal: int | None = None


class LayerSelector:
    """The choice for one viewer of one track.

    Attributes
    ----------
    picked : str
        ``"auto"`` or a rid.
    picked_temporal : int or None
        The highest temporal layer that the viewer asks for; None for all.
    view_height : int or None
        Height of the view in device pixels; None while the client has not said.
    visible : bool
        Whether anybody can see the view.
    cap : int or None
        How many layers loss and bandwidth allow; None for all.
    temporal_cap : int or None
        The highest temporal layer that they allow of the smallest one; None for all.
    bitrate : int or None
        Bit/s that bandwidth allows of a track with a single layer; None for any.
    """

    def __init__(self) -> None:
        self.picked = "auto"
        self.picked_temporal: int | None = None
        self.view_height: int | None = None
        self.visible = True
        self.cap: int | None = None
        self.temporal_cap: int | None = None
        self.bitrate: int | None = None
        self._roomy = False
        self._changed = -1e9
        self._good_since: float | None = None
        self._short_since: float | None = None
        self._cap_reason = Reason.LOSS

    def loss(self, fraction: float, layers: int, temporal: int, now: float) -> None:
        """Take a loss report of the viewer.

        Parameters
        ----------
        fraction : float
            Fraction lost since the report before, 0..1.
        layers, temporal : int
            How many layers the track has; the highest temporal layer of the one that is sent.
        now : float
            Seconds.
        """
        if fraction > HIGH_LOSS:
            self._good_since = None
            if now - self._changed >= STEP_DOWN_S:
                self._step_down(layers, temporal, Reason.LOSS, now)
        elif fraction < LOW_LOSS:
            if self._good_since is None:
                self._good_since = now
            calm = self._short_since is None or now - self._short_since > 2 * SHORT_S
            if calm and now - max(self._good_since, self._changed) >= STEP_UP_S:
                self._step_up(layers, temporal, now)
        else:
            self._good_since = None

    def estimate(
        self,
        estimate_bps: float,
        sent_bps: float,
        layers: int,
        temporal: int,
        now: float,
        patience_s: float = SHORT_S,
        own_bps: float | None = None,
    ) -> None:
        """Take the viewer's estimate of what its path carries.

        Parameters
        ----------
        estimate_bps, sent_bps : float
            What it estimates, and what it is sent of everything that the estimate is about.
        layers, temporal : int
            As for `loss`.
        now : float
            Seconds.
        patience_s : float
            How long it has to say the same before the layer goes down.
        own_bps : float, optional
            What it is sent of this track, whose publisher may be asked for less; None if it may not.
        """
        self._roomy = estimate_bps > ROOMY * sent_bps
        if estimate_bps >= ENOUGH * sent_bps:
            self._short_since = None
        elif self._short_since is None:
            self._short_since = now
        elif now - self._short_since >= patience_s:
            self._short_since = now
            self._step_down(layers, temporal, Reason.BANDWIDTH, now)
            if own_bps is not None and layers <= 1 and not temporal:
                self.bitrate = max(int(FITS * estimate_bps - (sent_bps - own_bps)), MIN_BPS)

    def _step_down(self, layers: int, temporal: int, reason: Reason, now: float) -> None:
        cap = layers if self.cap is None else self.cap
        if cap > 1:
            self.cap = cap - 1
        elif temporal:
            self.temporal_cap = max((temporal if self.temporal_cap is None else self.temporal_cap) - 1, 0)
        self._cap_reason = reason
        self._changed = now

    def _step_up(self, layers: int, temporal: int, now: float) -> None:
        if self.temporal_cap is not None:
            self.temporal_cap = self.temporal_cap + 1 if self.temporal_cap + 1 < temporal else None
        elif self.cap is not None:
            self.cap = self.cap + 1 if self.cap + 1 < layers else None
        elif self.bitrate is not None:
            more = int(self.bitrate * (1.5 if self._roomy else 1.15))
            self.bitrate = more if more < MAX_BPS else None
        else:
            return
        self._changed = now

    def choose(self, layers: list[Layer]) -> Choice:
        """Choose among `layers`, given from the smallest to the largest."""
        alive = [layer for layer in layers if layer.alive]
        if not alive:
            return Choice(None, Reason.PUBLISHER_SENDS_NOTHING)
        if self.picked != "auto":
            return self._as_picked(layers, alive)
        if not self.visible:
            reason = Reason.HIDDEN if len(alive) > 1 else None
            return Choice(alive[0].index, reason, temporal=self._temporal)
        chosen = alive[-1]
        reason = None
        if self.view_height is not None:
            fitting = [layer for layer in alive if (layer.height or 0) >= self.view_height]
            if fitting and fitting[0] is not chosen:
                chosen, reason = fitting[0], Reason.VIEW_SIZE
        if self.cap is not None:
            allowed = [layer for layer in layers[: self.cap] if layer.alive] or alive[:1]
            if chosen not in allowed:
                chosen, reason = allowed[-1], self._cap_reason
        if (self.temporal_cap is not None or self.bitrate is not None) and reason is None:
            reason = self._cap_reason
        return Choice(chosen.index, reason, temporal=self._temporal)

    def _as_picked(self, layers: list[Layer], alive: list[Layer]) -> Choice:
        for layer in alive:
            if layer.rid == self.picked:
                reason = None if layer is alive[-1] else Reason.PICKED
                return Choice(layer.index, reason, temporal=self.picked_temporal)
        below = [layer.rid for layer in layers]
        place = below.index(self.picked) if self.picked in below else len(layers)
        lower = [layer for layer in layers[:place] if layer.alive]
        chosen = (lower or alive)[-1 if lower else 0]
        return Choice(chosen.index, Reason.LAYER_NOT_SENT, temporal=self.picked_temporal)

    @property
    def _temporal(self) -> int | None:
        limits = (self.picked_temporal, self.temporal_cap)
        return min((limit for limit in limits if limit is not None), default=None)
