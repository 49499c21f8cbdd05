"""What the pages name exists: files, settings, links."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from protocol_tables import operations

from transports.settings import SECTIONS, Settings

ROOT = Path(__file__).parents[2]
PAGES = [
    *sorted((ROOT / "docs").rglob("*.md")),
    *sorted((ROOT / "tests").glob("*/README.md")),
    ROOT / "README.md",
    ROOT / "CHANGELOG.md",
]
IDS = [str(page.relative_to(ROOT)) for page in PAGES]


@pytest.mark.parametrize("page", PAGES, ids=IDS)
def test_files_that_are_named_exist(page: Path) -> None:
    named = re.findall(
        r"`((?:kernel|plugins|workers|transports|tests|docs)/[\w./-]+\.\w+)`", page.read_text()
    )

    assert [name for name in named if not (ROOT / name).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=IDS)
def test_links_lead_somewhere(page: Path) -> None:
    links = [link.partition("#") for link in re.findall(r"\]\((?!https?:)([^)]+)\)", page.read_text())]
    targets = [(page.parent / path if path else page, anchor) for path, _, anchor in links]

    assert [path for path, _ in targets if not path.exists()] == []
    lost = [(path, anchor) for path, anchor in targets if anchor and anchor not in _anchors(path.read_text())]
    assert lost == []


@pytest.mark.parametrize("page", PAGES, ids=IDS)
def test_settings_that_are_named_exist(page: Path) -> None:
    sections = "|".join(SECTIONS)
    named = re.findall(rf"`({sections})\.(\w+)`", page.read_text())
    files = {"lock", "log", "py", "sock"}

    wrong = [
        f"{section}.{key}"
        for section, key in named
        if key not in files and key not in type(getattr(Settings(), section)).__struct_fields__
    ]
    assert set(wrong) <= operations()


def test_every_event_of_the_logs_is_explained() -> None:
    logged: set[str] = set()
    for package in ("kernel", "plugins", "workers", "transports"):
        for path in (ROOT / package).rglob("*.py"):
            text = path.read_text()
            logged |= set(re.findall(r"\blog\.(?:debug|info|warning|error|exception)\(\s*\"(\w+)\"", text))
            logged |= set(re.findall(r"\bLog\(\"\w+\", \"(\w+)\"", text))
    _, _, section = (ROOT / "docs" / "operations.md").read_text().partition("## Logs")
    rows = re.findall(r"^\| (`.*?) \|", section.partition("\n## ")[0], re.MULTILINE)

    explained = {name for row in rows for name in re.findall(r"`(\w+)`", row)}

    assert explained == logged


def _anchors(text: str) -> set[str]:
    """The anchors that GitHub makes of headings."""
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
