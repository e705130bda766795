"""The check of the lock files finds what it is there to find."""

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


def test_the_project_s_own_lock_files_are_in_step() -> None:
    locks = {name: (ROOT / name).read_text() for name in LOCKS}
    assert find_problems((ROOT / "pyproject.toml").read_text(), locks) == []
    assert (
        find_node_problems(*((NODE / name).read_text() for name in ("package.json", "package-lock.json")))
        == []
    )


def test_files_that_are_in_step_have_no_problem() -> None:
    assert problems() == []


@pytest.mark.parametrize(
    ("small", "problem"),
    [
        (lock(*SMALL[1:]), "requirements.txt: Alpha_One is missing"),
        (lock(SMALL[0], SMALL[1]), "requirements.txt: gamma is missing"),
        (lock("alpha-one==2.0", *SMALL[1:]), "requirements.txt: Alpha_One is not locked to what"),
        (
            lock("alpha-one==1.4", *SMALL[1:]),
            "requirements.txt and requirements-dev.txt do not agree on alpha-one",
        ),
        (lock(*SMALL, "omega==1"), "requirements.txt and requirements-dev.txt do not agree on omega"),
        (
            lock(*SMALL).replace(f"    --hash=sha256:{HASH} \\\n    --hash=sha256:{HASH}\n", "", 1),
            "has no hash",
        ),
        (lock(*SMALL) + "beta==3.1\n", "beta has no hash"),
        (lock(*SMALL) + "beta==3.1\ngamma==4.0\n", "beta has no hash"),
        (
            lock(*SMALL) + f"beta==3.1 \\\n    --hash=sha256:{HASH} \\\n",
            "its hashes are cut",
        ),
        (lock(*SMALL).replace("sha256", "md5", 1), "is neither a pinned package"),
        (lock(*SMALL) + "beta>=3\n", "is neither a pinned package"),
        (lock(*SMALL) + "--index-url https://index.example/simple\n", "is neither a pinned package"),
        (lock(*SMALL) + "--find-links /srv/wheels\n", "is neither a pinned package"),
        (lock(*SMALL) + "-e .\n", "is neither a pinned package"),
        (lock(*SMALL) + "omega @ https://host.example/omega\n", "is neither a pinned package"),
        (lock(*SMALL) + "    # from https://index.example/simple\n", "is neither a pinned package"),
        (lock(*SMALL) + "    # via -r /srv/requirements.in\n", "is neither a pinned package"),
    ],
)
def test_names_what_is_out_of_step(small: str, problem: str) -> None:
    assert any(problem in each for each in problems(small))


def test_a_version_for_another_machine_is_judged_too() -> None:
    assert problems(large=lock(*LARGE).replace("delta==6.0", "delta==4.0")) == [
        "requirements-dev.txt: delta is not locked to what pyproject.toml asks for; run `make lock`"
    ]


def test_an_environment_of_its_own_is_judged_by_its_group_alone() -> None:
    assert problems(apart=lock("beta==9.0")) == ["requirements-scan.txt: epsilon is missing; run `make lock`"]


MANIFEST = '{"devDependencies": {"zeta": "1.0.0"}}'
ROOT_PACKAGE = '"": {"devDependencies": {"zeta": "1.0.0"}}'


@pytest.mark.parametrize(
    ("root", "package", "problem"),
    [
        (ROOT_PACKAGE, '{"integrity": "sha512-x", "version": "1.0.0"}', None),
        (ROOT_PACKAGE.replace("1.0.0", "1.1.0"), '{"integrity": "sha512-x"}', "run `make lock`"),
        (ROOT_PACKAGE, '{"version": "1.0.0"}', "node_modules/zeta has no hash"),
        (ROOT_PACKAGE, '{"integrity": "sha512-x", "resolved": "https://host.example/zeta"}', "came from"),
    ],
)
def test_judges_node_s_lock_file(root: str, package: str, problem: str | None) -> None:
    found = find_node_problems(MANIFEST, f'{{"packages": {{{root}, "node_modules/zeta": {package}}}}}')
    assert len(found) == (problem is not None)
    assert problem is None or problem in found[0]
