# The two commands of a machine without ROS are `make demo` and `make test`; `make help` lists the rest.
SHELL := /bin/sh
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
CONDITION ?= night
demo: OUT ?= demo
drive: OUT ?= drive
INSTALLED_BY := setup.py setup.cfg pyproject.toml requirements/make_venv.py requirements/torch.txt requirements/engines.txt

# A terminal with a ROS 2 installation sourced would put that rclpy, built for another Python, before the one in $(VENV).
ifneq ($(AMENT_PREFIX_PATH),)
unexport PYTHONPATH LD_LIBRARY_PATH AMENT_PREFIX_PATH CMAKE_PREFIX_PATH COLCON_PREFIX_PATH RMW_IMPLEMENTATION ROS_DISTRO
endif
# Set by the ROS 2 wheels of another environment; inherited, it would stop ours from finding its own libraries.
unexport _ROS_WHEELS_BOOTSTRAP_COMPLETE PYTHONHOME

export DATA OUT CONDITION TORCH_INDEX
TORCH_OPTION = $(if $(TORCH_INDEX),--torch-index "$$TORCH_INDEX")

.DEFAULT_GOAL := help
.PHONY: help setup demo drive test test-slow lint format docs benchmark clean distclean again

help:  ## show this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1|\2/p' $(MAKEFILE_LIST) | awk -F'|' '{printf "%-18s %s\n", $$1, $$2}'
	@echo "  Options: DATA=PATH (a recording for the demo), OUT=DIR (its output), PYTHON=python3.12, ARGS='...' (passed on),"
	@echo "  TORCH_INDEX=URL (the CPU wheels of PyTorch, where pip does not find them by itself)"

setup: $(VENV)/.run  ## make .venv with the pinned packages

demo: $(VENV)/.run  ## teach and repeat a simulated route, or the recording named with DATA=PATH, and write a report
	@$(BIN)/vloc demo --out "$$OUT" $(if $(DATA),--data "$$DATA") $(ARGS)

drive: $(VENV)/.run  ## let a simulated robot repeat a route by itself: CONDITION=night, OUT=drive
	@mkdir -p "$$OUT"
	@$(BIN)/vloc drive --map "$$OUT/site.vloc" --condition "$$CONDITION" --out "$$OUT/$$CONDITION" $(ARGS)

# Side by side, whole files at a time as their fixtures are dear; more than four would crowd out the tests of nodes.
test: $(VENV)/.dev  ## run the tests and the linters (minutes)
	@OMP_NUM_THREADS=$${OMP_NUM_THREADS:-1} $(BIN)/python -m pytest -m "not slow" -n logical --maxprocesses 4 --dist loadfile $(ARGS)

test-slow: $(VENV)/.dev  ## run the longer checks
	@$(BIN)/python -m pytest -m slow $(ARGS)

lint: $(VENV)/.dev  ## ruff and mypy
	@$(BIN)/python -m ruff check .
	@$(BIN)/python -m ruff format --check .
	@$(BIN)/python -m mypy

format: $(VENV)/.dev  ## let ruff rewrite the code in the house format
	@$(BIN)/python -m ruff check --fix .
	@$(BIN)/python -m ruff format .

docs: $(VENV)/.run  ## write anew what is made from the code: the security policy, parameters.md, message_flow.svg
	@$(BIN)/python -m vloc_ros.interfaces

benchmark: $(VENV)/.dev  ## print the time and memory of every stage
	@$(BIN)/python benchmarks/run.py $(ARGS)

clean:  ## remove what builds, tests and the demo leave behind
	@rm -rf build install log demo drive .pytest_cache .mypy_cache .ruff_cache .hypothesis *.egg-info
	@find vloc_ros test launch benchmarks requirements -name __pycache__ -type d -prune -exec rm -rf {} +

distclean: clean  ## clean, and remove .venv
	@rm -rf $(VENV)

# Before anything else, as make_venv.py is not even read by a Python older than 3.7.
CHECK := import sys; sys.version_info >= (3, 7) or sys.exit("vloc_ros: Python 3.11 to 3.13 is needed: name one with PYTHON=")

# A set-up that left torch out is gone through again once its address is known.
ifneq ($(TORCH_INDEX),)
$(VENV)/.run $(VENV)/.dev: again
endif

$(VENV)/.run: requirements/run.txt $(INSTALLED_BY)
	@$(PYTHON) -c '$(CHECK)'
	@$(PYTHON) requirements/make_venv.py $(VENV) run.txt $(TORCH_OPTION)
	@touch $@

$(VENV)/.dev: requirements/dev.txt requirements/run.txt $(INSTALLED_BY)
	@$(PYTHON) -c '$(CHECK)'
	@$(PYTHON) requirements/make_venv.py $(VENV) dev.txt $(TORCH_OPTION)
	@touch $(VENV)/.run $@
