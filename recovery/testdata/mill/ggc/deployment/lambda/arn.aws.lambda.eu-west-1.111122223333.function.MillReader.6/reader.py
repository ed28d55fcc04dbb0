# the version before
