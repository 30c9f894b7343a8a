"""Whatever the scores and labels, metrics stay in their ranges and agree with scikit-learn."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as st_numpy
from sklearn.metrics import roc_auc_score

from fedward.figures.evaluation import evaluate
from fedward.figures.histograms import histogram, losses, sigmoid
from fedward.types import ImageSet

FINITE = st.floats(-100, 100, width=32)
SHAPES = st.tuples(st.integers(1, 40), st.integers(1, 3))


@st.composite
def scored(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    shape = draw(SHAPES)
    logits = draw(st_numpy.arrays(np.float32, shape, elements=FINITE))
    labels = draw(st_numpy.arrays(np.float32, shape, elements=st.sampled_from([0.0, 1.0])))
    return logits, labels


@settings(max_examples=150, deadline=None)
@given(scored(), st.floats(0, 1))
def test_metrics_are_shares_or_undefined(data: tuple[np.ndarray, np.ndarray], threshold: float) -> None:
    logits, labels = data
    images = ImageSet(np.zeros((len(labels), 1, 1), np.uint8), labels, np.full(len(labels), "p"))
    measured = evaluate(images, logits, threshold).as_dict()
    for name in ("accuracy", "auc", "precision", "recall", "f1"):
        value = measured[name]
        assert value is None or 0 <= value <= 1
    assert measured["accuracy"] is not None
    defined = [k for k in range(labels.shape[1]) if 0 < labels[:, k].sum() < len(labels)]
    expected = np.mean([roc_auc_score(labels[:, k], logits[:, k]) for k in defined]) if defined else None
    assert measured["auc"] == (None if expected is None else pytest.approx(expected, abs=1e-12))


@settings(max_examples=150, deadline=None)
@given(scored(), st.data())
def test_histograms_add_up_however_the_images_are_shared_out(
    data: tuple[np.ndarray, np.ndarray], more: st.DataObject
) -> None:
    logits, labels = data
    cut = more.draw(st.integers(0, len(labels)))
    whole = histogram(logits, labels)
    parts = histogram(logits[:cut], labels[:cut]) + histogram(logits[cut:], labels[cut:])
    assert np.array_equal(whole.positives, parts.positives)
    assert np.array_equal(whole.negatives, parts.negatives)
    assert whole.n == parts.n == int(whole.positives[0].sum() + whole.negatives[0].sum())
    assert whole.loss_sum == pytest.approx(parts.loss_sum)
    assert all(0 <= threshold <= 1 for threshold in whole.thresholds())
    assert len(whole.thresholds()) == len(whole.positives)


@settings(max_examples=100, deadline=None)
@given(st_numpy.arrays(np.float32, SHAPES, elements=st.floats(width=32, allow_nan=False, allow_infinity=False)))
def test_any_finite_logit_has_a_score_and_a_loss(logits: np.ndarray) -> None:
    scores = sigmoid(logits)
    assert ((scores >= 0) & (scores <= 1)).all()
    for label in (0.0, 1.0):
        loss = losses(logits, np.full(logits.shape, label, np.float32))
        assert (loss >= 0).all()
        assert np.isfinite(loss).all()
