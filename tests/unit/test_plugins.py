"""One suite over everything that can be chosen by a name: what is said of it is there, and does what its kind does."""

import dataclasses
import inspect
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any, get_type_hints

import numpy as np
import pytest
from scipy.special import expit

from fedward import plugins
from fedward import settings as setting
from fedward.adversarial.configured import ENCRYPTIONS, configured_encryption
from fedward.adversarial.registry import ATTACKS, attack_from
from fedward.backdoor.detectors import DETECTORS, configured_detectors, detect
from fedward.backdoor.history import History
from fedward.backdoor.inspection import Inspection, Models, TrainingImages
from fedward.errors import EvidenceError, VerificationError
from fedward.folders.measure_book import MeasuredModel
from fedward.learning.model import BUILDERS, Classifier
from fedward.learning.quiet_tensorflow import tf
from fedward.learning.server_step import MOST_MOMENTS, OPTIMIZERS, ServerOptimizer, server_optimizer, take_step
from fedward.learning.weight_shapes import ModelSpec
from fedward.local_update import LOCAL_UPDATES
from fedward.plugins import KINDS, NoOptions
from fedward.privacy.mechanism import MODES, expected_event, privatize
from fedward.types import DetectorReport, GlobalModel, ImageSet, ModelUpdate, PrivacyEvent, SampledUpdate, Vector

# What does the work, by the setting that chooses. Of privacy modes two things do.
REGISTERED: tuple[tuple[str, Mapping[str, Any]], ...] = (
    ("model.name", BUILDERS),
    ("privacy.mode", MODES),
    ("privacy.mode", LOCAL_UPDATES),
    ("server-optimizer.name", OPTIMIZERS),
    ("detectors.names", DETECTORS),
    ("image-encryption.method", ENCRYPTIONS),
)
EVERY = [(dotted, name) for dotted, registry in KINDS.items() for name in registry]


# ---- registries -------------------------------------------------------------------------------------------------


def test_names_and_what_does_the_work_are_registered_together() -> None:
    assert {dotted for dotted, _ in REGISTERED} == set(KINDS), "a new kind needs its place in this suite"
    for dotted, working in REGISTERED:
        assert tuple(working) == tuple(KINDS[dotted]), dotted


@pytest.mark.parametrize("registry", [*KINDS.values(), KINDS, *(working for _, working in REGISTERED)])
def test_a_registry_cannot_be_changed(registry: Any) -> None:
    with pytest.raises(TypeError):
        registry["another"] = None


@pytest.mark.parametrize(("dotted", "name"), EVERY)
def test_each_can_be_chosen_and_says_what_it_is(dotted: str, name: str) -> None:
    setting.load(None, (dotted, name))
    about = KINDS[dotted][name].about
    assert about
    assert about == about.strip(". ")


@pytest.mark.parametrize(("dotted", "name"), EVERY)
def test_options_are_frozen_checked_and_have_a_table_of_their_own(dotted: str, name: str) -> None:
    options, table = KINDS[dotted][name].options, f"{dotted.partition('.')[0]}.{name}"
    assert options.__dataclass_params__.frozen  # type: ignore[attr-defined]
    assert (options is NoOptions) == (table not in setting.default_tables())
    hints = get_type_hints(options, include_extras=True)
    for field in dataclasses.fields(options):
        assert hints[field.name].__metadata__, f"{table}.{field.name} has no rule"
        assert inspect.getdoc(options).count(f"{field.name}:") == 1, f"{options.__name__} does not say it"  # type: ignore[union-attr]


def test_the_module_that_has_the_names_imports_nothing_of_what_they_name() -> None:
    source = inspect.getsource(plugins)
    imports = [line.split()[1] for line in source.splitlines() if line.startswith(("import ", "from "))]
    assert {name for name in imports if name.startswith("fedward")} == {"fedward.tables"}


# ---- models -----------------------------------------------------------------------------------------------------


# Tracing this one's training takes half a minute: its steps are run as they come, with the same operations.
UNTRACED = ("densenet121",)
SLOW = (*UNTRACED, "scatter")  # whose filters take three seconds
MODELS = [pytest.param(name, marks=pytest.mark.slow) if name in SLOW else name for name in plugins.MODELS]


@pytest.fixture(autouse=True)
def untraced(request: pytest.FixtureRequest) -> Iterator[None]:
    """Run TensorFlow's functions without tracing them, in tests of a model that would take long to trace."""
    name = request.node.callspec.params.get("name") if hasattr(request.node, "callspec") else None
    tf.config.run_functions_eagerly(name in UNTRACED)
    yield
    tf.config.run_functions_eagerly(False)


@cache
def classifier(name: str) -> Classifier:
    return Classifier(ModelSpec(name, 32, 2), seed=4)


def pixels(n: int = 6) -> Vector:
    return np.random.default_rng(3).random((n, 32, 32, 1), np.float32)


