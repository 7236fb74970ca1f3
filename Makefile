# make venv   set up .venv with the pinned requirements and the kit itself (Python 3.11 or 3.12)
# make venv-gpu   the same with TensorFlow's CUDA libraries (requirements-gpu.txt)
# make venv-publish   the libraries that read what tools/publish.py writes, for its tests
# make demo   the whole path on data the kit draws itself: convert, render, train, evaluate, report
# make test   the test suite; `make test-all` adds the long tests
# make check  style and types
# make bench  evaluation, training, conversion, scoring, diff, pages, input beside their peers, in ratios
# make gpu-check  on a machine with NVIDIA GPUs (venv-gpu is made there): does it train there as on a CPU?

PYTHON ?= $(shell for p in python3.11 python3.12 python3 python; do \
	$$p -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 12))' 2>/dev/null \
	&& { echo $$p; break; }; done)
VENV := .venv
STAMP := $(VENV)/.requirements-installed
TRACKERS := $(VENV)/.trackers-installed
EXTRAS := build/extras/.installed
TRANSFORMERS := build/transformers/.installed
KERAS := build/keras/.installed
PUBLISH := build/publish/.installed
GPU := $(VENV)/.gpu-installed
SKYPILOT := build/skypilot/.installed
JAX := build/jax/.installed
PYTEST := $(VENV)/bin/python -m pytest --numprocesses=auto --maxprocesses=4 --dist=loadfile

.PHONY: venv venv-gpu venv-publish demo test test-all test-odapi check bench gpu-check clean

venv: $(STAMP)

$(STAMP): requirements.txt pyproject.toml
	@if [ -z "$(PYTHON)" ]; then \
		echo "This kit needs Python 3.11 or 3.12 (TensorFlow 2.20 and its companions have no other wheels);"; \
		echo "found: $$(python3 --version 2>&1 || echo none). Install one, or name it: make PYTHON=/path/to/python3.11 venv"; \
		exit 2; fi
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(0 if (3, 11) <= v <= (3, 12) else \
		"make: $(PYTHON) is Python %d.%d; this kit needs 3.11 or 3.12" % v)'
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --disable-pip-version-check -r requirements.txt
	$(VENV)/bin/python -m pip install --disable-pip-version-check --no-deps --no-build-isolation \
		--editable .
	@touch $@

# TensorFlow with its CUDA libraries, for machines with NVIDIA GPUs.
$(GPU): requirements-gpu.txt $(STAMP)
	$(VENV)/bin/python -m pip install --disable-pip-version-check -r requirements.txt -r $<
	@touch $@

venv-gpu: $(GPU)

# The optional trackers, so that the tests write to each and read it back.
$(TRACKERS): requirements-trackers.txt $(STAMP)
	$(VENV)/bin/python -m pip install --disable-pip-version-check -r requirements.txt -r $<
	@touch $@

# SkyPilot reads the task files that the tests write.
$(SKYPILOT): requirements-skypilot.txt $(STAMP)
	$(VENV)/bin/python -m venv build/skypilot
	build/skypilot/bin/python -m pip install --disable-pip-version-check -r $<
	@touch $@

# ONNX Runtime, tf2onnx and supervision, for the tests of export and of other detectors, over the kit's
# own environment, which stays without them (about 250 MB).
$(EXTRAS): requirements-onnx.txt requirements-supervision.txt $(STAMP)
	$(VENV)/bin/python -m venv build/extras
	$(VENV)/bin/python -c "import sysconfig; print(sysconfig.get_path('purelib'))" \
		> "$$(build/extras/bin/python -c "import sysconfig; print(sysconfig.get_path('purelib'))")/kit.pth"
	build/extras/bin/python -m pip install --disable-pip-version-check -r requirements.txt \
		-r requirements-onnx.txt -r requirements-supervision.txt
	@touch $@

# Detectors of Transformers and of KerasHub, which contradict the kit's libraries (gigabytes each).
$(TRANSFORMERS): requirements-transformers.txt $(STAMP)
	$(VENV)/bin/python -m venv build/transformers
	build/transformers/bin/python -m pip install --disable-pip-version-check -r $<
	@touch $@

$(KERAS): requirements-keras.txt $(STAMP)
	$(VENV)/bin/python -m venv build/keras
	build/keras/bin/python -m pip install --disable-pip-version-check -r $<
	@touch $@

# JAX executes the training step that the tests export.
$(JAX): requirements-jax.txt $(STAMP)
	$(VENV)/bin/python -m venv build/jax
	build/jax/bin/python -m pip install --disable-pip-version-check -r $<
	@touch $@

# The libraries that read what is published, for the tests of tools/publish.py.
$(PUBLISH): requirements-publish.txt
	$(PYTHON) -m venv build/publish
	build/publish/bin/python -m pip install --disable-pip-version-check -r $<
	@touch $@

venv-publish: $(PUBLISH)

demo: venv
	$(VENV)/bin/python tools/demo.py

test: $(TRACKERS) $(SKYPILOT) $(EXTRAS)
	$(PYTEST)

test-all: $(TRACKERS) $(SKYPILOT) $(EXTRAS) $(JAX) $(PUBLISH) $(TRANSFORMERS) $(KERAS)
	$(PYTEST) -m ""

# The Object Detection API's own tests under the compatibility layer (about an hour on 2 cores).
# Called again after an interruption it goes on; `make clean` forgets what it has.
test-odapi: venv
	$(VENV)/bin/python -m tests.odapi.api_suite --kept=build/api_suite

# Style, formatting, types.
check: venv
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy

# On a machine that does nothing else; fails where a target is missed. What cannot tell says so.
bench: venv
	$(VENV)/bin/python -m tests.bench

# Goes on where it was stopped; MINUTES=10 ends it sooner or later. Without a GPU it ends before the
# CUDA libraries are installed.
MINUTES ?= 10
gpu-check: $(STAMP)
	@$(VENV)/bin/python tools/gpu_check.py --look
	@$(MAKE) --no-print-directory $(GPU)
	$(VENV)/bin/python tools/gpu_check.py --minutes=$(MINUTES)

clean:
	rm -rf $(VENV) demo build .pytest_cache
