"""docs/reliability.md: the tables between markers are renewed, the text around them is kept."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from injection.catalog import ROWS, Row

_PARTS = {
    "kills": "random SIGKILL, then `--resume`, all bytes compared",
    "flips": "flipped bits and cut files in everything that is written",
    "bombs": "bombs and lying headers",
    "fuzz": "mutated files through every reader",
    "disk": "errors of the disk at system calls",
    "outside": "code in files, and files that read outside",
    "suite": "tests that the table names",
}
_WORDS = {
    "equal": "equal to an uninterrupted run",
    "harmless": "without effect",
    "spacing": "other voxel size, right values",
    "message": "explained, exit code 2",
    "nothing": "nothing run or read",
    "read": "read right",
}


def rebuilt(page: str, result: Mapping[str, Any]) -> str:
    """The page with its tables made from a result.

    Raises:
        SystemExit: the markers are damaged.
    """
    for name, text in {"rows": fault_table(result), "parts": part_table(result)}.items():
        start, stop = f"<!-- faults:{name} -->", f"<!-- /faults:{name} -->"
        if page.count(start) != 1 or page.count(stop) != 1:
            raise SystemExit(f"docs/reliability.md: expected one pair of {start} {stop}.")
        head, rest = page.split(start)
        page = f"{head}{start}\n{text}\n{stop}{rest.split(stop)[1]}"
    return page


def fault_table(result: Mapping[str, Any]) -> str:
    """The 44 rows."""
    lines = ["| # | fault | what the program does | how it is tried | tries | result | tests |",
             "|---|---|---|---|---|---|---|"]  # fmt: skip
    lines += ["| " + " | ".join(_cells(row, result)) + " |" for row in ROWS]
    return "\n".join(lines)


def part_table(result: Mapping[str, Any]) -> str:
    """What was tried by part, and on which machine."""
    lines = ["| part | row | tries | failed | results | memory, MB | CPU, s |",
             "|---|---|---|---|---|---|---|"]  # fmt: skip
    for part, what in _PARTS.items():
        rows = result["parts"].get(part, {"rows": []})["rows"]
        if part == "suite":
            rows = [_total(rows)] if rows else []
        for row in rows:
            figures = (row["tries"], row["failed"], _said(row["verdicts"]))
            usage = (row["memory_mb"], row["cpu_s"])
            cells = (f"`{part}`: {what}", row["group"], *figures, *usage)
            lines.append("| " + " | ".join(map(_plain, cells)) + " |")
    about = ", ".join(str(value) for value in result.get("machine", {}).values())
    minutes = result.get("cpu_minutes", "?")
    lines += ["", f"*{about}; {result.get('date', 'no date')}; {minutes} CPU minutes*"]
    lines += [_later(each) for each in result.get("later", ())]
    return "\n".join(lines)


def _later(later: Mapping[str, Any]) -> str:
    numbers = ", ".join(str(number) for number in later["rows"])
    return (
        f"<br>*`{later['part']}`, rows {numbers}: run alone on {later['date']}, on the code of "
        f"that day; {later['cpu_s'] / 60:.1f} CPU minutes*"
    )


def _cells(row: Row, result: Mapping[str, Any]) -> Iterable[str]:
    head = (str(row.number), _plain(row.fault))
    if not row.applies:
        return (*head, f"Does not apply: {_plain(row.limit)}", "", "", "", "")
    found = [each for part, group in row.groups for each in _rows(result, part, group)]
    cases = [each for name in row.tests for each in _rows(result, "suite", name)]
    tries = _sum(found, "tries"), _sum(cases, "tries")
    counted = [f"{count:,} {word}" for count, word in zip(tries, _KINDS, strict=True) if count]
    failed = _sum(found, "failed") + _sum(cases, "failed")
    verdicts: dict[str, int] = {}
    for each in found:
        for word, count in each["verdicts"].items():
            verdicts[word] = verdicts.get(word, 0) + count
    said = _said(verdicts)
    outcome = f"**{failed} failed**" if failed else "as promised" if sum(tries) else "not yet tried"
    does = f"{row.promise} {row.limit}".strip()
    tests = "<br>".join(f"`{name.replace('::', '` `')}`" for name in row.tests)
    return (
        *head, _plain(does), _plain(row.how), ", ".join(counted),
        f"{outcome}: {said}" if said else outcome, tests,
    )  # fmt: skip


_KINDS = ("trials", "test cases")


def _rows(result: Mapping[str, Any], part: str, group: str) -> Sequence[Mapping[str, Any]]:
    rows = result["parts"].get(part, {"rows": []})["rows"]
    return [row for row in rows if row["group"].startswith(group)]


def _sum(rows: Sequence[Mapping[str, Any]], name: str) -> int:
    return sum(row[name] for row in rows)


def _total(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    names = ("memory_mb", "cpu_s")
    failed, tries = _sum(rows, "failed"), _sum(rows, "tries")
    return {
        "group": f"{len(rows)} tests",
        "tries": tries,
        "failed": failed,
        "verdicts": {"passed": tries - failed} | ({"failed": failed} if failed else {}),
        **{name: max(row[name] for row in rows) for name in names},
    }


def _said(verdicts: Mapping[str, int]) -> str:
    return ", ".join(f"{count:,} {_WORDS.get(word, word)}" for word, count in verdicts.items())


def _plain(value: object) -> str:
    return str(value).replace("|", "\\|").replace("\n", " ")
