"""The check of the lock files finds every kind of problem."""

import pytest

from tooling.locks import LOCKS, NODE, ROOT, find_node_problems, find_problems

HASH = "0" * 64
PYPROJECT = """
[project]
name = "relay"
dependencies = ["Alpha_One[x]>=1.2,<2", "beta>=3; sys_platform != 'win32'"]
[project.optional-dependencies]
local = ["gamma==4.0"]
dev = ["relay[local]", "delta>=5"]
[dependency-groups]
scan = ["epsilon>=6"]
"""


def lock(*pins: str) -> str:
    return "".join(
        f"{pin} \\\n    --hash=sha256:{HASH} \\\n    --hash=sha256:{HASH}\n    # via relay\n" for pin in pins
    )


SMALL = ("alpha-one==1.3", "beta==3.1 ; sys_platform != 'win32'", "gamma==4.0")
APART = ("beta==9.0", "epsilon==6.1")
LARGE = (*SMALL, "delta==5.0 ; python_version < '3.12'", "delta==6.0 ; python_version >= '3.12'")


def problems(small: str = lock(*SMALL), large: str = lock(*LARGE), apart: str = lock(*APART)) -> list[str]:
    return find_problems(PYPROJECT, dict(zip(LOCKS, (small, large, apart), strict=True)))


def test_own_lock_files_pass() -> None:
    locks = {name: (ROOT / name).read_text() for name in LOCKS}
    assert find_problems((ROOT / "pyproject.toml").read_text(), locks) == []
    assert (
        find_node_problems(*((NODE / name).read_text() for name in ("package.json", "package-lock.json")))
        == []
    )


def test_matching_files_pass() -> None:
    assert problems() == []


@pytest.mark.parametrize(
    ("small", "problem"),
    [
        (lock(*SMALL[1:]), "requirements.txt: Alpha_One is missing"),
        (lock(SMALL[0], SMALL[1]), "requirements.txt: gamma is missing"),
        (lock("alpha-one==2.0", *SMALL[1:]), "requirements.txt: Alpha_One is locked to a version"),
        (
            lock("alpha-one==1.4", *SMALL[1:]),
            "requirements.txt and requirements-dev.txt disagree on alpha-one",
        ),
        (lock(*SMALL, "omega==1"), "requirements.txt and requirements-dev.txt disagree on omega"),
        (
            lock(*SMALL).replace(f"    --hash=sha256:{HASH} \\\n    --hash=sha256:{HASH}\n", "", 1),
            "has no hash",
        ),
        (lock(*SMALL) + "beta==3.1\n", "beta has no hash"),
        (lock(*SMALL) + "beta==3.1\ngamma==4.0\n", "beta has no hash"),
        (
            lock(*SMALL) + f"beta==3.1 \\\n    --hash=sha256:{HASH} \\\n",
            "incomplete list of hashes",
        ),
        (lock(*SMALL).replace("sha256", "md5", 1), "must be a pinned package"),
        (lock(*SMALL) + "beta>=3\n", "must be a pinned package"),
        (lock(*SMALL) + "--index-url https://index.example/simple\n", "must be a pinned package"),
        (lock(*SMALL) + "--find-links /srv/wheels\n", "must be a pinned package"),
        (lock(*SMALL) + "-e .\n", "must be a pinned package"),
        (lock(*SMALL) + "omega @ https://host.example/omega\n", "must be a pinned package"),
        (lock(*SMALL) + "    # from https://index.example/simple\n", "must be a pinned package"),
        (lock(*SMALL) + "    # via -r /srv/requirements.in\n", "must be a pinned package"),
    ],
)
def test_names_the_problem(small: str, problem: str) -> None:
    assert any(problem in each for each in problems(small))


def test_checks_other_machines_versions() -> None:
    assert problems(large=lock(*LARGE).replace("delta==6.0", "delta==4.0")) == [
        "requirements-dev.txt: delta is locked to a version that pyproject.toml rejects; run `make lock`"
    ]


def test_checks_groups_on_their_own() -> None:
    assert problems(apart=lock("beta==9.0")) == ["requirements-scan.txt: epsilon is missing; run `make lock`"]


MANIFEST = '{"devDependencies": {"zeta": "1.0.0"}}'
ROOT_PACKAGE = '"": {"devDependencies": {"zeta": "1.0.0"}}'


@pytest.mark.parametrize(
    ("root", "package", "problem"),
    [
        (ROOT_PACKAGE, '{"integrity": "sha512-x", "version": "1.0.0"}', None),
        (ROOT_PACKAGE.replace("1.0.0", "1.1.0"), '{"integrity": "sha512-x"}', "run `make lock`"),
        (ROOT_PACKAGE, '{"version": "1.0.0"}', "node_modules/zeta has no hash"),
        (
            ROOT_PACKAGE,
            '{"integrity": "sha512-x", "resolved": "https://host.example/zeta"}',
            "names its origin",
        ),
    ],
)
def test_checks_node_lock_file(root: str, package: str, problem: str | None) -> None:
    found = find_node_problems(MANIFEST, f'{{"packages": {{{root}, "node_modules/zeta": {package}}}}}')
    assert len(found) == (problem is not None)
    assert problem is None or problem in found[0]
