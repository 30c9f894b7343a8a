"""One change of a run folder or bundle, drawn at random, and whether an audit's report owns up to it."""

import json
import random
import re
import zipfile
from collections import Counter
from dataclasses import dataclass
from fnmatch import fnmatchcase
from hashlib import sha256
from pathlib import Path
from typing import Any

from tampering import save_archive

from blockchain.audit.report import Report, Status

JSON_FILES = re.compile(r".*\.(json|jsonl)")
ADDED = (
    "new", "server/new.json", "hospitals/hospital-1/new", "hospitals/ghost/privacy.jsonl", "server/ciphertexts/new",
    "hospitals/ghost/checkpoints.jsonl", "ledger/chain.sqlite-journal", "ledger/chain.sqlite-wal", "a b/c\nd",
    "server/ciphertexts/round-0001.json.part", "hospitals/ghost/hospital.json", "server/ciphertexts/" + "ab" * 32,
)  # fmt: skip
LEFT_OUT = "left out, or in another order"  # of a list's items
REMOVED = "whether files or values that no step reads were removed"


@dataclass(frozen=True)
class Change:
    """What was changed.

    Attributes:
        kind: "byte", "removed", "added" or "value".
        file: Which file or member.
        names: For a value, and for a byte of JSON: the dotted names of all values that differ.
    """

    kind: str
    file: str
    names: tuple[str, ...] = ()


def draw_of_folder(run: Path, seed: int) -> Change:
    """Change one thing of a run folder."""
    rng = random.Random(seed)  # noqa: S311
    files = sorted(path.relative_to(run).as_posix() for path in run.rglob("*") if path.is_file())
    # Files of one kind are many; each kind is as likely as another.
    kinds: dict[str, list[str]] = {}
    for name in files:
        kinds.setdefault(re.sub(r"[0-9a-f]{64}|[0-9]+", "*", name), []).append(name)
    file = rng.choice(kinds[rng.choice(sorted(kinds))])
    kind = rng.choice(("byte", "byte", "removed", "added", "value", "value"))
    if kind == "added":
        file = rng.choice([name for name in ADDED if not (run / name).exists()])
        (run / file).parent.mkdir(parents=True, exist_ok=True)
        (run / file).write_bytes(rng.randbytes(rng.choice((0, 1, 100))))
        return Change(kind, file)
    if kind == "removed":
        (run / file).unlink()
        return Change(kind, file)
    if kind == "value":
        file = rng.choice([name for name in files if JSON_FILES.fullmatch(name) and (run / name).stat().st_size > 2])
    content = (run / file).read_bytes()
    changed = _another_value(file, content, rng) if kind == "value" else _another_byte(content, rng)
    (run / file).write_bytes(changed)
    if content == changed:
        return Change("nothing", file)
    return Change(kind, file, _differing(file, content, changed))


def draw_of_bundle(bundle: Path, seed: int) -> Change:
    """Change one thing of a bundle; members are put into a proper archive again, with their digests."""
    rng = random.Random(seed)  # noqa: S311
    kind = rng.choice(("byte", "removed", "added", "value", "value", "member byte"))
    if kind == "byte":
        bundle.write_bytes(_another_byte(bundle.read_bytes(), rng))
        return Change(kind, "the archive")
    with zipfile.ZipFile(bundle) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    parts = [name for name in sorted(members) if "/" not in name]
    file = rng.choice([*parts, rng.choice(sorted(members))])
    if kind == "added":
        file = rng.choice(("README", "ciphertexts/" + "ab" * 32, "summary.json"))
        members[file] = rng.randbytes(20)
    elif kind == "removed":
        del members[file]
    elif kind == "value":
        file = rng.choice(("manifest.json", "manifest.json", "genesis.json", "checkpoints.jsonl"))
        before = members[file]
        members[file] = _another_value(file, before, rng)
        if members[file] == before:
            return Change("nothing", file)
    else:
        members[file] = _another_byte(members[file], rng)
    names: tuple[str, ...] = ()
    if file in members and JSON_FILES.fullmatch(file) and kind != "added":
        with zipfile.ZipFile(bundle) as archive:
            names = _differing(file, archive.read(file), members[file])
    if file != "manifest.json":  # who changes a member changes its digest as well
        manifest = json.loads(members["manifest.json"])
        if file in manifest["members"] and file in members:
            manifest["members"][file] = sha256(members[file]).hexdigest()
        members["manifest.json"] = json.dumps(manifest).encode()
    save_archive(bundle, members)
    return Change(kind, file, names)


def owned_up(change: Change, report: Report, before: Report) -> bool:
    """Whether a report says that something is wrong or missing, or lists what was changed as not verified.

    Args:
        change: What was changed.
        report: Of the changed run.
        before: Of the run as it was.
    """
    if change.kind == "nothing" or any(line.status in (Status.FAIL, Status.MISSING) for line in report.lines):
        return True
    if change.kind == "removed":  # it cannot be listed any more; that it was removed is, and it had been listed before
        all_of_it = [each for each in report.unverified if each.endswith("or all of it were left out")]
        had_been = REMOVED in report.unverified and _listed(change.file, before.unverified)
        return had_been or _part_listed(change.file, all_of_it)
    if JSON_FILES.fullmatch(change.file) and change.kind != "added" and not _listed(change.file, report.unverified):
        # A name that is gone cannot be listed any more: it had been, and that names are removed is.
        once = before.unverified if REMOVED in report.unverified else []
        named = [each for each in (*report.unverified, *once) if _part_listed(_base(change.file), [each])]
        return all(any(_covers(each.partition(": ")[2], name) for each in named) for name in change.names)
    return _listed(change.file, report.unverified) or _part_listed(change.file, report.unverified)


