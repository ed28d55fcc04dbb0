#!/bin/sh
# After the files went, with an upgrade those of the version before. What was kept on this
# machine, keys above all, stays, also when the package is purged: nothing brings it back.
set -e

[ ! -d /run/systemd/system ] || systemctl daemon-reload
if [ "$1" = purge ] && [ -d @STATE@ ]; then
	echo "@STATE@ stays, with its keys. To remove it: rm -r @STATE@"
fi
