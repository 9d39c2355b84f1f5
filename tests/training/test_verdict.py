"""The course of a run, read from its journal."""

from __future__ import annotations

import pytest

from unmask.training.verdict import judge_run


def journal(scores, losses):
    return [
        {"step": 10 * n, "loss": loss, **({} if score is None else {"validation/dice": score})}
        for n, (score, loss) in enumerate(zip(scores, losses, strict=True), 1)
    ]


FALLING = [1 / n for n in range(1, 13)]
RISING = [0.05 * n for n in range(1, 13)]
PEAK = [0.2, 0.4, 0.6, 0.7, 0.72, 0.7, 0.66, 0.62, 0.6, 0.58, 0.55, 0.52]
LEVEL = [0.2, 0.5, 0.69, 0.7, 0.701, 0.7, 0.7, 0.701, 0.7, 0.7, 0.701, 0.7]


@pytest.mark.parametrize(
    ("scores", "trend", "best"),
    [(RISING, "rising", 120), (PEAK, "overfitting", 50), (LEVEL, "level", 50)],
)
def test_the_trend_of_a_validation(scores, trend, best):
    verdict = judge_run(journal(scores, FALLING), 120)
    assert verdict.trend == trend
    assert verdict.best_step == best
    assert (verdict.steps is not None) == (trend == "rising")
    assert f"at update {best} of 120" in verdict.sentences[0]


def test_start_weights_that_stay_the_best_are_named_and_are_no_trend():
    start = {"step": 0, "validation/dice": 0.9}
    verdict = judge_run([start, *journal(RISING, FALLING)], 120)
    assert (verdict.trend, verdict.best_step) == ("rising", 0)
    assert "no update was better than the start weights" in verdict.sentences[0]
    later = judge_run([start, *journal(PEAK, FALLING)], 120)
    assert "Overfitting since update 50" in later.sentences[1]
    worse = judge_run([{**start, "validation/dice": 0.1}, *journal(LEVEL, FALLING)], 120)
    assert worse == judge_run(journal(LEVEL, FALLING), 120)


def test_overfitting_names_the_update():
    verdict = judge_run(journal(PEAK, FALLING), 120)
    assert "Overfitting since update 50" in verdict.sentences[1]


def test_a_fall_of_scores_alone_is_no_overfitting():
    """Without a falling loss the network has not learned its images by heart."""
    verdict = judge_run(journal(PEAK, FALLING[::-1]), 120)
    assert verdict.trend == "level"


def test_few_validations_show_no_trend():
    assert judge_run(journal(RISING[:3], FALLING[:3]), 30).trend == "unknown"
    assert judge_run([], 30).trend == "unknown"
    assert judge_run([{"step": 5, "loss": 1.0, "validation/dice": None}], 30).trend == "unknown"


def test_without_held_out_images_the_loss_is_judged():
    falling = judge_run(journal([None] * 12, FALLING), 120)
    assert falling.trend == "rising"
    assert falling.steps == 180
    assert "Nothing was held out" in falling.sentences[0]
    level = judge_run(journal([None] * 12, [1.0] * 12), 120)
    assert level.trend == "level"
    assert "has leveled off" in level.sentences[1]
    rising = judge_run(journal([None] * 12, FALLING[::-1]), 120)
    assert "no longer falls" in rising.sentences[1]
    # Two losses of other images say nothing.
    assert judge_run(journal([None] * 7, FALLING[:7]), 70).trend == "unknown"


def test_a_pretraining_is_judged_by_what_follows():
    verdict = judge_run(journal([None] * 12, FALLING), 120, labels=False)
    assert verdict.trend == "rising"
    assert "held out" not in " ".join(verdict.sentences)
    assert "pre-training has no score" in verdict.sentences[0]


def test_a_cross_validation_has_chosen_the_updates():
    verdict = judge_run(journal([None] * 12, FALLING), 120, folds=True)
    assert "120 updates" in verdict.sentences[0]
    assert verdict.steps is None
