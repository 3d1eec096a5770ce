PYTHON := .venv/bin/python
OBJECT := exporter/natlens/kernel/natlens.bpf.o
BPF_SOURCES := $(wildcard bpf/*.c bpf/*.h)
MULTIARCH := $(shell $(CC) -print-multiarch 2>/dev/null)
BPF_FLAGS := -O2 -g -target bpf -mcpu=v3 -Wall -Werror -Wno-pointer-bool-conversion -I/usr/include/$(MULTIARCH)

.PHONY: bpf structs

bpf: $(OBJECT)

$(OBJECT): $(BPF_SOURCES)
	clang $(BPF_FLAGS) -c bpf/natlens.bpf.c -o $@.tmp
	llvm-strip -g $@.tmp
	mv $@.tmp $@

structs: $(OBJECT)
	python3 bpf/generate_structs.py $(OBJECT) > exporter/natlens/kernel/structs.py.tmp
	mv exporter/natlens/kernel/structs.py.tmp exporter/natlens/kernel/structs.py
