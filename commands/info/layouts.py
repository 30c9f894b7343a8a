"""`main.py info --plan`: what each packing plan costs and holds for a given roster and model, as a table."""

from rich.table import Table

from blockchain.twin.values import resolve_threshold
from commands import console
from commands.info.sheet import Effective
from fedward.ciphertexts.packing import PRESETS, plan_packing, value_range
from fedward.ciphertexts.plan import Figures, PackingPlan, plan_for_resolution, statement
from fedward.ciphertexts.serialized import RING_DEGREE
from fedward.errors import EncryptionError
from fedward.settings import Settings, replace
from fedward.sharing.sizes import dealing_bytes, release_bytes
from fedward.sharing.terms import purposes

# What a row is called, which figure it shows, and how.
_ROWS = (
    ("bytes a parameter", "bytes_per_parameter", "{:.2f}"),
    ("bytes an update", "update_bytes", "{:,}"),
    ("bytes of sealed shares", "share_bytes", "{:,}"),
    ("bytes of releases", "release_bytes", "{:,}"),
    ("bytes of all three, a hospital and round", "sent_bytes", "{:,}"),
    ("ciphertexts", "ciphertexts", "{:,}"),
    ("smallest step of the sum", "resolution", "{:.3g}"),
    ("bits of resolution", "resolution_bits", "{:.1f}"),
    ("largest sum, in steps", "largest_sum", "{:,}"),
    ("noise margin, in deviations", "noise_margin", "{:,.0f}"),
    ("wrong decode a coordinate, below", "wrong_decode_log2", "2^{:.0f}"),
    ("wrong decode anywhere in the run", "wrong_decode_in_run_log2", "2^{:.0f}"),
    ("hospitals that such fields hold", "most_hospitals", "{:,}"),
    ("releases that open a sum", "release_threshold", "{}"),
    ("fields a coordinate", "fields_per_coordinate", "{}"),
    ("bits a field", "field_bits", "{}"),
    ("scale", "scale_bits", "2^{}"),
    ("ring degree", "ring_degree", "{}"),
    ("bits of modulus", "modulus_bits", "{}"),
    ("bits of security", "security_bits", "{}"),
)


def show_layouts(
    shown: Effective, hospitals: int | None, parameters: int | None, resolution: float | None, as_json: bool
) -> None:
    """Print what the packing plan of each preset costs and holds.

    Args:
        shown: The settings, and the size to plan for where none is given.
        hospitals: Number of hospitals on the roster; None: as `shown`.
        parameters: Number of the model's parameters; None: as `shown`.
        resolution: The largest step of the sum that is acceptable, or None.
        as_json: Print JSON rather than a table.

    Raises:
        EncryptionError: no plan holds so many hospitals, or is fine enough.
    """
    wanted = (
        parameters if parameters is not None else shown.parameters,
        hospitals if hospitals is not None else shown.hospitals,
    )
    figures, preset = layouts(shown.settings, *wanted, resolution), shown.settings.encryption.preset
    if as_json:
        console.data({"preset": preset, "layouts": figures})
    else:
        console.out.print(layout_table(figures, preset))


def layouts(settings: Settings, parameters: int, hospitals: int, resolution: float | None) -> dict[str, Figures]:
    """What each preset costs and holds, by name; with a wanted resolution, the planner's choice as `planned`.

    A preset that does not hold so many hospitals is left out.

    Raises:
        EncryptionError: no plan holds so many hospitals, or is fine enough.
    """
    largest = value_range(settings.encryption, settings.privacy)
    plans: dict[str, PackingPlan] = {}
    refusal: EncryptionError | None = None
    for name in PRESETS:
        encryption = replace(settings, "encryption.preset", name).encryption
        try:
            plans[name] = plan_packing(parameters, hospitals, encryption, largest)
        except EncryptionError as error:
            refusal = error
    if resolution is not None:
        plans["planned"] = plan_for_resolution(parameters, hospitals, largest, resolution)
    if not plans and refusal:
        raise refusal
    return {name: _figures(plan, settings) for name, plan in plans.items()}


def _figures(plan: PackingPlan, settings: Settings) -> Figures:
    """What a plan costs and holds, with what a hospital sends of keys; counts are apart, each with its own keys."""
    figures, keys = statement(plan, settings.training.rounds), len(purposes(settings.metrics.encrypted))
    shares, releases = dealing_bytes(plan.summands, keys), keys * release_bytes(RING_DEGREE)
    return figures | {
        "share_bytes": shares,
        "release_bytes": releases,
        "sent_bytes": int(figures["update_bytes"]) + shares + releases,
        "release_threshold": settings.ledger.release_threshold or resolve_threshold(0, plan.summands),
    }


def layout_table(figures: dict[str, Figures], chosen: str) -> Table:
    """The plans side by side, the chosen preset's in bold."""
    first = next(iter(figures.values()))
    title = (
        f"\nLayouts for {first['parameters']:,} parameters of {first['hospitals']:,} hospitals, "
        f"{first['rounds']:,} rounds"
    )
    table = Table(title=title, title_justify="left")
    table.add_column()
    for name in figures:
        table.add_column(name, justify="right", style="bold" if name == chosen else None)
    for label, figure, form in _ROWS:
        table.add_row(label, *(form.format(values[figure]) for values in figures.values()))
    return table
