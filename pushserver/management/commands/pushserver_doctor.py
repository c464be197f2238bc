"""``manage.py pushserver_doctor URL``: find faults between the site and browsers."""

from __future__ import annotations

import json
import sys
from argparse import ArgumentParser
from dataclasses import asdict
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import BaseCommand, CommandError

from pushserver.doctor import Examination, Finding
from pushserver.doctor.examination import check_url


class Command(BaseCommand):
    """Runs the checks, and exits with status 0 only if all is well."""

    help = (
        "Publishes and subscribes through the public URL of the site, and reports"
        " faults. Takes a little longer than 'timeout' and 'keep_alive', for which a"
        " poll is held and a stream is idle."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("url", help="The public URL of the site.")
        parser.add_argument(
            "--json", action="store_true", help="Print the findings as JSON."
        )
        parser.add_argument(
            "--patience",
            type=float,
            default=5.0,
            metavar="SECONDS",
            help="Time limit for an answer. Defaults to %(default)s.",
        )
        parser.add_argument(
            "--delay",
            type=float,
            default=2.0,
            metavar="SECONDS",
            help=(
                "Time limit for a message to a waiting subscriber. Defaults to"
                " %(default)s."
            ),
        )

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            check_url(options["url"])
            examination = Examination(
                options["url"], patience=options["patience"], delay=options["delay"]
            )
            findings = []
            for finding in examination.run():
                findings.append(finding)
                if not options["json"]:
                    self.print_finding(finding)
        except (ImproperlyConfigured, ValueError) as error:
            raise CommandError(str(error)) from error
        is_well = all(
            each.ok is not False and not each.is_inconclusive for each in findings
        )
        if options["json"]:
            found = [asdict(finding) for finding in findings]
            report = {"url": options["url"], "ok": is_well, "findings": found}
            self.stdout.write(json.dumps(report, indent=2))
        else:
            self.stdout.write(f"\n{summarize(findings)}")
        if not is_well:
            sys.exit(1)

    def print_finding(self, finding: Finding) -> None:
        mark, style = {
            True: ("ok", self.style.SUCCESS),
            False: ("WRONG", self.style.ERROR),
            None: ("?" if finding.applies else "-", self.style.NOTICE),
        }[finding.ok]
        self.stdout.write(f"{style(f'{mark:5}')} {finding.check}: {finding.text}")
        if finding.advice:
            self.stdout.write(f"      {finding.advice}")
        self.stdout.flush()


def summarize(findings: list[Finding]) -> str:
    """Return the last lines of the report."""
    wrong = sum(finding.ok is False for finding in findings)
    not_made = [finding.check for finding in findings if finding.is_inconclusive]
    useless = [finding.check for finding in findings if not finding.applies]
    lines = []
    if useless:
        lines.append(f"With these settings, nothing to check: {', '.join(useless)}.")
    if not_made:
        lines.append(f"Could not be checked: {', '.join(not_made)}.")
    if wrong:
        lines.append(f"Of {len(findings)} checks, {wrong} found a fault.")
    elif not_made:
        lines.append("What was checked is right, but not everything could be checked.")
    else:
        lines.append("All is well.")
    return "\n".join(lines)
