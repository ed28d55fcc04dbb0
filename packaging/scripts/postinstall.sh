#!/bin/sh
# After an installation or an upgrade. Debian's argument is "configure" and the version
# before, RPM's is how many versions are installed.
set -e

if command -v systemd-sysusers >/dev/null; then
	systemd-sysusers @NAME@.conf
	[ ! -e /usr/lib/tmpfiles.d/@NAME@.conf ] || systemd-tmpfiles --create @NAME@.conf
fi
[ -d /run/systemd/system ] || exit 0
systemctl daemon-reload
if { [ "$1" = configure ] && [ -n "$2" ]; } || [ "$1" = 2 ]; then
	# The new version takes over where the one before ran.
	systemctl try-restart @UNIT@ || echo "@UNIT@ does not come up: journalctl -u @UNIT@" >&2
elif ! systemctl --quiet is-enabled @UNIT@ 2>/dev/null; then
	echo "Configure it in /etc/fescue/, then: systemctl enable --now @UNIT@"
fi
