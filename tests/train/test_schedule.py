from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vidro.train.schedule import Schedule


@given(
    kind=st.sampled_from(["wsd", "cosine", "constant"]),
    warmup=st.floats(0, 0.9),
    decay=st.floats(0, 1),
    final=st.floats(0, 1),
    share=st.floats(-0.5, 1.5),
)
def test_between_zero_and_one_and_never_up_after_the_warm_up(
    kind: str, warmup: float, decay: float, final: float, share: float
) -> None:
    schedule = Schedule(kind=kind, warmup=warmup, decay=decay, final=final)
    value = schedule.multiplier(share)
    assert -1e-12 <= value <= 1 + 1e-12
    if share >= warmup:
        assert schedule.multiplier(share + 0.01) <= value + 1e-12


@pytest.mark.parametrize(("kind", "end", "half"), [("wsd", 0.1, 1.0), ("cosine", 0.1, 0.55), ("constant", 1.0, 1.0)])
def test_known_points(kind: str, end: float, half: float) -> None:
    schedule = Schedule(kind=kind, warmup=0.0, decay=0.5, final=0.1)
    assert schedule.multiplier(0.5) == pytest.approx(half)
    assert schedule.multiplier(1.0) == pytest.approx(end)


def test_phases_follow_each_other() -> None:
    schedule = Schedule(kind="wsd", warmup=0.1, decay=0.4, final=0.0)
    assert [schedule.phase(s) for s in (0.0, 0.09, 0.1, 0.59, 0.6, 1.0)] == [
        "warmup", "warmup", "stable", "stable", "decay", "decay",
    ]  # fmt: skip
    assert Schedule(kind="constant", warmup=0.0, decay=0.4, final=0.0).phase(0.99) == "stable"
    assert Schedule(kind="wsd", warmup=0.0, decay=0.0, final=0.0).phase(1.0) == "stable"