def _base(file: str) -> str:
    """As a part's list names a file: run.json wherever it lies."""
    return file.rpartition("/")[2] if file.endswith(("run.json", "summary.json")) else file


def _covers(listed: str, name: str) -> bool:
    """Whether what is listed of a JSON file covers the value of a dotted name."""
    if name.endswith(LEFT_OUT) and listed.endswith(name):
        return True
    whole = name.removesuffix(f" {LEFT_OUT}")
    return whole == listed or whole.startswith(f"{listed}.") or listed.startswith("all but ")


def _listed(file: str, unverified: list[str]) -> bool:
    """Whether a whole file is in a list, by its name or with others of its kind."""
    plain = [re.sub(r" \(.*\)$", "", each) for each in unverified]
    return any(fnmatchcase(file, each.replace("[", "[[]")) for each in plain)


def _part_listed(file: str, unverified: list[str]) -> bool:
    """Whether a part of a file is in a list, such as all but what is checked of it."""
    return any(fnmatchcase(file, each.partition(": ")[0].replace("[", "[[]")) for each in unverified if ": " in each)


def _another_byte(content: bytes, rng: random.Random) -> bytes:
    if not content:
        return b"x"
    place = rng.randrange(len(content))
    return content[:place] + bytes([content[place] ^ rng.randrange(1, 256)]) + content[place + 1 :]


def _another_value(file: str, content: bytes, rng: random.Random) -> bytes:
    """JSON with one value replaced, left out or put in."""
    if file.endswith(".jsonl"):
        lines = content.decode().splitlines()
        at = rng.randrange(len(lines))
        if rng.random() < 0.1:
            del lines[at]
        else:
            lines[at] = json.dumps(_with_another_value(json.loads(lines[at]), rng))
        return "".join(f"{line}\n" for line in lines).encode()
    return json.dumps(_with_another_value(json.loads(content), rng)).encode()


def _with_another_value(document: Any, rng: random.Random) -> Any:
    container, key = rng.choice(_places(document))
    value, way = container[key], rng.random()
    if way < 0.15:
        del container[key]
    elif way < 0.25 and isinstance(container, dict):
        container["added"] = 1
    else:
        container[key] = _other(value, rng)
    return document


def _other(value: Any, rng: random.Random) -> Any:
    """Another value, mostly of the same kind."""
    if rng.random() < 0.2:
        return rng.choice((None, True, False, 0, 1, -1, 1.5, "", "x", [], {}, [1], {"a": 1}))
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return value + rng.choice((-1, 1, 1000))
    if isinstance(value, float):
        return value * rng.choice((0.5, 1.5)) + rng.choice((0, 0.1))
    if isinstance(value, str) and value:
        place = rng.randrange(len(value))
        return value[:place] + rng.choice("0123456789abcdef") + value[place + 1 :]
    if isinstance(value, list) and value:
        return rng.choice((value[:-1], value[1:], value + value[:1], value[::-1]))
    return "another" if value is None or value == "" else None


def _places(document: Any) -> list[tuple[Any, Any]]:
    """Every place in nested JSON: its container and its key."""
    keys = list(document) if isinstance(document, dict) else range(len(document)) if isinstance(document, list) else []
    return [place for key in keys for place in [(document, key), *_places(document[key])]]


def _differing(file: str, before: bytes, after: bytes) -> tuple[str, ...]:
    """The dotted names of the values in which two versions of a JSON document differ; of anything else, none."""
    if not JSON_FILES.fullmatch(file) or file.endswith(".jsonl"):
        return ("a line",)
    try:
        return tuple(_names(json.loads(before), json.loads(after)))
    except ValueError:
        return ("the whole",)


def _names(before: Any, after: Any, prefix: str = "") -> list[str]:
    if isinstance(before, dict) and isinstance(after, dict):
        return [
            name
            for key in sorted({*before, *after})
            for name in (
                _names(before[key], after[key], f"{prefix}{key}.")
                if key in before and key in after
                else [f"{prefix}{key}"]
            )
        ]
    if json.dumps(before, sort_keys=True) == json.dumps(after, sort_keys=True):
        return []
    # Nothing new in a list: it has fewer items, or they have changed places.
    told = f" {LEFT_OUT}" if isinstance(before, list) and isinstance(after, list) and _some_of(before, after) else ""
    return [f"{prefix.rstrip('.')}{told}".strip()]


def _some_of(before: list[Any], after: list[Any]) -> bool:
    """Whether a list has items of another only, each as often at the most."""
    kept = Counter(json.dumps(item, sort_keys=True) for item in after)
    return kept <= Counter(json.dumps(item, sort_keys=True) for item in before)
