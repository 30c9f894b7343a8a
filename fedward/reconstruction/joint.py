"""The method `joint`: a denoiser with a classifier behind it, trained together.

Where this is taken from, the classifier stayed at random weights; here both train. The labels' cross-entropy moves the
classifier alone. It is some ten times the loss of images, and would bend these to what the classifier wants to see,
until they are further from their originals than the perturbed ones were; even where it counted a tenth, it did so.
"""

from typing import Any

from fedward.learning.quiet_tensorflow import keras
from fedward.reconstruction.denoiser import denoised, denoising_weights
from fedward.reconstruction.label_recovery import classifying, classifying_weights
from fedward.reconstruction.losses import image_loss, label_loss
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
        return keras.Model(inputs, {"image": restored, "logits": classifying(shape)(keras.ops.stop_gradient(restored))})

    @staticmethod
    def weight_count(shape: ReaderShape) -> int:
        """See `Reader`."""
        return denoising_weights() + classifying_weights(shape)

    def loss(self, batch: Batch) -> Any:
        """The denoiser's loss, and the labels' cross-entropy, which the denoiser does not see."""
        found = self.network(batch.encrypted, training=True)
        return image_loss(found["image"], batch.originals) + label_loss(found["logits"], batch.labels)
