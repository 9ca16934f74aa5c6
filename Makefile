# Every target makes what it needs: a virtual environment with pinned packages, once.
PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin/python
PARITY := .venv-parity
CLIENTS := .venv-clients
TRAINING := .venv-training
ACCELERATORS := .venv-accelerators
SENTENCES ?= 100
DEPLOY := .venv-deploy

.PHONY: serve test lint wheel parity clients accelerators replicas golden evaluate clean

## serve: install and serve on http://127.0.0.1:8000
serve: $(VENV)/runtime
	$(RUN) main.py

## test: install and run the whole suite, file by file on two cores
test: $(VENV)/dev
	$(RUN) -m pytest -q -n 2 --dist loadfile

## lint: ruff and mypy
lint: $(VENV)/dev
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .
	$(RUN) -m mypy

## wheel: build dist/f5_tts_server-VERSION-py3-none-any.whl, which brings the command f5-tts-serve
wheel: $(VENV)/dev
	rm -rf build
	$(RUN) -m pip wheel --quiet --no-deps --no-build-isolation --wheel-dir dist .

## parity: compare live with the official PyTorch packages, on fresh seeds and at full size
parity: $(PARITY)/done $(VENV)/dev
	$(PARITY)/bin/python -m tests.parity.compare

## clients: run voice-agent frameworks, installed in an environment of their own, against the server
clients: $(CLIENTS)/done $(VENV)/dev
	$(RUN) -m pytest -q tests/clients

## accelerators: compile every program for GPUs and TPUs that are not there; goes on where it was stopped
accelerators: $(ACCELERATORS)/done
	$(ACCELERATORS)/bin/python -m benchmarks.accelerators
	$(ACCELERATORS)/bin/python -m benchmarks.accelerators --table docs/accelerators.md

## replicas: the deployment files against Envoy and Kubernetes' schemas, then replicas under Ray with simulated devices
replicas: $(DEPLOY)/done
	PATH="$(CURDIR)/$(DEPLOY)/bin:$$PATH" $(DEPLOY)/bin/python -m pytest -q tests/deploy
	$(DEPLOY)/bin/python -m benchmarks.replicas

## golden: make the golden files again from the official packages
golden: $(PARITY)/done
	for part in frontend backbone vocos bigvgan checkpoint; do $(PARITY)/bin/python -m tests.golden.make_$${part}_golden || exit 1; done

## evaluate: measure the embedded voice and print the table of its model card; SENTENCES=8 for a quick look
evaluate: $(TRAINING)/done
	$(TRAINING)/bin/python -m training.evaluate --sentences $(SENTENCES)

clean:
	rm -rf $(VENV) $(PARITY) $(CLIENTS) $(TRAINING) $(ACCELERATORS) $(DEPLOY) build dist

$(VENV)/runtime: requirements.txt
	test -x $(RUN) || $(PYTHON) -m venv $(VENV)
	$(RUN) -m pip install --quiet --requirement requirements.txt
	touch $@

$(VENV)/dev: requirements.txt requirements-dev.txt
	test -x $(RUN) || $(PYTHON) -m venv $(VENV)
	$(RUN) -m pip install --quiet --requirement requirements-dev.txt
	touch $@ $(VENV)/runtime

$(PARITY)/done: requirements.txt tests/parity/install.sh
	PYTHON=$(PYTHON) sh tests/parity/install.sh $(PARITY)
	touch $@

$(CLIENTS)/done: requirements-clients.txt tests/clients/package.json
	test -x $(CLIENTS)/bin/python || $(PYTHON) -m venv $(CLIENTS)
	$(CLIENTS)/bin/python -m pip install --quiet --requirement requirements-clients.txt
	cp tests/clients/package.json $(CLIENTS)/ && npm install --prefix $(CLIENTS) --no-audit --no-fund --silent
	touch $@

$(TRAINING)/done: requirements.txt requirements-dev.txt requirements-training.txt
	test -x $(TRAINING)/bin/python || $(PYTHON) -m venv $(TRAINING)
	$(TRAINING)/bin/python -m pip install --quiet --requirement requirements-training.txt
	$(TRAINING)/bin/python -m pip install --quiet --no-deps Resemblyzer==0.1.4  # its weights; its code would ask for torch
	touch $@

$(ACCELERATORS)/done: requirements.txt requirements-accelerators.txt
	test -x $(ACCELERATORS)/bin/python || $(PYTHON) -m venv $(ACCELERATORS)
	$(ACCELERATORS)/bin/python -m pip install --quiet --requirement requirements-accelerators.txt
	touch $@

$(DEPLOY)/done: requirements.txt requirements-dev.txt requirements-deploy.txt
	test -x $(DEPLOY)/bin/python || $(PYTHON) -m venv $(DEPLOY)
	$(DEPLOY)/bin/python -m pip install --quiet --requirement requirements-dev.txt --requirement requirements-deploy.txt
	touch $@
