"""Fourteen findings on real radiographs: what histograms tell of the pooled scores, and each finding's AUC."""

from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from commands.simulate.pooling import pooled
from data_preprocessing import PreparedData, preprocess
from fedward import settings as setting
from fedward.figures.histograms import ScoreHistogram, histogram, sigmoid
from fedward.figures.scores import score, score_findings
from fedward.learning.model import Classifier
from fedward.learning.training import train
from fedward.learning.weight_shapes import ModelSpec
from fedward.types import GlobalModel, ImageSet, Vector

KEY = b"k" * 32


@pytest.fixture(scope="module")
def nih(real_data: Path) -> PreparedData:
    chosen = setting.load(
        None,
        ("data.source", str(real_data / "nih_chestxray14")),
        ("data.finding", "all"),
        ("data.hospitals", 3),
        ("data.image-size", 32),
    )
    return preprocess(chosen.data, 7, KEY)


@pytest.fixture(scope="module")
def logits(nih: PreparedData) -> list[Vector]:
    """Of a model trained for two epochs on everybody's images: each hospital's, all its splits."""
    chosen = setting.load(None, ("training.local-epochs", 2), ("training.learning-rate", 0.01))
    classifier = Classifier(ModelSpec("scatter", 32, 14), 7)
    start = classifier.get_weights()
    everybody = pooled(list(nih.partitions), "central")
    update = train(everybody, GlobalModel(start, b""), classifier, chosen.training, 1)
    classifier.set_weights(start + update.delta)
    own = [ImageSet.joined([part.train, part.val, part.test]) for part in nih.partitions]
    return [classifier.logits(images.pixels()) for images in own]


def test_histograms_summed_over_hospitals_tell_each_findings_pooled_auc(
    nih: PreparedData, logits: list[Vector]
) -> None:
    labels = [ImageSet.joined([part.train, part.val, part.test]).labels for part in nih.partitions]
    first, *others = (histogram(own, truth) for own, truth in zip(logits, labels, strict=True))
    summed = sum(others, first)
    scores, truth = np.concatenate(logits), np.concatenate(labels)
    assert np.median(sigmoid(scores).std(axis=0)) < 0.1, "scores of rare findings lie close together"
    compared = 0
    for k in range(14):
        alone = ScoreHistogram(summed.positives[k : k + 1], summed.negatives[k : k + 1], 0.0, summed.n)
        if alone.auc() is not None:
            assert alone.auc() == pytest.approx(roc_auc_score(truth[:, k], scores[:, k]), abs=0.005)
            compared += 1
    assert compared >= 13
    assert summed.auc() == pytest.approx(score_of_all(nih, logits), abs=0.005)


def score_of_all(nih: PreparedData, logits: list[Vector]) -> float:
    images = ImageSet.joined([ImageSet.joined([part.train, part.val, part.test]) for part in nih.partitions])
    area = score(images, np.concatenate(logits), 0.5).auc
    return area if area is not None else float("nan")


def test_every_finding_has_its_own_auc_and_interval_or_the_reason(nih: PreparedData, logits: list[Vector]) -> None:
    images = ImageSet.joined([ImageSet.joined([part.train, part.val, part.test]) for part in nih.partitions])
    found = score_findings(images, np.concatenate(logits), (0.5,) * 14, nih.findings)
    assert set(found) == set(nih.findings)
    for name, scores in found.items():
        assert (scores["auc"] is None) == ("auc" in scores["undefined"]), name
        if scores["auc"] is not None and scores["intervals"]["auc"] is not None:
            low, high = scores["intervals"]["auc"]
            assert 0 < low < scores["auc"] < high < 1, name
    widths = {name: scores["intervals"]["auc"] for name, scores in found.items() if scores["intervals"]["auc"]}
    assert len(widths) >= 10
    common, rare = (pick(widths, key=lambda name: found[name]["positives"]) for pick in (max, min))
    assert widths[common][1] - widths[common][0] < widths[rare][1] - widths[rare][0]
