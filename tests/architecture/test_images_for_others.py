"""Which code makes pictures: of what shows patients, all is sealed or encrypted for whoever sees it."""

import ast

import pytest
from source_tree import Source, parse, product

# What makes a picture of an array: a new place needs its line here, and its reason.
MAKERS = {"imshow", "matshow", "pcolormesh", "figimage", "imsave", "imwrite", "fromarray", "PixelData", "image_grid"}
KNOWN = {
    "fedward.figures.image_grid": "draws what it is given: whoever calls it is found by its name",
    "fedward.figures.plots": "counts of decisions: a confusion matrix",
    "fedward.labs.backdoor.pictures": "rates of success",
    "fedward.labs.backdoor.triggers": "patterns alone, without an image below them",
    "fedward.labs.robustness.pictures": "a lab's images, original beside attacked: of data that may be shown",
    "fedward.labs.robustness.jpeg": "in memory: images pass through a JPEG file",
    "fedward.labs.image_encryption.pictures": "a lab's images, original beside encrypted: of data that may be shown",
    "fedward.labs.neural_crypto.pictures": "the same",
    "fedward.labs.leakage.party_pictures": "a lab's images, original above found: of data that may be shown",
    "fedward.labs.leakage.pictures": "a lab's images, original beside found: of data that may be shown",
    "fedward.cloaking.own_picture": "a hospital's own images: bytes, which blockchain.run_end seals",
    "fedward.cloaking.dicom": "what `protect` writes for another hospital: cloaked",
    "fedward.cloaking.png": "the same",
    "fedward.explaining.picture": "what `predict --explain` draws for its user alone, of files named by hand",
    "fedward.explaining.secondary_capture": "the same, where the image was DICOM",
    "fedward.explaining.unlike": "in memory, to bring an image to its size",
    "fedward.cloaking.carrying": "in memory, the matrix by which an image changes its size",
    "commands.view.dropped": "what `predict --explain` drew of an image, for the one who gave it",
    "fedward.dataset.decoding": "in memory, to bring an image to its size",
    "fedward.dataset.dicom_frame": "reads the pixels of a DICOM file",
    "fedward.dataset.reading": "in memory, to bring an array of colors to gray",
}


def makes_pictures(source: Source) -> bool:
    named = {node.attr for node in ast.walk(source.tree) if isinstance(node, ast.Attribute)}
    return bool(MAKERS & (named | {node.id for node in ast.walk(source.tree) if isinstance(node, ast.Name)}))


def test_every_place_that_makes_a_picture_is_known() -> None:
    assert {source.name for source in product() if makes_pictures(source)} == set(KNOWN)


@pytest.mark.parametrize(
    "text", ["axes.imshow(pixels)", "Image.fromarray(pixels).save(path)", "dataset.PixelData = pixels.tobytes()"]
)
def test_a_new_one_would_be_seen(text: str) -> None:
    assert makes_pictures(parse("commands.x", text))


def test_explanations_are_drawn_for_the_one_command_whose_user_asks_for_them() -> None:
    drawing = {"fedward.explaining.picture", "fedward.explaining.secondary_capture"}
    users = {
        source.name
        for source in product()
        for node in ast.walk(source.tree)
        if isinstance(node, ast.ImportFrom) and node.module in drawing
    }
    assert users == {"commands.predict.explaining"}


def test_the_picture_of_a_hospitals_images_is_drawn_for_the_one_place_that_seals_it() -> None:
    users = {
        source.name
        for source in product()
        for node in ast.walk(source.tree)
        if isinstance(node, ast.ImportFrom) and node.module == "fedward.cloaking.own_picture"
    }
    assert users == {"blockchain.run_end"}