@pytest.mark.parametrize("name", MODELS)
def test_a_model_scores_any_number_of_images(name: str) -> None:
    for n in (0, 1, 6):
        logits = classifier(name).logits(pixels(n))
        assert (logits.shape, logits.dtype) == ((n, 2), np.float32)
        assert np.isfinite(logits).all()


@pytest.mark.parametrize("name", MODELS)
def test_a_model_is_one_vector_and_learns(name: str) -> None:
    made = classifier(name)
    before = made.get_weights()
    assert before.shape == (made.parameters,)
    made.start_training(0.0001)
    prepared, labels = made.prepare(pixels()), np.eye(2, dtype=np.float32)[np.arange(6) % 2]
    losses = [made.train_batch(prepared, labels) for _ in range(3)]
    after = made.get_weights()
    assert losses[-1] < losses[0]
    assert after.tobytes() != before.tobytes()
    made.set_weights(before)
    assert made.get_weights().tobytes() == before.tobytes()


@pytest.mark.parametrize("name", MODELS)
def test_a_model_has_no_batch_norm(name: str) -> None:
    """Its running statistics would pass the privacy stage by."""
    assert not [weight for weight in classifier(name).network.weights if "moving" in weight.path]


# ---- server optimizers ------------------------------------------------------------------------------------------


def optimizer_of(name: str) -> ServerOptimizer:
    return server_optimizer(setting.load(None, ("server-optimizer.name", name)).server_optimizer)


@pytest.mark.parametrize("name", plugins.SERVER_OPTIMIZERS)
def test_a_server_optimizer_follows_from_model_and_update_alone(name: str) -> None:
    rng, optimizer = np.random.default_rng(6), optimizer_of(name)
    model, update = GlobalModel(rng.normal(0, 1, 50).astype(np.float32), b""), rng.normal(0, 0.1, 50)
    kept = update.tobytes(), model.weights.tobytes()
    weights, moments = take_step(model, update, optimizer)
    assert (weights.dtype, moments.dtype) == (np.float32, np.float32)
    assert moments.shape == (optimizer.rows * 50,)
    assert optimizer.rows <= MOST_MOMENTS
    assert (
        np.sign(weights - model.weights)[np.abs(update) > 0.01].tolist()
        == np.sign(update)[np.abs(update) > 0.01].tolist()
    ), "the first step goes where the update goes"
    again = take_step(model, update, optimizer_of(name))
    assert [part.tobytes() for part in again] == [weights.tobytes(), moments.tobytes()]
    assert (update.tobytes(), model.weights.tobytes()) == kept
    with pytest.raises(EvidenceError):
        take_step(GlobalModel(weights, b"", np.zeros(50 * optimizer.rows + 1, np.float32)), update, optimizer)


# ---- privacy modes ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", plugins.PRIVACY_MODES)
def test_a_privacy_mode_lets_through_its_own_updates_only(mode: str) -> None:
    privacy = setting.load(None, ("privacy.mode", mode)).privacy
    delta, event = np.linspace(-3, 3, 400, dtype=np.float32), expected_event(privacy)
    assert (event.mode, event.mode == "none") == (mode, event.noise_multiplier == 0)
    trained: dict[bool, ModelUpdate | SampledUpdate] = {
        False: ModelUpdate(delta, 5, 0.3),
        True: SampledUpdate(delta, event),
    }
    in_training = MODES[mode].in_training
    private = privatize(trained[in_training], privacy)
    assert private.event == event
    assert (private.delta.shape, private.delta.dtype) == (delta.shape, np.float32)
    with pytest.raises(VerificationError):
        privatize(trained[not in_training], privacy)
    other = PrivacyEvent("sample", "image", 0.5, 9.0, 3, 1.0, 1e-5)
    with pytest.raises(VerificationError):
        privatize(SampledUpdate(delta, other), privacy)


# ---- image encryption -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [*plugins.IMAGE_ENCRYPTIONS])
def test_an_image_encryption_is_the_attack_of_its_name_with_the_settings_options(name: str) -> None:
    table = setting.default_tables().get(f"image-encryption.{name}", {})
    changed = {key: 7 if key == "iterations" else 0.07 for key in table}
    given = [(f"image-encryption.{name}.{key}", value) for key, value in changed.items()]
    encryption = configured_encryption(setting.load(None, ("image-encryption.method", name), *given).image_encryption)
    if name == "none":
        assert encryption is None
        return
    assert type(encryption) is ATTACKS[name]
    assert {key: getattr(encryption.options, key) for key in changed} == changed
    assert encryption.bound == changed.get("eps")
    assert plugins.IMAGE_ENCRYPTIONS[name].about == encryption.about
    defaults = configured_encryption(setting.load(None, ("image-encryption.method", name)).image_encryption)
    assert defaults == attack_from(name), "the same defaults as on the command line"


# ---- detectors --------------------------------------------------------------------------------------------------


