# Every target sets up what it needs: a virtual environment in .venv with the tested versions.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: setup quickstart train-demo test soak test-cuda lint docs format clean

setup: $(READY)

$(READY): setup.cfg pyproject.toml constraints.txt
	@echo "Setting up $(VENV): some minutes, PyTorch is large"
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $(READY)

quickstart: setup
	$(BIN)/python tools/quickstart.py

# Synthetic tissue, both stages from scratch: some 20 minutes.
train-demo: setup
	$(BIN)/python tools/train_demo.py

# Without plugins that come with other packages, which take seconds of each process to load and
# rewrite, and with bytecode for the processes that tests start.
test: setup
	OMP_NUM_THREADS=1 PYTHONDONTWRITEBYTECODE= PYTEST_DISABLE_PLUGIN_AUTOLOAD=1 \
		$(BIN)/python -m pytest -p xdist.plugin -n 2 --dist loadfile

# Hundreds of images through one process, commands that are killed, all ablations, full sizes:
# some 30 minutes.
soak: setup
	$(BIN)/python -m pytest -m slow -n 2

# Without a GPU there is nothing to run, which pytest calls 5.
test-cuda: setup
	$(BIN)/python -m pytest -q tests/cuda || test $$? -eq 5

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/hadolint Dockerfile
	$(BIN)/pyright --pythonpath $(BIN)/python

# A site with search and the API; a link that leads nowhere is an error.
docs: setup
	PATH="$(abspath $(BIN)):$$PATH" $(BIN)/python -m sphinx -W --keep-going -q -c docs . output/docs
	@echo "The site is output/docs/docs/index.html"

format: setup
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) output
