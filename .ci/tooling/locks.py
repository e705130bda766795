"""Checks the lock files: ``python -m tooling.locks``. Needs no network and no index.

Every requirement of pyproject.toml stands in its lock file in a version that it allows; every line there is
pinned and has hashes; what runs together agrees on what it shares; and none names an index, a host or a path.
So does node's lock file.
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
"""The lock files of the project itself, each with the extra that it is made for."""
GROUPS: Final = {"requirements-scan.txt": "scan"}
"""The lock files of environments without the project, each with its dependency group."""
LOCKS: Final = (*EXTRAS, *GROUPS)
NODE: Final = ROOT / ".ci" / "node"

_PIN: Final = re.compile(r"([A-Za-z0-9._-]+)(?:\[[a-z0-9,-]+\])?==([^\s;]+)(?: ; [^\\@:]+?)?(?: \\)?")
_HASH: Final = re.compile(r"    --hash=sha256:[0-9a-f]{64}( \\)?")
# Where a package comes from is for whoever installs it to say, not for the file.
_COMMENT: Final = re.compile(r"\s*#(?:(?!://|\s/|\.\./).)*")

Pins = dict[NormalizedName, set[Version]]


def find_problems(pyproject: str, locks: dict[str, str]) -> list[str]:
    """Return a sentence for everything that is out of step; *locks* holds the texts of all LOCKS."""
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
            problems.append(f"requirements.txt and requirements-dev.txt do not agree on {package}")
    return problems


def find_node_problems(manifest: str, lock: str) -> list[str]:
    """Return a sentence for everything wrong with node's *lock* file, made for the *manifest*."""
    asked = json.loads(manifest)["devDependencies"]
    packages = json.loads(lock)["packages"]
    problems = []
    if packages[""].get("devDependencies") != asked:
        problems.append("does not have what package.json asks for; run `make lock`")
    for path, package in packages.items():
        if path and "integrity" not in package:
            problems.append(f"{path} has no hash")
        if "resolved" in package:
            problems.append(f"{path} names where it came from")
    return [f"package-lock.json: {each}" for each in problems]


def _check_lines(text: str) -> Iterator[str]:
    """Judge the form of each line: a pin, its hashes, comments."""
    hashes_wanted = ""
    for number, line in enumerate(text.splitlines(), 1):
        if hash_line := _HASH.fullmatch(line):
            hashes_wanted = hashes_wanted if hash_line.group(1) else ""
            continue
        if hashes_wanted:
            yield f"{hashes_wanted} has no hash, or its hashes are cut short"
            hashes_wanted = ""
        if pin := _PIN.fullmatch(line):
            hashes_wanted = pin.group(1)
        elif line.strip() and not _COMMENT.fullmatch(line):
            yield f"line {number} is neither a pinned package, nor a hash, nor a comment that names no place"
    if hashes_wanted:
        yield f"{hashes_wanted} has no hash, or its hashes are cut short"


def _check_requirements(pins: Pins, requirements: Iterator[Requirement]) -> Iterator[str]:
    for requirement in requirements:
        versions = pins.get(canonicalize_name(requirement.name), set())
        if not versions:
            yield f"{requirement.name} is missing; run `make lock`"
        elif not all(version in requirement.specifier for version in versions):
            yield f"{requirement.name} is not locked to what pyproject.toml asks for; run `make lock`"


def _read_pins(text: str) -> Pins:
    """Return the versions of each package; there are several where they depend on the machine."""
    pins: Pins = defaultdict(set)
    for line in text.splitlines():
        if pin := _PIN.fullmatch(line):
            pins[canonicalize_name(pin.group(1))].add(Version(pin.group(2)))
    return dict(pins)


def _requirements(project: dict[str, Any], extra: str) -> Iterator[Requirement]:
    """Yield what the project asks for with *extra*, which may ask for the project with another extra."""
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
