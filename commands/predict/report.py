"""What `main.py predict` finds out, as values."""

from dataclasses import dataclass

from fedward.learning.stored_model import ModelCard


@dataclass(frozen=True)
class Explanation:
    """What became of an image's picture.

    Attributes:
        finding: Which finding the heat is about.
        picture: The file's name in the folder of pictures; "" where there is none.
        problem: Why there is none.
    """

    finding: str
    picture: str
    problem: str = ""


@dataclass(frozen=True)
class Prediction:
    """What is said of one image.

    Attributes:
        image: The file as it was named, printable.
        scores: Of each finding, what the model gives, in [0, 1]; empty where the file could not be read.
        probabilities: The same, calibrated where there is a calibration.
        called: Whether the score is at or above the finding's threshold.
        problem: Why the file could not be read; "" where it was.
        unlike: How the image is unlike an upright chest X-ray; "" where it is not.
        explanation: The picture; None where none was asked for.
    """

    image: str
    scores: tuple[float, ...]
    probabilities: tuple[float, ...]
    called: tuple[bool, ...]
    problem: str = ""
    unlike: str = ""
    explanation: Explanation | None = None


@dataclass(frozen=True)
class Report:
    """All that is told.

    Attributes:
        model: The model's file.
        card: The model's card.
        calibration: How probabilities are calibrated, or why not: a sentence.
        predictions: One an image, in the order of the files.
        pictures: The folder of pictures; "" where none were asked for.
    """

    model: str
    card: ModelCard
    calibration: str
    predictions: tuple[Prediction, ...]
    pictures: str = ""
