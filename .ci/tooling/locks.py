"""Checks the lock files: ``python -m tooling.locks``. Needs no network and no index.

Every requirement in pyproject.toml is in its lock file, in a version that it allows. Every line there is
pinned and has hashes. Files that are installed together agree on the packages they share. No file names an
index, a host or a path. The same holds for node's lock file.
"""

import json
import re
import sys
import tomllib
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from packaging.requirements import Requirement
from packaging.utils import NormalizedName, canonicalize_name
from packaging.version import Version

ROOT: Final = Path(__file__).parents[2]
EXTRAS: Final = {"requirements.txt": "local", "requirements-dev.txt": "dev"}
"""The lock files of the project itself, each with its extra."""
GROUPS: Final = {"requirements-scan.txt": "scan"}
"""The lock files of environments without the project, each with its dependency group."""
LOCKS: Final = (*EXTRAS, *GROUPS)
NODE: Final = ROOT / ".ci" / "node"

_PIN: Final = re.compile(r"([A-Za-z0-9._-]+)(?:\[[a-z0-9,-]+\])?==([^\s;]+)(?: ; [^\\@:]+?)?(?: \\)?")
_HASH: Final = re.compile(r"    --hash=sha256:[0-9a-f]{64}( \\)?")
# Which index a package comes from is the installing machine's choice, so a comment must not name one.
_COMMENT: Final = re.compile(r"\s*#(?:(?!://|\s/|\.\./).)*")

Pins = dict[NormalizedName, set[Version]]


def find_problems(pyproject: str, locks: dict[str, str]) -> list[str]:
    """Return a sentence for each problem; *locks* holds the texts of all LOCKS."""
    document = tomllib.loads(pyproject)
    asked = {name: _requirements(document["project"], extra) for name, extra in EXTRAS.items()}
    asked |= {name: map(Requirement, document["dependency-groups"][group]) for name, group in GROUPS.items()}
    problems = []
    for name, text in locks.items():
        found = [*_check_lines(text), *_check_requirements(_read_pins(text), asked[name])]
        problems += [f"{name}: {each}" for each in found]
    small, large = (_read_pins(locks[name]) for name in EXTRAS)
    for package, versions in small.items():
        if large.get(package) != versions:
            problems.append(f"requirements.txt and requirements-dev.txt disagree on {package}")
    return problems


def find_node_problems(manifest: str, lock: str) -> list[str]:
    """Return a sentence for each problem in node's *lock* file for *manifest*."""
    asked = json.loads(manifest)["devDependencies"]
    packages = json.loads(lock)["packages"]
    problems = []
    if packages[""].get("devDependencies") != asked:
        problems.append("does not match package.json; run `make lock`")
    for path, package in packages.items():
        if path and "integrity" not in package:
            problems.append(f"{path} has no hash")
        if "resolved" in package:
            problems.append(f"{path} names its origin")
    return [f"package-lock.json: {each}" for each in problems]


def _check_lines(text: str) -> Iterator[str]:
    """Check the form of each line: a pin, its hashes, comments."""
    hashes_wanted = ""
    for number, line in enumerate(text.splitlines(), 1):
        if hash_line := _HASH.fullmatch(line):
            hashes_wanted = hashes_wanted if hash_line.group(1) else ""
            continue
        if hashes_wanted:
            yield f"{hashes_wanted} has no hash, or an incomplete list of hashes"
            hashes_wanted = ""
        if pin := _PIN.fullmatch(line):
            hashes_wanted = pin.group(1)
        elif line.strip() and not _COMMENT.fullmatch(line):
            yield f"line {number} must be a pinned package, a hash, or a comment without a place"
    if hashes_wanted:
        yield f"{hashes_wanted} has no hash, or an incomplete list of hashes"


def _check_requirements(pins: Pins, requirements: Iterator[Requirement]) -> Iterator[str]:
    for requirement in requirements:
        versions = pins.get(canonicalize_name(requirement.name), set())
        if not versions:
            yield f"{requirement.name} is missing; run `make lock`"
        elif not all(version in requirement.specifier for version in versions):
            yield f"{requirement.name} is locked to a version that pyproject.toml rejects; run `make lock`"


def _read_pins(text: str) -> Pins:
    """Return the versions of each package; there can be several, for different machines."""
    pins: Pins = defaultdict(set)
    for line in text.splitlines():
        if pin := _PIN.fullmatch(line):
            pins[canonicalize_name(pin.group(1))].add(Version(pin.group(2)))
    return dict(pins)


def _requirements(project: dict[str, Any], extra: str) -> Iterator[Requirement]:
    """Yield the project's requirements with *extra*, which may include another extra of the project."""
    for text in (*project["dependencies"], *project["optional-dependencies"][extra]):
        requirement = Requirement(text)
        if requirement.name != project["name"]:
            yield requirement
            continue
        for other in requirement.extras:
            yield from map(Requirement, project["optional-dependencies"][other])


def main() -> int:
    locks = {name: (ROOT / name).read_text() for name in LOCKS}
    problems = find_problems((ROOT / "pyproject.toml").read_text(), locks)
    problems += find_node_problems(
        *((NODE / name).read_text() for name in ("package.json", "package-lock.json"))
    )
    sys.stdout.writelines(f"{problem}\n" for problem in problems)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
