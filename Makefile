# Building, installing by hand, and the Debian package. Everything else is cargo's: see CONTRIBUTING.md.
#
#   make && sudo make install          into /usr/local
#   make install DESTDIR=… PREFIX=/usr for packagers
#   make deb                           target/debian/longwire_….deb, with cargo-deb

PREFIX      ?= /usr/local
DESTDIR     ?=
bindir      ?= $(PREFIX)/bin
sysconfdir  ?= /etc
unitdir     ?= $(PREFIX)/lib/systemd/system
sysusersdir ?= $(PREFIX)/lib/sysusers.d
sysctldir   ?= $(PREFIX)/lib/sysctl.d
datadir     ?= $(PREFIX)/share/longwire
mandir      ?= $(PREFIX)/share/man
docdir      ?= $(PREFIX)/share/doc/longwire
bashdir     ?= $(PREFIX)/share/bash-completion/completions
zshdir      ?= $(PREFIX)/share/zsh/site-functions
fishdir     ?= $(PREFIX)/share/fish/vendor_completions.d

BINARY      ?= $(or $(CARGO_TARGET_DIR),target)/release/longwire
INSTALL     ?= install
to           = $(DESTDIR)$(1)

.PHONY: all build deb install uninstall

all: build

build:
	cargo build --release --locked

deb:
	@cargo deb --version >/dev/null 2>&1 || { echo "cargo-deb is missing: cargo install --locked cargo-deb" >&2; exit 1; }
	cargo deb --locked

# Builds nothing: it is often run as root, who may have no cargo.
install:
	@[ -x "$(BINARY)" ] || { echo "$(BINARY) is not there: run make first, as yourself" >&2; exit 1; }
	$(INSTALL) -D -m 755 "$(BINARY)" "$(call to,$(bindir))/longwire"
	$(INSTALL) -d "$(call to,$(unitdir))"
	sed 's|/usr/bin/longwire|$(bindir)/longwire|' systemd/longwire.service >"$(call to,$(unitdir))/longwire.service"
	chmod 644 "$(call to,$(unitdir))/longwire.service"
	$(INSTALL) -m 644 systemd/longwire.socket "$(call to,$(unitdir))/longwire.socket"
	$(INSTALL) -D -m 644 packaging/sysusers.conf "$(call to,$(sysusersdir))/longwire.conf"
	$(INSTALL) -D -m 644 sysctl/60-longwire.conf "$(call to,$(sysctldir))/60-longwire.conf"
	$(INSTALL) -D -m 755 sysctl/tune "$(call to,$(datadir))/tune"
	$(INSTALL) -D -m 644 -t "$(call to,$(mandir))/man1" packaging/man/*.1
	$(INSTALL) -D -m 644 packaging/completions/longwire.bash "$(call to,$(bashdir))/longwire"
	$(INSTALL) -D -m 644 packaging/completions/_longwire "$(call to,$(zshdir))/_longwire"
	$(INSTALL) -D -m 644 packaging/completions/longwire.fish "$(call to,$(fishdir))/longwire.fish"
	$(INSTALL) -D -m 644 -t "$(call to,$(docdir))" docs/*.md
	$(INSTALL) -D -m 644 -t "$(call to,$(docdir))/examples/longwire.service.d" systemd/longwire.service.d/*.example
	sed -i 's|/usr/bin/longwire|$(bindir)/longwire|' "$(call to,$(docdir))/examples/longwire.service.d/"*
	$(INSTALL) -D -m 644 sysctl/limits-longwire.conf "$(call to,$(docdir))/examples/limits-longwire.conf"
	$(INSTALL) -D -m 644 nginx/longwire.conf "$(call to,$(docdir))/examples/nginx/longwire.conf"
	$(INSTALL) -D -m 644 haproxy/longwire.cfg "$(call to,$(docdir))/examples/haproxy/longwire.cfg"
	$(INSTALL) -D -m 644 -t "$(call to,$(docdir))/examples/monitoring" monitoring/alerts.yml monitoring/grafana-dashboard.json
	@# What the operator has written stays.
	$(INSTALL) -d -m 750 "$(call to,$(sysconfdir))/longwire"
	[ -e "$(call to,$(sysconfdir))/longwire/longwire.toml" ] || \
		$(INSTALL) -m 640 config/longwire.toml "$(call to,$(sysconfdir))/longwire/longwire.toml"
	[ -e "$(call to,$(sysconfdir))/default/longwire" ] || \
		$(INSTALL) -D -m 644 packaging/default "$(call to,$(sysconfdir))/default/longwire"
	@if [ -z "$(DESTDIR)" ]; then \
		systemd-sysusers "$(sysusersdir)/longwire.conf" && \
		chgrp longwire "$(sysconfdir)/longwire" "$(sysconfdir)/longwire/longwire.toml" && \
		if [ -d /run/systemd/system ]; then systemctl daemon-reload; fi && \
		echo "longwire is installed, and neither started nor enabled. Give it a key in $(sysconfdir)/longwire/longwire.toml," && \
		echo "see if it is right with: longwire check; and then: systemctl enable --now longwire.socket longwire.service"; \
	fi

# The configuration and the user stay; a running service must be stopped before.
uninstall:
	@if [ -z "$(DESTDIR)" ] && [ -d /run/systemd/system ]; then \
		systemctl disable --now longwire.socket longwire.service; \
	fi
	rm -f "$(call to,$(bindir))/longwire"
	rm -f "$(call to,$(unitdir))/longwire.service" "$(call to,$(unitdir))/longwire.socket"
	rm -f "$(call to,$(sysusersdir))/longwire.conf" "$(call to,$(sysctldir))/60-longwire.conf"
	rm -f "$(call to,$(mandir))/man1/longwire.1" "$(call to,$(mandir))/man1/longwire-"*.1
	rm -f "$(call to,$(bashdir))/longwire" "$(call to,$(zshdir))/_longwire" "$(call to,$(fishdir))/longwire.fish"
	rm -rf "$(call to,$(datadir))" "$(call to,$(docdir))"
	@if [ -z "$(DESTDIR)" ] && [ -d /run/systemd/system ]; then systemctl daemon-reload; fi
