"""The method `joint`: a denoiser with a classifier behind it, trained together.

Where this is taken from, the classifier stayed at random weights; here both train. The labels' cross-entropy counts a
tenth: in full it is some ten times the loss of images, and bends images to what the classifier wants to see, until they
are further from their originals than the perturbed ones were.
"""

from typing import Any

from fedward.learning.quiet_tensorflow import keras
from fedward.reconstruction.denoiser import denoised, denoising_weights
from fedward.reconstruction.label_recovery import classifying, classifying_weights
from fedward.reconstruction.losses import LABEL_SHARE, image_loss, label_loss
from fedward.reconstruction.reader import Batch, Plan, Reader
from fedward.reconstruction.shape import ReaderShape


class Joint(Reader):
    """See the module. Restores images and labels."""

    name = "joint"
    about = "a denoiser and a classifier of what it restores, trained together"
    plan = Plan(epochs=12, batch_size=16, learning_rate=1e-3)

    @staticmethod
    def build(shape: ReaderShape) -> Any:
        """See `Reader`."""
        inputs = keras.Input((shape.image_size, shape.image_size, 1))
        restored = denoised(inputs)
        return keras.Model(inputs, {"image": restored, "logits": classifying(shape)(restored)})

    @staticmethod
    def weight_count(shape: ReaderShape) -> int:
        """See `Reader`."""
        return denoising_weights() + classifying_weights(shape)

    def loss(self, batch: Batch) -> Any:
        """The denoiser's loss, and a tenth of the labels' cross-entropy."""
        found = self.network(batch.encrypted, training=True)
        return image_loss(found["image"], batch.originals) + LABEL_SHARE * label_loss(found["logits"], batch.labels)
