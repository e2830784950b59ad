"""Which layer does a viewer get, and why not more?

The viewer picks a layer, or ``auto``. ``auto`` follows the size of its view: the smallest layer that is
at least as high as the view. Loss caps it: above 10 % one layer less, then no step up until loss has
stayed below 2 % for ten seconds (the rule of libwebrtc's loss-based controller, RFC 8698 names the same
bounds). So does the viewer's own estimate (draft-alvestrand-rmcat-remb): one layer less when it has said for
three seconds that less comes through than it is sent. An estimate never raises the cap: of what a viewer is
not sent, it knows nothing. A layer that its publisher does not send at the moment is never chosen.
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

    With `pause` the viewer is sent nothing even of a stream that it has at the moment.
    """

    index: int | None
    reason: Reason | None
    pause: bool = False


class LayerSelector:
    """The choice for one viewer of one track.

    Attributes
    ----------
    picked : str
        ``"auto"`` or a rid.
    view_height : int or None
        Height of the view in device pixels; None while the client has not said.
    visible : bool
        Whether anybody can see the view.
    cap : int or None
        How many layers loss and bandwidth allow; None for all.
    """

    def __init__(self) -> None:
        self.picked = "auto"
        self.view_height: int | None = None
        self.visible = True
        self.cap: int | None = None
        self._changed = -1e9
        self._good_since: float | None = None
        self._short_since: float | None = None
        self._cap_reason = Reason.LOSS

    def loss(self, fraction: float, layers: int, now: float) -> None:
        """Take a loss report of the viewer.

        Parameters
        ----------
        fraction : float
            Fraction lost since the report before, 0..1.
        layers : int
            How many layers the track has.
        now : float
            Seconds.
        """
        if fraction > HIGH_LOSS:
            self._good_since = None
            if now - self._changed >= STEP_DOWN_S:
                self._step_down(layers, Reason.LOSS, now)
        elif fraction < LOW_LOSS:
            if self._good_since is None:
                self._good_since = now
            calm = self._short_since is None or now - self._short_since > 2 * SHORT_S
            if self.cap is not None and calm and now - max(self._good_since, self._changed) >= STEP_UP_S:
                self.cap += 1
                self._changed = now
                if self.cap >= layers:
                    self.cap = None
        else:
            self._good_since = None

    def estimate(
        self, estimate_bps: float, sent_bps: float, layers: int, now: float, patience_s: float = SHORT_S
    ) -> None:
        """Take the viewer's estimate of what its path carries.

        Parameters
        ----------
        estimate_bps, sent_bps : float
            What it estimates, and what it is sent of everything that the estimate is about.
        layers : int
            How many layers the track has.
        now : float
            Seconds.
        patience_s : float
            How long it has to say the same before the layer goes down.
        """
        if estimate_bps >= ENOUGH * sent_bps:
            self._short_since = None
        elif self._short_since is None:
            self._short_since = now
        elif now - self._short_since >= patience_s:
            self._short_since = now
            self._step_down(layers, Reason.BANDWIDTH, now)

    def _step_down(self, layers: int, reason: Reason, now: float) -> None:
        self.cap = max((layers if self.cap is None else self.cap) - 1, 1)
        self._cap_reason = reason
        self._changed = now

    def choose(self, layers: list[Layer]) -> Choice:
        """Choose among `layers`, given from the smallest to the largest."""
        alive = [layer for layer in layers if layer.alive]
        if not alive:
            return Choice(None, Reason.PUBLISHER_SENDS_NOTHING)
        if self.picked != "auto":
            for layer in alive:
                if layer.rid == self.picked:
                    return Choice(layer.index, None if layer is alive[-1] else Reason.PICKED)
            below = [layer.rid for layer in layers]
            place = below.index(self.picked) if self.picked in below else len(layers)
            lower = [layer for layer in layers[:place] if layer.alive]
            return Choice((lower or alive)[-1 if lower else 0].index, Reason.LAYER_NOT_SENT)
        if not self.visible:
            return Choice(alive[0].index, Reason.HIDDEN if len(alive) > 1 else None)
        chosen = alive[-1]
        reason = None
        if self.view_height is not None:
            fitting = [layer for layer in alive if (layer.height or 0) >= self.view_height]
            if fitting and fitting[0] is not chosen:
                chosen, reason = fitting[0], Reason.VIEW_SIZE
        if self.cap is not None:
            allowed = alive[: self.cap]
            if chosen not in allowed:
                chosen, reason = allowed[-1], self._cap_reason
        return Choice(chosen.index, reason)
