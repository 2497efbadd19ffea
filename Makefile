# make demo: see it run.  make test: all tests.  Everything lives in .venv; `make clean` removes it.
PYTHON ?=
export PYTHON
BIN := .venv/bin

.PHONY: setup demo test lint coverage bench clean

setup:
	@if command -v python3 >/dev/null; then python3 scripts/bootstrap.py; \
	else echo "setup: no python3 on PATH"; echo "  remedy: apt-get install python3 python3-venv python3-dev"; exit 1; fi

demo: setup
	@$(BIN)/sentryfuse demo

test: setup
	@$(BIN)/ruff check .
	@$(BIN)/with-ros $(BIN)/pytest --cov --cov-report=term

clean:
	rm -rf .venv build install log out
