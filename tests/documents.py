"""What README and the other documents say that can be compared with the program."""

import re
from pathlib import Path

from source_tree import ROOT

README = ROOT / "README.md"
DOCUMENTS = (
    README,
    *(ROOT / name for name in ("CONTRIBUTING.md", "SECURITY.md")),
    *sorted((ROOT / "docs").rglob("*.md")),
    *sorted((ROOT / "config").glob("*.toml")),
)


def block(opening: str, document: Path = README) -> list[str]:
    """Lines of the fenced block of a document that has a line beginning like this."""
    blocks = re.findall(r"^```\w*\n(.*?)^```$", document.read_text(), flags=re.MULTILINE | re.DOTALL)
    (found,) = [text for text in blocks if re.search(f"^{re.escape(opening)}", text, flags=re.MULTILINE)]
    return str(found).splitlines()


def shape(line: str) -> str:
    """A line without its figures and hashes, and without what its width depends on."""
    line = re.sub(r"\b0x[0-9a-f]+|\b[0-9a-f]{8,}", "#", line)
    line = re.sub(r"\d[\d,.:]*\d|\d", "#", line)
    return re.sub(r"\s+", " ", line).strip()
