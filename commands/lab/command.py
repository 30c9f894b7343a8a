"""Options of `main.py lab`: one subcommand a lab."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from fedward import entry
from fedward.errors import UsageError

lab = typer.Typer(
    help="Labs: attacks and defenses measured side by side, always with the null attack and no defense.",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)


Data = Annotated[str, typer.Option(help="Folder, .npz file, or 'synthetic'; shared out over the hospitals.")]
DataOrRuns = Annotated[
    str | None, typer.Option(help="Folder, .npz file, or 'synthetic'. Default: synthetic; of --run, its own.")
]
Out = Annotated[Path, typer.Option(help="Folder of the lab; an interrupted one goes on where it was.")]
Seeds = Annotated[str, typer.Option(help="Such as 1,2,3, in place of the plan's.")]
Assignments = Annotated[
    list[str] | None, typer.Option("--set", metavar="TABLE.KEY=VALUE", help="Any setting; see 'info'.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
AsMarkdown = Annotated[bool, typer.Option("--markdown", help="Print the tables as Markdown.")]
NAMED = "NAME[:OPTION=VALUE,...]"


@lab.command(cls=entry.DescribedCommand)
def backdoor(
    data: Data = "synthetic",
    out: Out = Path("runs/lab-backdoor"),
    full: Annotated[bool, typer.Option("--full", help="All attacks and conditions on three seeds: hours.")] = False,
    seeds: Seeds = "",
    attacks: Annotated[
        list[str] | None, typer.Option("--attack", metavar=NAMED, help="In place of the plan's.")
    ] = None,
    conditions: Annotated[str, typer.Option(help="Such as iid,dirichlet, in place of the plan's.")] = "",
    watching: Annotated[
        str, typer.Option("--watch", metavar="DETECTORS", help="Detectors that look too, and reject nothing.")
    ] = "",
    assignments: Assignments = None,
    as_json: AsJson = False,
    markdown: AsMarkdown = False,
) -> None:
    """Measure attacks on the model: success, clean accuracy, which detectors find them, and false alarms."""
    from commands.lab.backdoor import Asked, run_lab

    asked = Asked(data, full, seeds, tuple(assignments or ()), tuple(attacks or ()), conditions, watching)
    run_lab(out, asked, _form(as_json, markdown))


@lab.command("image-encryption", cls=entry.DescribedCommand)
def image_encryption(
    data: Data = "synthetic",
    out: Out = Path("runs/lab-image-encryption"),
    full: Annotated[bool, typer.Option("--full", help="All methods on three seeds: hours.")] = False,
    seeds: Seeds = "",
    methods: Annotated[
        list[str] | None, typer.Option("--method", metavar=NAMED, help="In place of the plan's.")
    ] = None,
    assignments: Assignments = None,
    as_json: AsJson = False,
    markdown: AsMarkdown = False,
) -> None:
    """Measure images that hide their label: from whom, who reads them all the same, and what is restored."""
    from commands.lab.image_encryption import Asked, run_lab

    asked = Asked(data, full, seeds, tuple(assignments or ()), tuple(methods or ()))
    run_lab(out, asked, _form(as_json, markdown))


@lab.command(cls=entry.DescribedCommand)
def leakage(
    data: DataOrRuns = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder of the lab. Default: runs/lab-leakage; of --run, runs/lab-leakage-run.")
    ] = None,
    run: Annotated[
        Path | None, typer.Option(help="Audit this finished run instead: what each of its parties could rebuild.")
    ] = None,
    rounds: Annotated[str, typer.Option(help="Of --run: such as 1,3. Default: the first and the last.")] = "",
    full: Annotated[
        bool, typer.Option("--full", help="All obfuscations and models on three seeds: hours; of --run, more attempts.")
    ] = False,
    seeds: Seeds = "",
    cases: Annotated[str, typer.Option(help="Such as none,ckks: of the plan's, these alone.")] = "",
    assignments: Assignments = None,
    as_json: AsJson = False,
    markdown: AsMarkdown = False,
) -> None:
    """Measure what an update gives away of its images: as it is, obfuscated, with noise, in a sum, encrypted."""
    form = _form(as_json, markdown)
    if run is not None:
        from commands.lab.leakage_run.auditing import Asked as AskedOfRun
        from commands.lab.leakage_run.auditing import audit_run

        _check_alone({"--seeds": seeds, "--cases": cases, "--set": assignments})
        audit_run(out or Path("runs/lab-leakage-run"), AskedOfRun(run, data or "", rounds, full), form)
        return
    if rounds:
        raise UsageError("--rounds chooses rounds of a run.", "Name the run by --run.")
    from commands.lab.leakage import Asked, run_lab

    asked = Asked(data or "synthetic", full, seeds, tuple(assignments or ()), cases)
    run_lab(out or Path("runs/lab-leakage"), asked, form)


@lab.command(cls=entry.DescribedCommand)
def membership(
    data: Data = "synthetic",
    out: Out = Path("runs/lab-membership"),
    full: Annotated[bool, typer.Option("--full", help="All presets on three seeds: half an hour.")] = False,
    seeds: Seeds = "",
    cases: Annotated[str, typer.Option(help="Such as scatter,privacy-eps8: of the plan's, these alone.")] = "",
    assignments: Assignments = None,
    as_json: AsJson = False,
    markdown: AsMarkdown = False,
) -> None:
    """Measure who can tell that a patient was trained on, and the epsilon that this shows, beside the stated one."""
    from commands.lab.membership import Asked, run_lab

    run_lab(out, Asked(data, full, seeds, tuple(assignments or ()), cases), _form(as_json, markdown))


@lab.command("neural-crypto", cls=entry.DescribedCommand)
def neural_crypto(
    data: Data = "synthetic",
    out: Out = Path("runs/lab-neural-crypto"),
    full: Annotated[bool, typer.Option("--full", help="All networks trained longer, on three seeds: an hour.")] = False,
    seeds: Seeds = "",
    assignments: Assignments = None,
    as_json: AsJson = False,
    markdown: AsMarkdown = False,
) -> None:
    """Measure ciphers that networks learn: what Bob reads, what Eve reads, what breaks them, beside AES-256-GCM."""
    from commands.lab.neural_crypto import Asked, run_lab

    run_lab(out, Asked(data, full, seeds, tuple(assignments or ())), _form(as_json, markdown))


@lab.command(cls=entry.DescribedCommand)
def report(
    run: Annotated[Path | None, typer.Option(help="The finished run's folder.")] = None,
    results: Annotated[
        list[Path] | None, typer.Option(metavar="DIR", help="A folder that a lab filled with --out; repeatable.")
    ] = None,
    trust: Annotated[
        list[Path] | None, typer.Option(help="A hospital's trust file; repeatable. Default: the run's own.")
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder for the page and the JSON.")] = Path("runs/lab-report"),
    sign: Annotated[
        Path | None, typer.Option(metavar="HOSPITAL", help="Kit or folder of the hospital that signs.")
    ] = None,
    verify: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Check a signed report instead; with --run, whose it is.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Join what was measured of a run into one page for a security officer, signed if asked; or verify one."""
    from commands.lab.report.reporting import make_report, verify_report

    if verify is not None:
        if results or trust or sign:
            raise UsageError("--verify makes no report.", "Leave --results, --trust and --sign away.")
        verify_report(verify, run, as_json)
        return
    if run is None:
        raise UsageError("Nothing was named to report on.", "Give --run, or --verify.")
    raise typer.Exit(make_report(run, results or [], trust or [], out, sign, as_json))


