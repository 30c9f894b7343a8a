"""What readers minimize, as TensorFlow functions of a batch: each a mean over its images."""

from typing import Any

from fedward.learning.quiet_tensorflow import tf

IMAGE_SHARE = 0.5  # of the mean absolute difference; the rest is of 1 - SSIM
LABEL_SHARE = 0.1  # of the labels' cross-entropy beside a loss of images


def unlike(restored: Any, originals: Any) -> Any:
    """1 - SSIM (11 by 11, Gaussian), from 0 where all are equal."""
    return 1.0 - tf.reduce_mean(tf.image.ssim(restored, originals, max_val=1.0))


def image_loss(restored: Any, originals: Any) -> Any:
    """Half the mean absolute difference and half 1 - SSIM."""
    distance = tf.reduce_mean(tf.abs(restored - originals))
    return IMAGE_SHARE * distance + (1.0 - IMAGE_SHARE) * unlike(restored, originals)


def label_loss(logits: Any, labels: Any) -> Any:
    """Binary cross-entropy in nats."""
    return tf.reduce_mean(tf.nn.sigmoid_cross_entropy_with_logits(labels, logits))


def divergence_per_pixel(mean: Any, log_variance: Any, pixels: int) -> Any:
    """Kullback-Leibler divergence of the latent code from a standard Gaussian, in nats a pixel.

    Args:
        mean: float32, shape (n, latent).
        log_variance: Same shape.
        pixels: Of an image. The squared error that stands beside it is a mean over pixels; a divergence summed over the
            code would outweigh it by that factor, and the code would tell nothing.
    """
    by_image = 0.5 * tf.reduce_sum(tf.exp(log_variance) + mean**2 - 1.0 - log_variance, axis=1)
    return tf.reduce_mean(by_image) / pixels
