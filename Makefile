# Every target makes what it needs: a virtual environment with pinned packages, once.
PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin/python
PARITY := .venv-parity

.PHONY: serve test lint parity golden evaluate clean

## serve: install and serve on http://127.0.0.1:8000
serve: $(VENV)/runtime
	$(RUN) main.py

## test: install and run the whole suite
test: $(VENV)/dev
	$(RUN) -m pytest -q

## lint: ruff and mypy
lint: $(VENV)/dev
	$(RUN) -m ruff check .
	$(RUN) -m mypy

## parity: compare live with the official PyTorch packages, on fresh seeds and at full size
parity: $(PARITY)/done $(VENV)/dev
	$(PARITY)/bin/python -m tests.parity.compare

## golden: make the golden files again from the official packages
golden: $(PARITY)/done
	for part in frontend backbone vocos weights; do $(PARITY)/bin/python -m tests.golden.make_$${part}_golden || exit 1; done

## evaluate: measure the embedded voice and print the table of its model card
evaluate: $(VENV)/dev
	$(RUN) -m training.evaluate

clean:
	rm -rf $(VENV) $(PARITY)

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