@lab.command(cls=entry.DescribedCommand)
def robustness(
    data: DataOrRuns = None,
    out: Annotated[
        Path | None,
        typer.Option(help="Folder of the lab. Default: runs/lab-robustness; of --run, runs/lab-robustness-run."),
    ] = None,
    run: Annotated[
        Path | None, typer.Option(help="Attack this finished run's model instead, as it is and behind --defenses.")
    ] = None,
    full: Annotated[bool, typer.Option("--full", help="All attacks and defenses on three seeds: hours.")] = False,
    seeds: Seeds = "",
    attacks: Annotated[
        list[str] | None, typer.Option("--attack", metavar=NAMED, help="In place of the plan's; without eps.")
    ] = None,
    defenses: Annotated[str, typer.Option(help="Such as jpeg,train-pgd, in place of the plan's.")] = "",
    assignments: Assignments = None,
    as_json: AsJson = False,
    markdown: AsMarkdown = False,
) -> None:
    """Measure attacks on images that are to be diagnosed, and defenses: transferred attacks, and white-box ones."""
    form = _form(as_json, markdown)
    if run is not None:
        from commands.lab.robustness_run import Asked as AskedOfRun
        from commands.lab.robustness_run import attack_run

        _check_alone({"--seeds": seeds, "--set": assignments})
        of_run = AskedOfRun(run, data or "", full, tuple(attacks or ()), defenses)
        attack_run(out or Path("runs/lab-robustness-run"), of_run, form)
        return
    from commands.lab.robustness import Asked, run_lab

    asked = Asked(data or "synthetic", full, seeds, tuple(assignments or ()), tuple(attacks or ()), defenses)
    run_lab(out or Path("runs/lab-robustness"), asked, form)


def _check_alone(given: Mapping[str, object]) -> None:
    """Refuse options beside --run, by their flags, where they were given."""
    if wrong := [flag for flag, value in given.items() if value]:
        raise UsageError("A run has its own seed and settings.", f"Leave {' and '.join(wrong)} away.")


def _form(as_json: bool, markdown: bool) -> str:
    """The one way to print that was asked for."""
    if as_json and markdown:
        raise UsageError("--json and --markdown are two ways to print the same.", "Give one of them.")
    return "json" if as_json else "markdown" if markdown else "table"
