"""What the bridge to the Python that runs this is made with, and what the package imports there.

python3 -I .ci/python.py check .        whether it can be used at all
python3 -I .ci/python.py fetch DIR      what that Python lacks of python/requirements.txt, by pip, into DIR
python3 -I .ci/python.py flags DIR      the compiler's flags, for a shell
python3 -I .ci/python.py packages DIR   the directories of the packages that owt imports
"""

import importlib.util
import re
import shlex
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

REQUIREMENTS = Path(__file__).resolve().parents[1] / "python" / "requirements.txt"
PACKAGES = ["markupsafe", "msgspec", "packaging", "werkzeug"]
DEBIAN = sys.prefix == "/usr"


def check() -> None:
    """Ends with what is wrong with this Python, and what to do."""
    python = f"{sys.executable}, Python {sys.version.split()[0]},"
    if sys.implementation.name != "cpython":
        sys.exit(f"{sys.executable} is {sys.implementation.name}, and owt runs CPython")
    if sys.version_info < (3, 11):  # noqa: UP036 (that is what is to be told)
        sys.exit(f"{python} is too old: owt runs 3.11 and newer")
    if not Path(sysconfig.get_path("include"), "Python.h").exists():
        package = f"python{sys.version_info[0]}.{sys.version_info[1]}-dev"
        bring = (
            f"apt-get install {package}" if sys.base_prefix == "/usr" else "install this Python anew, with its headers"
        )
        sys.exit(f"{python} has no Python.h in {sysconfig.get_path('include')}: {bring}")


def is_there(package: str) -> bool:
    """Of a virtualenv nothing is taken: other environments of the same Python have to find it too."""
    if package == "pybind11" and DEBIAN and Path("/usr/include/pybind11").exists():
        return True
    return sys.prefix == sys.base_prefix and importlib.util.find_spec(package) is not None


def fetch(folder: Path) -> None:
    blocks = re.findall(r"^([a-z0-9]+)(==.*(?:\n .*)*)", REQUIREMENTS.read_text(), re.MULTILINE)
    missing = [(name, rest) for name, rest in blocks if not is_there(name)]
    if not missing:
        return
    names = " ".join(name for name, _ in missing)
    if "msgspec" in names and sysconfig.get_config_var("Py_GIL_DISABLED") and sys.version_info < (3, 14):
        sys.exit(
            f"{sys.executable} is free-threaded, for which msgspec, on which owt stands, wants Python 3.14 or newer"
        )
    print(f"fetching for Python {sys.version.split()[0]}: {names}", flush=True)
    pinned = folder / "requirements.txt"
    pinned.write_text("".join(f"{name}{rest}\n" for name, rest in missing))
    if importlib.util.find_spec("pip"):
        pip = [sys.executable, "-m", "pip"]
    elif shutil.which("/usr/bin/pip3"):
        pip = ["/usr/bin/python3", "-m", "pip", "--python", sys.executable]
    elif uv := shutil.which("uv"):
        pip = [uv, "pip"]
    else:
        sys.exit(f"{sys.executable} lacks {names}, and pip or uv to fetch them: apt-get install python3-pip")
    options = ["--quiet", "install", "--require-hashes", "--no-deps", "--target", str(folder), "-r", str(pinned)]
    if pip[0].endswith("/uv"):
        options += ["--python", sys.executable]
    else:
        options += ["--disable-pip-version-check", "--root-user-action", "ignore"]
    if subprocess.run([*pip, *options]).returncode != 0:
        sys.exit(f"{' '.join(pip)} could not bring {names} for {sys.executable}, see above")


def flags(folder: Path) -> str:
    includes = [sysconfig.get_path("include")]
    if not (DEBIAN and Path("/usr/include/pybind11").exists()):
        includes.append(str(found("pybind11", folder) / "include"))
    return " ".join(f"-isystem {shlex.quote(include)}" for include in includes)


def found(package: str, folder: Path) -> Path:
    """Where the package is: here, if it may be taken from here, else what has been fetched."""
    if not is_there(package):
        return folder / package
    spec = importlib.util.find_spec(package)
    assert spec and spec.origin
    return Path(spec.origin).parent


def main(what: str, folder: Path) -> None:
    check()
    if what == "fetch":
        fetch(folder)
    elif what == "flags":
        print(flags(folder))
    elif what == "packages":
        print(*(found(package, folder) for package in PACKAGES), sep="\n")


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]).resolve())
