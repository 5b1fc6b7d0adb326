"""Where nginx is, the module, and what else the conf names.

The wheel owt-server brings an nginx that has the module linked in, in the package owt_server beside this one.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

from owt.server.errors import ServerError
from owt.server.places import folders

_MODULE = "ngx_http_owt_module.so"
#: The name by which nginx itself knows it.
_LINKED_IN = b"ngx_http_owt_module\0"
#: Ordinary users' PATH lacks them.
_SBIN = ("/usr/local/sbin", "/usr/sbin", "/sbin")


class Nginx:
    """An nginx and a module for it. ServerError if there are none."""

    def __init__(
        self, program: str | None = None, module: str | Path | None = None, mime_types: str | Path | None = None
    ) -> None:
        carried = [beside for folder in folders() if (beside := folder.with_name("owt_server") / "nginx").exists()]
        if carried and not program and not module:
            program, mime_types = str(carried[0]), mime_types or carried[0].with_name("mime.types")
        search = os.pathsep.join([os.environ.get("PATH", os.defpath), *_SBIN])
        found = shutil.which(program or "nginx", path=search)
        if not found:
            raise ServerError(
                f"there is no {program or 'nginx'} here: install nginx (apt-get install nginx), or say where it is with"
                " --nginx"
            )
        self.program = found
        #: What it was configured with: --modules-path and so on.
        self.built = subprocess.run([found, "-V"], capture_output=True, text=True, check=False).stderr
        self._paths = {name: Path(path) for name, path in re.findall(r"--([a-z]+)-path=(\S+)", self.built)}
        #: What has to be loaded; None if it is linked in.
        self.module = None if _LINKED_IN in Path(found).read_bytes() else self._module(module)
        beside = self._paths.get("conf", Path("/etc/nginx/nginx.conf")).with_name("mime.types")
        self.mime_types = Path(mime_types) if mime_types else beside if beside.exists() else None

    def _module(self, given: str | Path | None) -> Path:
        # This package lies in the source tree, beside which make builds; or where make install has put it.
        tree = Path(__file__).resolve().parents[3]
        installed = self._paths.get("modules", Path("/usr/lib/nginx/modules")) / _MODULE
        built = [tree / "build" / _MODULE] if (tree / "build").is_dir() else []
        places = [Path(given).absolute()] if given else [*built, installed]
        for place in places:
            if place.is_file():
                return place
        there = " nor ".join(map(str, places))
        raise ServerError(
            f"the module is not {there}: in owt's source tree, build it (make), then install it (make install) or name"
            f" it (--module build/{_MODULE})"
        )

    def command(self, directory: Path) -> list[str]:
        """Runs it in the foreground with the nginx.conf in directory, which becomes its prefix."""
        # NGINX says to nginx which sockets one before it has left open, and to make, among others, where nginx is.
        alone = ["/usr/bin/env", "-u", "NGINX", self.program]
        return [*alone, "-p", f"{directory}/", "-c", f"{directory}/nginx.conf", "-e", "stderr"]
