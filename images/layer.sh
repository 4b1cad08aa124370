#!/bin/sh
# `layer.sh FOLDER`, in a build: writes below /layer what the image adds to the one that it starts from, which is FOLDER
# with the packages of the locks, the user, and /app. All that is installed lies in the build's context, so that it
# builds the same with a network, behind a proxy, and with none.
set -eu
python3 -m zipfile -e /wheels/uv-*.whl /uv
uv=$(echo /uv/uv-*.data/scripts/uv)
chmod +x "$uv"
export UV_NO_CACHE=1 UV_NO_INSTALLER_METADATA=1 UV_PYTHON_DOWNLOADS=never
"$uv" venv -q --python python3 "$1"
"$uv" pip sync -q --python "$1/bin/python" --no-index --find-links /wheels \
  --require-hashes --build-constraints /locks/install.txt /locks/run/*
# Bytecode that is not compared with its source, and one time for all files: same inputs, same layers.
python3 -m compileall -q -j 0 -x /tests/ --invalidation-mode unchecked-hash "$1/lib"
mkdir -p /layer/app /layer/etc /layer/opt
mv "$1" /layer/opt
cp /etc/passwd /etc/group /layer/etc
echo zeta:x:65532:65532:Zeta:/tmp:/usr/sbin/nologin >>/layer/etc/passwd
echo zeta:x:65532: >>/layer/etc/group
find /layer -exec touch -h -d @0 {} +
