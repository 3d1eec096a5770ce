# Every command of the README. Each works from a bare machine: what is missing is installed first.

PYTHON := .venv/bin/python
OBJECT := exporter/natlens/kernel/natlens.bpf.o
OBJECTS := $(OBJECT) $(addprefix exporter/natlens/kernel/,no_kfuncs.bpf.o hooks.bpf.o maps.bpf.o crowd.bpf.o)
BPF_SOURCES := $(wildcard bpf/*.c bpf/*.h)
BPF_FLAGS := -O2 -g -target bpf -mcpu=v3 -Wall -Werror -Wno-pointer-bool-conversion \
	-I/usr/include/$(shell $(CC) -print-multiarch 2>/dev/null)
C_FILES := $(BPF_SOURCES) $(wildcard tests/*/*.c)
GENERATED := exporter/natlens/kernel/structs.py docs/attributes.md docs/registry/attributes.yaml docs/configuration.md \
	docs/metrics.md docs/registry/metrics.yaml docs/telemetry.md otel-config/alerts.yaml \
	exporter/natlens/identity/api/schema_pb2.py exporter/natlens/identity/api/schema_pb2.pyi
PACKAGES := clang clang-format llvm libbpf-dev libbpf1 bpftool make gcc libc6-dev \
	iproute2 nftables iptables conntrack ethtool python3-venv python3-bpfcc
TOOLS := clang clang-format llvm-strip bpftool ip nft iptables-nft conntrack ethtool
VM_PACKAGES := qemu-system-x86 qemu-system-common busybox-static kmod cpio xz-utils ipvsadm
VM_TOOLS := qemu-system-x86_64 busybox modprobe cpio ipvsadm
LOCK := pip-compile --quiet --generate-hashes --no-emit-index-url --no-emit-trusted-host --no-emit-find-links \
	--strip-extras --allow-unsafe

define INSTALL
echo "installing $(1) …"; \
command -v apt-get >/dev/null || { echo "install these with your package manager: $(1)"; exit 1; }; \
apt-get update -qq && DEBIAN_FRONTEND=noninteractive \
	apt-get install -y -qq --no-install-recommends $(1) >.cache/packages.log 2>&1 \
	|| { tail -20 .cache/packages.log; exit 1; }
endef

.PHONY: setup bpf demo test test-cluster test-kernels bench lint docs structs lock clean help

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 16

setup: .venv/.installed ## tools and Python packages, from distribution and locked, hash-checked requirements

bpf: $(OBJECTS)

demo: setup ## real traffic through real NAT on a throwaway node: a table, OTLP in a file, one line of result
	@mkdir -p .cache
	@.venv/bin/natlens demo --output .cache/demo.otlp.jsonl

test: setup ## everything that proves natlens on this machine
	$(PYTHON) -m pytest

test-cluster: setup ## real control plane, kube-proxy in both of its modes, real stores; all built from source
	$(PYTHON) -m pytest tests/cluster tests/stores

test-kernels: setup .cache/vm-packages ## the scenarios under other kernels, 5.10 to the newest, in virtual machines
	$(PYTHON) -m pytest tests/kernels

bench: setup ## one JSON line a figure
	@$(PYTHON) -m tests.bench

lint: setup ## ruff, mypy, import contracts, clang-format
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy
	MYPYPATH=exporter:. .venv/bin/mypy --explicit-package-bases tests bpf
	PYTHONPATH=exporter .venv/bin/lint-imports --no-cache
	clang-format --dry-run --Werror $(C_FILES)

docs: setup $(OBJECT) ## generated files: made anew; with CHECK=1 fail where one was not current
	$(PYTHON) bpf/generate_structs.py $(OBJECT) | .venv/bin/ruff format - > .cache/structs.py && mv .cache/structs.py exporter/natlens/kernel/structs.py
	$(PYTHON) -m natlens.otlp.document > .cache/attributes.md && mv .cache/attributes.md docs/attributes.md
	$(PYTHON) -m natlens.otlp.document registry > .cache/attributes.yaml && mv .cache/attributes.yaml docs/registry/attributes.yaml
	$(PYTHON) -m natlens.otlp.document metrics > .cache/metrics.md && mv .cache/metrics.md docs/metrics.md
	$(PYTHON) -m natlens.otlp.document metrics-registry > .cache/metrics.yaml && mv .cache/metrics.yaml docs/registry/metrics.yaml
	$(PYTHON) -m natlens.ui.document > .cache/configuration.md && mv .cache/configuration.md docs/configuration.md
	$(PYTHON) -m natlens.telemetry.document > .cache/telemetry.md && mv .cache/telemetry.md docs/telemetry.md
	$(PYTHON) -m natlens.telemetry.document alerts > .cache/alerts.yaml && mv .cache/alerts.yaml otel-config/alerts.yaml
	$(PYTHON) -m tests.identity.api.generate_schema
	$(if $(CHECK),git diff --exit-code -- $(GENERATED))

lock: setup ## choose versions anew
	.venv/bin/$(LOCK) --output-file exporter/requirements.txt pyproject.toml
	.venv/bin/$(LOCK) --extra dev --output-file tests/requirements.txt pyproject.toml

clean: ## everything that was built
	rm -rf .venv .cache dist build $(OBJECTS)

$(OBJECTS): exporter/natlens/kernel/%.o: bpf/%.c $(BPF_SOURCES) | .cache/packages
	clang $(BPF_FLAGS) -c $< -o $@.tmp
	llvm-strip -g $@.tmp
	mv $@.tmp $@

# Only where a tool is missing: an installed machine needs neither root nor a package index.
.cache/packages:
	@mkdir -p .cache
	@if ! (for tool in $(TOOLS); do command -v $$tool >/dev/null || exit 1; done; \
		test -f /usr/include/bpf/bpf_helpers.h && /usr/bin/python3 -c 'import bcc' 2>/dev/null); then \
		$(call INSTALL,$(PACKAGES)); \
	fi
	@touch $@

.cache/vm-packages: | .cache/packages
	@if ! (for tool in $(VM_TOOLS); do command -v $$tool >/dev/null || exit 1; done); then \
		$(call INSTALL,$(VM_PACKAGES)); \
	fi
	@touch $@

.venv/.installed: tests/requirements.txt pyproject.toml $(OBJECTS)
	python3 -m venv .venv
	@echo "installing Python packages (hash-checked) …"
	$(PYTHON) -m pip install --quiet --disable-pip-version-check --require-hashes -r tests/requirements.txt
	$(PYTHON) -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@
