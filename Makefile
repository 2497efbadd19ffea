# make demo      run the whole system on a simulated robot and write a report (70 s)
# make test      run the linters and all tests
# make lint      run the linters alone: ruff and mypy
# make coverage  run all tests, and list which lines they leave out
# make train     train the default model from scratch (about two and a half hours on two cores)
# make clean     remove .venv and everything else that can be made again, except runs/
#
# Everything is installed into .venv, which the first of these commands creates. `make train` writes to runs/; it may be
# interrupted and continues where it stopped.
PYTHON ?=
export PYTHON
BIN := .venv/bin

RUN := runs/ground
JOBS ?= 2
# Test processes: one per CPU, but at most eight, because each of them loads torch and may start nodes. OMP_NUM_THREADS, which
# nproc would take for the number of CPUs, is of each process.
WORKERS ?= $(shell n=$$(env -u OMP_NUM_THREADS nproc 2>/dev/null || echo 2); if [ $$n -gt 8 ]; then n=8; fi; echo $$n)

.PHONY: setup demo train lint test coverage clean

setup:
	@if command -v python3 >/dev/null; then python3 scripts/bootstrap.py; \
	else echo "setup: no python3 on PATH"; echo "  remedy: apt-get install python3 python3-venv python3-dev"; exit 1; fi

demo: setup
	@$(BIN)/sentryfuse demo

train: setup
	$(BIN)/sentryfuse simulate --seed 0 --count 800 --duration 15 --split train --out $(RUN)/worlds --jobs $(JOBS)
	$(BIN)/sentryfuse simulate --seed 0 --count 300 --duration 15 --split val --out $(RUN)/worlds --jobs $(JOBS)
	$(BIN)/sentryfuse simulate --seed 0 --count 150 --duration 15 --split test --out $(RUN)/worlds --jobs $(JOBS)
	$(BIN)/sentryfuse dataset $(RUN)/worlds --labels intervals.csv --config config/train_ground.yaml --out $(RUN)/windows \
	    --jobs $(JOBS)
	$(BIN)/sentryfuse train --config config/train_ground.yaml --out $(RUN)/model \
	    $(if $(wildcard $(RUN)/model/state.safetensors),--resume)
	$(BIN)/sentryfuse trust $(RUN)/model $(RUN)/windows
	$(BIN)/sentryfuse evaluate $(RUN)/model $(RUN)/windows --json $(RUN)/evaluation.json --csv $(RUN)/evaluation.csv \
	    --html $(RUN)/evaluation.html
	$(BIN)/sentryfuse train-captions --model $(RUN)/model --dataset $(RUN)/windows --drives $(RUN)/worlds

lint: setup
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

# The tests of one file run one after the other in one process, because they may share nodes and recordings. test/conftest.py
# puts the files in order.
IN_PARALLEL := -q -n $(WORKERS) --dist loadfile --no-loadscope-reorder

test: lint
	@$(BIN)/with-ros $(BIN)/pytest $(IN_PARALLEL)

coverage: setup
	@$(BIN)/with-ros $(BIN)/pytest $(IN_PARALLEL) --cov --cov-report=term

clean:
	rm -rf .venv build install log out .coverage .hypothesis .mypy_cache .pytest_cache .ruff_cache
