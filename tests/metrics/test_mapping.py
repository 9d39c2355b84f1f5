from itertools import permutations, product

import numpy as np
import pytest

from unmask.errors import DataError
from unmask.metrics import dice, iou, overlap
from unmask.metrics.mapping import best_dice, majority, one_to_one, score, sum_tables


def random_pair(seed, classes=3, clusters=5):
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, classes, (6, 7, 5))
    predicted = np.where(
        rng.random(truth.shape) < 0.5, truth + 1, rng.integers(1, clusters + 1, truth.shape)
    )
    return truth.astype(np.uint8), predicted.astype(np.uint8)


def applied(mapping, clusters):
    return np.vectorize(lambda k: mapping.get(int(k), 99))(clusters)


def test_table_of_several_images_is_that_of_all():
    pairs = [random_pair(seed) for seed in range(3)]
    table = sum_tables(overlap(*pair) for pair in pairs)
    whole = sum_tables([overlap(*(np.concatenate(part) for part in zip(*pairs, strict=True)))])
    assert np.array_equal(table.voxels, whole.voxels)
    assert table.voxels.sum() == 3 * 210
    assert 0 in table.classes


@pytest.mark.parametrize("seed", range(5))
def test_one_to_one_is_the_best_of_all(seed):
    truth, clusters = random_pair(seed)
    table = sum_tables([overlap(truth, clusters)])
    found = one_to_one(table)
    assert len(set(found.values())) == len(found)

    def total(mapping):
        return sum(score(table, mapping)[f"dice/{c}"] for c in range(3))

    best = max(
        total(dict(zip(chosen, range(3), strict=True))) for chosen in permutations(range(1, 6), 3)
    )
    assert total(found) == pytest.approx(best)


def test_majority_takes_the_most_voxels():
    truth, clusters = random_pair(1)
    found = majority(sum_tables([overlap(truth, clusters)]))
    for cluster in np.unique(clusters):
        assert found[int(cluster)] == np.bincount(truth[clusters == cluster]).argmax()


def mean_dice(table, mapping):
    return score(table, mapping)["dice"]


@pytest.mark.parametrize("seed", range(5))
def test_best_dice_gains_from_no_single_change(seed):
    truth, clusters = random_pair(seed, clusters=4)
    table = sum_tables([overlap(truth, clusters)])
    found = best_dice(table)
    ids = [int(k) for k in table.clusters]
    every = [dict(zip(ids, chosen, strict=True)) for chosen in product(range(3), repeat=len(ids))]
    assert mean_dice(table, found) >= mean_dice(table, majority(table))
    assert all(
        mean_dice(table, other) <= mean_dice(table, found) + 1e-9
        for other in every
        if sum(other[k] != found[k] for k in ids) == 1
    )
    # On tables this small the local optimum is that of all
    assert mean_dice(table, found) == pytest.approx(max(mean_dice(table, m) for m in every))


def test_best_dice_finds_a_class_that_has_no_majority():
    truth = np.repeat([0, 1, 0], [90, 4, 6])
    clusters = np.repeat([1, 2], [90, 10])
    table = sum_tables([overlap(truth, clusters)])
    assert majority(table) == {1: 0, 2: 0}
    assert best_dice(table) == {1: 0, 2: 1}


def test_scores_are_those_of_the_mapped_labels():
    truth, clusters = random_pair(2)
    table = sum_tables([overlap(truth, clusters)])
    mapping = majority(table)
    found = score(table, mapping)
    labels = applied(mapping, clusters)
    for each in (1, 2):
        pair = overlap(truth, labels)
        assert found[f"dice/{each}"] == pytest.approx(dice(pair, label=each))
        assert found[f"iou/{each}"] == pytest.approx(iou(pair, label=each))
    assert found["dice"] == pytest.approx(np.mean([found[f"dice/{c}"] for c in range(3)]))


def test_transferred_mapping_may_miss_clusters_and_classes():
    table = sum_tables([overlap(np.array([0, 0, 1, 1]), np.array([1, 1, 2, 3]))])
    found = score(table, {1: 0, 2: 1, 7: 2}, classes=[0, 1, 2])
    assert found["dice/0"] == 1
    assert found["dice/1"] == pytest.approx(2 / 3)
    assert np.isnan(found["dice/2"])
    assert found["dice"] == pytest.approx(5 / 6)


def test_no_voxels():
    with pytest.raises(DataError, match="labeled voxels"):
        sum_tables([overlap(np.full(3, 9, np.uint8), np.ones(3, np.uint8), ignore=9)])
