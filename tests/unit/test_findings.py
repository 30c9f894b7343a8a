"""Which class is positive, and what the labels' columns mean."""

import numpy as np
import pytest

from fedward.dataset.labeling import choose_findings, label_images, require_two_classes
from fedward.dataset.naming import negative_class
from fedward.dataset.patients import patient_in_name
from fedward.dataset.records import Entry, Listing
from fedward.dataset.walking import printable
from fedward.errors import DataError


def folders(*classes: str) -> Listing:
    entries = tuple(Entry(f"{name}/1.png", (name,), "", None) for name in classes)
    return Listing("class folders", entries, tuple(sorted(classes)), negative_class(classes), True)


def nih(*labels: tuple[str, ...]) -> Listing:
    entries = tuple(Entry(f"{row}.png", names, f"{row}", None) for row, names in enumerate(labels))
    return Listing("NIH", entries, tuple(sorted({name for names in labels for name in names})), "No Finding", False)


NIH = nih((), ("Mass",), ("Edema", "Mass"))


@pytest.mark.parametrize(
    ("classes", "positive"),
    [
        (("NORMAL", "PNEUMONIA"), "PNEUMONIA"),
        (("covid", "negative"), "covid"),
        (("No_Finding", "Abnormal"), "Abnormal"),
        (("no finding", "Abnormal"), "Abnormal"),
        (("0", "1"), "1"),
    ],
)
def test_positive_class_of_two(classes: tuple[str, str], positive: str) -> None:
    for finding in ("auto", "any", "all"):
        choice = choose_findings(folders(*classes), finding)
        assert choice.findings == (positive,)
        assert choice.class_names == (next(name for name in classes if name != positive), positive)


def test_a_named_class_is_positive_whatever_the_spelling() -> None:
    choice = choose_findings(folders("NORMAL", "PNEUMONIA"), "normal")
    assert choice.class_names == ("PNEUMONIA", "NORMAL")
    assert choose_findings(nih(("Pleural_Thickening",)), "pleural thickening").findings == ("Pleural_Thickening",)


def test_three_classes_give_three_columns_or_one() -> None:
    listing = folders("covid", "normal", "viral")
    assert choose_findings(listing, "auto").findings == ("covid", "normal", "viral")
    assert choose_findings(listing, "all") == choose_findings(listing, "auto")
    assert choose_findings(listing, "viral").class_names == ("not viral", "viral")
    anything = choose_findings(listing, "any")
    assert label_images(listing.entries, anything).ravel().tolist() == [1, 0, 1]
    with pytest.raises(DataError, match="named as normal"):
        choose_findings(folders("a", "b", "c"), "any")


def test_nih_any_name_and_all() -> None:
    for finding in ("auto", "any"):
        choice = choose_findings(NIH, finding)
        assert (choice.findings, choice.class_names) == (("any",), ("No Finding", "any"))
        assert label_images(NIH.entries, choice).ravel().tolist() == [0, 1, 1]
    every = choose_findings(NIH, "all")
    assert every.findings == ("Edema", "Mass")
    assert label_images(NIH.entries, every).tolist() == [[0, 0], [0, 1], [1, 1]]
    assert label_images(NIH.entries, choose_findings(NIH, "edema")).ravel().tolist() == [0, 0, 1]


def test_unknown_finding_lists_the_known_and_the_closest() -> None:
    with pytest.raises(DataError, match=r"'Edema', 'Mass'.*Did you mean 'Mass'"):
        choose_findings(NIH, "Masses")


def test_one_class_only() -> None:
    with pytest.raises(DataError, match="only the class 'NORMAL'"):
        choose_findings(folders("NORMAL"), "auto")
    choice = choose_findings(NIH, "any")
    for labels in (np.zeros((3, 1), np.float32), np.ones((3, 1), np.float32)):
        with pytest.raises(DataError, match="one class only"):
            require_two_classes(labels, choice)


def test_a_binary_model_takes_any_two_classes() -> None:
    choice = choose_findings(folders("healthy", "sick"), "auto", ("PNEUMONIA",))
    assert choice.findings == ("PNEUMONIA",)
    assert choice.positive == (frozenset({"sick"}),)
    swapped = choose_findings(folders("abnormal", "pneumonia", "zzz"), "auto", ("PNEUMONIA",))
    assert swapped.positive == (frozenset({"pneumonia"}),)
    assert choose_findings(NIH, "auto", ("any",)).positive == (frozenset({"Edema", "Mass"}),)
    assert choose_findings(NIH, "Mass", ("opacity",)).positive == (frozenset({"Mass"}),)
    with pytest.raises(DataError, match="'opacity', which the data does not name"):
        choose_findings(NIH, "auto", ("opacity",))


def test_what_was_asked_for_goes_before_the_models_own_name() -> None:
    """Data that has the model's name, too, may mean something else by it."""
    assert choose_findings(NIH, "Edema", ("Mass",)).positive == (frozenset({"Edema"}),)
    assert choose_findings(NIH, "any", ("Mass",)).positive == (frozenset({"Edema", "Mass"}),)
    turned = choose_findings(folders("NORMAL", "PNEUMONIA"), "NORMAL", ("PNEUMONIA",))
    assert turned.positive == (frozenset({"NORMAL"}),)
    with pytest.raises(DataError, match="no finding 'nothing'"):
        choose_findings(NIH, "nothing", ("Mass",))
    for asked in ("Mass", "any"):
        with pytest.raises(DataError, match="gives 2 findings"):
            choose_findings(NIH, asked, ("Mass", "Hernia"))


def test_a_model_of_several_findings_needs_them() -> None:
    expected = ("Mass", "Hernia")  # NIH knows a hernia even where no image shows one
    choice = choose_findings(NIH, "auto", expected)
    assert label_images(NIH.entries, choice).tolist() == [[0, 0], [1, 0], [1, 0]]
    with pytest.raises(DataError, match="lacks 'Mass', 'Hernia'"):
        choose_findings(folders("NORMAL", "PNEUMONIA"), "auto", expected)


@pytest.mark.parametrize(
    ("name", "patient"),
    [
        ("person123_bacteria_456.jpeg", "person123"),
        ("person123_virus_7.jpeg", "person123"),
        ("IM-0115-0001.jpeg", "IM-0115"),
        ("IM-0429-0001-0002.jpeg", "IM-0429"),
        ("NORMAL2-IM-0115-0001.jpeg", "NORMAL2-IM-0115"),
        ("00000013_005.png", "00000013"),
        ("person12.jpeg", ""),
        ("scan_0001.png", ""),
    ],
)
def test_patients_in_file_names(name: str, patient: str) -> None:
    assert patient_in_name(name) == patient


def test_odd_file_names_can_be_shown() -> None:
    assert printable("caf\udce9\x1b[31m") == "caf��[31m"