@dataclasses.dataclass
class Brightness:
    """A model that tells bright images from dark ones, and counts how often it is asked."""

    slope: float
    asked: int = 0

    @property
    def weights(self) -> Vector:
        return np.full(3, self.slope, np.float32)

    def __call__(self, given: Vector) -> Vector:
        self.asked += 1
        logits: Vector = (self.slope * (given.mean(axis=(1, 2)) * 2 - 1)).astype(np.float32)
        return logits

    def gradient(self, given: Vector, labels: Vector) -> Vector:
        with np.errstate(over="ignore", invalid="ignore"):
            slope = (expit(self(given)) - labels) * self.slope * 2 / given[0].size
        return np.broadcast_to(slope[:, None, None], given.shape).astype(np.float32)


def images(labels: list[int]) -> ImageSet:
    column = np.array(labels, np.float32).reshape(-1, 1)
    shown = np.repeat(np.repeat((column * 200 + 20).astype(np.uint8)[:, :, None], 4, 1), 4, 2)
    return ImageSet(shown, column, np.array([f"p{index}" for index in range(len(column))], dtype=str))


def inspection(labels: list[int], current: float = 2.0, candidate: float = 2.0) -> Inspection:
    def train() -> ImageSet:
        return images([0, 1])

    return Inspection(3, images(labels), train, Brightness(current), Brightness(candidate))


def detector(name: str) -> Any:
    (made,) = configured_detectors(setting.load(None, ("detectors.names", name)).detectors)
    return made


@pytest.mark.parametrize("name", plugins.DETECTORS)
@pytest.mark.parametrize("labels", [[], [0], [1], [0] * 9, [1] * 9, [0, 1] * 10])
def test_a_detector_has_nothing_against_a_candidate_that_changes_nothing(name: str, labels: list[int]) -> None:
    report = detector(name).inspect(inspection(labels))
    assert not report.suspicious
    assert report.detector == name == detector(name).name
    assert np.isfinite(report.score)
    assert report.evidence.endswith(".")


@pytest.mark.parametrize("name", plugins.DETECTORS)
@pytest.mark.parametrize("size", [np.nan, np.inf, -np.inf, 3e38])
def test_a_detector_copes_with_scores_of_any_kind(name: str, size: float) -> None:
    report = detector(name).inspect(inspection([0, 1] * 10, candidate=size))
    assert type(report.suspicious) is bool or type(report.suspicious) is np.bool_
    assert np.isfinite(report.score), "it is kept as JSON"


def test_all_detectors_share_what_was_computed() -> None:
    shown = inspection([0, 1] * 10)
    detectors = configured_detectors(setting.load(None, ("detectors.names", "validation-loss")).detectors)
    reports = detect(shown, detectors * 3)
    assert len(reports) == 3 * len(detectors)
    for model in (shown.current, shown.candidate):
        assert isinstance(model, Brightness)
        assert model.asked == 1


def test_scores_of_the_last_candidate_are_those_of_the_model_in_force() -> None:
    first = inspection([0, 1] * 10, current=1.0, candidate=2.0)
    assert first.candidate_logits.tobytes() == first.candidate(first.validation.pixels()).tobytes()
    in_force, train = Brightness(2.0), first.load_training
    accepted = History(accepted=[MeasuredModel(3, bytes(32), first.history.candidate)], ends_with_current=True)
    then = Inspection(4, first.validation, train, in_force, Brightness(3.0), history=accepted)
    assert then.current_logits.tobytes() == first.candidate_logits.tobytes()
    assert in_force.asked == 0
    fewer = Inspection(4, images([0, 1]), train, in_force, Brightness(3.0), history=accepted)
    assert len(fewer.current_logits) == 2, "of other images they are computed"
    assert in_force.asked == 1


@dataclasses.dataclass(frozen=True)
class OfWeights:
    """Looks at weights only."""

    def inspect(self, view: Models) -> DetectorReport:
        step = float(np.linalg.norm(view.candidate.weights - view.current.weights))
        return DetectorReport("of-weights", step > 1, step, f"Round {view.round_index} moves by {step:.1f}.")


@dataclasses.dataclass(frozen=True)
class OfTraining:
    """Looks at training images only."""

    def inspect(self, view: TrainingImages) -> DetectorReport:
        return DetectorReport("of-training", False, len(view.training), "Looked.")


def test_what_no_detector_asks_for_is_not_computed() -> None:
    loaded: list[int] = []

    def train() -> ImageSet:
        loaded.append(1)
        return images([0, 1, 1])

    shown = Inspection(7, images([0, 1]), train, Brightness(1.0), Brightness(3.0))
    report = OfWeights().inspect(shown)
    assert report == DetectorReport("of-weights", True, report.score, "Round 7 moves by 3.5.")
    for model in (shown.current, shown.candidate):
        assert isinstance(model, Brightness)
        assert model.asked == 0
    assert not loaded
    for _ in range(2):
        assert OfTraining().inspect(shown).score == 3
    assert loaded == [1]
