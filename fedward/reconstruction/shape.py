"""What decides the shape of a reader's network, and which shapes there are."""

from dataclasses import dataclass

STEP = 16  # readers halve an image four times
SMALLEST_SIZE, LARGEST_SIZE = 16, 512  # pixels a side
MOST_FINDINGS = 64


@dataclass(frozen=True)
class ReaderShape:
    """The shape of a reader's images and labels.

    Attributes:
        image_size: Height and width in pixels, a multiple of 16 from 16 to 512.
        findings: Number of labels, from 1 to 64.
    """

    image_size: int
    findings: int
