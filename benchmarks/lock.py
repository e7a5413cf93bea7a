"""Write requirements-lock.txt: the exact versions of this environment, which the tests passed with.

    make lock        (python -m benchmarks.lock)

Only what requirements*.txt ask for and what that needs is listed, so that other packages of the
environment do not matter.
"""

import re
from importlib.metadata import PackageNotFoundError, distribution

from packaging.requirements import Requirement

from utils.config import ROOT
from utils.files import write_text

FILES = ("requirements.txt", "requirements-app.txt", "requirements-export.txt")
TARGET = ROOT / "requirements-lock.txt"
HEAD = """\
# Written by `make lock`: the versions that the tests passed with, on Linux x86-64, Python {python}.
# pip install -r requirements-lock.txt instead of requirements.txt repeats that environment.
"""


def main() -> None:
    """Write the file and say how many packages it holds."""
    import platform

    names = locked(requirements(FILES))
    lines = [f"{name}=={version}" for name, version in sorted(names.items())]
    head = HEAD.format(python=platform.python_version())
    write_text(TARGET, head + "\n".join(lines) + "\n")
    print(f"{TARGET.name}: {len(lines)} packages")


def requirements(files: tuple[str, ...]) -> list[Requirement]:
    """What the lines of requirements files, and of those they name, ask for on this platform."""
    found = []
    for file in files:
        for line in (ROOT / file).read_text(encoding="utf-8").splitlines():
            text = re.sub(r"(^|\s)#.*", "", line).strip()
            if text.startswith("-r "):
                found += requirements((text.removeprefix("-r ").strip(),))
            elif text:
                found.append(Requirement(text))
    return [one for one in found if one.marker is None or one.marker.evaluate()]


def locked(wanted: list[Requirement]) -> dict[str, str]:
    """{package: its installed version} of packages and all that they need.

    Raises SystemExit for one that is not installed.
    """
    versions: dict[str, str] = {}
    waiting = list(wanted)
    seen: set[tuple[str, frozenset[str]]] = set()
    while waiting:
        requirement = waiting.pop()
        key = (_plain(requirement.name), frozenset(requirement.extras))
        if key in seen:
            continue
        seen.add(key)
        try:
            found = distribution(requirement.name)
        except PackageNotFoundError:
            raise SystemExit(f"{requirement.name} is not installed: pip install it first") from None
        versions[_plain(requirement.name)] = found.version.partition("+")[0]
        for line in found.requires or ():
            needed = Requirement(line)
            extras = requirement.extras or {""}
            if needed.marker is None or any(
                needed.marker.evaluate({"extra": extra}) for extra in extras
            ):
                waiting.append(needed)
    return versions


def _plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


if __name__ == "__main__":
    main()
