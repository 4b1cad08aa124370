# install: the environments | demo: the whole loop, played | test: lint and all tests | up, down: the platform
# cluster, cluster-down: a Kubernetes on this machine, for tests | test-cluster: the tests that need one
# bench: what it costs, against a peer | bench-statistics: how often it decides wrongly, and how late
# lock: the locks, after a change of pyproject.toml
# PYTHON=python3.12 make ... names the Python.
.PHONY: install demo test lint up down cluster cluster-down test-cluster bench bench-statistics lock
uv := .zeta/envs/uv/bin/uv
helm := $(or $(HELM),$(shell command -v helm),.zeta/envs/helm/helm)
compile := $(uv) pip compile -q --universal --python-version 3.11 --generate-hashes --no-header --no-annotate

install:
	@images/install.sh

demo: install
	@.venv/bin/zeta demo

test: lint
	@.venv/bin/python -m pytest --ignore tests/cluster

test-cluster: lint
	@.venv/bin/python -m pytest tests/cluster

lint:
	@images/install.sh dev
	.venv/bin/ruff check
	.venv/bin/ruff format --check
	.venv/bin/mypy
	.venv/bin/lint-imports
	@for chart in model zeta; do $(helm) lint --strict helm/$$chart -f tests/helm/$$chart.yaml || exit 1; done

up: install
	@.venv/bin/zeta up

down:
	@.venv/bin/zeta down

cluster:
	@images/install.sh dev >&2
	@.venv/bin/python -m tests.cluster up

cluster-down:
	@.venv/bin/python -m tests.cluster down

bench: install
	@for script in tests/bench/bench_*.py; do .venv/bin/python "$$script" || exit 1; done

bench-statistics:
	@images/install.sh dev
	@.venv/bin/python -m tests.bench.statistics

lock: install
	$(compile) --group install -o images/install.txt
	$(compile) pyproject.toml -o images/model/requirements.txt
	$(compile) --group airflow -o images/airflow/requirements.txt
	$(compile) --group mlflow -o images/mlflow/requirements.txt
	$(compile) --group dev -c images/model/requirements.txt -o tests/requirements.txt
