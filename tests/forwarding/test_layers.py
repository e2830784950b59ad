"""The layer a viewer gets: what it picked, what its view needs, what loss allows, what is there."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtclab.forwarding.layers import STEP_DOWN_S, STEP_UP_S, Choice, Layer, LayerSelector, Reason

Q, H, F = Layer(0, "q", 180, True), Layer(1, "h", 360, True), Layer(2, "f", 720, True)


def dead(layer: Layer) -> Layer:
    return replace(layer, alive=False)


@pytest.mark.parametrize(
    ("height", "choice"),
    [
        (None, Choice(2, None)),
        (1080, Choice(2, None)),
        (720, Choice(2, None)),
        (361, Choice(2, None)),
        (360, Choice(1, Reason.VIEW_SIZE)),
        (100, Choice(0, Reason.VIEW_SIZE)),
    ],
)
def test_auto_takes_the_smallest_layer_that_fills_the_view(height: int | None, choice: Choice) -> None:
    selector = LayerSelector()
    selector.view_height = height
    assert selector.choose([Q, H, F]) == choice


def test_layers_of_unknown_size_are_not_taken_for_fitting() -> None:
    selector = LayerSelector()
    selector.view_height = 300
    unknown = [replace(layer, height=None) for layer in (Q, H, F)]
    assert selector.choose(unknown) == Choice(2, None)
    assert selector.choose([unknown[0], H, F]) == Choice(1, Reason.VIEW_SIZE)


@pytest.mark.parametrize(
    ("picked", "layers", "choice"),
    [
        ("h", [Q, H, F], Choice(1, Reason.PICKED)),
        ("f", [Q, H, F], Choice(2, None)),
        ("f", [Q, H, dead(F)], Choice(1, Reason.LAYER_NOT_SENT)),
        ("h", [Q, dead(H), F], Choice(0, Reason.LAYER_NOT_SENT)),
        ("q", [dead(Q), H, F], Choice(1, Reason.LAYER_NOT_SENT)),
        ("x", [Q, H], Choice(1, Reason.LAYER_NOT_SENT)),
        ("q", [dead(Q), dead(H)], Choice(None, Reason.PUBLISHER_SENDS_NOTHING)),
    ],
)
def test_a_picked_layer_is_kept_or_the_next_lower_one(
    picked: str, layers: list[Layer], choice: Choice
) -> None:
    selector = LayerSelector()
    selector.picked = picked
    assert selector.choose(layers) == choice


def test_a_hidden_view_gets_the_smallest() -> None:
    selector = LayerSelector()
    selector.visible = False
    assert selector.choose([dead(Q), H, F]) == Choice(1, Reason.HIDDEN)
    assert selector.choose([F]) == Choice(2, None)


def test_loss_takes_a_layer_at_a_time_and_gives_it_back_slowly() -> None:
    selector = LayerSelector()
    layers = [Q, H, F]
    seen = []
    now = 0.0
    for _ in range(8):  # reports come each second
        selector.loss(0.2, 3, 0, now)
        seen.append(selector.choose(layers).index)
        now += 1
    assert seen == [1, 1, 0, 0, 0, 0, 0, 0]
    assert selector.choose(layers).reason is Reason.LOSS
    times = []
    while selector.choose(layers).index != 2 and now < 100:
        before = selector.choose(layers).index
        selector.loss(0.0, 3, 0, now)
        if selector.choose(layers).index != before:
            times.append(now)
        now += 1
    assert len(times) == 2
    assert times[0] - 8 >= STEP_UP_S - STEP_DOWN_S
    assert times[1] - times[0] >= STEP_UP_S
    assert selector.choose(layers) == Choice(2, None)


def test_some_loss_in_between_starts_the_wait_again() -> None:
    selector = LayerSelector()
    selector.loss(0.5, 2, 0, 0.0)
    for now in range(1, 60):
        selector.loss(0.05 if now % 9 == 0 else 0.0, 2, 0, now)
    assert selector.choose([Q, H]) == Choice(0, Reason.LOSS)


def test_an_estimate_below_what_is_sent_takes_a_layer_when_it_lasts() -> None:
    selector = LayerSelector()
    layers = [Q, H, F]
    for now in range(3):  # a call begins with low estimates
        selector.estimate(300_000, 1_000_000, 3, 0, float(now))
    selector.estimate(1_500_000, 1_000_000, 3, 0, 3.0)
    assert selector.choose(layers) == Choice(2, None)
    for now in range(4, 8):
        selector.estimate(700_000, 1_000_000, 3, 0, float(now))
        selector.loss(0.0, 3, 0, float(now))
    assert selector.choose(layers) == Choice(1, Reason.BANDWIDTH)
    for now in range(8, 8 + int(STEP_UP_S) + 1):
        selector.estimate(500_000, 400_000, 3, 0, float(now))
        selector.loss(0.0, 3, 0, float(now))
    assert selector.choose(layers) == Choice(2, None)


def test_an_estimate_that_is_no_longer_given_does_not_count() -> None:
    selector = LayerSelector()
    for now in range(4):
        selector.estimate(100_000, 1_000_000, 2, 0, float(now))
    assert selector.choose([Q, H]) == Choice(0, Reason.BANDWIDTH)
    for now in range(4, 30):
        selector.loss(0.0, 2, 0, float(now))
    assert selector.choose([Q, H]) == Choice(1, None)


def test_the_frame_rate_gives_way_last_and_returns_first() -> None:
    selector = LayerSelector()
    layers = [Q, H]

    def seen() -> tuple[int | None, int | None]:
        choice = selector.choose(layers)
        return choice.index, choice.temporal

    steps = [seen()]
    now = 0.0
    for _ in range(40):  # a report and an estimate come each second
        selector.estimate(100_000, 1_000_000, 2, 2, now)
        steps += [seen()] if seen() != steps[-1] else []
        now += 1
    assert steps == [(1, None), (0, None), (0, 1), (0, 0)]
    assert selector.choose(layers).reason is Reason.BANDWIDTH
    steps.clear()
    for _ in range(60):
        selector.estimate(1_000_000, 500_000, 2, 2, now)
        selector.loss(0.0, 2, 2, now)
        steps += [seen()] if seen() != (steps or [(0, 0)])[-1] else []
        now += 1
    assert steps == [(0, 1), (0, None), (1, None)]
    assert selector.choose(layers) == Choice(1, None)


def test_temporal_layers_give_way_to_loss_where_there_is_but_one_layer() -> None:
    selector = LayerSelector()
    selector.loss(0.3, 1, 2, 0.0)
    assert selector.choose([F]) == Choice(2, Reason.LOSS, temporal=1)


@pytest.mark.parametrize(("asked", "auto", "picked"), [(None, 1, None), (0, 0, 0), (2, 1, 2)])
def test_who_asks_for_fewer_temporal_layers_gets_no_more(
    asked: int | None, auto: int, picked: int | None
) -> None:
    selector = LayerSelector()
    selector.picked_temporal = asked
    selector.loss(0.3, 1, 2, 0.0)
    assert selector.choose([F]).temporal == auto
    selector.picked = "f"
    assert selector.choose([F]).temporal == picked, "who picks a layer has it whole"


@given(
    st.lists(st.tuples(st.booleans(), st.none() | st.integers(90, 1080)), min_size=1, max_size=4),
    st.sampled_from(["auto", "0", "1", "9"]),
    st.none() | st.integers(1, 2000),
    st.booleans(),
    st.lists(st.floats(0, 1), max_size=10),
)
def test_never_a_layer_that_is_not_sent(
    sizes: list[tuple[bool, int | None]], picked: str, height: int | None, visible: bool, losses: list[float]
) -> None:
    selector = LayerSelector()
    selector.picked, selector.view_height, selector.visible = picked, height, visible
    for second, loss in enumerate(losses):
        selector.loss(loss, len(sizes), 0, second * 3.0)
    layers = [Layer(index, str(index), size, alive) for index, (alive, size) in enumerate(sizes)]
    choice = selector.choose(layers)
    alive = [layer.index for layer in layers if layer.alive]
    assert choice.index in alive if alive else choice == Choice(None, Reason.PUBLISHER_SENDS_NOTHING)


def test_a_track_with_one_layer_gets_a_bitrate_that_comes_through_and_it_back_in_steps() -> None:
    selector = LayerSelector()
    for tenth in range(12):
        selector.estimate(450_000, 900_000, 1, 0, tenth / 10, 0.9, 850_000)
    assert selector.bitrate == 0.85 * 450_000 - 50_000
    assert selector.choose([Layer(0, None, 480, True)]) == Choice(0, Reason.BANDWIDTH)
    before, now = selector.bitrate, 2.0
    for _ in range(13):
        selector.estimate(450_000, 380_000, 1, 0, now, 0.9, 330_000)
        selector.loss(0.0, 1, 0, now)
        now += 1
    assert selector.bitrate == int(1.15 * before)
    while selector.bitrate is not None:
        before = selector.bitrate
        selector.estimate(40_000_000, 380_000, 1, 0, now, 0.9, 330_000)
        selector.loss(0.0, 1, 0, now)
        assert selector.bitrate in (before, int(1.5 * before), None)
        now += 1
    assert now < 150
    assert selector.choose([Layer(0, None, 480, True)]) == Choice(0, None)


def test_a_publisher_is_not_asked_for_less_by_a_guess() -> None:
    selector = LayerSelector()
    for now in range(10):
        selector.estimate(450_000, 900_000, 1, 0, float(now))
    assert selector.bitrate is None


def test_layers_that_are_not_sent_count_for_what_bandwidth_allows() -> None:
    selector = LayerSelector()
    selector.cap = 2
    layers = [Layer(0, "q", 120, False), Layer(1, "h", 240, True), Layer(2, "f", 480, True)]
    assert selector.choose(layers) == Choice(1, Reason.LOSS)
    assert selector.choose([layers[0], layers[2]]).index == 2
