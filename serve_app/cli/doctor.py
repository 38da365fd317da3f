"""`serve-app doctor`: what this machine has, what it lacks, and what helps."""

from collections.abc import Callable, Iterator

import click

from serve_app.cli.checks import CHECKS, Finding, Level


@click.command()
def doctor() -> None:
    """Check this machine. Exit status: 0 it can transcribe, 1 something must be repaired first."""
    findings = []
    for check in CHECKS:
        for finding in _examine(check):
            findings.append(finding)
            click.echo(f"{finding.level:<5} {finding.name:<10} {finding.text}")
            if finding.remedy:
                click.echo(f"      {'':<10} -> {finding.remedy}")
    failed = sum(finding.level is Level.FAIL for finding in findings)
    click.echo(
        f"\n{failed} of {len(findings)} checks failed." if failed else "\nAll is well enough."
    )
    raise SystemExit(1 if failed else 0)


def _examine(check: Callable[[], Iterator[Finding]]) -> Iterator[Finding]:
    """Yield what a check finds; one that breaks is a finding itself, and the others go on."""
    try:
        yield from check()
    except Exception as error:  # noqa: BLE001 - what is broken is what a doctor is asked about
        name = check.__name__.removeprefix("check_")
        text = f"{type(error).__name__}: {error}"
        yield Finding(name=name, level=Level.FAIL, text=text, remedy="Repair what it names.")
