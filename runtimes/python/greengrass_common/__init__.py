"""What the Greengrass Core SDK expects the core to bring along.

These modules speak for the process a function runs in: its environment, its
log and the names of other functions. They need no third-party package and run
on Python 2.7 and 3.
"""
