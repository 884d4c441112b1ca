# The front door. `make` lists what there is.
TARGET  := x86_64-unknown-linux-gnu
RELEASE := target/$(TARGET)/release
PREFIX  ?= /usr/local
DESTDIR ?=
CARGO   ?= cargo
RUNTIME ?= $(RELEASE)/husk
FILTER  ?=
ARGS    ?=

SHARE           := $(DESTDIR)$(PREFIX)/share
BASH_COMPLETION := $(SHARE)/bash-completion/completions/husk
ZSH_COMPLETION  := $(SHARE)/zsh/site-functions/_husk
FISH_COMPLETION := $(SHARE)/fish/vendor_completions.d/husk.fish

.DEFAULT_GOAL := help
.PHONY: help build demo test check conformance conformance-matrix conformance-faults mutants clients clients-long vm-test vm-test-long bats bats-long bench bench-compare bench-shim fuzz install uninstall release clean

help: ## This list
	@grep -E '^[a-z-]+:.*## ' $(firstword $(MAKEFILE_LIST)) | sed -E 's/^([a-z-]+):.*## /  make \1|/' | column -t -s '|' || true

build: ## Release binaries: static PIE, no shared library
	$(CARGO) build --workspace --release --locked

demo: ## A first container: what isolates it, and the time of each step
	@$(CARGO) build -p husk --release --locked -q
	@$(RELEASE)/husk demo

test: ## Everything that CI runs: 35 to 40 minutes on 2 cores, needs root
	@tools/test

check: ## Format, lints, documentation, import directions, licences: no kernel needed
	@tools/setup
	@tools/check

conformance: ## The conformance suite; RUNTIME=/usr/sbin/runc for another runtime, FILTER=text
	@$(CARGO) build -p husk -p husk-conformance --release --locked -q
	@tests/env/host-readonly $(RELEASE)/husk-conformance --runtime "$(RUNTIME)" $(if $(FILTER),--filter "$(FILTER)") $(ARGS)

conformance-matrix: ## The suite on Debian's runc and crun, old and new, and on husk; writes docs/conformance.md
	@$(CARGO) build -p husk -p husk-conformance --release --locked -q
	@tools/conformance-matrix $(ARGS)

conformance-faults: ## The suite on husk, each time without one of the newer calls; writes docs/conformance.md: about an hour
	@$(CARGO) build -p husk -p husk-conformance --release --locked -q
	@tools/conformance-faults $(ARGS)

mutants: ## Forty deliberate faults in husk, one at a time: does the suite find them? About an hour
	@tools/mutants $(ARGS)

clients: ## Docker, Podman, containerd and conmon on husk: about 6 minutes
	@tools/setup
	@$(CARGO) build -p husk -p containerd-shim-husk-v1 --release --locked -q
	@tests/env/host-readonly tests/clients/run $(RELEASE)/husk

clients-long: ## The same, newer engines, a minute of stress, and runc beside husk where an item fails
	@tools/setup
	@$(CARGO) build -p husk -p containerd-shim-husk-v1 --release --locked -q
	@tests/env/host-readonly tests/clients/run --long $(RELEASE)/husk

vm-test: ## A virtual machine with systemd and pure cgroup v2, Debian 13's kernel: 4 minutes
	@tools/setup
	@$(CARGO) build -p husk -p containerd-shim-husk-v1 -p husk-conformance --release --locked -q
	@$(CARGO) test -p husk-libcontainer -p husk -p containerd-shim-husk-v1 --locked --no-run --message-format=json > target/vm-build.json
	@tests/env/host-readonly tests/vm/test target/vm-build.json

vm-test-long: ## All tests of the runtime there, on Debian's kernels 6.1, 6.12 and the newest; VM_ARGS="--kernel 6.1 --part husk"
	@tools/setup
	@$(CARGO) build -p husk -p containerd-shim-husk-v1 -p husk-conformance --release --locked -q
	@$(CARGO) test -p husk-libcontainer -p husk -p containerd-shim-husk-v1 --locked --no-run --message-format=json > target/vm-build.json
	@tests/env/host-readonly tests/vm/test --long $(VM_ARGS) target/vm-build.json

bats: ## A choice of runc's own integration suite on husk, and on runc beside it; RUNC_TREE=compiled checkout
	@$(CARGO) build -p husk --release --locked -q
	@tests/bats/all $(RELEASE)/husk

bats-long: ## All of that suite, on this host's cgroups, on cgroup2 alone, with systemd as pid 1, and parts in the virtual machine
	@$(CARGO) build -p husk --release --locked -q
	@tests/bats/all $(RELEASE)/husk --long

bench: ## Times and sizes beside the floor, a C program that makes only the necessary calls
	@$(CARGO) build -p husk --release --locked -q
	@tools/bench

bench-compare: ## The same beside runc and crun, where they are installed
	@$(CARGO) build -p husk --release --locked -q
	@tools/bench --compare

bench-shim: ## The shim beside containerd's own: memory, times; CONTAINERD_PROGRAMS=directory adds containerd-stress
	@$(CARGO) build -p husk -p containerd-shim-husk-v1 --release --locked -q
	@tools/bench-shim

fuzz: ## Every fuzz target for HUSK_FUZZ_SECONDS (60) each; needs a nightly compiler
	@tools/fuzz --seconds $${HUSK_FUZZ_SECONDS:-60}

release: build ## Release binaries, checked to be static
	@tools/static-check $(RELEASE)

install: build ## Into DESTDIR/PREFIX (/usr/local)
	install -D -m 0755 $(RELEASE)/husk $(DESTDIR)$(PREFIX)/bin/husk
	install -D -m 0755 $(RELEASE)/containerd-shim-husk-v1 $(DESTDIR)$(PREFIX)/bin/containerd-shim-husk-v1
	install -D -m 0644 LICENSE $(SHARE)/doc/husk/LICENSE
	install -d $(SHARE)/man/man8 $(dir $(BASH_COMPLETION)) $(dir $(ZSH_COMPLETION)) $(dir $(FISH_COMPLETION))
	$(RELEASE)/husk man $(SHARE)/man/man8
	$(RELEASE)/husk completion bash > $(BASH_COMPLETION)
	$(RELEASE)/husk completion zsh > $(ZSH_COMPLETION)
	$(RELEASE)/husk completion fish > $(FISH_COMPLETION)
	chmod 0644 $(SHARE)/man/man8/husk*.8 $(BASH_COMPLETION) $(ZSH_COMPLETION) $(FISH_COMPLETION)

uninstall: ## Removes what install wrote
	rm -f $(DESTDIR)$(PREFIX)/bin/husk $(DESTDIR)$(PREFIX)/bin/containerd-shim-husk-v1 $(SHARE)/doc/husk/LICENSE
	rm -f $(SHARE)/man/man8/husk.8 $(SHARE)/man/man8/husk-*.8 $(BASH_COMPLETION) $(ZSH_COMPLETION) $(FISH_COMPLETION)

clean: ## Removes target/ and fuzz/target/; the test root file system stays in /var/tmp/husk-test
	$(CARGO) clean
	rm -rf fuzz/target
