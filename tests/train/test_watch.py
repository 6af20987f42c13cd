from __future__ import annotations

from vidro.train.watch import Watch


def seen(*looks: tuple[int, float, float]) -> tuple[Watch, list[str]]:
    watch, said = Watch(), []
    for step, val, train in looks:
        watch.observe(step, val, train)
        message = watch.turn(step, val, train, helps="more text")
        if message is not None:
            said.append(message)
    return watch, said


def test_a_turn_is_said_once_with_when_and_by_how_much() -> None:
    watch, said = seen((10, 7.0, 6.9), (20, 6.1, 5.0), (30, 6.2, 3.0), (40, 6.3, 1.0), (50, 6.5, 0.5))
    assert watch.best_step == 20
    assert len(said) == 1
    assert "lowest at step 20 (6.100 nats per token) and is 0.200 higher at step 40" in said[0]
    assert "training loss fell to 1.000" in said[0]
    assert said[0].endswith("What helps: more text.")


def test_a_wobble_is_not_a_turn() -> None:
    assert seen((1, 5.0, 5.0), (2, 5.01, 4.9), (3, 5.04, 4.8), (4, 5.2, 4.7), (5, 4.9, 4.6))[1] == []


def test_no_overfitting_while_the_training_loss_rises_too() -> None:
    assert seen((1, 5.0, 4.0), (2, 5.2, 4.5), (3, 5.3, 4.6), (4, 5.4, 4.7))[1] == []


def test_patience() -> None:
    watch, _ = seen((1, 5.0, 5.0), (2, 5.0, 4.9), (3, 5.1, 4.8))
    assert watch.exhausted(2)
    assert not watch.exhausted(3)
    assert not watch.exhausted(None)
    assert not watch.exhausted(0)
