# make demo: see it run.  make test: all tests.  make train: the default model from nothing (about an hour and a half on two cores).
# Everything lives in .venv; `make clean` removes it. `make train` writes to runs/, can be stopped and started again.
PYTHON ?=
export PYTHON
BIN := .venv/bin

RUN := runs/ground
JOBS ?= 2

.PHONY: setup demo train test lint coverage bench clean

setup:
	@if command -v python3 >/dev/null; then python3 scripts/bootstrap.py; \
	else echo "setup: no python3 on PATH"; echo "  remedy: apt-get install python3 python3-venv python3-dev"; exit 1; fi

demo: setup
	@$(BIN)/sentryfuse demo

train: setup
	$(BIN)/sentryfuse simulate --seed 0 --count 800 --duration 15 --split train --out $(RUN)/worlds --jobs $(JOBS)
	$(BIN)/sentryfuse simulate --seed 0 --count 100 --duration 15 --split val --out $(RUN)/worlds --jobs $(JOBS)
	$(BIN)/sentryfuse simulate --seed 0 --count 150 --duration 15 --split test --out $(RUN)/worlds --jobs $(JOBS)
	$(BIN)/sentryfuse dataset $(RUN)/worlds --labels intervals.csv --config config/train_ground.yaml --out $(RUN)/windows \
	    --jobs $(JOBS)
	$(BIN)/sentryfuse train --config config/train_ground.yaml --out $(RUN)/model \
	    $(if $(wildcard $(RUN)/model/state.safetensors),--resume)
	$(BIN)/sentryfuse evaluate $(RUN)/model $(RUN)/windows --json $(RUN)/evaluation.json --csv $(RUN)/evaluation.csv \
	    --html $(RUN)/evaluation.html

test: setup
	@$(BIN)/ruff check .
	@$(BIN)/with-ros $(BIN)/pytest --cov --cov-report=term

clean:
	rm -rf .venv build install log out
