"""The report's page, as one self-contained HTML file, and the report as JSON: both from the same values.

Everything on the page is written by Jinja2 with escaping on, and it forbids scripts and every outside resource.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from commands.audit.trust_source import TrustSource
from commands.console import printable
from commands.lab.report.findings import NOT_MEASURED, OF_METHOD, OF_RUN, TAXONOMY, Area, Known
from commands.lab.report.risks import risks_of, unmeasured

TEMPLATES = Path(__file__).parent / "templates"
FORMAT = 1
_MOODS = {OF_RUN: "run", OF_METHOD: "method", NOT_MEASURED: "gap"}


def report_of(known: Known, areas: Sequence[Area], source: TrustSource) -> dict[str, Any]:
    """The report, as JSON has it."""
    facts = known.facts
    return {
        "format": FORMAT,
        "run": facts.run_id,
        "hospitals": facts.hospitals,
        "model": {
            "name": facts.model.name,
            "parameters": facts.model.parameters,
            "digest": facts.model.weights_sha256.hex(),
        },
        "ledger": {
            "chain_id": facts.ledger.chain_id,
            "contract": facts.ledger.contract,
            "height": facts.ledger.height,
            "head": facts.ledger.head.hex(),
        },
        "audit": {"exit_code": known.audit.report.exit_code, "trust": source.to_json() | {"means": source.sentence}},
        "taxonomy": TAXONOMY,
        "areas": [_area(area) for area in areas],
        "risks": list(risks_of(known, areas, source)),
        "not_measured": list(unmeasured(areas)),
    }


def _area(area: Area) -> dict[str, Any]:
    return {
        "name": area.name,
        "threat": area.threat,
        "lines": [vars(line) for line in area.lines],
        "tables": [
            {
                "of": of,
                "title": sheet.title,
                "headings": list(sheet.headings),
                "rows": [list(row) for row in sheet.rows],
            }
            for of, sheet in area.tables
        ],
    }


def render_report(report: dict[str, Any], signer: str) -> str:
    """The page of a report.

    Args:
        report: See `report_of`.
        signer: Who signs it, in words; empty for nobody.

    Guarantees:
        1. It names no outside resource, and has no script.
        2. Whatever the names and sentences in the report are, none of them becomes markup, and none has a character
           that cannot be seen or that turns the direction of what follows.
    """
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        finalize=lambda value: printable(value) if type(value) is str else value,
    )
    page = environment.get_template("report.html")
    return page.render(report=report, signer=signer, moods=_MOODS, not_measured=NOT_MEASURED)
