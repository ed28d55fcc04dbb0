#!/bin/sh
# Before the files go. Debian's argument is "remove", RPM's is how many versions are left;
# before an upgrade nothing stops.
set -e

case "$1" in
remove | 0) ;;
*) exit 0 ;;
esac
if command -v systemctl >/dev/null; then
	systemctl --quiet disable @UNIT@
	[ ! -d /run/systemd/system ] || systemctl stop @UNIT@
fi
